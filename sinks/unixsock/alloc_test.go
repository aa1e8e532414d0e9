package unixsock_test

import (
	"net"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/sdk/sinktest"
	"github.com/rtflow/pipelined/sinks/unixsock"
)

// TestAllocations pins that sending allocates per connection and per wait, not per record.
func TestAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	for _, delta := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "s")
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			if conn, err := l.Accept(); err == nil {
				takeAll(conn)
			}
		}()
		const n = 1_000_000
		s := sinktest.NewStream(t)
		s.Append(sinktest.Records(1, 1000)...)
		s.Repeat(n)
		s.SetBatch(1024)
		s.Drain()
		sink := unixsock.New(unixsock.Config{Connector: unixsock.Dialer(path, unixsock.Peers{}), Delta: delta})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err = s.Run(t.Context(), sink)
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		<-done
		// The fake stream allocates a channel with every acknowledgement, the receiver a frame; a record must not cost one.
		if mallocs := after.Mallocs - before.Mallocs; mallocs > n/20 {
			t.Errorf("delta %v: %d allocations for %d records", delta, mallocs, n)
		}
	}
}

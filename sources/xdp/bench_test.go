package xdp

import (
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/testing/nettest"
	"github.com/rtflow/pipelined/internal/testing/race"
)

// A batch costs no allocation (P7), with frames and without.
func TestAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	sender, tap := cable(t, 1)
	q := open(t, tap, Config{}).Queues()[0]
	wire := sender.Wire("wire")
	frame := numbered(1, 1)
	var b packet.Batch
	ctx := t.Context()
	frames := 0
	turn := func() {
		if wire.TrySend(frame) != nil || q.Receive(ctx, &b, patience) != nil {
			return
		}
		frames += b.N
		q.Release()
		_ = q.Receive(ctx, &b, 0)
		frames += b.N
		q.Release()
	}
	// Sending costs something; what it costs alone is the limit. The goroutine that looks at the link once a second counts as well,
	// so one of several attempts has to do.
	sending := testing.AllocsPerRun(100, func() { _ = wire.TrySend(frame) })
	allocs := sending + 1
	for range 10 {
		if allocs = testing.AllocsPerRun(100, turn); allocs <= sending {
			break
		}
	}
	if frames < 100 {
		t.Fatalf("received %d frames", frames)
	}
	if allocs > sending {
		t.Errorf("%v allocations per turn, of which sending is %v", allocs, sending)
	}
}

// BenchmarkReceiveDrop is the receive loop of a worker that does nothing with its frames. Compare with the benchmark of
// that name in xsk, for the cost of the source, and with a worker's, for the cost of the work.
func BenchmarkReceiveDrop(b *testing.B) {
	sender, tap := cable(b, 1)
	config := Config{}
	config.Device.Frames = 4096
	q := open(b, tap, config).Queues()[0]
	var batch packet.Batch
	ctx := b.Context()
	b.ReportAllocs()
	nettest.Drive(b, sender, nettest.Flood{Device: "wire", Flows: 1024}, func() (int, error) {
		err := q.Receive(ctx, &batch, 100*time.Millisecond)
		n := batch.N
		q.Release()
		return n, err
	})
}

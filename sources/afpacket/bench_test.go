package afpacket

import (
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/testing/nettest"
	"github.com/rtflow/pipelined/internal/testing/race"
)

// TestAllocations has batches that cost no allocation (P7), with frames and without.
func TestAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	sender, host := cable(t)
	q := open(t, host, Config{Incoming: true}, "tap").Queues()[0]
	wire := sender.Wire("wire")
	frame := numbered(1)
	var b packet.Batch
	ctx := t.Context()
	frames := 0
	least := func(step func()) float64 { // the source's goroutine may be told of something at the same time
		return min(testing.AllocsPerRun(100, step), testing.AllocsPerRun(100, step), testing.AllocsPerRun(100, step))
	}
	allocs := least(func() {
		if wire.TrySend(frame) != nil || q.Receive(ctx, &b, patience) != nil {
			return
		}
		frames += b.N
		q.Release()
		_ = q.Receive(ctx, &b, 0)
		frames += b.N
		q.Release()
	})
	if frames < 100 {
		t.Fatalf("received %d frames", frames)
	}
	// Sending costs something; this is what it costs alone.
	if sending := least(func() { _ = wire.TrySend(frame) }); allocs > sending {
		t.Errorf("%v allocations per turn, of which sending is %v", allocs, sending)
	}
}

// BenchmarkReceiveCopy is the receive loop of a worker that does nothing with its frames. Compare with BenchmarkReceiveDrop
// of the source xdp.
func BenchmarkReceiveCopy(b *testing.B) {
	sender, host := cable(b)
	host.AcceptFlood("tap")
	q := open(b, host, Config{RingSize: 16 << 20, Incoming: true}, "tap").Queues()[0]
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

package xsk

import (
	"testing"
	"time"

	"github.com/rtflow/pipelined/internal/testing/nettest"
	"github.com/rtflow/pipelined/internal/testing/race"
)

// One batch, received and given back, costs no allocation.
func TestAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	sender, tap := cable(t, 1)
	i := open(t, tap, Config{Interface: "tap", Frames: 256})
	wire := sender.Wire("wire")
	s := i.Queues()[0]
	views := make([]Packet, 64)
	packets := 0
	frame := numbered(1)
	turn := func() {
		if wire.TrySend(frame) != nil || s.Wait(patience) != nil {
			return
		}
		packets += s.Receive(views)
		s.Release()
		_ = s.Wait(0)
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
	if packets < 100 {
		t.Fatalf("received %d packets", packets)
	}
	if allocs > sending {
		t.Errorf("%v allocations per turn, of which sending is %v", allocs, sending)
	}
}

// BenchmarkReceiveDrop is the bare receive loop, sleeping in poll when there is nothing.
func BenchmarkReceiveDrop(b *testing.B) {
	sender, tap := cable(b, 1)
	i := open(b, tap, Config{Interface: "tap", Attach: Native})
	s := i.Queues()[0]
	views := make([]Packet, 64)
	b.ReportAllocs()
	nettest.Drive(b, sender, nettest.Flood{Device: "wire", Flows: 1024}, func() (int, error) {
		n := s.Receive(views)
		if n == 0 {
			return 0, s.Wait(100 * time.Millisecond)
		}
		s.Release()
		return n, nil
	})
}

// BenchmarkReceiveRelease is what a batch costs beside the kernel: the same ring entries are taken and given back in
// user space, with the kernel's half of the rings played by the benchmark.
func BenchmarkReceiveRelease(b *testing.B) {
	_, tap := cable(b, 1)
	i := open(b, tap, Config{Interface: "tap", Attach: Native})
	s := i.Queues()[0]
	views := make([]Packet, 64)
	for k := range s.receive.entries {
		s.receive.entries[k].Addr, s.receive.entries[k].Len = uint64(k*i.FrameSize()+headroom), 64
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		s.receive.producer.Add(64)
		n += s.Receive(views)
		s.Release()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/pkt")
}

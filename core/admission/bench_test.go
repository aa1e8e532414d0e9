package admission

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/core/tail"
	"github.com/rtflow/pipelined/sdk/event"
)

// denials are events with every field that a worker fills in for a denied packet.
func denials(n int) []Event {
	list := make([]Event, n)
	for i := range list {
		list[i] = Event{
			Kind: event.PolicyDeny, Time: int64(i), Flow: packet.Tuple{Proto: 6, Family: packet.IPv4, SrcPort: uint16(i), DstPort: 443},
			InZone: 1, OutZone: 2, Interface: 3, App: 4, Action: event.ActionDeny, Policy: 7, SessionID: uint64(i),
		}
	}
	return list
}

// each runs fn on n goroutines, b.N/n times each in steps of one batch, and reports the wall time per event of one worker.
func each(b *testing.B, n int, fn func(worker, events int)) {
	b.ReportAllocs()
	var wg sync.WaitGroup
	per := b.N/n + 1
	b.ResetTimer()
	for w := range n {
		wg.Go(func() { fn(w, per) })
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(per), "ns/event/worker")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(per*n), "ns/event")
}

const batchSize = 64

var large = replay.Limits{Slots: 8192, Telemetry: 4096, PerKind: 4096}

// BenchmarkGateRefuse storms one bucket that refuses everything.
func BenchmarkGateRefuse(b *testing.B) {
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			r := newRig(b, workers, []replay.Limits{large}, rate(1, 1))
			each(b, workers, func(w, events int) {
				l := r.gate.Lane(context.Background(), w)
				found, slot := denials(batchSize), l.Slot(1)
				for done := 0; done < events; done += batchSize {
					passed := 0
					for range batchSize {
						if l.Offer(event.PolicyDeny, slot, 1) {
							passed++
						}
					}
					l.Flush(1, 1, found[:passed])
				}
			})
		})
	}
}

// BenchmarkGateAdmit admits, encodes and publishes into one ring, one event at a time or in batches; another goroutine
// would acknowledge, here the worker does it between batches: 8.5 ns of the figure.
func BenchmarkGateAdmit(b *testing.B) {
	for _, size := range []int{1, batchSize} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) { benchmarkAdmit(b, newRig(b, 1, []replay.Limits{large}), size) })
	}
}

// BenchmarkGateTail is BenchmarkGateAdmit while somebody looks: most events are left out, as the interval has room for a few.
func BenchmarkGateTail(b *testing.B) {
	for _, size := range []int{1, batchSize} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			shown := tail.New()
			r := newRig(b, 1, []replay.Limits{large}, func(c *Config) { c.Tail = shown })
			w, err := shown.Watch()
			if err != nil {
				b.Fatal(err)
			}
			defer w.Close()
			benchmarkAdmit(b, r, size)
		})
	}
}

func benchmarkAdmit(b *testing.B, r *rig, size int) {
	l := r.gate.Lane(context.Background(), 0)
	found, passed := denials(size), 0
	slot, ring := l.Slot(1), r.rings[0]
	b.ReportAllocs()
	n := uint32(0)
	for b.Loop() {
		if l.Offer(event.PolicyDeny, slot, 1) {
			passed++
		}
		if n++; n%uint32(size) == 0 {
			l.Flush(1, 1, found[:passed])
			passed = 0
		}
		if n%2048 == 0 {
			for run := ring.Next(4096); run != nil; run = ring.Next(4096) {
				_ = ring.Ack(run[len(run)-1].Seq())
			}
		}
	}
}

// BenchmarkGateEndToEnd admits in batches while a reader takes and acknowledges: admission to acknowledgement.
func BenchmarkGateEndToEnd(b *testing.B) {
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			r := newRig(b, workers, []replay.Limits{large}, func(c *Config) { c.Wait = true })
			ring := r.rings[0]
			read := make(chan struct{})
			go func() {
				defer close(read)
				for {
					if run := ring.Next(1024); run != nil {
						_ = ring.Ack(run[len(run)-1].Seq())
						continue
					}
					if ring.Drained() {
						return
					}
					if wake, ok := ring.Sleep(); ok {
						<-wake
					}
				}
			}()
			each(b, workers, func(w, events int) {
				l := r.gate.Lane(context.Background(), w)
				found, slot := denials(batchSize), l.Slot(1)
				for done := 0; done < events; done += batchSize {
					passed := 0
					for range batchSize {
						if l.Offer(event.PolicyDeny, slot, 1) {
							passed++
						}
					}
					l.Flush(1, 1, found[:passed])
				}
			})
			ring.Drain()
			<-read
		})
	}
}

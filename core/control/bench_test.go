package control

import (
	"context"
	"io"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/core/tail"
	"github.com/rtflow/pipelined/sdk/event"
)

// BenchmarkAttached has a worker admit as fast as it can, and a peer look at events for a moment, and not, by turns. An operation is one
// turn of each. It reports how many events per second are admitted meanwhile, and the median of their ratio.
func BenchmarkAttached(b *testing.B) {
	const turn = 30 * time.Millisecond
	shown := tail.New()
	ring, err := replay.New(replay.Limits{Slots: 8192, Telemetry: 4096, PerKind: 4096})
	if err != nil {
		b.Fatal(err)
	}
	c := admission.Config{Zones: []uint16{1}, Lanes: 1, Tail: shown, Sinks: []admission.Sink{{Name: "sink", Ring: ring, Only: event.AllKinds}}}
	c.Rates[event.PolicyDeny] = admission.Rate{PerSecond: 1e9, Burst: 1e9}
	gate, err := admission.New(c)
	if err != nil {
		b.Fatal(err)
	}
	names := &event.Names{Zones: map[uint16]string{1: "lan"}}
	client := serve(b, Daemon{Events: &Events{
		Hostname: func() string { return "edge-1" },
		Tail:     shown, Names: func(uint32) *event.Names { return names }, Latest: func() *event.Names { return names },
	}}, ListenOptions{Group: -1})
	lane := gate.Lane(b.Context(), 0)
	found := make([]admission.Event, 64)
	for i := range found {
		found[i] = admission.Event{Kind: event.PolicyDeny, InZone: 1, Flow: packet.Tuple{Proto: 6, Family: packet.IPv4, SrcPort: uint16(i)}}
	}
	// admit admits for a turn, and returns how many events per second.
	admit := func() float64 {
		began, n, slot := time.Now(), 0, lane.Slot(1)
		for time.Since(began) < turn {
			for range 100 {
				for range found {
					lane.Offer(event.PolicyDeny, slot, 1)
				}
				lane.Flush(1, 1, found)
				n += len(found)
				for run := ring.Next(4096); run != nil; run = ring.Next(4096) {
					if err := ring.Ack(run[len(run)-1].Seq()); err != nil {
						b.Fatal(err)
					}
				}
			}
		}
		return float64(n) / time.Since(began).Seconds()
	}
	goroutines, open := runtime.NumGoroutine(), descriptors(b)
	var alone, looked, ratios []float64
	for b.Loop() {
		without := admit()
		ctx, cancel := context.WithCancel(b.Context())
		lines, err := client.Events(ctx, new(EventQuery))
		if err != nil {
			b.Fatal(err)
		}
		read := make(chan struct{})
		go func() {
			defer close(read)
			_, _ = io.Copy(io.Discard, lines) // until it is closed
		}()
		with := admit()
		cancel()
		<-read
		lines.Close()
		for n := 1; n > 0; n, _ = shown.Watchers() {
			runtime.Gosched()
		}
		alone, looked, ratios = append(alone, without), append(looked, with), append(ratios, with/without)
	}
	b.ReportMetric(median(alone), "events/s-alone")
	b.ReportMetric(median(looked), "events/s-looked-at")
	b.ReportMetric(median(ratios), "ratio")
	for runtime.NumGoroutine() > goroutines || descriptors(b) > open { // those of the last connection end a moment later
		runtime.Gosched()
	}
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

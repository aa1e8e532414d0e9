package web

import (
	"context"
	"io"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/sdk/event"
)

// BenchmarkBrowsers has a worker admit as fast as it can, and ten browsers have the page open for a while, and not, by turns: each gets
// events, and asks for the figures. An operation is one turn of each. It reports how many events are admitted in a second of the worker's
// own CPU, since browsers and worker share the cores here, and the median of their ratio.
func BenchmarkBrowsers(b *testing.B) {
	const (
		turn     = 300 * time.Millisecond
		browsers = 10
	)
	f := newFake()
	ring, err := replay.New(replay.Limits{Slots: 8192, Telemetry: 4096, PerKind: 4096})
	if err != nil {
		b.Fatal(err)
	}
	c := admission.Config{Zones: []uint16{1}, Lanes: 1, Tail: f.tail, Sinks: []admission.Sink{{Name: "sink", Ring: ring, Only: event.AllKinds}}}
	c.Rates[event.PolicyDeny] = admission.Rate{PerSecond: 1e9, Burst: 1e9}
	gate, err := admission.New(c)
	if err != nil {
		b.Fatal(err)
	}
	base := "http://" + serve(b, f, "")
	lane := gate.Lane(b.Context(), 0)
	found := make([]admission.Event, 64)
	for i := range found {
		found[i] = admission.Event{Kind: event.PolicyDeny, InZone: 1, Flow: packet.Tuple{Proto: 6, Family: packet.IPv4, SrcPort: uint16(i)}}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// admit admits for a turn, and returns how many events per second of this thread.
	admit := func() float64 {
		began, used, n, slot := time.Now(), threadTime(b), 0, lane.Slot(1)
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
		return float64(n) / (threadTime(b) - used).Seconds()
	}
	var alone, looked, ratios []float64
	for b.Loop() {
		without := admit()
		ctx, cancel := context.WithCancel(b.Context())
		var open sync.WaitGroup
		for range browsers {
			open.Go(func() { browse(ctx, base) })
		}
		for n := 0; n < browsers; n, _ = f.tail.Watchers() {
			runtime.Gosched()
		}
		with := admit()
		cancel()
		open.Wait()
		for n := 1; n > 0; n, _ = f.tail.Watchers() {
			runtime.Gosched()
		}
		alone, looked, ratios = append(alone, without), append(looked, with), append(ratios, with/without)
	}
	for _, m := range []struct {
		values []float64
		unit   string
	}{{alone, "events/cpu-s-alone"}, {looked, "events/cpu-s-looked-at"}, {ratios, "ratio"}} {
		slices.Sort(m.values)
		b.ReportMetric(m.values[len(m.values)/2], m.unit)
	}
}

// threadTime returns how long the thread has run.
func threadTime(tb testing.TB) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(t.Nano())
}

// browse does what the page does until ctx ends: reads events, and asks for the figures once a second.
func browse(ctx context.Context, base string) {
	c := &http.Client{Transport: new(http.Transport)}
	defer c.CloseIdleConnections()
	get := func(path string) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
		if err != nil {
			return // the base is an address
		}
		if resp, err := c.Do(req); err == nil { // else ctx has ended
			_, _ = io.Copy(io.Discard, resp.Body) // the same
			resp.Body.Close()
		}
	}
	var events sync.WaitGroup
	events.Go(func() { get("/page/events") })
	for ctx.Err() == nil {
		get("/page/state")
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	events.Wait()
}

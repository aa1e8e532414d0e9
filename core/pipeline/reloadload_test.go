package pipeline

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/plan"
)

// randomText is a configuration of a zonesRig: zones, hooks, sinks, rings, timeouts and rates at random, of few names.
func randomText(rng *rand.Rand) string {
	const sink, hook = "[sinks.%s]\nplugin = \"fake\"\nreplay = { slots = %d }\n", "[hooks.%s]\nplugin = \"surveyor\"\n# %d\n"
	text := fmt.Sprintf("[zones.a]\nprefixes = \"%d.0.0.0/8\"\n[zones.b%d]\nprefixes = \"192.0.2.0/24\"\n", 10+rng.IntN(2), rng.IntN(20))
	sinks, hooks := `"good"`, `"look"`
	text += fmt.Sprintf(sink, "good", 512<<rng.IntN(3)) + fmt.Sprintf(hook, "look", 0)
	for _, name := range []string{"x", "y"} {
		if rng.IntN(2) == 0 {
			sinks += fmt.Sprintf(", %q", name)
			text += fmt.Sprintf(sink, name, 512)
		}
		if rng.IntN(2) == 0 {
			hooks += fmt.Sprintf(", %q", name)
			text += fmt.Sprintf(hook, name, 0)
		}
	}
	return fmt.Sprintf("[pipeline]\nsources = [\"in\"]\nhooks = [%s]\nsinks = [%s]\n[sources.in]\nplugin = \"fake\"\n[service]\ndrain = \"5s\"\n[sessions]\nmax = 4096\nrematch = %v\nudp_timeout = \"%ds\"\n[admission]\nrate = %d\n",
		hooks, sinks, rng.IntN(2) == 0, 1+rng.IntN(60), 100+rng.IntN(900)) + text
}

// TestP1P13ManyReloads reloads again and again, whatever can be changed at once, while two workers carry packets. At the end the ledger is
// exact, no packet was judged by half of a configuration, and nothing is left: no goroutine, no descriptor, no memory. PIPELINED_RELOADS
// says how often, 50 times without it.
func TestP1P13ManyReloads(t *testing.T) {
	reloads := 50
	if text := os.Getenv("PIPELINED_RELOADS"); text != "" {
		var err error
		if reloads, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	} else if testing.Short() {
		reloads = 20
	}
	r := &zonesRig{rig: newRig(t, true, &fakeQueue{flows: 1 << 30}, &fakeQueue{flows: 1 << 30, base: 1 << 24})}
	for _, name := range []string{"good", "x", "y"} {
		r.sinks[name] = deliverAll
	}
	rng := rand.New(rand.NewPCG(7, 8))
	checkLeaks := leaks(t)
	pl := runPlan(t, r.plan(randomText(rng)))
	var heap uint64
	for i := range reloads {
		r.ids = pl.ZoneIDs()
		if _, err := pl.Reload(r.plan(randomText(rng))); err != nil {
			t.Fatal(err)
		}
		for before := pl.Ledger().Packets.Received; pl.Ledger().Packets.Received < before+packet.BatchSize; {
			runtime.Gosched()
		}
		if i == reloads/2 {
			heap = heapInUse()
		}
	}
	grown := int64(heapInUse() - heap)
	r.ids = pl.ZoneIDs()
	if _, err := pl.Reload(r.plan(strings.Replace(randomText(rng), "rematch = false", "rematch = true", 1))); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); pl.Ledger().Sessions.Withdrawn == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no session was withdrawn")
		}
	}
	pl.end()
	if n := r.wrong.Load(); n > 0 {
		t.Errorf("%d times a packet came in another zone than its hook knows", n)
	}
	checkLeaks()
	if grown > 8<<20 {
		t.Errorf("%d bytes more after the second half of the reloads", grown)
	}
	led := pl.Ledger()
	t.Logf("%d reloads, %d packets, %d sessions withdrawn; heap %+d bytes in the second half", reloads, led.Packets.Received, led.Sessions.Withdrawn, grown)
}

// leaks returns a function that reports goroutines and descriptors that are there beyond those of now.
func leaks(t *testing.T) (check func()) {
	t.Helper()
	goroutines, descriptors := runtime.NumGoroutine(), openFiles(t)
	return func() {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); runtime.NumGoroutine() > goroutines && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond) // some end when their timer does
		}
		if n := runtime.NumGoroutine(); n > goroutines {
			t.Errorf("%d goroutines, %d before", n, goroutines)
		}
		if n := openFiles(t); n > descriptors {
			t.Errorf("%d descriptors, %d before", n, descriptors)
		}
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// timedQueue notes how long the worker has each batch.
type timedQueue struct {
	*fakeQueue
	given time.Time
	took  []time.Duration
}

func (q *timedQueue) Receive(ctx context.Context, b *packet.Batch, timeout time.Duration) error {
	if now := time.Now(); !q.given.IsZero() {
		q.took = append(q.took, now.Sub(q.given))
	}
	err := q.fakeQueue.Receive(ctx, b, timeout)
	q.given = time.Now()
	return err
}

// BenchmarkReload gives the 99th percentile of the time that a batch is in the worker while a configuration is taken over every 10 ms, and of the
// same without, interleaved; plans are made beforehand, since making them takes the CPU of the worker where there are few.
func BenchmarkReload(b *testing.B) {
	const batches = 4000
	percentile := func(reload bool) time.Duration {
		q := &timedQueue{fakeQueue: &fakeQueue{flows: batches * packet.BatchSize}}
		r := &zonesRig{rig: newRig(b, true)}
		r.source.timed = q
		r.sinks["good"], r.sinks["x"], r.sinks["y"] = deliverAll, deliverAll, deliverAll
		rng := rand.New(rand.NewPCG(7, 8))
		pl, err := Open(b.Context(), r.plan(zoned("[zones.a]\nprefixes = \"10.0.0.0/8\"")), Options{})
		if err != nil {
			b.Fatal(err)
		}
		var plans []*plan.Plan
		for range 100 {
			r.ids = pl.ZoneIDs()
			plans = append(plans, r.plan(zoned(fmt.Sprintf("[zones.a]\nprefixes = \"%d.0.0.0/8\"", 10+rng.IntN(2)))))
		}
		ctx, stop := context.WithCancel(b.Context())
		done := make(chan error, 1)
		go func() { done <- pl.Run(ctx) }()
		for i := 0; pl.Ledger().Packets.Received < batches*packet.BatchSize; i++ {
			time.Sleep(10 * time.Millisecond)
			if reload && i < len(plans) {
				if _, err := pl.Reload(plans[i]); err != nil {
					b.Fatal(err)
				}
			}
		}
		stop()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		slices.Sort(q.took)
		return q.took[len(q.took)*99/100]
	}
	var with, without time.Duration
	var ratios []float64
	for b.Loop() {
		n, y := percentile(false), percentile(true)
		without, with = without+n, with+y
		ratios = append(ratios, float64(y)/float64(n))
	}
	slices.Sort(ratios)
	b.ReportMetric(float64(with.Nanoseconds())/float64(b.N), "p99-ns-reloading")
	b.ReportMetric(float64(without.Nanoseconds())/float64(b.N), "p99-ns")
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
}

package sim

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rtflow/pipelined/internal/testing/race"
)

// Environment variables that say which seeds run.
const (
	seedsVariable = "PIPELINED_SIM_SEEDS" // how many, from 1 on
	seedVariable  = "PIPELINED_SIM_SEED"  // this one alone, and what happened in it
	soakVariable  = "PIPELINED_SIM_SOAK"  // for how long, from a random one on
)

// How many seeds run when nothing is said.
const (
	plainSeeds = 2000
	raceSeeds  = 49
)

func keys(m map[uint32]bool) []uint32 { return slices.Sorted(maps.Keys(m)) }

// result is what a schedule comes to.
type result struct {
	failures, story []string
	digest          uint64
	records         int
}

// TestMain makes the runtime print the seed with every goroutine when the program panics.
func TestMain(m *testing.M) {
	os.Setenv("GODEBUG", os.Getenv("GODEBUG")+",tracebacklabels=1")
	os.Exit(m.Run())
}

// run runs the schedule of a seed.
func run(t *testing.T, seed uint64, verbose bool) (r result) {
	p := newPlan(seed)
	pprof.Do(context.Background(), pprof.Labels("seed", fmt.Sprint(seed)), func(context.Context) {
		synctest.Test(t, func(*testing.T) {
			w := newWorld(&p, verbose)
			w.run()
			r.failures, r.story = w.failures, w.story
			for _, o := range w.sinks {
				r.digest = r.digest*31 + o.v.digest
				r.records += o.v.count
			}
		})
	})
	return r
}

// TestSameSeed checks that a seed gives the same bytes at the same time again.
func TestSameSeed(t *testing.T) {
	seeds := 100
	if race.Enabled {
		seeds = 8
	}
	compared := 0
	for seed := uint64(1); compared < seeds; seed++ {
		if newPlan(seed).concurrent {
			continue
		}
		compared++
		first, second := run(t, seed, false), run(t, seed, false)
		if first.digest != second.digest {
			t.Errorf("seed %d: %d records and digest %x, and then %d and %x", seed, first.records, first.digest, second.records, second.digest)
		}
	}
}

// TestSchedules runs schedules.
func TestSchedules(t *testing.T) {
	if seed, ok := variable(t, seedVariable); ok {
		one(t, seed)
		return
	}
	seeds := uint64(plainSeeds)
	if race.Enabled {
		seeds = raceSeeds
	}
	if n, ok := variable(t, seedsVariable); ok {
		seeds = n
	}
	first, until := uint64(1), time.Time{}
	if text := os.Getenv(soakVariable); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("%s: %v", soakVariable, err)
		}
		first, seeds, until = rand.Uint64N(1<<40), 1<<40, time.Now().Add(d)
	}
	c := campaign{T: t, first: first, seeds: seeds, until: until, begun: time.Now()}
	c.run()
}

// variable reads a number from the environment, if it is there.
func variable(t *testing.T, name string) (n uint64, ok bool) {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n, true
}

// campaign runs many seeds.
type campaign struct {
	*testing.T
	first, seeds uint64
	until, begun time.Time // no until: all seeds

	mu           sync.Mutex
	next         uint64
	records      int
	failed       int
	lastProgress time.Time
}

// maxFailed is how many seeds may fail until no more are run.
const maxFailed = 10

func (c *campaign) run() {
	c.next, c.lastProgress = c.first, c.begun
	c.Cleanup(func() { c.Log(c.progress()) })
	for shard := range runtime.GOMAXPROCS(0) {
		c.T.Run(fmt.Sprint("shard ", shard), func(t *testing.T) {
			t.Parallel()
			for seed, ok := c.draw(); ok; seed, ok = c.draw() {
				c.note(runAndTell(t, seed))
			}
		})
	}
}

// draw returns the next seed.
func (c *campaign) draw() (uint64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed >= maxFailed || c.next >= c.first+c.seeds || !c.until.IsZero() && time.Now().After(c.until) {
		return 0, false
	}
	c.next++
	return c.next - 1, true
}

// note adds up, and says now and then how far a soak has come.
func (c *campaign) note(r result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.records += r.records
	if len(r.failures) > 0 {
		c.failed++
	}
	if !c.until.IsZero() && time.Since(c.lastProgress) >= 10*time.Second {
		c.lastProgress = time.Now()
		fmt.Fprintln(os.Stderr, c.progress())
	}
}

func (c *campaign) progress() string {
	n, took := c.next-c.first, time.Since(c.begun)
	return fmt.Sprintf("%v: %d seeds from %d on, %.0f a second; %d records delivered; %d seeds failed",
		took.Round(time.Second), n, c.first, float64(n)/took.Seconds(), c.records, c.failed)
}

// runAndTell runs a seed, and says how to look at it if something is wrong.
func runAndTell(t *testing.T, seed uint64) result {
	r := run(t, seed, false)
	if len(r.failures) == 0 {
		return r
	}
	t.Errorf("seed %d fails. To see all that happens in it: make sim SEED=%[1]d", seed)
	for _, f := range r.failures[:min(len(r.failures), 10)] {
		t.Errorf("seed %d: %s", seed, f)
	}
	return r
}

// one runs one seed and prints everything.
func one(t *testing.T, seed uint64) {
	p := newPlan(seed)
	t.Logf("%d lanes, %d zones, rate %+v, concurrent %v, ending %d within %v", p.lanes, p.zones, p.rate, p.concurrent, p.ending, p.drain)
	for i, s := range p.sinks {
		t.Logf("sink %d: %+v", i, s)
	}
	r := run(t, seed, true)
	for _, line := range r.story {
		t.Log(line)
	}
	for _, f := range r.failures {
		t.Error(f)
	}
	t.Logf("%d records, digest %x", r.records, r.digest)
}

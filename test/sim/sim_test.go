package sim

import (
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
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
	raceSeeds  = 300
)

func keys(m map[uint32]bool) []uint32 { return slices.Sorted(maps.Keys(m)) }

// result is what a schedule comes to.
type result struct {
	failures, story []string
	digest          uint64
	records         int
}

// run runs the schedule of a seed.
func run(t *testing.T, seed uint64, verbose bool) (r result) {
	p := newPlan(seed)
	synctest.Test(t, func(*testing.T) {
		w := newWorld(&p, verbose)
		w.run()
		r.failures, r.story = w.failures, w.story
		for _, o := range w.sinks {
			r.digest = r.digest*31 + o.v.digest
			r.records += o.v.count
		}
	})
	return r
}

// runAndTell runs a seed, and again to tell what happened if something is wrong.
func runAndTell(t *testing.T, seed uint64) result {
	r := run(t, seed, false)
	if len(r.failures) == 0 {
		return r
	}
	t.Errorf("seed %d fails. Once more, with all that happens: make sim SEED=%[1]d", seed)
	for _, f := range r.failures[:min(len(r.failures), 10)] {
		t.Errorf("seed %d: %s", seed, f)
	}
	return r
}

func TestSchedules(t *testing.T) {
	if text := os.Getenv(seedVariable); text != "" {
		one(t, number(t, text))
		return
	}
	seeds := uint64(plainSeeds)
	if raceEnabled {
		seeds = raceSeeds
	}
	if text := os.Getenv(seedsVariable); text != "" {
		seeds = number(t, text)
	}
	begun := time.Now()
	var records, failed atomic.Uint64
	t.Cleanup(func() {
		took := time.Since(begun)
		t.Logf("%d seeds in %v, %.0f a second; %d records", seeds, took.Round(time.Millisecond), float64(seeds)/took.Seconds(), records.Load())
	})
	shards := uint64(runtime.GOMAXPROCS(0))
	for shard := range shards {
		t.Run(fmt.Sprint("shard ", shard), func(t *testing.T) {
			t.Parallel()
			for seed := 1 + shard; seed <= seeds && failed.Load() < 10; seed += shards {
				r := runAndTell(t, seed)
				records.Add(uint64(r.records))
				if len(r.failures) > 0 {
					failed.Add(1)
				}
			}
		})
	}
}

func number(t *testing.T, text string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("want a number, got %q", text)
	}
	return n
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

package screendrop

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// TestRateModel compares with a map, on few keys: nothing is evicted, so the table must be exact.
func TestRateModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	table := newRateTable(10, 256)
	var keys [100]uint64
	for i := range keys {
		keys[i] = rng.Uint64()
	}
	type cell struct {
		key    uint64
		second int64
	}
	model := make(map[cell]int)
	now := start
	for range 200_000 {
		now += rng.Int64N(2 * second / 1000)
		key := keys[rng.IntN(len(keys))]
		model[cell{key, now / second}]++
		want := under
		switch n := model[cell{key, now / second}]; {
		case n == 11:
			want = crossed
		case n > 11:
			want = over
		}
		if got := table.add(key, now); got != want {
			t.Fatalf("at %d: got %d, want %d", now, got, want)
		}
	}
}

// TestRandomKeysDoNotResetAHotKey floods a table with keys that come once, far more than it holds.
func TestRandomKeysDoNotResetAHotKey(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	table := newRateTable(1000, 64)
	hot := rng.Uint64()
	passed, events := 0, 0
	for range 3000 {
		switch table.add(hot, start) {
		case under:
			passed++
		case crossed:
			events++
		}
		for range 100 { // 1.5 new keys per set between two packets of the hot one
			table.add(rng.Uint64(), start)
		}
	}
	if passed < 1000 || passed > 1010 || events != 1 {
		t.Errorf("the hot key passed %d times with %d events; want at most a few more than 1000, and 1", passed, events)
	}
}

// TestKeysOverTheThresholdKeepTheirPlace even if the whole set is full of them.
func TestKeysOverTheThresholdKeepTheirPlace(t *testing.T) {
	table := newRateTable(1, 1)
	key := func(i uint64) uint64 { return (i + 1) << tagShift }
	for i := range uint64(ways) {
		table.add(key(i), start)
		if got := table.add(key(i), start); got != crossed {
			t.Fatalf("key %d: got %d", i, got)
		}
	}
	for i := range uint64(1000) {
		if got := table.add(key(100+i), start); got != under {
			t.Fatalf("a key without a place: got %d", got)
		}
	}
	for i := range uint64(ways) {
		if got := table.add(key(i), start); got != over {
			t.Fatalf("key %d lost its place: got %d", i, got)
		}
	}
	if got := table.add(key(100), start+second); got != under {
		t.Fatal("a place is not free in the next second")
	}
}

// TestRateClocks: a worker that is a little late counts in the newer second, a clock that jumps begins anew.
func TestRateClocks(t *testing.T) {
	for _, test := range []struct {
		name string
		then int64 // the time of the packet after two at start
		want outcome
	}{
		{"same second", 1, crossed},
		{"late worker", -1, crossed},
		{"next second", second, under},
		{"an hour later", 3600 * second, under},
		{"an hour back", -3600 * second, under},
		{"two seconds back", -2 * second, under},
	} {
		table := newRateTable(2, 1)
		table.add(1, start)
		table.add(1, start)
		if got := table.add(1, start+test.then); got != test.want {
			t.Errorf("%s: got %d, want %d", test.name, got, test.want)
		}
	}
}

// TestScanClocks is TestRateClocks for intervals.
func TestScanClocks(t *testing.T) {
	for _, test := range []struct {
		name string
		then int64
		want outcome
	}{
		{"same time", 0, crossed},
		{"end of the interval", 4_999_000, crossed},
		{"next interval", 5_000_000, under},
		{"late worker", -4_999_000, crossed},
		{"clock set back", -5_000_000, under},
		{"a week back", -7 * 24 * 3600 * second, under},
	} {
		const base = 30 * 24 * 3600 * second
		table := newScanTable(5000, 1)
		for n := range uint32(9) {
			table.add(1, n, base)
		}
		if got := table.add(1, 9, base+test.then); got != test.want {
			t.Errorf("%s: got %d, want %d", test.name, got, test.want)
		}
	}
}

// TestScannerAmongRandomSources: sources that come once do not drive out one that has begun to scan.
func TestScannerAmongRandomSources(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	table := newScanTable(5000, 64)
	crossings := 0
	table.add(1, 0, start)
	for n := range uint32(20) {
		if table.add(1, 1+n, start) == crossed {
			crossings++
		}
		for range 2000 { // thirty for every set
			table.add(rng.Uint64(), rng.Uint32(), start)
		}
	}
	if crossings != 1 {
		t.Errorf("%d crossings of one scanner, want 1", crossings)
	}
	if got := table.add(1, 0, start); got != over {
		t.Errorf("the scanner lost its place: got %d", got)
	}
}

// TestScanningSourcesKeepTheirPlace even if the whole set is full of them.
func TestScanningSourcesKeepTheirPlace(t *testing.T) {
	table := newScanTable(5000, 1)
	source := func(i uint64) uint64 { return (i + 1) << ownShift }
	for i := range uint64(ways) {
		for n := range uint32(distinct) {
			table.add(source(i), n, start)
		}
	}
	for i := range uint64(100) {
		if got := table.add(source(100+i), 1, start); got != under {
			t.Fatalf("a source without a place: got %d", got)
		}
	}
	for i := range uint64(ways) {
		if got := table.add(source(i), 0, start); got != over {
			t.Fatalf("source %d lost its place: got %d", i, got)
		}
	}
}

// TestWorkersShareARateKey: whichever workers the packets are on, n pass, one crosses and the rest is over.
func TestWorkersShareARateKey(t *testing.T) {
	const limit, workers, each = 5000, 4, 5000
	table := newRateTable(limit, 64)
	for round := range int64(5) {
		var got [3]atomic.Int64
		parallel(workers, func(int) {
			for range each {
				got[table.add(42, start+round*second)].Add(1)
			}
		})
		if u, c, o := got[under].Load(), got[crossed].Load(), got[over].Load(); u != limit || c != 1 || o != workers*each-limit-1 {
			t.Fatalf("round %d: %d under, %d crossed, %d over", round, u, c, o)
		}
	}
}

// TestWorkersShareAScan: every target is counted once, whichever workers see it, and one packet crosses.
func TestWorkersShareAScan(t *testing.T) {
	for round := range int64(300) {
		table := newScanTable(5000, 1)
		table.add(42, 0, start) // so that all are in one interval
		var got [3]atomic.Int64
		parallel(4, func(w int) {
			for n := range uint32(9) {
				got[table.add(42, (n+uint32(w)*3)%9, start)].Add(1) // nine targets, four times
			}
		})
		if u := got[under].Load(); u != 36 {
			t.Fatalf("round %d: nine targets were counted as ten", round)
		}
		parallel(4, func(w int) { got[table.add(42, 100+uint32(w), start)].Add(1) })
		if u, c, o := got[under].Load(), got[crossed].Load(), got[over].Load(); u != 36 || c != 1 || o != 3 {
			t.Fatalf("round %d: %d under, %d crossed, %d over", round, u, c, o)
		}
	}
}

// TestWorkersShareTablesUnderPressure has nothing to compare with but the race detector and an end.
func TestWorkersShareTablesUnderPressure(t *testing.T) {
	rates, scans := newRateTable(3, 1), newScanTable(5000, 1)
	parallel(4, func(w int) {
		rng := rand.New(rand.NewPCG(uint64(w), 7))
		now := start
		for range 20_000 {
			now += rng.Int64N(second / 100)
			h := uint64(rng.IntN(20)) << ownShift
			rates.add(h, now)
			scans.add(h, rng.Uint32N(20), now)
		}
	})
}

func parallel(workers int, do func(worker int)) {
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() { do(w) })
	}
	wg.Wait()
}

// TestSeeds pins the share that the tables have in P9: a capture is judged the same every time.
func TestSeeds(t *testing.T) {
	if newHash(false) != newHash(false) {
		t.Error("the seeds of a capture differ")
	}
	if newHash(true) == newHash(true) {
		t.Error("the seeds of two live sources are the same")
	}
}

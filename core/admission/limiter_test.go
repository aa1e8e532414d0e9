package admission

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

func one(t testing.TB, r Rate) *limiter {
	t.Helper()
	tab, err := newLimiter([numClasses]Rate{r}, []uint16{7})
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func (t *limiter) allow(limit, slot int, now int64) bool {
	return t.bucket(limit, slot).allow(now, t.rates.of(limit))
}

func TestBurstThenRate(t *testing.T) {
	tab := one(t, Rate{PerSecond: 10, Burst: 3})
	const now = int64(1e18)
	for i := range 3 {
		if !tab.allow(0, 1, now) {
			t.Fatalf("event %d of the burst refused", i)
		}
	}
	if tab.allow(0, 1, now) {
		t.Fatal("event beyond the burst allowed")
	}
	if tab.allow(0, 1, now+1e8-1) {
		t.Fatal("allowed a nanosecond before the emission interval was over")
	}
	if !tab.allow(0, 1, now+1e8) {
		t.Fatal("refused when the emission interval was over")
	}
	if tab.allow(0, 1, now+1e8) {
		t.Fatal("a second event allowed in the same interval")
	}
}

// TestModel compares with the textbook leaky bucket: over any window the count is at most burst + rate × window.
func TestNeverAboveRate(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		r := Rate{PerSecond: 1 + rng.Int64N(2000), Burst: 1 + rng.Int64N(50)}
		tab := one(t, r)
		now, start, allowed := int64(5e9), int64(5e9), int64(0)
		for range 5000 {
			now += rng.Int64N(2_000_000)
			if tab.allow(0, 1, now) {
				allowed++
			}
			if limit := r.Burst + (now-start)*r.PerSecond/1e9 + 1; allowed > limit {
				t.Fatalf("seed %d: %d events after %d ns at %+v, limit %d", seed, allowed, now-start, r, limit)
			}
		}
	}
}

func TestZonesAndClassesAreApart(t *testing.T) {
	tab, err := newLimiter([numClasses]Rate{{1, 1}, {1, 1}}, []uint16{3, 300})
	if err != nil {
		t.Fatal(err)
	}
	if tab.slots() != 3 {
		t.Fatalf("Slots() = %d, want 3", tab.slots())
	}
	for class := range 2 {
		for _, zone := range []uint16{3, 300, 0} {
			if !tab.allow(class, tab.slot(zone), 1) {
				t.Errorf("class %d zone %d: first event refused: it shares a bucket", class, zone)
			}
		}
	}
	for _, unknown := range []uint16{1, 299, 301, 65535} {
		if tab.slot(unknown) != 0 {
			t.Errorf("zone %d has slot %d, want the slot of unknown zones", unknown, tab.slot(unknown))
		}
		if tab.allow(0, tab.slot(unknown), 1) {
			t.Errorf("zone %d does not share the bucket of unknown zones", unknown)
		}
	}
}

func TestConcurrentExact(t *testing.T) {
	tab := one(t, Rate{PerSecond: 1, Burst: 1000})
	var allowed atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				if tab.allow(0, 1, 42) {
					allowed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if got := allowed.Load(); got != 1000 {
		t.Fatalf("%d events allowed at one instant, want exactly the burst of 1000", got)
	}
}

func TestBadRates(t *testing.T) {
	for _, r := range []Rate{{-1, 1}, {1, 0}, {-1, 1}, {2e9, 1}, {1, 2e9}} {
		if _, err := newLimiter([numClasses]Rate{r}, nil); err == nil {
			t.Errorf("%+v accepted", r)
		}
	}
	for _, zones := range [][]uint16{{0}, {1, 1}} {
		if _, err := newLimiter([numClasses]Rate{}, zones); err == nil {
			t.Errorf("zones %v accepted", zones)
		}
	}
}

// TestLargestRate checks that the largest values do not overflow the theoretical arrival time.
func TestLargestRate(t *testing.T) {
	tab := one(t, Rate{PerSecond: 1, Burst: 1e9})
	const now = int64(4e18) // the year 2096
	for range 1000 {
		if !tab.allow(0, 1, now) {
			t.Fatal("refused far below the burst")
		}
	}
}

func BenchmarkRefuse(b *testing.B) {
	tab := one(b, Rate{PerSecond: 1, Burst: 1})
	tab.allow(0, 1, 1)
	for b.Loop() {
		tab.allow(0, 1, 2)
	}
}

// TestNoLimit pins that a rate of 0 lets everything through.
func TestNoLimit(t *testing.T) {
	tab := one(t, Rate{})
	for range 1000 {
		if !tab.allow(0, 1, 5) {
			t.Fatal("refused without a limit")
		}
	}
}

// TestRaisedRate: a higher rate lets events through at once, whatever the former rate owes.
func TestRaisedRate(t *testing.T) {
	tab := one(t, Rate{PerSecond: 10, Burst: 1000})
	now := int64(1e18)
	for tab.allow(0, 1, now) {
	}
	if err := tab.set([numClasses]Rate{{PerSecond: 1000, Burst: 1000}}); err != nil {
		t.Fatal(err)
	}
	now += 2e9 // 2000 events at the new rate
	if !tab.allow(0, 1, now) {
		for !tab.allow(0, 1, now) {
			now += 1e9
		}
		t.Errorf("nothing is let through for %d s after the change", (now-int64(1e18))/1e9)
	}
}

// TestLoweredRate closes a bucket for no longer than its new rate would, and lets through no more than that afterwards.
func TestLoweredRate(t *testing.T) {
	tab := one(t, Rate{PerSecond: 1000, Burst: 1000})
	now := int64(1e18)
	for tab.allow(0, 1, now) {
	}
	if err := tab.set([numClasses]Rate{{PerSecond: 10, Burst: 2}}); err != nil {
		t.Fatal(err)
	}
	n := 0
	for range 1000 {
		now += 10e6
		if tab.allow(0, 1, now) {
			n++
		}
	}
	if n < 99 || n > 102 {
		t.Errorf("%d events in ten seconds at 10/s, burst 2", n)
	}
}

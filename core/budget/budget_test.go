package budget

import (
	"math/rand/v2"
	"sync"
	"testing"
)

func mustNew(t testing.TB, l Limits) *Credits {
	t.Helper()
	c, err := New(l)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCeilings(t *testing.T) {
	c := mustNew(t, Limits{Announcements: 1, All: 10, Telemetry: 6, PerClass: 4, Classes: 3})
	if got := c.Acquire(Telemetry, 100); got != 4 {
		t.Errorf("one class got %d, want its ceiling 4", got)
	}
	if got := c.Acquire(Telemetry+1, 100); got != 2 {
		t.Errorf("second class got %d, want what telemetry leaves, 2", got)
	}
	if got := c.Acquire(Telemetry+2, 1); got != 0 {
		t.Errorf("third class got %d, want 0", got)
	}
	if got := c.Acquire(Priority, 100); got != 4 {
		t.Errorf("priority got %d, want the reserve of 4", got)
	}
	c.Release(Telemetry, 4)
	c.Release(Telemetry+1, 2)
	c.Release(Priority, 4)
	if all, tel := c.InFlight(); all != 0 || tel != 0 || c.Of(Telemetry) != 0 || c.Of(Telemetry+1) != 0 {
		t.Errorf("in flight after release: %d, %d, %d, %d", all, tel, c.Of(Telemetry), c.Of(Telemetry+1))
	}
}

// TestP2RefusalGivesBack pins that a telemetry credit refused for want of slots leaves no trace in the other ceilings.
func TestP2RefusalGivesBack(t *testing.T) {
	c := mustNew(t, Limits{Announcements: 1, All: 4, Telemetry: 3, PerClass: 2, Classes: 3})
	if got := c.Acquire(Priority, 4); got != 4 {
		t.Fatalf("priority got %d, want all 4", got)
	}
	if got := c.Acquire(Telemetry, 2); got != 0 {
		t.Fatalf("telemetry got %d from a full ring", got)
	}
	if _, tel := c.InFlight(); tel != 0 || c.Of(Telemetry) != 0 {
		t.Fatalf("refusal left telemetry %d, class %d in use", tel, c.Of(Telemetry))
	}
}

func TestBadLimits(t *testing.T) {
	for _, l := range []Limits{
		{Announcements: 1, All: 8, Telemetry: 8, PerClass: 1}, {Announcements: 1, All: 8, Telemetry: 4, PerClass: 5},
		{Announcements: 1, All: 8, Telemetry: 4, PerClass: 0}, {All: 8, Telemetry: 4, PerClass: 2},
	} {
		if _, err := New(l); err == nil {
			t.Errorf("%+v accepted", l)
		}
	}
}

// TestP2Concurrent has workers take and give at random and checks that no ceiling is ever passed.
func TestP2Concurrent(t *testing.T) {
	l := Limits{Announcements: 1, All: 64, Telemetry: 32, PerClass: 12, Classes: 3}
	c := mustNew(t, l)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 9))
			var held [5]int
			for range 20000 {
				class := Class(rng.IntN(5))
				if held[class] > 0 && rng.IntN(2) == 0 {
					n := 1 + rng.IntN(held[class])
					c.Release(class, n)
					held[class] -= n
				} else {
					want := 1 + rng.IntN(8)
					got := c.Acquire(class, want)
					if got < 0 || got > want {
						t.Errorf("asked for %d, got %d", want, got)
						return
					}
					held[class] += got
				}
				if all, tel := c.InFlight(); all > l.All || tel > l.Telemetry || c.Of(Telemetry) > l.PerClass {
					t.Errorf("above the ceiling: all %d, telemetry %d, class %d", all, tel, c.Of(Telemetry))
					return
				}
			}
			for class, n := range held {
				c.Release(Class(class), n)
			}
		})
	}
	wg.Wait()
	if all, tel := c.InFlight(); all != 0 || tel != 0 {
		t.Fatalf("at rest all %d, telemetry %d in flight", all, tel)
	}
}

// TestP3StormLeavesReserve storms with telemetry only; a priority taker within the reserve is never refused.
func TestP3StormLeavesReserve(t *testing.T) {
	l := Limits{Announcements: 1, All: 64, Telemetry: 48, PerClass: 48, Classes: 3}
	c := mustNew(t, l)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c.Release(Telemetry+Class(w), c.Acquire(Telemetry+Class(w), 7))
			}
		})
	}
	for i := range 50000 {
		if got := c.Acquire(Priority, l.All-l.Telemetry); got != l.All-l.Telemetry {
			t.Errorf("round %d: priority got %d of its reserve of %d", i, got, l.All-l.Telemetry)
			break
		}
		c.Release(Priority, l.All-l.Telemetry)
	}
	close(stop)
	wg.Wait()
}

func BenchmarkAcquireRelease(b *testing.B) {
	c := mustNew(b, Limits{Announcements: 1, All: 8192, Telemetry: 4096, PerClass: 1366, Classes: 3})
	for b.Loop() {
		c.Release(Telemetry, c.Acquire(Telemetry, 1))
	}
}

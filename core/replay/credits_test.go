package replay

import (
	"math/rand/v2"
	"sync"
	"testing"
)

func TestCreditCeilings(t *testing.T) {
	c := newCredits(Limits{Slots: 10, Telemetry: 6, PerKind: 4})
	if got := c.acquire(firstTelemetry, 100); got != 4 {
		t.Errorf("one class got %d, want its ceiling 4", got)
	}
	if got := c.acquire(firstTelemetry+1, 100); got != 2 {
		t.Errorf("second class got %d, want what telemetry leaves, 2", got)
	}
	if got := c.acquire(firstTelemetry+2, 1); got != 0 {
		t.Errorf("third class got %d, want 0", got)
	}
	if got := c.acquire(Priority, 100); got != 4 {
		t.Errorf("priority got %d, want the reserve of 4", got)
	}
	c.release(firstTelemetry, 4)
	c.release(firstTelemetry+1, 2)
	c.release(Priority, 4)
	if all, tel := c.inFlight(); all != 0 || tel != 0 || c.of(firstTelemetry) != 0 || c.of(firstTelemetry+1) != 0 {
		t.Errorf("in flight after release: %d, %d, %d, %d", all, tel, c.of(firstTelemetry), c.of(firstTelemetry+1))
	}
}

// TestP2RefusalGivesBack pins that a telemetry credit refused for want of slots leaves no trace in the other ceilings.
func TestP2RefusalGivesBack(t *testing.T) {
	c := newCredits(Limits{Slots: 4, Telemetry: 3, PerKind: 2})
	if got := c.acquire(Priority, 4); got != 4 {
		t.Fatalf("priority got %d, want all 4", got)
	}
	if got := c.acquire(firstTelemetry, 2); got != 0 {
		t.Fatalf("telemetry got %d from a full ring", got)
	}
	if _, tel := c.inFlight(); tel != 0 || c.of(firstTelemetry) != 0 {
		t.Fatalf("refusal left telemetry %d, class %d in use", tel, c.of(firstTelemetry))
	}
}

// TestP2CreditsConcurrent has workers take and give at random and checks that no ceiling is ever passed.
func TestP2CreditsConcurrent(t *testing.T) {
	l := Limits{Slots: 64, Telemetry: 32, PerKind: 12}
	c := newCredits(l)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 9))
			var held [5]int
			for range 20000 {
				class := Class(rng.IntN(5))
				if held[class] > 0 && rng.IntN(2) == 0 {
					n := 1 + rng.IntN(held[class])
					c.release(class, n)
					held[class] -= n
				} else {
					want := 1 + rng.IntN(8)
					got := c.acquire(class, want)
					if got < 0 || got > want {
						t.Errorf("asked for %d, got %d", want, got)
						return
					}
					held[class] += got
				}
				if all, tel := c.inFlight(); all > l.Slots || tel > l.Telemetry || c.of(firstTelemetry) > l.PerKind {
					t.Errorf("above the ceiling: all %d, telemetry %d, class %d", all, tel, c.of(firstTelemetry))
					return
				}
			}
			for class, n := range held {
				c.release(Class(class), n)
			}
		})
	}
	wg.Wait()
	if all, tel := c.inFlight(); all != 0 || tel != 0 {
		t.Fatalf("at rest all %d, telemetry %d in flight", all, tel)
	}
}

// TestCreditsModel takes, gives back, turns and limits credits at random, beside plain numbers.
func TestCreditsModel(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 3))
		limits := func() Limits {
			l := Limits{Slots: 2 + rng.IntN(40)}
			l.Telemetry = 1 + rng.IntN(l.Slots-1)
			l.PerKind = 1 + rng.IntN(l.Telemetry)
			return l
		}
		l := limits()
		c := newCredits(l)
		var held [numClasses]int
		sum := func(from Class) (n int) {
			for _, k := range held[from:] {
				n += k
			}
			return n
		}
		// Ceilings as they are: lowered ones come down with what is in use.
		all, announce, telemetry := l.Slots, announcements(l), l.Telemetry
		var own [numClasses]int
		for class := firstTelemetry; class < numClasses; class++ {
			own[class] = l.PerKind
		}
		for step := range 500 {
			class, n := Class(rng.IntN(int(numClasses))), 1+rng.IntN(6)
			switch op := rng.IntN(8); {
			case op < 4:
				want := min(n, all-sum(0))
				switch {
				case class == Announcement:
					want = min(want, announce-held[class])
				case class.Telemetry():
					want = min(want, own[class]-held[class], telemetry-sum(firstTelemetry))
				}
				got := c.acquire(class, n)
				if got != max(want, 0) {
					t.Fatalf("seed %d, step %d: %d credits of class %d, want %d", seed, step, got, class, want)
				}
				held[class] += got
			case op < 6:
				n = min(n, held[class])
				c.release(class, n)
				held[class] -= n
			case op == 6 && held[class] > 0 && class != Announcement:
				if class.Telemetry() && !c.announceBelow(class) {
					if held[Announcement] < announce {
						t.Fatalf("seed %d, step %d: no loss record below the ceiling", seed, step)
					}
					continue
				}
				if !class.Telemetry() {
					c.announce(class)
				}
				held[class]--
				held[Announcement]++
			case op == 7:
				l = limits()
				follow := func(ceiling *int, use, to int) bool {
					*ceiling = max(to, min(*ceiling, use))
					return *ceiling == to
				}
				there := follow(&announce, held[Announcement], announcements(l))
				there = follow(&telemetry, sum(firstTelemetry), l.Telemetry) && there
				for class := firstTelemetry; class < numClasses; class++ {
					there = follow(&own[class], held[class], l.PerKind) && there
				}
				if c.limit(l) != there || c.common.limitAll(l.Slots) != follow(&all, sum(0), l.Slots) {
					t.Fatalf("seed %d, step %d: the ceilings are where they should be, or not yet: %v", seed, step, there)
				}
			}
			if a, b := c.inFlight(); a != sum(0) || b != sum(firstTelemetry) {
				t.Fatalf("seed %d, step %d: %d in flight, of telemetry %d; want %d and %d", seed, step, a, b, sum(0), sum(firstTelemetry))
			}
		}
	}
}

// TestP3StormLeavesReserve storms with telemetry only; a priority taker within the reserve is never refused.
func TestP3StormLeavesReserve(t *testing.T) {
	l := Limits{Slots: 64, Telemetry: 48, PerKind: 48}
	c := newCredits(l)
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
				c.release(firstTelemetry+Class(w), c.acquire(firstTelemetry+Class(w), 7))
			}
		})
	}
	for i := range 50000 {
		if got := c.acquire(Priority, l.Slots-l.Telemetry); got != l.Slots-l.Telemetry {
			t.Errorf("round %d: priority got %d of its reserve of %d", i, got, l.Slots-l.Telemetry)
			break
		}
		c.release(Priority, l.Slots-l.Telemetry)
	}
	close(stop)
	wg.Wait()
}

func BenchmarkCredits(b *testing.B) {
	c := newCredits(Limits{Slots: 8192, Telemetry: 4096, PerKind: 1366})
	for b.Loop() {
		c.release(firstTelemetry, c.acquire(firstTelemetry, 1))
	}
}

// of returns the credits of a telemetry class in use.
func (c *credits) of(class Class) int { return int(c.class[class-firstTelemetry].inUse()) }

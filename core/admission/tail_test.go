package admission

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/core/tail"
	"github.com/rtflow/pipelined/sdk/event"
)

// storm has two lanes offer events of all kinds to two sinks, one of which evicts, from a seed. It returns what the sinks were handed.
func storm(t *testing.T, seed uint64, shown *tail.Tail) (*rig, []event.Record) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	r := newRig(t, 2, []replay.Limits{small, {Slots: 32, Telemetry: 16, PerKind: 8}}, rate(100, 5), func(c *Config) {
		c.Sinks[1].Overflow = replay.Evict
		c.Tail = shown
	})
	var handed []event.Record
	now := int64(0)
	for range 2000 {
		now += rng.Int64N(2e5)
		l := r.lanes[rng.IntN(2)]
		if l.Full() {
			l.Flush(now, now)
		}
		if k := event.Kind(rng.IntN(event.NumKinds - 1)); rng.IntN(3) == 0 && k == event.SessionOpen {
			if l.TryUnanswered(k, l.Slot(1), now) {
				l.add(k, true)
			}
		} else {
			offer(l, k, uint16(rng.IntN(3)), now)
		}
		switch rng.IntN(12) {
		case 0:
			l.Flush(now, now)
		case 1:
			handed = append(handed, drainRing(t, r.rings[0])...)
		case 2:
			handed = append(handed, drainRing(t, r.rings[1])...)
		}
	}
	for _, l := range r.lanes {
		l.Finish(now, now)
	}
	for _, ring := range r.rings {
		handed = append(handed, drainRing(t, ring)...)
	}
	checkP1(t, r)
	return r, handed
}

// TestTailChangesNothing compares what sinks get, and the ledger, while somebody looks and while nobody does. What is shown is
// what was admitted.
func TestTailChangesNothing(t *testing.T) {
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			without, want := storm(t, seed, nil)
			shown := tail.New()
			w, err := shown.Watch()
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			with, got := storm(t, seed, shown)
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d: %d records are handed to sinks, and others without anybody who looks: %d", seed, len(got), len(want))
			}
			a, b := with.gate.Ledger(), without.gate.Ledger()
			if a.Admitted != b.Admitted || a.Offered != b.Offered || !slices.Equal(a.Sinks, b.Sinks) {
				t.Errorf("seed %d: the ledger is %+v, and without anybody who looks %+v", seed, a, b)
			}
			var seen [event.NumKinds]uint64
			for {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				batch, err := w.Next(ctx)
				cancel()
				if err != nil {
					break
				}
				if batch.LeftOut != 0 {
					t.Errorf("seed %d: %d are left out", seed, batch.LeftOut)
				}
				for i := range batch.Records {
					if batch.Records[i].Seq() != 0 {
						t.Errorf("seed %d: a record that is shown has number %d", seed, batch.Records[i].Seq())
					}
					seen[batch.Records[i].Kind()]++
				}
			}
			if losses := seen[event.Loss]; losses == 0 {
				t.Errorf("seed %d: no loss of the limiter is shown", seed)
			}
			seen[event.Loss] = 0
			if seen != a.Admitted {
				t.Errorf("seed %d: shown are %v, admitted %v", seed, seen, a.Admitted)
			}
		})
	}
}

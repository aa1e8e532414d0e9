package admission

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/sdk/event"
)

// TestP1SinksComeAndGo adds, changes and removes sinks, zones and lanes while workers offer events: for every sink that there ever was
// the sums hold, and a sink that was removed and settled gets nothing any more.
func TestP1SinksComeAndGo(t *testing.T) {
	const workers, steps = 3, 120
	r := newRig(t, 0, []replay.Limits{{Slots: 128, Telemetry: 64, PerKind: 32}}, rate(100_000, 100))
	g := r.gate
	g.AddLanes(workers)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	work := func(i int) {
		defer wg.Done()
		rng := rand.New(rand.NewPCG(uint64(i), 1))
		l := &collector{Lane: g.Lane(context.Background(), i)}
		for now := int64(1); ; now += rng.Int64N(1e5) {
			select {
			case <-stop:
				l.Flush(now, now)
				l.Lane.Finish(now, now)
				return
			default:
			}
			if rng.IntN(20) == 0 {
				l.Flush(now, now)
				l.Sync()
			}
			if l.Full() {
				l.Flush(now, now)
			}
			offer(l, event.Kind(rng.IntN(event.NumKinds-1)), uint16(rng.IntN(8)), now)
		}
	}
	for i := range workers {
		wg.Add(1)
		go work(i)
	}
	rings := map[int]*replay.Ring{0: r.rings[0]}
	gone := map[int]replay.Released{} // of rings that were removed
	rng := rand.New(rand.NewPCG(7, 7))
	drain := func(ring *replay.Ring) {
		for run := ring.Next(64); run != nil; run = ring.Next(64) {
			if err := ring.Ack(run[len(run)-1].Seq()); err != nil {
				t.Fatal(err)
			}
		}
	}
	lanes := workers
	for step := range steps {
		switch name := fmt.Sprint("s", rng.IntN(4)); rng.IntN(5) {
		case 0, 1:
			taken := false
			for i := range rings {
				taken = taken || g.view.Load().sinks[i].Name == name
			}
			if taken {
				continue
			}
			ring, err := replay.New(replay.Limits{Slots: 64, Telemetry: 32, PerKind: 16})
			if err != nil {
				t.Fatal(err)
			}
			rings[g.Add(Sink{Name: name, Ring: ring, Only: event.AllKinds})] = ring
		case 2:
			for i, ring := range rings {
				if i == 0 {
					continue
				}
				g.Remove(i)
				if !g.Settled(t.Context()) {
					t.Fatal("not settled")
				}
				next := ring.State().Next
				g.AnnounceMissing(i, closed())
				ring.Drain()
				drain(ring)
				ring.Abandon()
				if st := ring.State(); st.Held != 0 || st.Next > next+1 {
					t.Errorf("a ring that was removed got numbers from %d to %d, and holds %d", next, st.Next, st.Held)
				}
				total := gone[i]
				rel := ring.Released()
				total.Add(&rel)
				gone[i] = total
				delete(rings, i)
				break
			}
		case 3:
			only := event.KindSet(0).With(event.Loss).With(event.Kind(rng.IntN(event.NumKinds - 1)))
			g.Change(0, only, replay.Overflow(rng.IntN(2)))
		default:
			if err := g.AddZones([]uint16{uint16(1 + rng.IntN(20))}); err != nil {
				t.Fatal(err)
			}
			if step%40 == 0 {
				g.AddLanes(1)
				wg.Add(1)
				go work(lanes)
				lanes++
			}
		}
		for _, ring := range rings {
			drain(ring)
		}
	}
	close(stop)
	wg.Wait()
	led := g.Ledger()
	for i, s := range led.Sinks {
		rel := gone[i]
		var inFlight [event.NumKinds]uint64
		if ring := rings[i]; ring != nil {
			st := ring.State()
			rel.Add(&st.Released)
			inFlight = st.InFlight
		}
		for k := range event.Kind(event.NumKinds) {
			sum := s.Absent[k] + s.Filtered[k] + s.Queued[k] + s.OverBudget[k] + s.Disconnected[k] + s.Closed[k]
			if k != event.Loss && sum != led.Admitted[k] {
				t.Errorf("%s, %s: admitted %d, accounted for %d: %+v", s.Name, k, led.Admitted[k], sum, s)
			}
			out := rel.Acknowledged[k] + rel.Rejected[k] + rel.Evicted[k] + rel.Abandoned[k] + inFlight[k]
			queued := s.Queued[k]
			if k == event.Loss {
				queued += rel.Announced
			}
			if queued != out {
				t.Errorf("%s, %s: queued %d, accounted for %d", s.Name, k, queued, out)
			}
		}
	}
	if len(led.Sinks) < 4 {
		t.Errorf("%d sinks", len(led.Sinks))
	}
}

func closed() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// TestSettledWaitsForLanes has a lane that is in the middle of a batch: what was removed is settled only when it has gone over.
func TestSettledWaitsForLanes(t *testing.T) {
	r := newRig(t, 2, []replay.Limits{{Slots: 128, Telemetry: 64, PerKind: 32}})
	r.lanes[1].Lane.Finish(1, 1)
	r.gate.Remove(0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r.gate.Settled(ctx) {
		t.Error("settled while a lane has the former view")
	}
	r.lanes[0].Sync()
	if !r.gate.Settled(t.Context()) {
		t.Error("not settled")
	}
}

// TestAddedZones gives a zone that is added a bucket of its own, and leaves the others what they were.
func TestAddedZones(t *testing.T) {
	r := newRig(t, 1, []replay.Limits{{Slots: 128, Telemetry: 64, PerKind: 32}}, rate(1, 1))
	l := r.lanes[0]
	for _, zone := range []uint16{1, 40} {
		offer(l, event.PolicyDeny, zone, 1)
	}
	if err := r.gate.AddZones([]uint16{1, 40}); err != nil {
		t.Fatal(err)
	}
	l.Flush(2, 2)
	l.Sync()
	for _, zone := range []uint16{0, 1, 40, 40} {
		offer(l, event.PolicyDeny, zone, 3)
	}
	l.Flush(4, 4)
	led := r.gate.Ledger()
	if got := led.LimitedByZone[event.PolicyDeny]; led.Admitted[event.PolicyDeny] != 3 || got[0] != 1 || got[1] != 1 || got[40] != 1 {
		t.Errorf("admitted %d, refused %v", led.Admitted[event.PolicyDeny], got)
	}
	if r.gate.AddZones([]uint16{50, 50}) == nil {
		t.Error("a zone is added twice")
	}
}

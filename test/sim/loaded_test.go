package sim

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/sdk/event"
)

// loaded returns a schedule in which sessions begin and end at a steady rate, and the receiver, which is slow but fast enough,
// stalls once: long enough for the ring to overflow, and not so long that it is taken for dead. The load goes on for as long as
// two session tables take; the receiver must be up to date then. live is how many sessions there are, and slots how many the ring
// has; 0 draws them.
func loaded(seed uint64, live, slots int) plan {
	const tick = 4 * time.Millisecond / residues * residues
	r := rand.New(rand.NewPCG(seed, 0x52))
	if live == 0 {
		live = 500 << r.IntN(6)
	}
	pace := time.Duration(20+r.IntN(60)) * time.Microsecond // 12,500 to 50,000 frames a second
	perTick := int(tick / pace)
	load := max(1, perTick*(5+r.IntN(45))/100)
	stallFor := time.Duration(1+r.IntN(20)) * time.Second
	if slots == 0 {
		slots = 2048 << r.IntN(3)
	}
	p := plan{
		seed: seed, lanes: 1, zones: 1, live: live, rate: admission.Rate{PerSecond: 1e9, Burst: 1e9}, ending: orderly, drain: healing,
		sinks: []sinkPlan{{
			limits: replay.Limits{Slots: slots, Telemetry: slots / 4, PerKind: slots / 8}, overflow: replay.Overflow(r.IntN(2)),
			only: event.AllKinds, delta: r.IntN(2) == 0, silence: 30 * time.Second, waits: true, pace: pace,
			keeps: []keeps{keepsAll, keepsNothing}[r.IntN(2)], ackEvery: []time.Duration{0, 20 * time.Millisecond}[r.IntN(2)],
			data: goodWeather, control: goodWeather,
		}},
	}
	p.sinks[0].data.capacity = 212992 // of a socket
	under := func(d time.Duration) {
		for range d / tick {
			p.steps = append(p.steps, step{after: tick, do: offer, n: load, mix: sessionsOnly, x: r.Uint64()})
		}
	}
	under(time.Second)
	p.steps = append(p.steps, step{after: tick, do: stall})
	under(stallFor)
	p.steps = append(p.steps, step{after: tick, do: unstall})
	// What is held and the table before the first loss, then what is lost meanwhile.
	under(2*time.Duration(slots)*pace + time.Second)
	p.steps = append(p.steps, step{after: tick, do: calm})
	spare := perTick - load
	under(2*time.Duration(live/spare+1)*tick + 3*time.Second)
	p.steps = append(p.steps, step{after: tick, do: settled})
	under(time.Second)
	p.steps = append(p.steps, step{after: tick, do: settled})
	return p
}

// pace holds the program as long as its frames take, a millisecond at a time.
func (l *life) pace(ctx context.Context) {
	if l.p.plan.pace == 0 {
		return
	}
	if l.debt += l.p.plan.pace; l.debt >= time.Millisecond {
		l.hold(ctx, l.debt)
		l.debt = 0
	}
}

// TestResyncUnderLoad stalls a receiver that is to know 200,000 sessions.
func TestResyncUnderLoad(t *testing.T) {
	sessions, slots := 200_000, 0
	if race.Enabled {
		sessions, slots = 3_000, 1024 // the checks of each step look at every slot that is held
	}
	for _, delta := range []bool{false, true} {
		for _, overflow := range []replay.Overflow{replay.Refuse, replay.Evict} {
			p := loaded(1, sessions, slots)
			p.sinks[0].delta, p.sinks[0].overflow = delta, overflow
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(&p, false)
				w.run()
				for _, f := range w.failures {
					t.Errorf("delta %v, overflow %v: %s", delta, overflow, f)
				}
				o := w.sinks[0]
				if o.v.resyncs == 0 || o.books.lost == 0 {
					t.Errorf("delta %v: %d resyncs, %d lost: the schedule tests nothing", delta, o.v.resyncs, o.books.lost)
				}
			})
		}
	}
}

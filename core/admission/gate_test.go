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

// rig is a gate with rings and a collector for each lane.
type rig struct {
	gate  *Gate
	rings []*replay.Ring
	lanes []*collector
}

// collector is a lane with the events that wait for its next Flush, as a worker has them.
type collector struct {
	*Lane
	events []Event
	owed   int // open records that the last Flush has given back
}

// add collects an event that has passed the limiter.
func (c *collector) add(k event.Kind, unanswered bool) {
	c.events = append(c.events, Event{Kind: k, Time: 1, Unanswered: unanswered})
}

// Full reports whether Flush must come before the next event.
func (c *collector) Full() bool { return len(c.events) == MaxBatch }

// Flush flushes what was collected.
func (c *collector) Flush(now, wall int64) {
	c.owed = c.Lane.Flush(now, wall, c.events)
	c.events = c.events[:0]
}

// Finish flushes what was collected and ends the lane.
func (c *collector) Finish(now, wall int64) {
	c.Flush(now, wall)
	c.Lane.Finish(now, wall)
}

var telemetry = [...]event.Kind{event.PolicyDeny, event.ScreenDrop, event.FilterLog}

type option func(*Config)

func newRig(t testing.TB, lanes int, limits []replay.Limits, opts ...option) *rig {
	t.Helper()
	r := &rig{}
	c := Config{Lanes: lanes, Zones: []uint16{1, 2}}
	for _, k := range telemetry {
		c.Rates[k] = Rate{PerSecond: 1e9, Burst: 1e9}
	}
	for i, l := range limits {
		ring, err := replay.New(l)
		if err != nil {
			t.Fatal(err)
		}
		r.rings = append(r.rings, ring)
		c.Sinks = append(c.Sinks, Sink{Name: fmt.Sprint("sink", i), Ring: ring, Only: event.AllKinds})
	}
	for _, o := range opts {
		o(&c)
	}
	g, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	r.gate = g
	for i := range lanes {
		r.lanes = append(r.lanes, &collector{Lane: g.Lane(context.Background(), i)})
	}
	return r
}

func rate(perSecond, burst int64) option {
	return func(c *Config) {
		for _, k := range telemetry {
			c.Rates[k] = Rate{PerSecond: perSecond, Burst: burst}
		}
	}
}

// offer offers an event and collects it if it passes.
func offer(c *collector, k event.Kind, zone uint16, now int64) bool {
	passed := c.Offer(k, c.Slot(zone), now)
	if passed {
		c.add(k, false)
	}
	return passed
}

// offerUnanswered is offer for an event of a session that nobody has answered.
func offerUnanswered(c *collector, k event.Kind, zone uint16, now int64) bool {
	passed := c.OfferUnanswered(k, c.Slot(zone), now)
	if passed {
		c.add(k, true)
	}
	return passed
}

// drainRing reads and acknowledges everything in a ring.
func drainRing(t testing.TB, r *replay.Ring) (records []event.Record) {
	t.Helper()
	for {
		run := r.Next(1 << 20)
		if run == nil {
			return records
		}
		records = append(records, run...)
		if err := r.Ack(run[len(run)-1].Seq()); err != nil {
			t.Fatal(err)
		}
	}
}

// checkP1 checks every sum of the ledger, at rest.
func checkP1(t testing.TB, r *rig) {
	t.Helper()
	led := r.gate.Ledger()
	for i, s := range led.Sinks {
		state := r.rings[i].State()
		for _, k := range event.Kinds() {
			rel := state.Released
			released := rel.Acknowledged[k] + rel.Rejected[k] + rel.Evicted[k] + rel.Abandoned[k]
			queued := s.Queued[k]
			if k == event.Loss {
				queued += rel.Announced
			} else if sum := s.Filtered[k] + s.Queued[k] + s.OverBudget[k] + s.Disconnected[k] + s.Closed[k]; sum != led.Admitted[k] {
				t.Errorf("P1: %s %v: admitted %d, but filtered + queued + over budget + closed = %d", s.Name, k, led.Admitted[k], sum)
			}
			if queued != released+state.InFlight[k] {
				t.Errorf("P1: %s %v: queued %d, released %d, in flight %d", s.Name, k, queued, released, state.InFlight[k])
			}
		}
	}
	for _, k := range event.Kinds() {
		if led.Offered[k] != led.RateLimited[k]+led.Admitted[k] {
			t.Errorf("P1: %v: offered %d, limited %d, admitted %d", k, led.Offered[k], led.RateLimited[k], led.Admitted[k])
		}
	}
}

var small = replay.Limits{Slots: 16, Telemetry: 8, PerKind: 4}

// TestP4RefusedCostsNothing checks that neither the limiter's refusals nor the ring's take a sequence number, and with it a slot, where
// the record would be made.
func TestP4RefusedCostsNothing(t *testing.T) {
	r := newRig(t, 1, []replay.Limits{small}, rate(1, 6))
	l := r.lanes[0]
	for range 100 {
		offer(l, event.PolicyDeny, 1, 1)
	}
	l.Flush(1, 1)
	if got := r.rings[0].State().Next; got != 5 {
		t.Errorf("next sequence number %d, want 5: 6 pass the limiter, 4 fit", got)
	}
	led := r.gate.Ledger()
	if led.RateLimited[event.PolicyDeny] != 94 || led.Sinks[0].OverBudget[event.PolicyDeny] != 2 {
		t.Errorf("limited %d, over budget %d; want 94 and 2", led.RateLimited[event.PolicyDeny], led.Sinks[0].OverBudget[event.PolicyDeny])
	}
	checkP1(t, r)
}

// TestP3StormOfAllKinds storms with every telemetry kind in many zones against a ring that is never acknowledged: no
// session record is refused until the whole ring is in flight.
func TestP3StormOfAllKinds(t *testing.T) {
	r := newRig(t, 1, []replay.Limits{{Slots: 64, Telemetry: 32, PerKind: 16}})
	l := r.lanes[0]
	for i := range 10000 {
		if l.Full() {
			l.Flush(int64(i), int64(i))
		}
		offer(l, telemetry[i%3], uint16(i%70), int64(i))
	}
	l.Flush(10000, 10000)
	sessions := 0
	for range 40 {
		offer(l, event.SessionOpen, 1, 10001)
		l.Flush(10001, 10001)
		led := r.gate.Ledger()
		all, _ := r.rings[0].Credits()
		if led.Sinks[0].OverBudget[event.SessionOpen] > 0 && all < 64 {
			t.Fatalf("P3: session record refused with %d of 64 slots in flight", all)
		}
		sessions = int(led.Sinks[0].Queued[event.SessionOpen])
	}
	// One slot of the reserve holds the loss record for what the storm lost.
	if sessions != 31 {
		t.Errorf("%d session records taken after the storm, want the reserve of 32 less one loss record", sessions)
	}
	checkP1(t, r)
}

// TestP8HungSinkFillsItsOwnRing has one sink that never reads beside one that does: the second gets everything.
func TestP8HungSinkFillsItsOwnRing(t *testing.T) {
	r := newRig(t, 1, []replay.Limits{small, small})
	l := r.lanes[0]
	got := 0
	for i := range 1000 {
		offer(l, event.PolicyDeny, 1, int64(i))
		l.Flush(int64(i), int64(i))
		got += len(drainRing(t, r.rings[1]))
	}
	if got != 1000 {
		t.Errorf("the working sink got %d of 1000 records", got)
	}
	led := r.gate.Ledger()
	if led.Sinks[1].OverBudget[event.PolicyDeny] != 0 || led.Sinks[0].Queued[event.PolicyDeny] != 4 {
		t.Errorf("ledger: %+v", led.Sinks)
	}
	checkP1(t, r)
}

// TestP5LossPrecedesWhatFitsAgain fills a ring, loses, drains, and finds the loss record before the next record.
func TestP5LossPrecedesWhatFitsAgain(t *testing.T) {
	r := newRig(t, 1, []replay.Limits{small})
	l := r.lanes[0]
	for i := range 10 {
		offer(l, event.FilterLog, 1, int64(i))
		l.Flush(int64(i), 1000+int64(i))
	}
	if n := len(drainRing(t, r.rings[0])); n != 4 {
		t.Fatalf("%d records before the ring was read, want 4", n)
	}
	offer(l, event.FilterLog, 1, 20)
	l.Flush(20, 1020)
	rest := drainRing(t, r.rings[0])
	if len(rest) != 2 || rest[0].Kind() != event.Loss || rest[1].Kind() != event.FilterLog {
		t.Fatalf("after the ring was read: %d records", len(rest))
	}
	checkP1(t, r)
}

// TestP5LimiterLossOncePerWindow checks the loss records for what the limiter refused: one per second and zone, with the
// right counts, to the sinks that want the kind, and the rest at Finish.
func TestP5LimiterLossOncePerWindow(t *testing.T) {
	r := newRig(t, 1, []replay.Limits{{Slots: 64, Telemetry: 32, PerKind: 32}, small}, rate(1, 1), func(c *Config) {
		c.Sinks[1].Only = event.KindSet(0).With(event.SessionClose)
	})
	l := r.lanes[0]
	const ms = int64(1e6)
	for i := range int64(2500) { // 2.5 s, an event each millisecond in each of two zones
		offer(l, event.PolicyDeny, 1, i*ms)
		offer(l, event.PolicyDeny, 2, i*ms)
		l.Flush(i*ms, i*ms)
		if i%100 == 0 {
			drainRing(t, r.rings[0])
		}
	}
	l.Finish(2500*ms, 2500*ms)
	state := r.rings[0].State()
	if got := state.Released.Acknowledged[event.Loss] + state.InFlight[event.Loss]; got != 2*3 {
		t.Errorf("%d loss records in 2.5 s for two zones, want 6", got)
	}
	if n := len(drainRing(t, r.rings[1])); n != 0 {
		t.Errorf("the sink that wants session closes only got %d records", n)
	}
	checkP1(t, r)
}

// TestP5LossRecordsAddUp checks that the counts of all loss records are exactly what is missing.
func TestP5LossRecordsAddUp(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 5))
		r := newRig(t, 1, []replay.Limits{small}, rate(1+rng.Int64N(1000), 1+rng.Int64N(20)), func(c *Config) {
			c.Sinks[0].Overflow = replay.Overflow(rng.IntN(2))
		})
		l := r.lanes[0]
		now := int64(0)
		var announced event.LossCounts
		var delivered [event.NumKinds]uint64
		read := func() {
			for _, rec := range drainRing(t, r.rings[0]) {
				delivered[rec.Kind()]++
				if rec.Kind() == event.Loss {
					for k, n := range rec.LossCounts() {
						announced[k] += n
					}
				}
			}
		}
		for range 2000 {
			now += rng.Int64N(5e6)
			if l.Full() {
				l.Flush(now, now)
			}
			offer(l, event.Kind(rng.IntN(event.NumKinds-1)), uint16(rng.IntN(4)), now)
			switch rng.IntN(20) {
			case 0:
				l.Flush(now, now)
			case 1:
				read()
			}
		}
		l.Flush(now, now)
		read()
		l.Finish(now, now)
		read()
		r.gate.AnnounceMissing(0, nil)
		read()
		led := r.gate.Ledger()
		for k := range announced {
			if missing := led.Offered[k] - delivered[k]; missing != announced[k] {
				t.Errorf("seed %d: %v: %d missing, loss records announce %d", seed, event.Kind(k), missing, announced[k])
			}
		}
		checkP1(t, r)
	}
}

// TestP1P2Concurrent has four lanes storm two rings while sinks read at their own pace.
func TestP1P2Concurrent(t *testing.T) {
	r := newRig(t, 4, []replay.Limits{{Slots: 128, Telemetry: 64, PerKind: 32}, small}, rate(50000, 100), func(c *Config) {
		c.Sinks[1].Overflow = replay.Evict
	})
	var wg sync.WaitGroup
	for i, l := range r.lanes {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 8))
			now := int64(0)
			for range 20000 {
				now += 1000
				if l.Full() || rng.IntN(30) == 0 {
					l.Flush(now, now)
				}
				offer(l, event.Kind(rng.IntN(event.NumKinds-1)), uint16(rng.IntN(4)), now)
			}
			l.Finish(now, now)
		})
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for _, ring := range r.rings {
		readers.Go(func() {
			for {
				run := ring.Next(16)
				if all, tel := ring.Credits(); all > 128 || tel > 64 {
					t.Errorf("P2: %d and %d credits in use", all, tel)
				}
				if run != nil {
					if err := ring.Ack(run[len(run)-1].Seq()); err != nil {
						t.Error(err)
					}
					continue
				}
				select {
				case <-stop:
					return
				default:
				}
				if wake, ok := ring.Sleep(); ok {
					select {
					case <-wake:
					case <-stop:
						return
					}
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	readers.Wait()
	checkP1(t, r)
}

// TestP9CaptureWaits checks that a lane in waiting mode loses nothing in a ring of the smallest size, keeps the order,
// and gives up when its context ends.
func TestP9CaptureWaits(t *testing.T) {
	r := newRig(t, 1, []replay.Limits{{Slots: 4, Telemetry: 2, PerKind: 1}}, func(c *Config) { c.Wait = true })
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	l := &collector{Lane: r.gate.Lane(ctx, 0)}
	const events = 3000
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range events {
			if l.Full() {
				l.Flush(int64(i), int64(i))
			}
			offer(l, event.Kind(i%5), 1, int64(i))
		}
		l.Finish(events, events)
	}()
	ring := r.rings[0]
	next := event.Seq(1)
	for next <= events {
		run := ring.Next(3)
		for i := range run {
			if run[i].Seq() != next || run[i].Kind() != event.Kind((next-1)%5) {
				t.Fatalf("record %d is %v with sequence %d", next, run[i].Kind(), run[i].Seq())
			}
			next++
		}
		if run != nil {
			if err := ring.Ack(next - 1); err != nil {
				t.Fatal(err)
			}
		} else if wake, ok := ring.Sleep(); ok {
			<-wake
		}
	}
	<-done
	checkP1(t, r)

	for range 10 {
		offer(l, event.PolicyDeny, 1, events)
	}
	cancel()
	l.Flush(events, events)
	led := r.gate.Ledger()
	if led.Sinks[0].Closed[event.PolicyDeny] != 9 {
		t.Errorf("%d events closed after the context ended, want 9", led.Sinks[0].Closed[event.PolicyDeny])
	}
	checkP1(t, r)
}

func TestFilter(t *testing.T) {
	r := newRig(t, 1, []replay.Limits{small}, func(c *Config) {
		c.Sinks[0].Only = event.KindSet(0).With(event.PolicyDeny)
	})
	l := r.lanes[0]
	offer(l, event.PolicyDeny, 1, 1)
	offer(l, event.ScreenDrop, 1, 1)
	offer(l, event.PolicyDeny, 1, 1)
	l.Flush(1, 1)
	got := drainRing(t, r.rings[0])
	if len(got) != 2 || got[0].Seq() != 1 || got[1].Seq() != 2 {
		t.Errorf("P5: a filtered sink's stream has gaps: %d records", len(got))
	}
	checkP1(t, r)
}

// TestP5LossAmongSessionRecords overloads a ring with session records, which may take every slot: what is delivered
// after a loss is still preceded by its announcement.
func TestP5LossAmongSessionRecords(t *testing.T) {
	r := newRig(t, 1, []replay.Limits{{Slots: 8, Telemetry: 4, PerKind: 2}})
	l, ring := r.lanes[0], r.rings[0]
	now := int64(0)
	step := func(n int) {
		for range n {
			offer(l, event.SessionOpen, 1, now)
		}
		now += 1e6
		l.Flush(now, now)
	}
	step(8)
	var announced event.LossCounts
	delivered := len(ring.Next(100))
	for i := range 1000 {
		step(3) // and the sink frees one slot
		if err := ring.Ack(event.Seq(i + 1)); err != nil {
			t.Fatal(err)
		}
		for _, rec := range ring.Next(100) {
			if rec.Kind() == event.Loss {
				announced = add(announced, rec.LossCounts())
			} else {
				delivered++
			}
		}
	}
	if announced.Total() == 0 {
		t.Fatalf("%d records delivered of %d offered, and no loss announced", delivered, 8+3*1000)
	}
	if err := ring.Ack(ring.State().Sent - 1); err != nil {
		t.Fatal(err)
	}
	for _, rec := range finish(t, r) {
		announced = add(announced, rec.LossCounts())
	}
	if missing := uint64(8 + 3*1000 - delivered); announced.Total() != missing {
		t.Errorf("%d missing, %d announced", missing, announced.Total())
	}
	checkP1(t, r)
}

func add(a, b event.LossCounts) event.LossCounts {
	for k, n := range b {
		a[k] += n
	}
	return a
}

// finish ends the lanes and returns what that put into the first ring.
func finish(t *testing.T, r *rig) []event.Record {
	t.Helper()
	for _, l := range r.lanes {
		l.Finish(1e18, 1e18)
	}
	r.gate.AnnounceMissing(0, nil)
	return drainRing(t, r.rings[0])
}

// TestP5FullRingAtTheEnd finishes while the ring is full: the loss record goes in as soon as there is room.
func TestP5FullRingAtTheEnd(t *testing.T) {
	r := newRig(t, 1, []replay.Limits{{Slots: 8, Telemetry: 4, PerKind: 2}})
	l := r.lanes[0]
	for range 20 {
		offer(l, event.SessionOpen, 1, 1)
	}
	l.Flush(1, 1)
	l.Finish(2, 2)
	done := make(chan struct{})
	go func() { defer close(done); r.gate.AnnounceMissing(0, nil) }()
	if n := len(drainRing(t, r.rings[0])); n < 8 {
		t.Fatalf("%d records in a full ring of 8", n)
	}
	<-done
	rest := drainRing(t, r.rings[0])
	state := r.rings[0].State()
	if state.Released.Acknowledged[event.Loss] != 1 {
		t.Errorf("12 records lost at the end, %d loss records, %d left", state.Released.Acknowledged[event.Loss], len(rest))
	}
	checkP1(t, r)

	stop := make(chan struct{})
	close(stop)
	for range 20 {
		offer(l, event.SessionOpen, 1, 3)
	}
	l.Flush(3, 3)
	r.gate.AnnounceMissing(0, stop) // returns although there is no room
}

// TestP1TimeZero refuses at the very beginning of time, where a capture without stamps stays.
func TestP1TimeZero(t *testing.T) {
	r := newRig(t, 1, []replay.Limits{small}, rate(1, 2))
	l := r.lanes[0]
	for range 4 {
		offer(l, event.PolicyDeny, 1, 0)
	}
	l.Flush(0, 0)
	l.Finish(0, 0)
	checkP1(t, r)
	records := drainRing(t, r.rings[0])
	if len(records) != 3 || records[2].Kind() != event.Loss || records[2].LossCounts()[event.PolicyDeny] != 2 {
		t.Errorf("%d records, want two denials and a loss record for two", len(records))
	}
}

// TestP5WaitingLaneGivesUp ends the context of a waiting lane: what follows the events it gave up is preceded by their
// loss record.
func TestP5WaitingLaneGivesUp(t *testing.T) {
	r := newRig(t, 1, []replay.Limits{{Slots: 4, Telemetry: 2, PerKind: 1}}, func(c *Config) { c.Wait = true })
	ctx, cancel := context.WithCancel(context.Background())
	l := &collector{Lane: r.gate.Lane(ctx, 0)}
	for range 4 {
		offer(l, event.SessionOpen, 1, 1)
	}
	l.Flush(1, 1)
	cancel()
	offer(l, event.SessionOpen, 1, 2)
	l.Flush(2, 2)
	drainRing(t, r.rings[0])
	offer(l, event.SessionOpen, 1, 3)
	l.Flush(3, 3)
	rest := drainRing(t, r.rings[0])
	if len(rest) != 2 || rest[0].Kind() != event.Loss || rest[0].LossCounts()[event.SessionOpen] != 1 {
		t.Errorf("after one event was given up: %d records", len(rest))
	}
	checkP1(t, r)
}

// TestP10EvictionCountsWhatIsLost evicts beside a sink that acknowledges late: what was handed out is not counted as
// lost, and what is announced is exactly what is missing.
func TestP10EvictionCountsWhatIsLost(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 6))
		r := newRig(t, 1, []replay.Limits{{Slots: 16, Telemetry: 8, PerKind: 4}}, func(c *Config) { c.Sinks[0].Overflow = replay.Evict })
		l, ring := r.lanes[0], r.rings[0]
		var offered, delivered [event.NumKinds]uint64
		var announced event.LossCounts
		var last event.Seq
		seen := make(map[event.Seq]bool)
		read := func() {
			for _, rec := range ring.Next(1 + rng.IntN(6)) {
				last = rec.Seq()
				if seen[last] {
					continue
				}
				seen[last] = true
				if rec.Kind() == event.Loss {
					announced = add(announced, rec.LossCounts())
				} else {
					delivered[rec.Kind()]++
				}
			}
		}
		for range 3000 {
			switch rng.IntN(6) {
			case 0:
				l.Flush(1, 1)
			case 1:
				read()
			case 2:
				if rng.IntN(4) == 0 && last > 0 {
					if err := ring.Ack(last); err != nil {
						t.Fatal(err)
					}
				}
			default:
				if l.Full() {
					l.Flush(1, 1)
				}
				k := event.Kind(rng.IntN(event.NumKinds - 1))
				offered[k]++
				offer(l, k, 1, 1)
			}
		}
		l.Flush(1, 1)
		l.Finish(1, 1)
		for range 3 {
			for before := last; ; before = last {
				if read(); last == before {
					break
				}
			}
			if err := ring.Ack(last); err != nil {
				t.Fatal(err)
			}
			r.gate.AnnounceMissing(0, nil)
		}
		for k := range announced {
			if missing := offered[k] - delivered[k]; missing != announced[k] {
				t.Errorf("seed %d: %v: %d missing, %d announced", seed, event.Kind(k), missing, announced[k])
			}
		}
		checkP1(t, r)
	}
}

// TestP5LimiterLossOfSeveralLanes has lanes storm one bucket and finish at once: their refusals are announced together,
// once, and all of them.
func TestP5LimiterLossOfSeveralLanes(t *testing.T) {
	for range 50 {
		r := newRig(t, 4, []replay.Limits{{Slots: 256, Telemetry: 128, PerKind: 64}}, rate(1, 1))
		var wg sync.WaitGroup
		for _, l := range r.lanes {
			wg.Go(func() {
				for i := range int64(200) {
					offer(l, event.ScreenDrop, 2, 1e9+i*1e7) // two seconds
					if i%10 == 0 {
						l.Flush(1e9+i*1e7, 1e9+i*1e7)
					}
				}
				l.Finish(3e9, 3e9)
			})
		}
		wg.Wait()
		records := drainRing(t, r.rings[0])
		r.gate.AnnounceMissing(0, nil) // lanes that run apart close more windows than the ring may hold loss records
		records = append(records, drainRing(t, r.rings[0])...)
		var announced, delivered uint64
		for _, rec := range records {
			if rec.Kind() == event.Loss {
				announced += rec.LossCounts()[event.ScreenDrop]
			} else {
				delivered++
			}
		}
		if announced+delivered != 800 {
			t.Fatalf("%d delivered, %d announced, 800 offered", delivered, announced)
		}
		checkP1(t, r)
	}
}

// The generation on records never goes back: what a later one knows may be in a record already.
func TestGenerationGoesUp(t *testing.T) {
	ring, err := replay.New(replay.Limits{Slots: 64, Telemetry: 16, PerKind: 16})
	if err != nil {
		t.Fatal(err)
	}
	g, err := New(Config{Lanes: 1, Generation: 1, Sinks: []Sink{{Name: "s", Ring: ring, Only: event.AllKinds}}})
	if err != nil {
		t.Fatal(err)
	}
	g.SetGeneration(3) // the feed has learned a name
	g.SetGeneration(2) // a reload that was numbered before
	if got := g.generation.Load(); got != 3 {
		t.Errorf("generation %d", got)
	}
}

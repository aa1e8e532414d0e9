package admission

import (
	"testing"

	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/sdk/event"
)

func evicting(c *Config) {
	for i := range c.Sinks {
		c.Sinks[i].Overflow = replay.Evict
	}
}

func sixZones(c *Config) { c.Zones = []uint16{1, 2, 3, 4, 5, 6} }

var half = replay.Limits{Slots: 64, Telemetry: 32, PerKind: 32}

// fiveStorms storms in five zones and lets the windows of the limiter end: five loss records are due, four have a credit.
func fiveStorms(r *rig) (now int64) {
	l := r.lanes[0]
	now = 1e9
	for zone := range uint16(5) {
		for range 10 {
			offer(l, event.PolicyDeny, zone+1, now)
		}
	}
	l.Flush(now, now)
	now += 1.1e9
	l.Flush(now, now)
	return now
}

// TestLossCreditEvictsNothing has a loss record that is owed in a ring with room: nothing is given up for it.
func TestLossCreditEvictsNothing(t *testing.T) {
	r := newRig(t, 1, []replay.Limits{half}, evicting, sixZones, rate(1, 4))
	now := fiveStorms(r)
	offer(r.lanes[0], event.SessionOpen, 0, now)
	r.lanes[0].Flush(now, now)
	st := r.rings[0].State()
	if sum := st.Released.Evicted; sum != [event.NumKinds]uint64{} {
		t.Errorf("evicted %v from a ring with room", sum)
	}
	if r.gate.view.Load().sinks[0].missing.Load() != 0 || st.InFlight[event.Loss] != 5 || st.InFlight[event.SessionOpen] != 1 {
		t.Errorf("in flight %v, want five loss records and the session", st.InFlight)
	}
	checkP1(t, r)
}

// TestP3EvictionKeepsOtherKinds storms with one kind up to its own ceiling: it gives up its own oldest records, and no
// more than it needs.
func TestP3EvictionKeepsOtherKinds(t *testing.T) {
	for name, storm := range map[string]func(l *collector) bool{
		"denials":    func(l *collector) bool { return offer(l, event.PolicyDeny, 0, 1) },
		"unanswered": func(l *collector) bool { return offerUnanswered(l, event.SessionOpen, 0, 1) },
	} {
		r := newRig(t, 1, []replay.Limits{{Slots: 64, Telemetry: 32, PerKind: 11}}, evicting)
		l := r.lanes[0]
		for range 8 {
			offer(l, event.SessionClose, 0, 1)
			offer(l, event.ScreenDrop, 0, 1)
			offer(l, event.FilterLog, 0, 1)
		}
		l.Flush(1, 1)
		for i := range 12 + 30 { // one more than the class may have, and thirty more
			storm(l)
			l.Flush(1, 1)
			if i == 11 {
				ev := r.rings[0].State().Released.Evicted
				if ev[event.PolicyDeny]+ev[event.SessionOpen] != 1 {
					t.Errorf("%s: evicted %v for one record", name, ev)
				}
			}
		}
		st := r.rings[0].State()
		if f := st.InFlight; f[event.SessionClose] != 8 || f[event.ScreenDrop] != 8 || f[event.FilterLog] != 8 {
			t.Errorf("%s: in flight %v: the storm has erased other kinds", name, f)
		}
		if f := st.InFlight; f[event.PolicyDeny]+f[event.SessionOpen] != 11 || f[event.Loss] != 1 {
			t.Errorf("%s: in flight %v, want the newest 11 and one loss record", name, f)
		}
		checkP1(t, r)
	}
}

// TestP5LossBeforeWhatFitsAgain owes a loss record whose class is at its ceiling: a session record takes it along, above
// the ceiling, and telemetry does not go in before it.
func TestP5LossBeforeWhatFitsAgain(t *testing.T) {
	for _, opt := range []option{func(*Config) {}, evicting} {
		r := newRig(t, 1, []replay.Limits{half}, sixZones, rate(1, 4), opt)
		now := fiveStorms(r)
		l := r.lanes[0]
		s := r.gate.view.Load().sinks[0]
		if s.missing.Load() == 0 {
			t.Fatal("no loss is owed")
		}
		offer(l, event.ScreenDrop, 6, now)
		l.Flush(now, now)
		if st := r.rings[0].State(); st.InFlight[event.ScreenDrop] != 0 || s.missing.Load() == 0 {
			t.Errorf("in flight %v: telemetry went in before the loss that is owed", st.InFlight)
		}
		for range 5 {
			offer(l, event.SessionOpen, 0, now)
			l.Flush(now, now)
		}
		recs := r.rings[0].Next(64)[20+4:]
		if len(recs) != 6 || recs[0].Kind() != event.Loss || recs[1].Kind() != event.SessionOpen {
			t.Fatalf("%d records behind four loss records, want another and five sessions", len(recs))
		}
		if got := recs[0].LossCounts(); got[event.PolicyDeny] != 6 || got[event.ScreenDrop] != 1 {
			t.Errorf("the loss record counts %v, want 6 denials and the screen drop", got)
		}
		checkP1(t, r)
	}
}

// TestP5EvictedAfterHandedOut evicts, in a full ring, records that an earlier run of the sink has had: their numbers stand
// for what was in them, so the loss record gets a new one, before the record that came in.
func TestP5EvictedAfterHandedOut(t *testing.T) {
	r := newRig(t, 1, []replay.Limits{{Slots: 8, Telemetry: 4, PerKind: 4}}, evicting)
	l, ring := r.lanes[0], r.rings[0]
	send := func(n int) {
		for range n {
			offer(l, event.SessionClose, 1, 1)
			l.Flush(1, 1)
		}
	}
	send(8)
	had := map[event.Seq]event.Kind{}
	for _, rec := range ring.Next(8) {
		had[rec.Seq()] = rec.Kind()
	}
	ring.Rewind()
	send(3)
	var announced event.LossCounts
	delivered := len(had)
	for _, rec := range drainRing(t, ring) {
		if k, ok := had[rec.Seq()]; ok {
			if k != rec.Kind() {
				t.Errorf("P5: number %d was %v, and is %v", rec.Seq(), k, rec.Kind())
			}
			continue
		}
		if rec.Kind() == event.Loss {
			announced = add(announced, rec.LossCounts())
		} else {
			delivered++
		}
	}
	if announced[event.SessionClose] != 4 || delivered != 11 {
		t.Errorf("announced %v, delivered %d; want 4 evicted, which the sink has had, and 11", announced, delivered)
	}
	checkP1(t, r)
}

// TestDisconnected tells what a full ring refuses without a destination from what it refuses with one, in the ledger and
// in loss records of their own.
func TestDisconnected(t *testing.T) {
	connected := true
	r := newRig(t, 1, []replay.Limits{{Slots: 64, Telemetry: 32, PerKind: 4}}, func(c *Config) {
		c.Sinks[0].Connected = func() bool { return connected }
	})
	l := r.lanes[0]
	deny := func(n int) {
		for range n {
			offer(l, event.PolicyDeny, 1, 1)
		}
		l.Flush(1, 1)
	}
	deny(5)
	connected = false
	deny(3)
	led := r.gate.Ledger().Sinks[0]
	if led.OverBudget[event.PolicyDeny] != 1 || led.Disconnected[event.PolicyDeny] != 3 {
		t.Errorf("over budget %v, disconnected %v; want 1 and 3", led.OverBudget, led.Disconnected)
	}
	drainRing(t, r.rings[0])
	deny(1)
	recs := drainRing(t, r.rings[0])
	if len(recs) != 3 {
		t.Fatalf("%d records, want two loss records and a denial", len(recs))
	}
	for i, want := range []struct {
		why event.LossReason
		n   uint64
	}{{event.LossOverBudget, 1}, {event.LossDisconnected, 3}} {
		if got := recs[i].LossCounts(); recs[i].LossReason() != want.why || got[event.PolicyDeny] != want.n {
			t.Errorf("loss record %v of %v, want %v of %d", recs[i].LossReason(), got, want.why, want.n)
		}
	}
	checkP1(t, r)
}

// TestMergedReason has one credit for the losses of several reasons: one record counts them all, under the reason of most.
func TestMergedReason(t *testing.T) {
	var s sink
	s.miss(event.LossOverBudget, &event.LossCounts{event.PolicyDeny: 2}, 10)
	s.miss(event.LossDisconnected, &event.LossCounts{event.PolicyDeny: 5, event.SessionClose: 1}, 20)
	s.miss(event.LossRateLimited, &event.LossCounts{event.ScreenDrop: 3}, 30)
	var rec [1]event.Record
	if n := s.takeMissing(rec[:], 7); n != 1 || s.missing.Load() != 0 {
		t.Fatalf("%d records", n)
	}
	want := event.LossCounts{event.PolicyDeny: 7, event.SessionClose: 1, event.ScreenDrop: 3}
	if got := rec[0].LossCounts(); got != want || rec[0].LossReason() != event.LossDisconnected || rec[0].LossSince() != 10 || rec[0].Time() != 30 {
		t.Errorf("%v of %v from %d to %d", rec[0].LossReason(), got, rec[0].LossSince(), rec[0].Time())
	}
}

// TestP3UnansweredFlood floods with sessions that nobody answers, at any rate: those of answered sessions have the reserve
// of the ring, and the flood gets no more than its rate and its ceiling.
func TestP3UnansweredFlood(t *testing.T) {
	r := newRig(t, 1, []replay.Limits{{Slots: 64, Telemetry: 32, PerKind: 8}, {Slots: 4096, Telemetry: 2048, PerKind: 2048}}, func(c *Config) {
		c.Unanswered = Rate{PerSecond: 100, Burst: 10}
	})
	l := r.lanes[0]
	const ms = int64(1e6)
	for i := range int64(2000) { // two seconds
		now := i * ms
		for range 40 {
			if l.Full() {
				l.Flush(now, now)
			}
			offerUnanswered(l, event.SessionOpen, 1, now)
		}
		if i%100 == 0 {
			offer(l, event.SessionClose, 1, now)
		}
		l.Flush(now, now)
	}
	l.Finish(2000*ms, 2000*ms)
	led := r.gate.Ledger()
	for _, s := range led.Sinks {
		if s.OverBudget[event.SessionClose] != 0 || s.Queued[event.SessionClose] != 20 {
			t.Errorf("%s: %d closes queued, %d refused, of 20 of answered sessions", s.Name, s.Queued[event.SessionClose], s.OverBudget[event.SessionClose])
		}
	}
	if n := led.Admitted[event.SessionOpen]; n > 10+200+1 {
		t.Errorf("%d records of the flood admitted in 2 s, want at most 10 and 100 a second", n)
	}
	if n := r.rings[0].State().Unanswered; n != 8 {
		t.Errorf("%d of the flood in the ring, want 8", n)
	}
	if led.LimitedByZone[event.SessionOpen][1] != led.RateLimited[event.SessionOpen] || led.RateLimited[event.SessionOpen] == 0 {
		t.Errorf("limited by zone: %v", led.LimitedByZone)
	}
	var announced uint64
	for _, rec := range drainRing(t, r.rings[1]) {
		if rec.Kind() == event.Loss {
			announced += rec.LossCounts()[event.SessionOpen]
		}
	}
	if announced != led.RateLimited[event.SessionOpen] {
		t.Errorf("%d limited, %d announced", led.RateLimited[event.SessionOpen], announced)
	}
	checkP1(t, r)
}

// TestUnansweredOwed offers a record that the limiter refuses for the time being: it counts once, whatever becomes of it.
func TestUnansweredOwed(t *testing.T) {
	r := newRig(t, 1, []replay.Limits{half}, func(c *Config) { c.Unanswered = Rate{PerSecond: 1, Burst: 1} })
	l := r.lanes[0]
	if !l.TryUnanswered(event.SessionOpen, 0, 1) || l.TryUnanswered(event.SessionOpen, 0, 1) || l.TryUnanswered(event.SessionOpen, 0, 1) {
		t.Fatal("the burst of one was not held")
	}
	l.add(event.SessionOpen, true)
	offer(l, event.SessionOpen, 0, 1) // the second is answered
	l.Refuse(event.SessionOpen, 0, 1) // the third ends
	offerUnanswered(l, event.SessionClose, 0, 1)
	l.Flush(1, 1)
	led := r.gate.Ledger()
	if led.Offered[event.SessionOpen] != 3 || led.Admitted[event.SessionOpen] != 2 || led.RateLimited[event.SessionClose] != 1 {
		t.Errorf("offered %v, admitted %v, limited %v", led.Offered, led.Admitted, led.RateLimited)
	}
	checkP1(t, r)
}

// TestUnansweredWithoutRoom offers more open records of unanswered sessions than any ring has credits for: those that none
// takes do not count, and are given back; those that one takes and another does not are lost there.
func TestUnansweredWithoutRoom(t *testing.T) {
	r := newRig(t, 1, []replay.Limits{{Slots: 64, Telemetry: 32, PerKind: 2}, {Slots: 64, Telemetry: 32, PerKind: 4}, half}, func(c *Config) {
		c.Sinks[2].Only = event.KindSet(0).With(event.PolicyDeny)
	})
	l := r.lanes[0]
	for range 7 {
		offerUnanswered(l, event.SessionOpen, 1, 1)
		offerUnanswered(l, event.SessionClose, 1, 1)
	}
	l.Flush(1, 1)
	led := r.gate.Ledger()
	if l.owed != 3 || led.Offered[event.SessionOpen] != 4 || led.Offered[event.SessionClose] != 7 {
		t.Errorf("%d owed; offered %v", l.owed, led.Offered)
	}
	checkP1(t, r)
	drainRing(t, r.rings[1])
	for range 6 {
		offerUnanswered(l, event.SessionOpen, 1, 2)
	}
	l.Flush(2, 2)
	led = r.gate.Ledger()
	if l.owed != 2 || led.Offered[event.SessionOpen] != 8 || led.Sinks[0].OverBudget[event.SessionOpen] != 6 || led.Sinks[2].Filtered[event.SessionOpen] != 8 {
		t.Errorf("%d owed; offered %v; %+v", l.owed, led.Offered, led.Sinks)
	}
	checkP1(t, r)
}

// TestUntold stops with a full ring, a loss that is owed, and a sink that takes nothing: all of it is known afterwards.
func TestUntold(t *testing.T) {
	for _, opt := range []option{func(*Config) {}, evicting} {
		r := newRig(t, 1, []replay.Limits{{Slots: 8, Telemetry: 4, PerKind: 2}}, opt)
		l := r.lanes[0]
		for range 5 {
			for range 4 {
				offer(l, event.SessionClose, 1, 1)
			}
			offer(l, event.PolicyDeny, 1, 1)
			l.Flush(1, 1)
			r.rings[0].Next(8)
			r.rings[0].Rewind()
		}
		l.Finish(1, 1)
		stop := make(chan struct{})
		close(stop)
		r.gate.AnnounceMissing(0, stop)
		r.rings[0].Abandon()
		if got, want := r.gate.Untold(0), (event.LossCounts{event.SessionClose: 20, event.PolicyDeny: 5}); got != want {
			t.Errorf("untold %v, want %v", got, want)
		}
		checkP1(t, r)
	}
}

// TestOwe hands what a gate owes a sink to another gate: it is told before what fits there, each reason with its time.
func TestOwe(t *testing.T) {
	r := newRig(t, 1, []replay.Limits{{Slots: 8, Telemetry: 4, PerKind: 2}})
	l := r.lanes[0]
	for range 20 {
		offer(l, event.SessionClose, 1, 5)
		l.Flush(5, 5)
	}
	owed := r.gate.Owed(0)
	if len(owed) != 1 || owed[0].Reason != event.LossOverBudget || owed[0].Counts[event.SessionClose] != 12 || owed[0].Since != 5 {
		t.Fatalf("owed: %+v", owed)
	}
	next := newRig(t, 1, []replay.Limits{{Slots: 64, Telemetry: 32, PerKind: 32}})
	next.gate.Owe(0, owed...)
	next.gate.Owe(0, Owed{Reason: event.LossRestart, Since: 6, Until: 9}, Owed{Reason: 200, Counts: event.LossCounts{event.PolicyDeny: 1}, Since: 3, Until: 4})
	if n := len(next.gate.Owed(0)); n != 3 {
		t.Errorf("%d losses owed, want 3", n)
	}
	offer(next.lanes[0], event.SessionClose, 1, 10)
	next.lanes[0].Flush(10, 10)
	want := []event.LossReason{event.LossOverBudget, event.LossAbandoned, event.LossRestart}
	records := next.rings[0].Next(10)
	if len(records) != len(want)+1 {
		t.Fatalf("%d records, want %d losses and the session", len(records), len(want))
	}
	for i, why := range want {
		if rec := &records[i]; rec.LossReason() != why || rec.LossSince() > rec.Time() {
			t.Errorf("record %d: %v from %d to %d, want %v", i, rec.LossReason(), rec.LossSince(), rec.Time(), why)
		}
	}
	if n := len(next.gate.Owed(0)); n != 0 {
		t.Errorf("%d losses are owed still", n)
	}
}

// TestOweMerged has room for one loss record: it tells of the time without a daemon, and counts what else was lost.
func TestOweMerged(t *testing.T) {
	r := newRig(t, 1, []replay.Limits{{Slots: 8, Telemetry: 4, PerKind: 2}})
	counts := event.LossCounts{event.PolicyDeny: 1}
	r.gate.Owe(0, Owed{Reason: event.LossRestart, Packets: 10, Since: 2, Until: 9}, Owed{Reason: event.LossOverBudget, Counts: counts, Since: 3, Until: 4})
	if owed := r.gate.Owed(0); len(owed) != 2 || owed[1].Packets != 10 {
		t.Errorf("owed: %+v", owed)
	}
	var recs [1]event.Record
	n, rec := r.gate.view.Load().sinks[0].takeMissing(recs[:], 1), &recs[0]
	if n != 1 || rec.LossSince() != 2 || rec.Time() != 9 || rec.LossReason() != event.LossRestart || rec.LossPackets() != 10 || rec.LossCounts() != counts {
		t.Errorf("%d records, %v of %v from %d to %d, %d packets", n, rec.LossReason(), rec.LossCounts(), rec.LossSince(), rec.Time(), rec.LossPackets())
	}
}

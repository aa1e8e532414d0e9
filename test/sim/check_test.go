package sim

import (
	"maps"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/deliver"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sinks/unixsock"
)

// books are what was seen of a ring from outside.
type books struct {
	blind   bool // workers have flushed at the same instant: what each of them has done to the ring is not known
	before  replay.State
	ledger  admission.SinkLedger
	floor   event.Seq // of the last check
	unknown uint64    // acknowledged numbers that no record with the receiver has
	table   map[uint32]bool
	lost    uint64 // records, when a stall had been over for some time
}

func sum(counts [event.NumKinds]uint64) (n uint64) {
	for _, v := range counts {
		n += v
	}
	return n
}

func sessionsOf(counts *[event.NumKinds]uint64) uint64 {
	return counts[event.SessionOpen] + counts[event.SessionClose]
}

// before looks at the ring before a flush. Everybody waits.
func (o *output) before() {
	o.books.before = o.ring.State()
	o.books.ledger = o.w.gate.Ledger().Sinks[o.index]
}

// after checks what a flush of those events has done. The sink may already have taken some of them, and in the delta
// layout acknowledged those that have no frame.
func (o *output) after(pending []*occurrence) {
	b := &o.books
	ledger, state := o.w.gate.Ledger(), o.ring.State()
	led := &ledger.Sinks[o.index]
	all, _ := o.ring.Credits()
	acked := sum(state.Released.Acknowledged) - sum(b.before.Released.Acknowledged)
	full := uint64(o.plan.limits.Slots)
	if sum(b.ledger.OverBudget) > 0 || len(ledger.LimitedByZone) > 0 {
		full-- // a slot that is kept for the loss record, which comes before what fits again
	}
	if refused := sessionsOf(&led.OverBudget) - sessionsOf(&b.ledger.OverBudget); refused > 0 && uint64(all)+acked < full {
		o.v.failf("P3: %d session records were refused with %d of %d slots in flight", refused, all, o.plan.limits.Slots)
	}
	o.refusals(led, &state, uint64(all)+acked >= full)
	o.bounds(&state)
	n := sum(state.Released.Evicted) - sum(b.before.Released.Evicted)
	if n == 0 {
		return
	}
	sessions := false
	for _, p := range pending {
		sessions = sessions || p.kind == event.SessionOpen || p.kind == event.SessionClose
	}
	switch gone := sessionsOf(&state.Released.Evicted) - sessionsOf(&b.before.Released.Evicted); {
	case o.plan.overflow == replay.Refuse:
		o.v.failf("%d records evicted from a ring that refuses", n)
	case gone > 0 && !sessions:
		o.v.failf("P3: telemetry has evicted %d session records", gone)
	case b.before.Held != b.before.Unsent:
		o.v.failf("P6: records were evicted while the sink had %d to %d", b.before.Floor, b.before.Sent-1)
	}
}

// refusals checks that telemetry was refused only because its own share, that of all telemetry, or the whole ring was full.
func (o *output) refusals(led *admission.SinkLedger, state *replay.State, full bool) {
	b, l := &o.books, o.plan.limits
	telemetry := 0
	for k, n := range state.InFlight {
		if event.Kind(k).Telemetry() {
			telemetry += int(n)
		}
	}
	for k := event.PolicyDeny; k <= event.FilterLog; k++ {
		refused := led.OverBudget[k] - b.ledger.OverBudget[k]
		if o.plan.overflow == replay.Evict {
			// A record may have made room for a loss record.
			refused = 0
		}
		acked := int(sum(state.Released.Acknowledged) - sum(b.before.Released.Acknowledged))
		// Nothing goes in before a loss that is owed, and loss records have a ceiling, too.
		told := int(state.InFlight[event.Loss])+acked < max((l.Slots-l.Telemetry)/8, 1)
		if refused > 0 && !full && told && int(state.InFlight[k])+acked < l.PerKind && telemetry+acked < l.Telemetry {
			o.v.failf("%d %v refused with %d of the kind and %d of telemetry in flight, limits %+v", refused, k, state.InFlight[k], telemetry, l)
		}
	}
}

// ceilings checks that a ring that is empty can be filled up to its ceilings again: no credit has leaked.
func (o *output) ceilings() {
	if all, _ := o.ring.Credits(); all > 0 {
		return
	}
	l := o.plan.limits
	for k, want := range map[event.Kind]int{
		event.SessionOpen: l.Slots, event.Loss: max((l.Slots-l.Telemetry)/8, 1),
		event.PolicyDeny: l.PerKind, event.ScreenDrop: l.PerKind, event.FilterLog: l.PerKind,
	} {
		got := o.ring.Acquire(replay.ClassOf(k), l.Slots)
		if got != want {
			o.v.failf("P2: %d %v fit into the empty ring, limits %+v", got, k, l)
		}
		o.ring.ReturnCredits(replay.ClassOf(k), got)
	}
}

// gone returns how many numbers stand for no record: they were evicted.
func gone(s *replay.State) uint64 {
	r := &s.Released
	return uint64(s.Next-1) - sum(r.Acknowledged) - sum(r.Rejected) - sum(r.Abandoned) - sum(s.InFlight)
}

// bounds checks P2.
func (o *output) bounds(state *replay.State) {
	l := o.plan.limits
	all, telemetry := o.ring.Credits()
	if all > l.Slots || telemetry > l.Telemetry || state.Held > uint64(l.Slots) {
		o.v.failf("P2: %d in flight, %d of them telemetry, at %d to %d; limits %+v", all, telemetry, state.Floor, state.Next, l)
	}
	for _, k := range event.Kinds() {
		switch n := int(state.InFlight[k]); {
		case k.Telemetry() && n > l.PerKind:
			o.v.failf("P2: %d %v in flight, limits %+v", n, k, l)
		case k == event.Loss && o.plan.overflow == replay.Refuse && n > max((l.Slots-l.Telemetry)/8, 1)+int(sessionsOf(&state.InFlight))+1:
			// Above their own ceiling each stands before a session record, or is the last one.
			o.v.failf("P2: %d loss records in flight, limits %+v", n, l)
		}
	}
}

// check checks what must hold when everybody waits.
func (w *world) check() {
	for _, o := range w.sinks {
		o.check()
	}
}

func (o *output) check() {
	state := o.ring.State()
	o.bounds(&state)
	o.sums(&state)
	o.released(&state)
	o.mu.Lock()
	wire := o.wire
	o.mu.Unlock()
	l := o.program.current()
	if l != nil && !l.isStalled() && o.plan.slow == 0 && wire != nil && !wire.over() && wire.pauses() {
		o.v.seal(true)
	}
}

// sums checks P1, and that credits are what is in the ring.
func (o *output) sums(state *replay.State) {
	led := o.w.gate.Ledger()
	s, rel := led.Sinks[o.index], state.Released
	inFlight, telemetry := 0, 0
	for _, k := range event.Kinds() {
		queued := s.Queued[k]
		if k == event.Loss {
			queued += rel.Announced
		} else if n := s.Filtered[k] + s.Queued[k] + s.OverBudget[k] + s.Disconnected[k] + s.Closed[k]; n != led.Admitted[k] {
			o.v.failf("P1: %v: admitted %d, filtered %d, queued %d, over budget %d, disconnected %d, closed %d", k, led.Admitted[k],
				s.Filtered[k], s.Queued[k], s.OverBudget[k], s.Disconnected[k], s.Closed[k])
		}
		if n := rel.Acknowledged[k] + rel.Rejected[k] + rel.Evicted[k] + rel.Abandoned[k] + state.InFlight[k]; n != queued {
			o.v.failf("P1: %v: queued %d, acknowledged %d, rejected %d, evicted %d, abandoned %d, in flight %d", k, queued,
				rel.Acknowledged[k], rel.Rejected[k], rel.Evicted[k], rel.Abandoned[k], state.InFlight[k])
		}
		inFlight += int(state.InFlight[k])
		if k.Telemetry() {
			telemetry += int(state.InFlight[k])
		}
	}
	if all, some := o.ring.Credits(); all != inFlight || some != telemetry {
		o.v.failf("P6: credits for %d records, %d of them telemetry; in flight are %d and %d", all, some, inFlight, telemetry)
	}
}

// released checks P6: what has left the ring is with the receiver, or is accounted for.
func (o *output) released(state *replay.State) {
	b := &o.books
	if state.Floor < b.floor {
		o.v.failf("P6: the floor went back from %d to %d", b.floor, state.Floor)
	}
	o.v.mu.Lock()
	defer o.v.mu.Unlock()
	for seq := max(b.floor, 1); seq < state.Floor; seq++ {
		switch {
		case o.v.has(seq):
		case b.blind || o.plan.delta || o.plan.overflow == replay.Evict:
			b.unknown++
		default:
			o.v.failf("P6: record %d was acknowledged, and the receiver does not have it", seq)
		}
	}
	b.floor = state.Floor
	allowed := uint64(0)
	if o.plan.delta {
		allowed = state.Released.Acknowledged[event.Loss] // they have no frame
	}
	allowed += gone(state)
	if b.unknown > allowed {
		o.v.failf("P6: %d records were acknowledged that the receiver does not have; %d may be", b.unknown, allowed)
	}
}

// settled checks that the receiver is not being told what lives any more, that nothing is lost any more, and that one stall
// has made no more than two resyncs: one for what was lost until the first began, and one for what was lost before it ended.
func (o *output) settled() {
	if st := o.sink.Status().(unixsock.Status); st.State != unixsock.Streaming {
		o.v.failf("the sink is %s: the receiver is well and has had the time for two tables", st.State)
	}
	s, state := o.w.gate.Ledger().Sinks[o.index], o.ring.State()
	lost := sum(s.OverBudget) + sum(state.Released.Evicted)
	if lost != o.books.lost {
		o.v.failf("%d records were lost when the stall had been over for long", lost-o.books.lost)
	}
	if o.v.resyncs > 2 {
		o.v.failf("%d resyncs for one stall", o.v.resyncs)
	}
}

// lossesSoFar notes what is lost when the stall has been over for some time.
func (o *output) lossesSoFar() {
	s, state := o.w.gate.Ledger().Sinks[o.index], o.ring.State()
	o.books.lost = sum(s.OverBudget) + sum(state.Released.Evicted)
}

// atDeadline checks that everything was delivered in time.
func (w *world) atDeadline() {
	for _, o := range w.sinks {
		if w.plan.ending != orderly || o.plan.trouble >= stuck {
			continue
		}
		if s := o.delivery.Status(); s.Phase != deliver.Drained {
			o.v.failf("P6: not drained: %+v, %+v, in flight %v", s, o.sink.Status(), o.ring.State().InFlight)
		}
	}
}

// final checks the whole account, when nothing moves any more.
func (w *world) final() {
	led := w.gate.Ledger()
	var offered, limited [event.NumKinds]uint64
	zones := map[event.Kind]map[uint16]uint64{}
	for _, o := range w.history.all {
		if o.before {
			continue
		}
		offered[o.kind]++
		if o.limited {
			limited[o.kind]++
			zone := o.zone
			if int(zone) > w.plan.zones {
				zone = 0
			}
			if zones[o.kind] == nil {
				zones[o.kind] = map[uint16]uint64{}
			}
			zones[o.kind][zone]++
		}
	}
	if led.Offered != offered || led.RateLimited != limited {
		w.failf("P1: offered %v and limited %v, the ledger says %v and %v", offered, limited, led.Offered, led.RateLimited)
	}
	if !maps.EqualFunc(zones, led.LimitedByZone, maps.Equal[map[uint16]uint64]) {
		w.failf("P1: limited by zone %v, the ledger says %v", zones, led.LimitedByZone)
	}
	for _, o := range w.sinks {
		state := o.ring.State()
		o.bounds(&state)
		o.sums(&state)
		if all, telemetry := o.ring.Credits(); all != 0 || telemetry != 0 {
			o.v.failf("P1: %d credits did not come back, %d of them telemetry", all, telemetry)
		}
		o.order()
		if o.plan.trouble == none {
			if s := led.Sinks[o.index]; sum(s.OverBudget)+sum(s.Closed)+sum(state.Released.Evicted) > 0 {
				o.v.failf("P8: a sink with room for everything has lost something: %+v", s)
			}
		}
		if w.plan.ending == orderly && o.plan.trouble < stuck {
			o.complete(&offered)
		}
	}
}

// order checks that records stand in the order in which their events were let in: of all lanes, or of each.
func (o *output) order() {
	last := make([]int, o.w.plan.lanes)
	for _, seq := range o.v.inOrder() {
		g := o.v.given[seq]
		if g.id == 0 {
			continue
		}
		event := o.w.history.get(g.id)
		lane := 0
		if o.books.blind {
			lane = event.lane
		}
		if event.order <= last[lane] {
			o.v.failf("P5: record %d is of event %d, which was let in before the one of the record before", seq, g.id)
		}
		last[lane] = event.order
	}
}

// complete checks that whatever happened is with the receiver, or announced there as lost.
func (o *output) complete(offered *[event.NumKinds]uint64) {
	received, lost := o.v.received()
	state, b, led := o.ring.State(), &o.books, o.w.gate.Ledger()
	ledger := &led.Sinks[o.index]
	exact := sum(state.Released.Evicted) == 0 // else some may have been evicted that the receiver had
	wrong := func(has, want uint64) bool { return has < want || exact && has != want }
	for k := range lost {
		if kind := event.Kind(k); o.plan.only.Has(kind) && !o.plan.delta {
			if missing := offered[k] - received[k]; wrong(lost[k], missing) {
				o.v.failf("P5: %v: %d are missing, and loss records announce %d", kind, missing, lost[k])
			}
		}
	}
	numbers, gone := uint64(state.Next-1), gone(&state)
	if o.plan.delta {
		gone += state.Released.Acknowledged[event.Loss]
	}
	if has := sum(received); wrong(has, numbers-gone) {
		o.v.failf("P5: %d numbers, %d of them without a record; the receiver has %d", numbers, gone, has)
	}
	if n := sum(state.Released.Abandoned); n > 0 {
		o.v.failf("P6: %d abandoned of a sink whose receiver is well: %+v", n, state)
	}
	if lostSessions := sessionsOf(&ledger.OverBudget) + sum(state.Released.Evicted); lostSessions == 0 && o.v.resyncs > 0 {
		o.v.failf("%d resyncs, and nothing was lost", o.v.resyncs)
	}
	if o.plan.trouble == none && exact {
		for k, n := range received {
			if kind := event.Kind(k); kind != event.Loss && o.plan.only.Has(kind) && n != led.Admitted[k] {
				o.v.failf("P8: %v: %d of %d are with a receiver that is well", kind, n, led.Admitted[k])
			}
		}
	}
	if b.table != nil && o.plan.only.Has(event.SessionOpen) && o.plan.only.Has(event.SessionClose) {
		if live := o.w.history.liveSessions(); !maps.Equal(live, b.table) {
			o.v.failf("the receiver knows the sessions %v, and those that live are %v", keys(b.table), keys(live))
		}
	}
}

package admission

import (
	"context"
	"math"
	"slices"

	"github.com/rtflow/pipelined/sdk/event"
)

// Encoder makes the record of an admitted event. ref is what the event was offered with. It must fill in the whole
// record, beginning with Reset, and is called at most once per event, only for events that at least one ring takes,
// before Flush returns.
type Encoder interface {
	Encode(ref uint32, rec *event.Record)
}

// tick is how often a lane looks for loss windows that are over, in nanoseconds.
const tick = LossWindow / 10

// never stands for no time: a capture may begin at 0.
const never = math.MinInt64

// MaxPending is how many events a lane collects before it flushes by itself.
const MaxPending = 256

type pending struct {
	ref  uint32
	kind event.Kind
}

// Lane is one worker's way through the gate. It belongs to one goroutine; only [Gate.Ledger] looks at it from elsewhere,
// through the counters that Flush publishes.
type Lane struct {
	gate   *Gate
	ctx    context.Context
	encode Encoder

	pending [MaxPending]pending
	n       int
	kinds   event.KindSet            // of the pending events
	count   [event.NumKinds]int      // of the pending events, by kind
	records [MaxPending]event.Record // encoded once, copied per sink
	encoded [MaxPending]bool

	offered  [event.NumKinds]uint64
	changed  event.KindSet // kinds whose counters have changed since they were published
	limited  []uint64      // class × slots + slot
	since    []int64       // when limited first grew since the last Flush, or never
	anyNew   bool          // some limited has grown since the last Flush
	perSink  []sinkCounts
	nextTick int64
	loss     event.Record

	published published
}

// sinkCounts are one lane's counters for one sink.
type sinkCounts struct {
	filtered, queued, overBudget, closed [event.NumKinds]uint64
}

func newLane(g *Gate) *Lane {
	return &Lane{
		gate:      g,
		nextTick:  never,
		ctx:       context.Background(),
		limited:   make([]uint64, len(g.limited)),
		since:     slices.Repeat([]int64{never}, len(g.limited)),
		perSink:   make([]sinkCounts, len(g.sinks)),
		published: newPublished(len(g.limited), len(g.sinks)),
	}
}

// Slot returns the limiter's slot of a zone id, for Offer.
func (l *Lane) Slot(zone uint16) int { return l.gate.limiter.slot(zone) }

// Offer offers one event of the kind, from the ingress zone of that slot, at now on the worker's clock. It reports
// whether the limiter let it through; it is then pending until Flush. Session events are not limited.
func (l *Lane) Offer(k event.Kind, slot int, now int64, ref uint32) bool {
	l.offered[k]++
	l.changed |= 1 << k
	if class := classOf[k]; class >= 0 && !l.gate.limiter.allow(int(class), slot, now) {
		i := int(class)*l.gate.slots + slot
		l.limited[i]++
		if l.since[i] == never {
			l.since[i] = now
			l.anyNew = true
		}
		return false
	}
	l.pending[l.n] = pending{ref: ref, kind: k}
	l.n++
	l.kinds |= 1 << k
	l.count[k]++
	return true
}

// Full reports whether the next Offer needs a Flush first.
func (l *Lane) Full() bool { return l.n == MaxPending }

// Flush brings the pending events to the rings and wakes the sinks. now is the worker's clock, wall the Unix time at now.
// A worker calls it once per receive batch, and from time to time when there is nothing to receive.
func (l *Lane) Flush(now, wall int64) {
	if l.anyNew {
		l.noteLimited()
	}
	if l.n > 0 {
		for i, s := range l.gate.sinks {
			l.deliver(s, &l.perSink[i], wall)
		}
		clear(l.encoded[:l.n])
		l.n, l.kinds = 0, 0
		l.count = [event.NumKinds]int{}
	}
	if now >= l.nextTick {
		l.nextTick = (now/tick + 1) * tick
		l.announceLimited(now, wall, false)
	}
	l.publish()
}

// Due reports whether a Flush at now would look for losses to announce. A worker that flushes whenever it is due before a
// packet gets the same stream from the same packets, however they are cut into batches.
func (l *Lane) Due(now int64) bool { return now >= l.nextTick }

// Finish flushes and announces what the limiter refused, however young. The worker stops after it. What a full ring
// missed is left to [Gate.AnnounceMissing].
func (l *Lane) Finish(now, wall int64) {
	l.Flush(now, wall)
	l.announceLimited(now, wall, true)
	l.publish()
}

// deliver brings the pending events to one ring, as many of each kind as it has credits for.
func (l *Lane) deliver(s *sink, c *sinkCounts, wall int64) {
	// The credit for the loss record comes first: when the ring is full of session records, events would take every credit
	// that comes back, and the loss would never be told.
	announce := s.missing.Load() && l.acquire(s, event.Loss, 1) == 1
	var grant [event.NumKinds]int
	total, short := 0, 0
	for kinds := l.kinds; kinds != 0; kinds &= kinds - 1 {
		k := kinds.First()
		n := l.count[k]
		if !s.Only.Has(k) {
			c.filtered[k] += uint64(n)
			continue
		}
		got := l.acquire(s, k, n)
		grant[k] = got
		total += got
		short += n - got
	}
	if short > 0 && l.gate.wait {
		// A credit held for a later event could be the one that an earlier event waits for.
		for k, n := range grant {
			s.Ring.ReturnCredits(event.Kind(k), n)
		}
		if announce {
			s.Ring.ReturnCredits(event.Loss, 1)
		}
		l.deliverWaiting(s, c, wall)
		return
	}
	switch {
	case total > 0:
		if announce {
			l.announceMissing(s, c)
		}
		l.append(s, c, grant, total)
	case announce:
		s.Ring.ReturnCredits(event.Loss, 1) // nothing fits yet
	}
	if short > 0 {
		l.refuse(s, c, &grant, wall)
	}
}

// append puts the first of the pending events of each kind into a ring, as many as were granted, and wakes the sink.
func (l *Lane) append(s *sink, c *sinkCounts, grant [event.NumKinds]int, total int) {
	for kinds := l.kinds; kinds != 0; kinds &= kinds - 1 {
		k := kinds.First()
		c.queued[k] += uint64(grant[k])
	}
	pos := s.Ring.Claim(total)
	for i := range l.pending[:l.n] {
		if k := l.pending[i].kind; grant[k] > 0 {
			grant[k]--
			s.Ring.Put(pos, l.record(i))
			pos++
		}
	}
	s.Ring.Wake()
}

func (l *Lane) acquire(s *sink, k event.Kind, n int) int {
	if s.Overflow == Evict && !l.gate.wait {
		return s.Ring.AcquireEvicting(k, n)
	}
	return s.Ring.Acquire(k, n)
}

// refuse counts what the ring had no credits for and notes it for the next loss record.
func (l *Lane) refuse(s *sink, c *sinkCounts, grant *[event.NumKinds]int, wall int64) {
	closed := s.Ring.Closed()
	var lost event.LossCounts
	for k := range lost { // loss records are not offered: they come from the gate itself
		if short := l.count[k] - grant[k]; short > 0 && s.Only.Has(event.Kind(k)) {
			lost[k] = uint64(short)
			if closed {
				c.closed[k] += lost[k]
			} else {
				c.overBudget[k] += lost[k]
			}
		}
	}
	if !closed {
		s.miss(&lost, wall)
	}
}

// deliverWaiting brings the pending events to a ring one by one and waits for a credit where there is none. When the
// lane's context has ended nothing more goes in, so that no record stands behind a gap that is not announced.
func (l *Lane) deliverWaiting(s *sink, c *sinkCounts, wall int64) {
	var missed event.LossCounts
	for i, p := range l.pending[:l.n] {
		switch {
		case !s.Only.Has(p.kind):
		case missed.Total() > 0 || !l.waitFor(s, p.kind):
			c.closed[p.kind]++
			missed[p.kind]++
		default:
			s.Ring.Put(s.Ring.Claim(1), l.record(i))
			c.queued[p.kind]++
		}
	}
	if missed.Total() > 0 {
		s.miss(&missed, wall)
	}
	s.Ring.Wake()
}

// waitFor waits for one credit. It returns false when the ring closes or the lane's context ends.
func (l *Lane) waitFor(s *sink, k event.Kind) bool {
	for {
		room := s.Ring.Room()
		if s.Ring.Acquire(k, 1) == 1 {
			return true
		}
		if s.Ring.Closed() {
			return false
		}
		s.Ring.Wake()
		select {
		case <-room:
		case <-l.ctx.Done():
			return false
		}
	}
}

// record returns the encoded record of a pending event.
func (l *Lane) record(i int) *event.Record {
	if !l.encoded[i] {
		l.encoded[i] = true
		l.encode.Encode(l.pending[i].ref, &l.records[i])
		l.records[i].Generation = l.gate.generation
	}
	return &l.records[i]
}

// announceMissing puts a loss record for what the ring missed before the records that fit again. The lane holds a credit
// for it.
func (l *Lane) announceMissing(s *sink, c *sinkCounts) {
	if !s.takeMissing(&l.loss, l.gate.generation) {
		s.Ring.ReturnCredits(event.Loss, 1)
		return
	}
	s.Ring.Put(s.Ring.Claim(1), &l.loss)
	c.queued[event.Loss]++
	l.changed = l.changed.With(event.Loss)
}

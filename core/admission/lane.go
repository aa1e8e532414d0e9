package admission

import (
	"context"
	"math"
	"sync/atomic"

	"github.com/rtflow/pipelined/core/tail"
	"github.com/rtflow/pipelined/sdk/event"
)

// tick is how often a lane looks for loss windows that are over, in nanoseconds.
const tick = LossWindow / 10

// never stands for no time: a capture may begin at 0.
const never = math.MinInt64

// MaxBatch is how many events one Flush takes.
const MaxBatch = 256

// Lane is one worker's way through the gate. Its methods are called only by the worker's goroutine; [Gate.Ledger] reads
// what Flush publishes.
type Lane struct {
	gate *Gate
	ctx  context.Context
	view *view
	at   atomic.Pointer[view] // the same while a worker has the lane, else nil

	batch  batch
	grants []grants // by target: what it has taken of the batch
	tail   *tail.Lane

	offered  [event.NumKinds]uint64
	changed  event.KindSet // kinds whose counters have changed since they were published
	limited  []uint64      // by slot and limit
	since    []int64       // when limited first grew since the last Flush, or never
	anyNew   bool          // some limited has grown since the last Flush
	perSink  []sinkCounts  // by index of the sink
	nextTick int64
	loss     [maxAnnounced]event.Record

	published published
}

// sinkCounts are one lane's counters for one sink.
type sinkCounts struct {
	filtered, queued, overBudget, disconnected, closed [event.NumKinds]uint64
}

func newLane(g *Gate) *Lane {
	l := &Lane{gate: g, tail: g.tail.Add(), view: new(view), nextTick: never, ctx: context.Background()}
	l.published.init()
	l.take(g.view.Load())
	return l
}

// Sync takes over what has changed in the gate: sinks, and what they want, and zones. The worker calls it between two batches, when
// it has flushed.
func (l *Lane) Sync() {
	if v := l.gate.view.Load(); v != l.view {
		l.take(v)
		l.at.Store(v)
	}
}

func (l *Lane) take(v *view) {
	if l.anyNew {
		l.noteLimited()
	}
	for range len(v.limited) - len(l.limited) {
		l.limited = append(l.limited, 0)
		l.since = append(l.since, never)
	}
	for range len(v.sinks) - len(l.perSink) {
		l.perSink = append(l.perSink, sinkCounts{})
	}
	l.published.grow(len(l.limited), len(l.perSink))
	l.publish()
	for i := range v.sinks {
		was, is := l.view.target(i) != nil, v.target(i) != nil
		switch {
		case is && !was:
			l.comes(i)
		case was && !is:
			l.leaves(i)
		}
	}
	l.grants = make([]grants, len(v.targets))
	l.view = v
}

// Slot returns the limiter's slot of a zone id, for Offer.
func (l *Lane) Slot(zone uint16) int { return l.view.limiter.slot(zone) }

// Offer asks the limiter about one event of the kind, from the ingress zone of that slot, at now on the worker's clock. If it
// returns true, the event must be handed to the next Flush, in the order of the offers. Session events are not limited.
func (l *Lane) Offer(k event.Kind, slot int, now int64) bool {
	l.offered[k]++
	l.changed |= 1 << k
	if limit := limitOf[k]; limit >= 0 && !l.view.limiter.allow(int(limit), slot, now) {
		l.refused(int(limit), slot, now)
		return false
	}
	return true
}

// OfferUnanswered is Offer for an event of a session that nobody has answered. It is limited.
func (l *Lane) OfferUnanswered(k event.Kind, slot int, now int64) bool {
	if l.TryUnanswered(k, slot, now) {
		return true
	}
	l.Refuse(k, slot, now)
	return false
}

// TryUnanswered is OfferUnanswered but for an event that the limiter refuses: it does not count as offered, and the
// caller owes it. It is offered when the session is answered, or refused with Refuse when the session ends.
func (l *Lane) TryUnanswered(k event.Kind, slot int, now int64) bool {
	if !l.view.limiter.allow(int(bucketOf[limitOf[unansweredRow(k)]]), slot, now) {
		return false
	}
	l.offered[k]++
	l.changed |= 1 << k
	return true
}

// Refuse counts an event of an unanswered session as refused by the limiter.
func (l *Lane) Refuse(k event.Kind, slot int, now int64) {
	l.offered[k]++
	l.changed |= 1 << k
	l.refused(int(limitOf[unansweredRow(k)]), slot, now)
}

func (l *Lane) refused(limit, slot int, now int64) {
	i := slot*numLimits + limit
	l.limited[i]++
	if l.since[i] == never {
		l.since[i] = now
		l.anyNew = true
	}
}

// Flush brings the events that passed the limiter since the last Flush, at most [MaxBatch], to the rings and wakes the
// sinks. now is the worker's clock, wall the Unix time at now. A worker calls it once per receive batch, and from time to
// time when there is nothing to receive.
//
// It returns how many of the open records of unanswered sessions no ring had a credit for: the last ones of the slice. They
// do not count as offered any more, and the caller owes them, see [Lane.TryUnanswered].
func (l *Lane) Flush(now, wall int64, events []Event) (owed int) {
	if l.anyNew {
		l.noteLimited()
	}
	if len(events) > 0 {
		owed = l.deliverAll(events, wall)
	}
	if now >= l.nextTick {
		l.nextTick = (now/tick + 1) * tick
		l.announceLimited(now, wall, false)
	}
	l.publish()
	return owed
}

// Due reports whether a Flush at now would look for losses to announce. A worker that flushes whenever it is due before a
// packet gets the same stream from the same packets, however they are cut into batches.
func (l *Lane) Due(now int64) bool { return now >= l.nextTick }

// Finish announces what the limiter refused, however young. The worker has flushed, and
// does not use the lane any more. What a full ring
// missed is left to [Gate.AnnounceMissing].
func (l *Lane) Finish(now, wall int64) {
	l.Flush(now, wall, nil)
	l.announceLimited(now, wall, true)
	l.publish()
	l.at.Store(nil)
}

package admission

import (
	"context"
	"math"
	"slices"
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

	batch batch
	ways  []way // by target
	tail  *tail.Lane
	rates *rates

	offered  [event.NumKinds]uint64
	changed  event.KindSet // kinds whose counters have changed since they were published
	limited  []refusals    // by slot and limit
	newly    []int32       // the indexes of those that have grown since the last Flush
	perSink  []*sinkCounts // by index of the sink
	partly   bool          // a batch has not gone into all rings as a whole since the counters were published
	nextTick int64
	over     []*window // scratch of announceLimited
	loss     [maxAnnounced]event.Record

	published published
}

// refusals are what a bucket has refused at one slot and limit.
type refusals struct {
	bucket *bucket
	n      uint64
	since  int64 // when it first did since the last Flush, or never
}

// sinkCounts are one lane's counters for one sink.
type sinkCounts struct {
	filtered, queued, overBudget, disconnected, closed [event.NumKinds]uint64
}

func newLane(g *Gate) *Lane {
	v := g.view.Load()
	l := &Lane{gate: g, tail: g.tail.Add(), view: new(view), rates: v.limiter.rates, nextTick: never, ctx: context.Background()}
	l.published.init()
	l.take(v)
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
	l.noteLimited()
	for range len(v.limited) - len(l.limited) {
		slot, limit := len(l.limited)/numLimits, len(l.limited)%numLimits
		l.limited = append(l.limited, refusals{bucket: v.limiter.bucket(limit, slot), since: never})
	}
	l.newly = slices.Grow(l.newly, len(l.limited))
	for range len(v.sinks) - len(l.perSink) {
		l.perSink = append(l.perSink, new(sinkCounts))
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
	l.ways = make([]way, len(v.targets))
	published := *l.published.perSink.Load()
	for i := range l.ways {
		t := &v.targets[i]
		l.ways[i] = way{target: t, ring: t.Ring, counts: l.perSink[t.index], published: published[t.index]}
	}
	l.view = v
}

// Slot returns the limiter's slot of a zone id, for Offer.
func (l *Lane) Slot(zone uint16) int { return l.view.limiter.slot(zone) }

// Offer asks the limiter about one event of the kind, from the ingress zone of that slot, at now on the worker's clock. If it
// returns true, the event must be handed to the next Flush, in the order of the offers. Session events are not limited.
func (l *Lane) Offer(k event.Kind, slot int, now int64) bool {
	limit := limitOf[k]
	if limit < 0 {
		l.count(k)
		return true
	}
	i, p := slot*numLimits+int(limit), l.rates.of(int(limit))
	r := &l.limited[i]
	b := r.bucket
	if tat := b.tat.Load(); b.change.Load() == p.change {
		if p.above(tat, now) {
			l.refused(r, i, now)
			return false
		}
		if b.tat.CompareAndSwap(tat, p.next(tat, now)) {
			l.count(k)
			return true
		}
	}
	return l.decide(k, i, p, now)
}

// decide is Offer where the rate has changed, there is none, or another lane uses the bucket at this moment.
func (l *Lane) decide(k event.Kind, i int, p *params, now int64) bool {
	r := &l.limited[i]
	if !r.bucket.allow(now, p) {
		l.refused(r, i, now)
		return false
	}
	l.count(k)
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
	limit := int(limitOf[unansweredRow(k)])
	if !l.limited[slot*numLimits+limit].bucket.allow(now, l.rates.of(limit)) {
		return false
	}
	l.count(k)
	return true
}

// Refuse counts an event of an unanswered session as refused by the limiter.
func (l *Lane) Refuse(k event.Kind, slot int, now int64) {
	i := slot*numLimits + int(limitOf[unansweredRow(k)])
	l.refused(&l.limited[i], i, now)
}

// count counts an event that the limiter does not refuse as offered.
func (l *Lane) count(k event.Kind) {
	l.offered[k]++
	l.changed |= 1 << k
}

// refused counts an event as refused by the limiter. That it was offered, noteLimited counts.
func (l *Lane) refused(r *refusals, i int, now int64) {
	r.n++
	if r.since == never {
		l.firstRefused(r, i, now)
	}
}

// firstRefused notes the first refusal since the last Flush.
//
//go:noinline
func (l *Lane) firstRefused(r *refusals, i int, now int64) {
	r.since = now
	l.newly = append(l.newly, int32(i))
}

// Flush brings the events that passed the limiter since the last Flush, at most [MaxBatch], to the rings and wakes the
// sinks. now is the worker's clock, wall the Unix time at now. A worker calls it once per receive batch, and from time to
// time when there is nothing to receive.
//
// It returns how many of the open records of unanswered sessions no ring had a credit for: the last ones of the slice. They
// do not count as offered any more, and the caller owes them, see [Lane.TryUnanswered].
func (l *Lane) Flush(now, wall int64, events []Event) (owed int) {
	if len(l.newly) > 0 {
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

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
	ref uint32
	row row
}

// Lane is one worker's way through the gate. It belongs to one goroutine; only [Gate.Ledger] looks at it from elsewhere,
// through the counters that Flush publishes.
type Lane struct {
	gate   *Gate
	ctx    context.Context
	encode Encoder

	pending [MaxPending]pending
	n       int
	rows    rowSet                   // of the pending events
	count   [numRows]int             // of the pending events, by row
	records [MaxPending]event.Record // encoded once, copied per sink
	encoded [MaxPending]bool

	offered  [event.NumKinds]uint64
	changed  event.KindSet // kinds whose counters have changed since they were published
	limited  []uint64      // limit × slots + slot
	since    []int64       // when limited first grew since the last Flush, or never
	anyNew   bool          // some limited has grown since the last Flush
	perSink  []sinkCounts
	nextTick int64
	loss     [maxAnnounced]event.Record

	published published
}

// sinkCounts are one lane's counters for one sink.
type sinkCounts struct {
	filtered, queued, overBudget, disconnected, closed [event.NumKinds]uint64
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
	if limit := limitOf[k]; limit >= 0 && !l.gate.limiter.allow(int(limit), slot, now) {
		l.refused(int(limit), slot, now)
		return false
	}
	l.pend(row(k), ref)
	return true
}

// OfferUnanswered offers an event of a session that nobody has answered. It is limited.
func (l *Lane) OfferUnanswered(k event.Kind, slot int, now int64, ref uint32) bool {
	if l.TryUnanswered(k, slot, now, ref) {
		return true
	}
	l.Refuse(k, slot, now)
	return false
}

// TryUnanswered is OfferUnanswered but for an event that the limiter refuses: it does not count as offered, and the
// caller owes it. It is offered when the session is answered, or refused with Refuse when the session ends.
func (l *Lane) TryUnanswered(k event.Kind, slot int, now int64, ref uint32) bool {
	r := unansweredRow(k)
	if !l.gate.limiter.allow(int(bucketOf[limitOf[r]]), slot, now) {
		return false
	}
	l.offered[k]++
	l.changed |= 1 << k
	l.pend(r, ref)
	return true
}

// Refuse counts an event of an unanswered session as refused by the limiter.
func (l *Lane) Refuse(k event.Kind, slot int, now int64) {
	l.offered[k]++
	l.changed |= 1 << k
	l.refused(int(limitOf[unansweredRow(k)]), slot, now)
}

func (l *Lane) refused(limit, slot int, now int64) {
	i := limit*l.gate.slots + slot
	l.limited[i]++
	if l.since[i] == never {
		l.since[i] = now
		l.anyNew = true
	}
}

func (l *Lane) pend(r row, ref uint32) {
	l.pending[l.n] = pending{ref: ref, row: r}
	l.n++
	l.rows |= 1 << r
	l.count[r]++
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
		l.n, l.rows = 0, 0
		l.count = [numRows]int{}
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

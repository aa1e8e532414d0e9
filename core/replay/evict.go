package replay

import (
	"github.com/rtflow/pipelined/sdk/event"
)

// AcquireEvicting is Acquire for a ring whose overflow evicts: where credits are short it evicts the oldest records. A
// telemetry or loss record evicts telemetry records only and stops at the oldest session record; a session record evicts
// whatever is oldest. A record that was handed to the sink is not touched until the sink's run has ended: its
// destination may have it already. Workers.
//
// What is evicted is announced where it happened: the newest evicted record's slot becomes a loss record that counts the
// gap before it, and grows as more is evicted. So an eviction run costs one slot, and the stream says what it lacks at
// the very place.
func (r *Ring) AcquireEvicting(k event.Kind, n int) int {
	got := r.Acquire(k, n)
	if got == n || r.closed.Load() {
		return got
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for got < n && r.evictOne(k != event.SessionOpen && k != event.SessionClose) {
		got += r.credits.acquire(classOf[k], n-got)
	}
	return got
}

// evictOne evicts one record and reports whether it could. It may take two calls until a slot is free: the first
// turns the oldest record into the loss record, which keeps its slot.
func (r *Ring) evictOne(telemetryOnly bool) bool {
	p := r.floor
	if !r.evictable(p) {
		return false
	}
	if !r.isMarker(p) {
		if telemetryOnly && !r.kindAt(p).Telemetry() {
			return false
		}
		r.mark(p, nil)
		return true
	}
	victim := p + 1
	if !r.evictable(victim) || telemetryOnly && !r.kindAt(victim).Telemetry() {
		return false
	}
	r.mark(victim, &r.records[p&r.mask])
	// The loss record moved on: its old slot is free, and takes the victim's place in the books.
	r.floor = victim
	r.credits.release(Announcement, 1)
	r.roomMade()
	return true
}

// evictable reports whether position p is published and was not handed out in this run of the sink.
func (r *Ring) evictable(p uint64) bool { return p >= r.sent && r.seqs[p&r.mask].Load() == p }

func (r *Ring) kindAt(p uint64) event.Kind { return event.Kind(r.kinds[p&r.mask] & kindMask) }

// isMarker reports whether p holds a loss record for evicted records.
func (r *Ring) isMarker(p uint64) bool {
	return r.kindAt(p) == event.Loss && r.records[p&r.mask].LossReason() == event.LossEvicted
}

// mark counts the record at p as evicted and writes a loss record in its place that includes it and what previous, the
// loss record before it, counted. previous is nil for the first of a run.
func (r *Ring) mark(p uint64, previous *event.Record) {
	i := p & r.mask
	victim := &r.records[i]
	kind := r.kindAt(p)
	var counts event.LossCounts
	since, until := victim.Time(), victim.Time()
	if kind == event.Loss {
		// The announcement of an earlier loss is not lost: it is merged.
		counts, since = victim.LossCounts(), victim.LossSince()
	} else {
		counts[kind] = 1
	}
	if previous != nil {
		before := previous.LossCounts()
		for k, n := range before {
			counts[k] += n
		}
		since = previous.LossSince()
	} else {
		r.released.Announced++
	}
	r.released.Evicted[kind]++
	r.credits.announce(classOf[kind])
	generation := victim.Generation
	victim.Reset(event.Loss)
	victim.Generation = generation
	victim.SetSeq(event.Seq(p))
	victim.SetLoss(event.LossEvicted, 0, &counts, since, until)
	r.kinds[i] = uint8(event.Loss)
}

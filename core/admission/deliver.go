package admission

import (
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/sdk/event"
)

// grants are the credits that a lane holds in one ring for its pending events, by row.
type grants [numRows]int

func (g *grants) total() (n int) {
	for _, k := range g {
		n += k
	}
	return n
}

// deliver brings the pending events to one ring, as many of each row as it has credits for.
func (l *Lane) deliver(s *sink, c *sinkCounts, wall int64) {
	// The credit for a loss record comes first: when the ring is full of session records, events would take every credit
	// that comes back, and the loss would never be told.
	announce := 0
	if s.missing.Load() != 0 && s.Ring.AcquireLoss(l.sessions(s)) {
		announce = 1
	}
	var grant grants
	total, short := 0, 0
	for rows := l.rows; rows != 0; rows &= rows - 1 {
		r := rows.first()
		n := l.count[r]
		if !s.Only.Has(kindOf[r]) {
			c.filtered[kindOf[r]] += uint64(n)
			continue
		}
		got := l.acquire(s, classOf[r], n)
		grant[r] = got
		total += got
		short += n - got
	}
	if short > 0 && l.gate.wait {
		// A credit held for a later event could be the one that an earlier event waits for.
		s.returnAll(&grant, announce)
		l.deliverWaiting(s, c, wall)
		return
	}
	if total > 0 && announce == 0 && s.missing.Load() != 0 {
		if announce = l.makeRoomForLoss(s, &grant); announce == 0 {
			s.returnTelemetry(&grant)
		}
		short += total - grant.total()
		total = grant.total()
	}
	if total > 0 {
		if announce > 0 {
			announce += s.Ring.Acquire(replay.Announcement, s.announceable()-1)
		}
		l.announceMissing(s, c, announce)
		l.append(s, c, grant, total)
	} else {
		s.Ring.ReturnCredits(replay.Announcement, announce)
	}
	if short > 0 {
		l.refuse(s, c, &grant, wall)
	}
}

// sessions reports whether records of answered sessions that the sink wants are pending.
func (l *Lane) sessions(s *sink) bool { return l.rows&answeredRows&rowSet(s.Only) != 0 }

// makeRoomForLoss gets the credit for a loss record that is owed, in a ring that evicts: by giving up one more record of
// the class that one of the granted events has, or, where there is none, one of these events. It returns how many it got.
func (l *Lane) makeRoomForLoss(s *sink, grant *grants) int {
	if s.Overflow != replay.Evict {
		return 0
	}
	for r, n := range grant {
		if n == 0 {
			continue
		}
		c := classOf[r]
		more := s.Ring.AcquireEvicting(c, 1)
		if s.Ring.AnnounceWith(c) {
			grant[r] -= 1 - more
			return 1
		}
		s.Ring.ReturnCredits(c, more)
	}
	return 0
}

// returnTelemetry takes back what was granted to telemetry: none of it fits before the loss that is owed is told. Records
// of answered sessions go in all the same. The ring holds as many loss records as it may, and one more for each session
// would let a storm fill what is kept for sessions; the loss stays owed.
func (s *sink) returnTelemetry(grant *grants) {
	for r, n := range grant {
		if classOf[r].Telemetry() {
			s.Ring.ReturnCredits(classOf[r], n)
			grant[r] = 0
		}
	}
}

// returnAll gives back credits that are not used.
func (s *sink) returnAll(grant *grants, announce int) {
	for r, n := range grant {
		s.Ring.ReturnCredits(classOf[r], n)
	}
	s.Ring.ReturnCredits(replay.Announcement, announce)
}

// append puts the first of the pending events of each row into a ring, as many as were granted, and wakes the sink.
func (l *Lane) append(s *sink, c *sinkCounts, grant grants, total int) {
	for rows := l.rows; rows != 0; rows &= rows - 1 {
		r := rows.first()
		c.queued[kindOf[r]] += uint64(grant[r])
	}
	pos := s.Ring.Claim(total)
	for i := range l.pending[:l.n] {
		if r := l.pending[i].row; grant[r] > 0 {
			grant[r]--
			s.Ring.Put(pos, classOf[r], l.record(i))
			pos++
		}
	}
	s.Ring.Wake()
}

func (l *Lane) acquire(s *sink, c replay.Class, n int) int {
	if s.Overflow == replay.Evict && !l.gate.wait {
		return s.Ring.AcquireEvicting(c, n)
	}
	return s.Ring.Acquire(c, n)
}

// refuse counts what the ring had no credits for and notes it for the next loss record.
func (l *Lane) refuse(s *sink, c *sinkCounts, grant *grants, wall int64) {
	var lost event.LossCounts
	for rows := l.rows; rows != 0; rows &= rows - 1 {
		if r := rows.first(); s.Only.Has(kindOf[r]) { // loss records are not offered: they come from the gate itself
			lost[kindOf[r]] += uint64(l.count[r] - grant[r])
		}
	}
	count, why := &c.overBudget, event.LossOverBudget
	switch {
	case s.Ring.Closed():
		count = &c.closed
	case !s.connected():
		count, why = &c.disconnected, event.LossDisconnected
	}
	for k, n := range lost {
		count[k] += n
	}
	if count != &c.closed {
		s.miss(why, &lost, wall)
	}
}

// deliverWaiting brings the pending events to a ring one by one and waits for a credit where there is none. When the
// lane's context has ended nothing more goes in, so that no record stands behind a gap that is not announced.
func (l *Lane) deliverWaiting(s *sink, c *sinkCounts, wall int64) {
	var missed event.LossCounts
	for i, p := range l.pending[:l.n] {
		k := kindOf[p.row]
		switch {
		case !s.Only.Has(k):
		case missed.Total() > 0 || !l.waitFor(s, classOf[p.row]):
			c.closed[k]++
			missed[k]++
		default:
			s.Ring.Put(s.Ring.Claim(1), classOf[p.row], l.record(i))
			c.queued[k]++
		}
	}
	if missed.Total() > 0 {
		s.miss(event.LossOverBudget, &missed, wall)
	}
	s.Ring.Wake()
}

// waitFor waits for one credit. It returns false when the ring closes or the lane's context ends.
func (l *Lane) waitFor(s *sink, c replay.Class) bool {
	for {
		room := s.Ring.Room()
		if s.Ring.Acquire(c, 1) == 1 {
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

// announceMissing puts loss records before the records that fit again: for what the ring has evicted and not told, and
// for what it missed. The lane holds that many credits for the latter.
func (l *Lane) announceMissing(s *sink, c *sinkCounts, credits int) {
	if s.Ring.Owes() {
		s.Ring.AnnounceOwed(l.gate.generation)
	}
	if credits == 0 {
		return
	}
	n := s.takeMissing(l.loss[:credits], l.gate.generation)
	s.Ring.ReturnCredits(replay.Announcement, credits-n)
	for i := range l.loss[:n] {
		s.Ring.Put(s.Ring.Claim(1), replay.Announcement, &l.loss[i])
	}
	c.queued[event.Loss] += uint64(n)
	l.changed = l.changed.With(event.Loss)
}

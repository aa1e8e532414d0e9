package admission

import (
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/sdk/event"
)

// batch is what one Flush brings to the rings.
type batch struct {
	events  []Event                // the worker's, during Flush
	rows    rowSet                 // of the events
	count   [numRows]int           // of the events, by row
	records [MaxBatch]event.Record // made once, copied per sink
	made    [MaxBatch]bool
}

func (b *batch) begin(events []Event) {
	var rows rowSet
	for i := range events {
		r := events[i].row()
		rows |= 1 << r
		b.count[r]++
	}
	b.events, b.rows = events, rows
}

func (b *batch) end() {
	clear(b.made[:len(b.events)])
	b.events, b.rows = nil, 0
	b.count = [numRows]int{}
}

// record returns the record of an event.
func (b *batch) record(i int, generation uint32) *event.Record {
	if !b.made[i] {
		b.make(i, generation)
	}
	return &b.records[i]
}

func (b *batch) make(i int, generation uint32) {
	b.made[i] = true
	b.events[i].Encode(&b.records[i])
	b.records[i].Generation = generation
}

// grants are the credits that a lane holds in one ring for the events of its batch, by row.
type grants [numRows]int

func (g *grants) total() (n int) {
	for _, k := range g {
		n += k
	}
	return n
}

// deliverAll brings events to all rings and counts what became of them. It returns how many opens are owed, see [Lane.Flush].
func (l *Lane) deliverAll(events []Event, wall int64) (owed int) {
	l.batch.begin(events)
	all := true
	for i := range l.view.targets {
		t := &l.view.targets[i]
		all = l.deliver(t, &l.perSink[t.index], &l.grants[i], wall) && all
	}
	if !all {
		owed = l.takeBack()
		for i := range l.view.targets {
			t := &l.view.targets[i]
			l.account(t, &l.perSink[t.index], &l.grants[i], wall)
		}
	}
	l.show(owed)
	l.batch.end()
	return owed
}

// show shows the batch to those who look, less the opens that are owed.
func (l *Lane) show(owed int) {
	b := &l.batch
	room := l.tail.Begin(len(b.events) - owed)
	if room == 0 {
		return
	}
	opens := b.count[unansweredOpen]
	for i := range b.events {
		if b.events[i].row() == unansweredOpen {
			if opens == 0 {
				continue
			}
			opens--
		}
		if room == 0 {
			break
		}
		room--
		l.tail.Put(b.record(i, l.gate.generation.Load()))
	}
	l.tail.End()
}

// deliver brings the batch to one ring, as many of each row as it has credits for, and says in grant how many that were. It
// reports whether that was all of the batch.
func (l *Lane) deliver(s *target, c *sinkCounts, grant *grants, wall int64) (all bool) {
	// The credit for a loss record comes first: when the ring is full of session records, events would take every credit
	// that comes back, and the loss would never be told.
	announce := 0
	if s.missing.Load() != 0 && s.Ring.AcquireLoss(l.sessions(s)) {
		announce = 1
	}
	*grant = grants{}
	total, short := 0, 0
	for rows := l.batch.rows & wantedRows(s.only); rows != 0; rows &= rows - 1 {
		r := rows.first()
		n := l.batch.count[r]
		got := l.acquire(s, classOf[r], n)
		grant[r] = got
		total += got
		short += n - got
	}
	if short > 0 && l.gate.wait {
		// A credit held for a later event could be the one that an earlier event waits for.
		s.returnAll(grant, announce)
		l.deliverWaiting(s, c, wall)
		*grant = l.batch.count // all of it is accounted for
		return l.batch.rows&^wantedRows(s.only) == 0
	}
	if total > 0 && announce == 0 && s.missing.Load() != 0 {
		if announce = l.makeRoomForLoss(s, grant); announce == 0 {
			s.returnTelemetry(grant)
		}
		total = grant.total()
	}
	if total == 0 {
		s.Ring.ReturnCredits(replay.Announcement, announce)
		return false
	}
	if announce > 0 {
		announce += s.Ring.Acquire(replay.Announcement, s.announceable()-1)
	}
	l.announceMissing(s, c, announce)
	l.append(s, c, *grant, total)
	return total == len(l.batch.events)
}

// sessions reports whether records of answered sessions that the sink wants are in the batch.
func (l *Lane) sessions(s *target) bool { return l.batch.rows&answeredRows&rowSet(s.only) != 0 }

// makeRoomForLoss gets the credit for a loss record that is owed, in a ring that evicts: by giving up one more record of
// the class that one of the granted events has, or, where there is none, one of these events. It returns how many it got.
func (l *Lane) makeRoomForLoss(s *target, grant *grants) int {
	if s.overflow != replay.Evict {
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

// append puts the first events of each row into a ring, as many as were granted, and wakes the sink.
func (l *Lane) append(s *target, c *sinkCounts, grant grants, total int) {
	b := &l.batch
	for rows := b.rows; rows != 0; rows &= rows - 1 {
		r := rows.first()
		c.queued[kindOf[r]] += uint64(grant[r])
	}
	generation := l.gate.generation.Load()
	run := s.Ring.Begin(total)
	for i := range b.events {
		if r := b.events[i].row(); grant[r] > 0 {
			grant[r]--
			run.Append(classOf[r], b.record(i, generation))
		}
	}
	run.Publish()
	s.Ring.Wake()
}

// acquire takes credits in the way of the sink: a ring that evicts makes room.
func (l *Lane) acquire(s *target, c replay.Class, n int) int {
	if s.overflow == replay.Evict && !l.gate.wait {
		return s.Ring.AcquireEvicting(c, n)
	}
	return s.Ring.Acquire(c, n)
}

// takeBack takes the open records of unanswered sessions that no ring has taken out of the account, and returns how many
// they are. Where one ring has taken such a record, the others have missed it: the record is not made twice.
func (l *Lane) takeBack() int {
	n := l.batch.count[unansweredOpen]
	if n == 0 {
		return 0
	}
	most, wanted := 0, false
	for i := range l.view.targets {
		if l.view.targets[i].wants(event.SessionOpen) {
			wanted = true
			most = max(most, l.grants[i][unansweredOpen])
		}
	}
	if !wanted {
		return 0
	}
	l.batch.count[unansweredOpen] = most
	l.offered[event.SessionOpen] -= uint64(n - most)
	return n - most
}

// account counts what a sink did not want, and what its ring had no credits for, which is noted for the next loss record.
func (l *Lane) account(s *target, c *sinkCounts, grant *grants, wall int64) {
	var lost event.LossCounts
	short := 0
	for rows := l.batch.rows; rows != 0; rows &= rows - 1 {
		r := rows.first()
		k, n := kindOf[r], l.batch.count[r]
		if !s.wants(k) {
			c.filtered[k] += uint64(n)
			continue
		}
		lost[k] += uint64(n - grant[r])
		short += n - grant[r]
	}
	if short == 0 {
		return
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

// deliverWaiting brings the batch to a ring event by event and waits for a credit where there is none. When the
// lane's context has ended nothing more goes in, so that no record stands behind a gap that is not announced.
func (l *Lane) deliverWaiting(s *target, c *sinkCounts, wall int64) {
	var missed event.LossCounts
	for i := range l.batch.events {
		r := l.batch.events[i].row()
		k := kindOf[r]
		switch {
		case !s.wants(k):
		case missed.Total() > 0 || !l.waitFor(s, classOf[r]):
			c.closed[k]++
			missed[k]++
		default:
			s.Ring.Put(s.Ring.Claim(1), classOf[r], l.batch.record(i, l.gate.generation.Load()))
			c.queued[k]++
		}
	}
	if missed.Total() > 0 {
		s.miss(event.LossOverBudget, &missed, wall)
	}
	s.Ring.Wake()
}

// waitFor waits for one credit. It returns false when the ring closes or the lane's context ends.
func (l *Lane) waitFor(s *target, c replay.Class) bool {
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

// announceMissing puts loss records before the records that fit again: for what the ring has evicted and not told, and
// for what it missed. The lane holds that many credits for the latter.
func (l *Lane) announceMissing(s *target, c *sinkCounts, credits int) {
	if s.Ring.Owes() {
		s.Ring.AnnounceOwed(l.gate.generation.Load())
	}
	if credits == 0 {
		return
	}
	n := s.takeMissing(l.loss[:credits], l.gate.generation.Load())
	s.Ring.ReturnCredits(replay.Announcement, credits-n)
	for i := range l.loss[:n] {
		s.Ring.Put(s.Ring.Claim(1), replay.Announcement, &l.loss[i])
	}
	c.queued[event.Loss] += uint64(n)
	l.changed = l.changed.With(event.Loss)
}

package admission

import (
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/sdk/event"
)

// batch is what one Flush brings to the rings.
type batch struct {
	count      perRow  // of the events
	events     []Event // the worker's: used only within Flush
	generation uint32  // of their records
	rows       rowSet  // of the events
}

// perRow are numbers of events of one batch, by row. [MaxBatch] fits.
type perRow [numRows]uint16

func (n *perRow) total() (total int) {
	for _, k := range n {
		total += int(k)
	}
	return total
}

func (b *batch) begin(events []Event, generation uint32) {
	b.count = perRow{}
	b.events, b.generation = events, generation
	var rows rowSet
	for i := range events {
		r := events[i].row()
		rows |= 1 << r
		b.count[r]++
	}
	b.rows = rows
}

// make makes the record of an event.
func (b *batch) make(e *Event, rec *event.Record) {
	e.Encode(rec)
	rec.Generation = b.generation
}

// way is a lane's way to a target.
type way struct {
	*target
	ring      *replay.Ring
	counts    *sinkCounts
	published *publishedSink
	grants    perRow // how many of the batch the ring has taken
}

// deliverAll brings events to all rings and counts what became of them. It returns how many opens are owed, see [Lane.Flush].
func (l *Lane) deliverAll(events []Event, wall int64) (owed int) {
	l.batch.begin(events, l.gate.generation.Load())
	all := true
	for i := range l.ways {
		all = l.deliver(&l.ways[i], wall) && all
	}
	if !all {
		owed = l.takeBack()
		for i := range l.ways {
			l.account(&l.ways[i], wall)
		}
	}
	if l.tail.Watched() {
		l.show(owed)
	}
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
		e := &b.events[i]
		if e.row() == unansweredOpen {
			if opens == 0 {
				continue
			}
			opens--
		}
		if room == 0 {
			break
		}
		room--
		b.make(e, l.tail.Next())
	}
	l.tail.End()
}

// deliver brings the batch to one ring, as many of each row as it has credits for. It reports whether that was all of the batch.
func (l *Lane) deliver(w *way, wall int64) (all bool) {
	// Most batches are of one row, and go in as a whole: a short way for them.
	b := &l.batch
	rows := b.rows
	if rows&(rows-1) != 0 || rows&^w.rows != 0 || w.missing.Load() != 0 {
		return l.deliverRows(w, wall)
	}
	r := rows.first()
	n, class := len(b.events), classOf[r]
	if got := w.ring.Acquire(class, n); got < n || w.missing.Load() != 0 || w.ring.Owes() {
		w.ring.ReturnCredits(class, got)
		return l.deliverRows(w, wall)
	}
	w.counts.queued[kindOf[r]] += uint64(n)
	run := w.ring.Begin(n)
	for i := range b.events {
		rec := run.Slot(i)
		b.make(&b.events[i], rec)
		run.Made(i, rec, class)
	}
	run.Publish()
	w.ring.Wake()
	w.grants = perRow{}
	w.grants[r] = uint16(n)
	return true
}

// deliverRows is deliver for any batch and any state of the ring.
func (l *Lane) deliverRows(w *way, wall int64) (all bool) {
	// The credit for a loss record comes first: when the ring is full of session records, events would take every credit
	// that comes back, and the loss would never be told.
	announce := 0
	if w.missing.Load() != 0 && w.ring.AcquireLoss(l.sessions(w)) {
		announce = 1
	}
	total, short := l.acquire(w)
	if short && l.gate.wait {
		// A credit held for a later event could be the one that an earlier event waits for.
		w.returnAll(announce)
		l.deliverWaiting(w, wall)
		w.grants = l.batch.count // all of it is accounted for
		return l.batch.rows&^w.rows == 0
	}
	if total > 0 && announce == 0 && w.missing.Load() != 0 {
		if announce = w.makeRoomForLoss(); announce == 0 {
			w.returnTelemetry()
		}
		total = w.grants.total()
	}
	if total == 0 {
		w.ring.ReturnCredits(replay.Announcement, announce)
		return false
	}
	if announce > 0 {
		announce += w.ring.Acquire(replay.Announcement, w.announceable()-1)
	}
	if announce > 0 || w.ring.Owes() {
		l.announceMissing(w, announce)
	}
	l.append(w, total)
	return total == len(l.batch.events)
}

// acquire takes credits in a ring for the batch, as many as there are. It returns how many, and whether that is less than the sink wants.
func (l *Lane) acquire(w *way) (total int, short bool) {
	w.grants = perRow{}
	for rows := l.batch.rows & w.rows; rows != 0; rows &= rows - 1 {
		r := rows.first()
		n := int(l.batch.count[r])
		got := w.ring.Acquire(classOf[r], n)
		if got < n && w.evicts && !l.gate.wait {
			got += w.ring.MakeRoom(classOf[r], n-got)
		}
		w.grants[r] = uint16(got)
		total += got
		short = short || got < n
	}
	return total, short
}

// sessions reports whether records of answered sessions that the sink wants are in the batch.
func (l *Lane) sessions(w *way) bool { return l.batch.rows&answeredRows&w.rows != 0 }

// makeRoomForLoss gets the credit for a loss record that is owed, in a ring that evicts: by giving up one more record of
// the class that one of the granted events has, or, where there is none, one of these events. It returns how many it got.
func (w *way) makeRoomForLoss() int {
	if !w.evicts {
		return 0
	}
	for r, n := range w.grants {
		if n == 0 {
			continue
		}
		c := classOf[r]
		more := w.ring.AcquireEvicting(c, 1)
		if w.ring.AnnounceWith(c) {
			w.grants[r] -= uint16(1 - more)
			return 1
		}
		w.ring.ReturnCredits(c, more)
	}
	return 0
}

// returnTelemetry takes back what was granted to telemetry: none of it fits before the loss that is owed is told. Records
// of answered sessions go in all the same. The ring holds as many loss records as it may, and one more for each session
// would let a storm fill what is kept for sessions; the loss stays owed.
func (w *way) returnTelemetry() {
	for r, n := range w.grants {
		if classOf[r].Telemetry() {
			w.ring.ReturnCredits(classOf[r], int(n))
			w.grants[r] = 0
		}
	}
}

// returnAll gives back credits that are not used.
func (w *way) returnAll(announce int) {
	for r, n := range w.grants {
		w.ring.ReturnCredits(classOf[r], int(n))
	}
	w.ring.ReturnCredits(replay.Announcement, announce)
}

// append makes the records of the first events of each row in a ring, as many as were granted, and wakes the sink.
func (l *Lane) append(w *way, total int) {
	for rows := l.batch.rows; rows != 0; rows &= rows - 1 {
		r := rows.first()
		w.counts.queued[kindOf[r]] += uint64(w.grants[r])
	}
	run, made, left := w.ring.Begin(total), 0, w.grants
	for i := range l.batch.events {
		e := &l.batch.events[i]
		r := e.row()
		if left[r] == 0 {
			continue
		}
		left[r]--
		rec := run.Slot(made)
		l.batch.make(e, rec)
		run.Made(made, rec, classOf[r])
		made++
	}
	run.Publish()
	w.ring.Wake()
}

// takeBack takes the open records of unanswered sessions that no ring has taken out of the account, and returns how many
// they are. Where one ring has taken such a record, the others have missed it: the record is not made twice.
func (l *Lane) takeBack() int {
	n := l.batch.count[unansweredOpen]
	if n == 0 {
		return 0
	}
	most, wanted := uint16(0), false
	for i := range l.ways {
		if w := &l.ways[i]; w.wants(event.SessionOpen) {
			wanted = true
			most = max(most, w.grants[unansweredOpen])
		}
	}
	if !wanted {
		return 0
	}
	l.batch.count[unansweredOpen] = most
	owed := int(n - most)
	l.offered[event.SessionOpen] -= uint64(owed)
	return owed
}

// account counts what a sink did not want, and what its ring had no credits for, which is noted for the next loss record.
func (l *Lane) account(w *way, wall int64) {
	l.partly = true
	var lost event.LossCounts
	short := 0
	for rows := l.batch.rows; rows != 0; rows &= rows - 1 {
		r := rows.first()
		k, n := kindOf[r], l.batch.count[r]
		if !w.wants(k) {
			w.counts.filtered[k] += uint64(n)
			continue
		}
		lost[k] += uint64(n - w.grants[r])
		short += int(n - w.grants[r])
	}
	if short == 0 {
		return
	}
	count, why := &w.counts.overBudget, event.LossOverBudget
	switch {
	case w.ring.Closed():
		count = &w.counts.closed
	case !w.connected():
		count, why = &w.counts.disconnected, event.LossDisconnected
	}
	for k, n := range lost {
		count[k] += n
	}
	if count != &w.counts.closed {
		w.miss(why, &lost, wall)
	}
}

// deliverWaiting brings the batch to a ring event by event and waits for a credit where there is none. When the
// lane's context has ended nothing more goes in, so that no record stands behind a gap that is not announced.
func (l *Lane) deliverWaiting(w *way, wall int64) {
	l.partly = true
	var missed event.LossCounts
	for i := range l.batch.events {
		e := &l.batch.events[i]
		r := e.row()
		k := kindOf[r]
		switch {
		case !w.wants(k):
		case missed.Total() > 0 || !l.waitFor(w.target, classOf[r]):
			w.counts.closed[k]++
			missed[k]++
		default:
			run := w.ring.Begin(1)
			rec := run.Slot(0)
			l.batch.make(e, rec)
			run.Made(0, rec, classOf[r])
			run.Publish()
			w.counts.queued[k]++
		}
	}
	if missed.Total() > 0 {
		w.miss(event.LossOverBudget, &missed, wall)
	}
	w.ring.Wake()
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
func (l *Lane) announceMissing(w *way, credits int) {
	if w.ring.Owes() {
		w.ring.AnnounceOwed(l.batch.generation)
	}
	if credits == 0 {
		return
	}
	n := w.takeMissing(l.loss[:credits], l.batch.generation)
	w.ring.ReturnCredits(replay.Announcement, credits-n)
	for i := range l.loss[:n] {
		w.ring.Put(w.ring.Claim(1), replay.Announcement, &l.loss[i])
	}
	w.counts.queued[event.Loss] += uint64(n)
	l.changed = l.changed.With(event.Loss)
}

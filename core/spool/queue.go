package spool

import (
	"fmt"

	"github.com/rtflow/pipelined/sdk/event"
)

// Next lends the sink the records that follow those of the last call, at most limit; nil if there is none. They are of one stream, and
// valid until the next call. Called only by the reader.
func (s *Spool) Next(limit int) []event.Record {
	for {
		s.mu.Lock()
		s.tail.back()
		if !s.active {
			s.active, s.cursor = true, s.floor
		}
		s.unnoted = false
		limit = min(limit, s.out.room())
		if limit <= 0 {
			s.mu.Unlock()
			return nil
		}
		if s.blocked() {
			s.mu.Unlock()
			return nil
		}
		if n, last := s.coming(); n > s.noted || last > s.ahead.through {
			s.handed, s.changed = max(s.handed, n), true
			s.mu.Unlock()
			s.tidy(false)
			if !s.goOn(n, last) {
				return nil
			}
			continue // much may have changed
		}
		if s.inMemory() {
			records := s.tail.lend(s.position(), limit)
			s.hand(records)
			s.mu.Unlock()
			if len(records) == 0 {
				return nil // not an empty batch: the sink would ask again and again
			}
			return records
		}
		g := s.upcoming()
		if g == nil {
			s.mu.Unlock()
			return nil
		}
		if s.cursor.number != g.number {
			s.cursor = place{g.number, g.epoch, s.position()} // from now on it is not evicted
		}
		after, end, whole := s.cursor.seq, g.size, g.sealed
		s.mu.Unlock()
		records, loss := s.reader.read(g, after, end, whole, limit)
		s.mu.Lock()
		if records == nil && s.reader.stuck {
			s.mu.Unlock()
			return nil
		}
		if records == nil && s.reader.over {
			if g == s.w.seg { // what it is said to have cannot be read, which is for when nothing more comes
				s.reader.stuck = true
				s.mu.Unlock()
				s.reader.close()
				return nil
			}
			s.cursor.seq = max(s.cursor.seq, g.last)
			if s.out.len() == 0 { // nobody will acknowledge the last number, of which there is no record
				s.floor, s.changed = s.cursor, true
				s.settle()
			}
			s.mu.Unlock()
			continue
		}
		if loss != nil {
			s.out.pushLoss(&records[0], *loss)
			s.passed(records)
		} else {
			s.hand(records)
		}
		s.mu.Unlock()
		if records != nil {
			return records
		}
	}
}

// hand notes that the sink has records in hand. The lock is held.
func (s *Spool) hand(records []event.Record) {
	if len(records) > 0 {
		s.out.push(records)
		s.passed(records)
	}
}

// passed moves the cursor behind records. The lock is held.
func (s *Spool) passed(records []event.Record) {
	if s.stream != s.cursor.epoch {
		s.cursor.epoch = s.stream
	}
	last := records[len(records)-1].Seq()
	s.cursor.seq = last
	for _, g := range s.segments { // that of the record, which was in memory
		if g.number >= s.cursor.number && g.epoch == s.stream && (g.last >= last || g == s.segments[len(s.segments)-1]) {
			s.cursor.number = g.number
			break
		}
	}
}

// coming returns the number of the last segment of which the next call of Next may hand out anything, 0 if there is none, and the number
// of the last record of the running epoch among that, 0 if there is none or it is on the disk. The lock is held.
func (s *Spool) coming() (number uint64, last event.Seq) {
	g := s.upcoming()
	if n := len(s.segments); s.inMemory() && n > 0 {
		g = s.segments[n-1]
	}
	switch {
	case g == nil:
		return 0, 0
	case s.c.Sync == SyncBatch || g.epoch != s.epoch:
		return g.number, 0
	}
	return g.number, g.last
}

// goOn reports whether records of a segment, up to a number, may be handed out, after an attempt to note that on the disk. Where the disk
// does not take it, a spool that gives up records waits: after a crash it would give the number of a record that the sink has had to
// another one.
func (s *Spool) goOn(number uint64, last event.Seq) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.noted < number || s.ahead.through < last {
		if s.unnoted = s.evicts.Load(); s.unnoted {
			return false
		}
		s.noted, s.ahead.through = max(s.noted, number), max(s.ahead.through, last) // it is noted with the next position that the disk takes
	}
	return true
}

// here returns the last record that was handed out, or released. The lock is held.
func (s *Spool) here() place {
	if s.active {
		return s.cursor
	}
	return s.floor
}

// position returns the number of the last record of the stream that was handed out or released, 0 if there is none. The lock is held.
func (s *Spool) position() event.Seq {
	if p := s.here(); p.epoch == s.stream {
		return p.seq
	}
	return 0
}

// inMemory reports whether what follows is in memory, or not there yet. The lock is held.
func (s *Spool) inMemory() bool { return s.stream == s.epoch && s.position() >= s.tail.before }

// upcoming returns the segment with the record that follows, nil if the stream has none. The lock is held.
func (s *Spool) upcoming() *segment {
	p := s.here()
	for _, g := range s.segments {
		switch {
		case g.before(p), g.last < g.first:
		case g.epoch != s.stream:
			return nil
		default:
			return g
		}
	}
	return nil
}

// blocked reports whether what follows, in memory or not, is being given up. The lock is held.
func (s *Spool) blocked() bool {
	g := s.upcoming()
	return g != nil && g.evicting
}

// more reports whether a record can be handed out, and whether one will be when an eviction has ended. The lock is held.
func (s *Spool) more() (now, soon bool) {
	if s.blocked() || s.unnoted {
		return false, true
	}
	if s.inMemory() {
		now = len(s.tail.after(s.position(), 1)) > 0
		return now, now
	}
	g := s.upcoming()
	return g != nil && !g.evicting && !s.reader.stuck, g != nil
}

// Sleep tells the spool that the reader is about to wait on the returned channel. It returns false if there is something to read after
// all, or if the reader should look again. Called only by the reader.
func (s *Spool) Sleep() (<-chan struct{}, bool) {
	s.waiting.Store(true)
	s.mu.Lock()
	now, soon := s.more()
	ready := now && s.out.room() > 0 || s.ended(soon)
	s.mu.Unlock()
	if ready {
		s.waiting.Store(false)
		return nil, false
	}
	return s.wake, true
}

func (s *Spool) wakeReader() {
	if s.waiting.Load() && s.waiting.CompareAndSwap(true, false) {
		signal(s.wake)
	}
}

// Drained reports whether the stream has ended and all of it was handed out: that of an earlier epoch, or the ring is drained, too.
// Called only by the reader.
func (s *Spool) Drained() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, soon := s.more()
	return s.ended(soon)
}

// ended is Drained, where soon says whether there is more. The lock is held.
func (s *Spool) ended(soon bool) bool { return !soon && (s.stream != s.epoch || s.written) }

// Draining returns a channel that is closed when the ring drains. Safe for concurrent use.
func (s *Spool) Draining() <-chan struct{} { return s.ring.Draining() }

// Ack releases every record of the stream up to and including through. Going backwards does nothing. It is an error, and nothing is
// released, to acknowledge what was not handed out. Safe for concurrent use.
func (s *Spool) Ack(through event.Seq) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sent := s.position(); through > sent {
		return fmt.Errorf("spool: acknowledgement of %d, but the last record handed out is %d", through, sent)
	}
	before := s.taken
	for s.releaseAlike(through); s.out.len() > 0 && s.out.oldest() <= through; s.releaseAlike(through) {
		s.release(s.out.pop())
	}
	if s.taken == before {
		return nil
	}
	s.since = s.out.poppedTime() // the next one is not older
	if s.out.len() == 0 && s.cursor.epoch == s.floor.epoch {
		s.floor.seq = max(s.floor.seq, s.cursor.seq) // of numbers up to there no record is left, and nobody will acknowledge them
	}
	s.settle()
	s.changed = true
	if s.room != nil {
		close(s.room)
		s.room = nil
	}
	if s.out.len() < s.out.limit {
		s.wakeReader()
	}
	return nil
}

// releaseAlike does what release does, for as many records up to a number as follow each other in the oldest segment and were not
// rejected: nearly all, in a third of the time. The lock is held.
func (s *Spool) releaseAlike(through event.Seq) {
	if len(s.segments) == 0 || s.segments[0].epoch != s.stream {
		return
	}
	g := s.segments[0]
	acked, last := s.out.popAlike(min(through, g.last))
	n := acked.Total()
	if n == 0 {
		return
	}
	g.released.Add(&acked)
	s.counts.Acknowledged.Add(&acked)
	s.taken += n
	s.floor = place{g.number, s.stream, last}
}

// release releases the oldest record in hand. The lock is held.
func (s *Spool) release(seq event.Seq, state uint8) {
	for len(s.segments) > 1 && (s.segments[0].epoch != s.stream || seq > s.segments[0].last && s.segments[0].sealed) {
		s.finished()
	}
	kind := event.Kind(state & kindMask)
	g := s.segments[0] // what the sink has in hand stays
	switch {
	case state&made != 0:
		lost := s.out.lost[0].lost
		s.out.lost = s.out.lost[1:]
		g.released.Add(&lost)
		s.counts.Damaged.Add(&lost)
		s.counts.Found[kind]++
	case seq <= g.last:
		g.released[kind]++
	}
	if state&rejected != 0 {
		s.counts.Rejected[kind]++
	} else {
		s.counts.Acknowledged[kind]++
	}
	s.taken++
	s.floor = place{g.number, s.stream, seq}
}

// settle takes segments out that are released. The lock is held.
func (s *Spool) settle() {
	for len(s.segments) > 0 {
		g := s.segments[0]
		if !g.sealed || g == s.w.seg || !g.before(s.floor) {
			return
		}
		s.finished()
	}
}

// finished takes the oldest segment out. What it held and nobody was given cannot be read. The lock is held.
func (s *Spool) finished() {
	g := s.segments[0]
	left := g.held()
	s.counts.Damaged.Add(&left)
	g.released = g.counts
	s.segments = s.segments[1:]
	s.done = append(s.done, g)
	s.changed = true
	signal(s.tick)
}

// Reject marks one record in hand as rejected: when it is acknowledged it counts as rejected. It reports whether the record was there
// to be marked. Safe for concurrent use.
func (s *Spool) Reject(seq event.Seq) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.reject(seq)
}

// Rewind makes the next call of Next start at the first record that is not acknowledged, in the stream that it belongs to. Called only
// by the reader, when the sink's Run has returned.
func (s *Spool) Rewind() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.out.len() > 0 {
		s.since = s.out.oldestTime()
	}
	s.out.clear()
	s.tail.back()
	s.active = false
	s.stream = s.streamHere()
	s.reader.rewind()
	signal(s.space) // what the sink had in hand may be evicted now
}

// streamHere returns the epoch of the oldest record that is not released. The lock is held.
func (s *Spool) streamHere() uint64 {
	s.settle()
	for _, g := range s.segments {
		if g.last >= g.first && !g.before(s.floor) {
			return g.epoch
		}
	}
	return s.epoch
}

// Epoch returns the epoch of the stream that the sink gets until the next Rewind. Safe for concurrent use.
func (s *Spool) Epoch() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stream
}

// Names returns the names for the ids in records of that generation of the stream: those that they had when they were made. Safe for
// concurrent use.
func (s *Spool) Names(generation uint32) *event.Names {
	if n := s.reader.nameOf(generation); n != nil {
		return n
	}
	if s.Epoch() == s.epoch {
		return s.names(generation)
	}
	return &event.Names{Generation: generation}
}

// Acknowledged returns the number of the stream's last record that was released, 0 if none was. Safe for concurrent use.
func (s *Spool) Acknowledged() event.Seq {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.floor.epoch == s.stream {
		return s.floor.seq
	}
	return 0
}

// Taken returns how many records were released because the sink acknowledged them, rejected ones among them. Safe for concurrent use.
func (s *Spool) Taken() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}

// Room returns a channel that is closed when records are released. Safe for concurrent use.
func (s *Spool) Room() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.room == nil {
		s.room = make(chan struct{})
	}
	return s.room
}

// Empty reports whether the ring is drained and nothing is left to deliver. Safe for concurrent use.
func (s *Spool) Empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.segments {
		if held := g.held(); held.Total() > 0 {
			return false
		}
	}
	return s.written
}

// NothingLent reports whether the sink has nothing in hand. Safe for concurrent use.
func (s *Spool) NothingLent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.len() == 0
}

// Kept reports that what is not delivered when the pipeline stops is there for the next run.
func (s *Spool) Kept() bool { return true }

package spool

import "github.com/rtflow/pipelined/sdk/event"

// reservation is what the position says ahead: numbers of the running epoch up to through may be with the sink. After a power failure
// fewer records may be left than the sink has had, unless with SyncBatch, and the loss record of an eviction must have none of their
// numbers.
type reservation struct {
	through event.Seq
	at      event.Seq // what the last number was when it was made
}

// reserveAhead returns the reservation for the next position: another one when half of the last one is used up. It is as long as what
// was used of that and half as much, so a sink seldom waits for one. last says that nothing is handed out any more. The lock is held.
func (s *Spool) reserveAhead(last bool) reservation {
	r, newest := s.ahead, s.lastOf(s.epoch)
	if last || s.c.Sync == SyncBatch {
		return reservation{newest, newest}
	}
	used := newest - min(newest, r.at)
	if newest+used < r.through {
		return r
	}
	return reservation{newest + max(event.Seq(s.c.reserve), used+used/2), newest}
}

// conclude extends the last segment of the epoch before, if that is over, to the numbers that were reserved: they stand for nothing else.
// The position will say nothing of them any more, so the disk is to have all of the segment before. The lock is held.
func (s *Spool) conclude() {
	former := &s.pos.last
	for i := len(s.segments) - 1; i >= 0 && former.highest != s.epoch; i-- {
		g := s.segments[i]
		if g.epoch != former.highest {
			continue
		}
		g.last = max(g.last, former.reserved)
		if g.unread {
			return // nothing is written to a file that another disk might read
		}
		if g.closed {
			g.size -= blockHeader
			s.used -= blockHeader
		}
		g.sealed, g.closed = false, false // nothing happens to it before the disk has the seal
		s.unsealed = g
		return
	}
}

// reseal writes the seal of a segment that was extended. It is called by one goroutine at a time.
func (s *Spool) reseal() error {
	s.mu.Lock()
	g := s.unsealed
	s.mu.Unlock()
	if g == nil {
		return nil
	}
	if err := g.writeSeal(s.d); err != nil {
		return err
	}
	s.mu.Lock()
	g.size += blockHeader
	s.used += blockHeader
	g.sealed, g.closed = true, true
	s.unsealed = nil
	s.settle()
	s.mu.Unlock()
	return nil
}

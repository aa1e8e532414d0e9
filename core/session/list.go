package session

import (
	"iter"

	"github.com/rtflow/pipelined/sdk/event"
)

// listChunk is how many entries All looks at before it lets others at the shard: some ten microseconds.
const listChunk = 256

// All iterates over the sessions that live at now, ended ones that wait for stragglers left out. Each is copied: the
// pointer is valid until the next one is asked for. Sessions that begin meanwhile may be among them or not; one that is
// yielded has not ended before: whoever has seen its end does not get it any more. It holds the lock of a shard for a few
// entries at a time, and never while yield runs. Safe for concurrent use.
func (t *Table) All(now int64) iter.Seq[*Session] {
	return func(yield func(*Session) bool) {
		t.each(now, func(s *shard, i uint32, session *Session) bool {
			return !t.lives(s, i, session.ID) || yield(session)
		})
	}
}

// Withdraw ends the sessions that live at now and that permitted reports false for, with [event.ClosePolicy]: from then on no packet
// belongs to them, and they are among what Expire ends next. It returns how many. It goes over the table as All does; permitted must
// not keep what it gets. Safe for concurrent use.
func (t *Table) Withdraw(now int64, permitted func(*Session) bool) (n uint64) {
	t.each(now, func(s *shard, i uint32, session *Session) bool {
		if !permitted(session) && t.withdraw(s, i, session.ID, now) {
			n++
		}
		return true
	})
	return n
}

// each calls yield for the sessions that live at now, with their places, until it returns false.
func (t *Table) each(now int64, yield func(s *shard, i uint32, session *Session) bool) {
	var chunk [listChunk]Session
	var at [listChunk]uint32
	for i := range t.shards {
		s := &t.shards[i]
		for from := uint32(1); from < uint32(len(s.entries)); from += listChunk {
			for j := range t.list(s, from, now, &chunk, &at) {
				if !yield(s, at[j], &chunk[j]) {
					return
				}
			}
		}
	}
}

// list copies the live sessions among the entries that begin with from, and returns how many it copied. at are the entries
// that they come from.
func (t *Table) list(s *shard, from uint32, now int64, chunk *[listChunk]Session, at *[listChunk]uint32) (n int) {
	t.lockOutside(s)
	defer t.unlockOutside(s)
	for i := from; i < min(from+listChunk, s.fresh); i++ {
		// An entry in use has an id: they begin with 1.
		if s.cold[i].id != 0 && !s.entries[i].over() {
			s.copyTo(&chunk[n], i, now)
			at[n] = i
			n++
		}
	}
	return n
}

// lives reports whether the session of that id is still in an entry and has not ended.
func (t *Table) lives(s *shard, i uint32, id uint64) bool {
	t.lockOutside(s)
	defer t.unlockOutside(s)
	return s.isLive(i, id)
}

// isLive is lives for who holds the lock.
func (s *shard) isLive(i uint32, id uint64) bool { return s.cold[i].id == id && !s.entries[i].over() }

// withdraw ends the session of that id in entry i, if it lives: nobody finds it any more, and it goes with the next slot of the wheel.
func (t *Table) withdraw(s *shard, i uint32, id uint64, now int64) bool {
	t.lockOutside(s)
	defer t.unlockOutside(s)
	if !s.isLive(i, id) {
		return false
	}
	e := &s.entries[i]
	if e.isCarried() {
		s.hold(i)
		s.forget(i)
	}
	e.state = e.state&^unreachable | closing | withdrawn
	e.setReason(event.ClosePolicy)
	e.lastSeen, e.timeout = max(e.lastSeen, now), 0
	s.unlink(e.hash(&t.secret), i)
	s.refile(i, now)
	return true
}

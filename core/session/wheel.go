package session

import "github.com/rtflow/pipelined/sdk/event"

// deadlineSlot returns the wheel slot in which the session's timeout is over.
func (e *entry) deadlineSlot(now int64) int64 {
	left := int64(e.timeout)*1e9 - age(now, e.lastSeen)
	return (now + max(left, 0)) >> slotShift
}

// file puts an entry into the wheel slot of its deadline, or as far ahead as the wheel reaches: it is filed again when
// that slot comes.
func (s *shard) file(i uint32, now int64) {
	e := &s.entries[i]
	slot := min(max(e.deadlineSlot(now), s.turned+1), s.turned+wheelSlots-1)
	head := &s.wheel[slot&(wheelSlots-1)]
	e.next = *head
	e.prev = slotBit | uint32(slot&(wheelSlots-1))
	if e.next != 0 {
		s.entries[e.next].prev = i
	}
	*head = i
}

func (s *shard) unfile(i uint32) {
	e := &s.entries[i]
	if e.prev&slotBit != 0 {
		s.wheel[e.prev&^slotBit] = e.next
	} else {
		s.entries[e.prev].next = e.next
	}
	if e.next != 0 {
		s.entries[e.next].prev = e.prev
	}
}

func (s *shard) refile(i uint32, now int64) {
	s.unfile(i)
	s.file(i, now)
}

// Expire ends sessions whose timeout is over at now, in the shards that worker ages, and returns how many it copied into
// out. When out is full there may be more: the worker calls again. Each worker calls it with its own number, whenever
// [Slot] of its clock has moved on.
func (t *Table) Expire(worker int, now int64, out []Session) int {
	n := 0
	for i := worker; i < numShards && n < len(out); i += t.workers {
		n += t.shards[i].expire(t.seed, now, out[n:])
	}
	return n
}

// Slot returns the wheel slot of a time: sessions expire when it changes.
func Slot(now int64) int64 { return now >> slotShift }

// expire turns the wheel of one shard up to now.
func (s *shard) expire(seed uint64, now int64, out []Session) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := now>>slotShift - 1 // only slots that are over
	if s.active == 0 {
		s.turned = max(s.turned, last)
		return 0
	}
	// Once around, every entry has been looked at and filed again.
	s.turned = max(s.turned, last-wheelSlots)
	for s.turned < last {
		head := &s.wheel[(s.turned+1)&(wheelSlots-1)]
		for *head != 0 {
			i := *head
			e := &s.entries[i]
			overdue := age(now, e.lastSeen) - int64(e.timeout)*1e9
			if overdue < 0 {
				s.refile(i, now) // a slot that is not over: never this one again
				continue
			}
			if n == len(out) {
				return n
			}
			if e.reason() == event.CloseNone {
				e.setReason(event.CloseTimeout)
			}
			s.remove(i, e.hash(seed), now, &out[n])
			out[n].Closed = now - overdue
			n++
		}
		s.turned++
	}
	return n
}

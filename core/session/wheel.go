package session

import (
	"slices"
)

// overdue returns how long ago the session's timeout was over, in nanoseconds; negative if it is to come.
func (e *entry) overdue(now int64) int64 {
	if e.timeout == Never {
		return -wheelSlots << slotShift
	}
	return now - e.lastSeen - int64(e.timeout)*1e9
}

// file puts an entry into the wheel slot of its deadline, or as far ahead as the wheel reaches: it is filed again when
// that slot comes.
func (s *shard) file(i uint32, now int64) {
	c := &s.cold[i]
	deadline := (now + max(-s.entries[i].overdue(now), 0)) >> slotShift
	slot := min(max(deadline, s.turned+1), s.turned+wheelSlots-1)
	head := &s.wheel[slot&(wheelSlots-1)]
	c.next = *head
	c.prev = slotBit | uint32(slot&(wheelSlots-1))
	if c.next != 0 {
		s.cold[c.next].prev = i
	}
	*head = i
}

func (s *shard) unfile(i uint32) {
	c := &s.cold[i]
	if c.prev&slotBit != 0 {
		s.wheel[c.prev&^slotBit] = c.next
	} else {
		s.cold[c.prev].next = c.next
	}
	if c.next != 0 {
		s.cold[c.next].prev = c.prev
	}
}

func (s *shard) refile(i uint32, now int64) {
	s.unfile(i)
	s.file(i, now)
}

// Slot returns the wheel slot of a time: sessions expire when it changes.
func Slot(now int64) int64 { return now >> slotShift }

// What one call of Expire does at most: entries it looks at and slots it turns, in all and while it holds one lock.
const (
	expireSteps = 1024
	lockedSteps = 128
)

// ageing is who ages which shards: with a stride of the number of those who do, from their places among them on.
type ageing struct {
	turns  []turn // by the numbers of workers
	stride int
}

// turn is where a worker goes on turning the wheels of its shards. Only the worker uses it.
type turn struct {
	place int // the first of its shards; numShards: it has none
	shard int
	_     [48]byte
}

// Share shares the ageing of the table among the workers with these numbers from here on, before more than one of them begins. One that ages a shard just now ends that:
// for a moment two may age the same one. Safe for concurrent use.
func (t *Table) Share(workers []int) {
	if len(workers) > 1 {
		t.share()
	}
	a := &ageing{turns: make([]turn, slices.Max(workers)+1), stride: len(workers)}
	for i := range a.turns {
		place := slices.Index(workers, i)
		if place < 0 || place >= numShards {
			place = numShards
		}
		a.turns[i].place, a.turns[i].shard = place, place
	}
	t.ageing.Store(a)
}

// of returns the turn of a worker, nil if it ages no shard.
func (a *ageing) of(worker int) *turn {
	if worker >= len(a.turns) || a.turns[worker].place == numShards {
		return nil
	}
	return &a.turns[worker]
}

// Expire ends sessions whose timeout is over at now, in the shards that worker ages, and returns how many it copied into
// out. It does a bounded amount of work: more is true if it has not come to the end, or out is full. The worker then calls
// again, and Expire goes on where it stopped. Each worker calls it with its own number, whenever [Slot] of its clock has
// moved on.
func (t *Table) Expire(worker int, now int64, out []Session) (n int, more bool) {
	a := t.ageing.Load()
	at := a.of(worker)
	if at == nil {
		return 0, false
	}
	first := at.shard
	for steps := expireSteps; ; {
		budget := min(steps, lockedSteps)
		left, done := t.expire(&t.shards[at.shard], now, out, &n, budget)
		steps -= budget - left
		if !done {
			if n == len(out) || steps <= 0 {
				return n, true
			}
			continue
		}
		if at.shard += a.stride; at.shard >= numShards {
			at.shard = at.place
		}
		if at.shard == first {
			return n, false
		}
	}
}

// expire turns the wheel of one shard towards now, for at most that many steps, and returns how many are left and whether
// it got there.
func (t *Table) expire(s *shard, now int64, out []Session, n *int, steps int) (left int, done bool) {
	t.lock(s)
	defer t.unlock(s)
	last := now>>slotShift - 1 // only slots that are over
	if s.active == 0 {
		s.turned = max(s.turned, last)
		return steps, true
	}
	// Once around, every entry has been looked at and filed again.
	s.turned = max(s.turned, last-wheelSlots)
	for s.turned < last {
		head := &s.wheel[(s.turned+1)&(wheelSlots-1)]
		for ; *head != 0; steps-- {
			if steps <= 0 || *n == len(out) {
				return steps, false
			}
			i := *head
			e := &s.entries[i]
			if e.isCarried() {
				s.take(i)
			}
			overdue := e.overdue(now)
			if overdue < 0 {
				s.refile(i, now) // a slot that is not over: never this one again
				continue
			}
			e.setReason(e.why())
			s.remove(i, e.hash(&t.secret), now, &out[*n])
			out[*n].Closed = now - overdue
			*n++
		}
		s.turned++
		if steps--; steps <= 0 {
			return steps, false
		}
	}
	return steps, true
}

// End ends every session in the shards that worker ages, at now, and appends them to out. One whose timeout is not over ends for
// the reason it has: that of its FIN or RST if it waits for stragglers, else [event.CloseNone].
func (t *Table) End(worker int, now int64, out []Session) []Session {
	a := t.ageing.Load()
	if turn := a.of(worker); turn != nil {
		for at := turn.place; at < numShards; at += a.stride {
			out = t.endShard(&t.shards[at], now, out)
		}
	}
	return out
}

// endShard is End for one shard.
func (t *Table) endShard(s *shard, now int64, out []Session) []Session {
	t.lock(s)
	defer t.unlock(s)
	for i := uint32(1); i < s.fresh; i++ {
		e := &s.entries[i]
		if s.cold[i].id == 0 {
			continue
		}
		if e.isCarried() {
			s.take(i)
		}
		closed := now
		if overdue := e.overdue(now); overdue >= 0 {
			e.setReason(e.why())
			closed -= overdue
		}
		var ended Session
		s.remove(i, e.hash(&t.secret), now, &ended)
		ended.Closed = closed
		out = append(out, ended)
	}
	return out
}

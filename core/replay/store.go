package replay

import (
	"sync/atomic"

	"github.com/rtflow/pipelined/sdk/event"
)

// store is the memory of a ring of one size. A ring that has been resized has two until it has released the last record of the former.
type store struct {
	records   []event.Record
	published []atomic.Uint64 // if the slot's record is the first of a run that is published: the position behind that run
	states    []uint8         // kind and state of the slot's record; written before it is published, then under Ring.mu
	mask      uint64
	from      atomic.Uint64 // the first position that is in it; 0: it is not known yet
	former    *store        // of the positions before; nil: none of them is held. Changed under Ring.mu
}

func newStore(slots int) *store {
	return &store{
		records: make([]event.Record, slots), published: make([]atomic.Uint64, slots), states: make([]uint8, slots),
		mask: uint64(slots - 1),
	}
}

// at returns the store of a position that is held, claimed or next. Safe for concurrent use.
func (r *Ring) at(p uint64) *store {
	s := r.store.Load()
	from := s.from.Load()
	if from == 0 {
		from = r.begin(s)
	}
	if p < from {
		return s.former
	}
	return s
}

// begin settles from which position on a new store is used, and returns it. Whoever comes first settles it: all who have claimed a
// position while the former store was the ring's have claimed it before that.
func (r *Ring) begin(s *store) uint64 {
	s.from.CompareAndSwap(0, r.next.Load())
	return s.from.Load()
}

// behind returns the first position behind those of a store.
func (r *Ring) behind(s *store) uint64 {
	if newest := r.store.Load(); newest != s {
		return newest.from.Load()
	}
	return ^uint64(0)
}

// record returns the record at a position. The lock is held.
func (r *Ring) record(p uint64) *event.Record {
	return r.at(p).record(p)
}

// state returns the state of the record at a position. The lock is held.
func (r *Ring) state(p uint64) *uint8 {
	s := r.at(p)
	return &s.states[p&s.mask]
}

// statesFrom returns the states of the records from a position on, as far as they stand contiguously in memory, before end. The lock is
// held.
func (r *Ring) statesFrom(p, end uint64) []uint8 {
	s := r.at(p)
	return s.states[p&s.mask:][:min(end, p|s.mask+1, r.behind(s))-p]
}

// published reports whether the record at a position that is held or next, and all before it, are there to be read. The lock is held.
func (r *Ring) published(p uint64) bool {
	for r.known <= p {
		s := r.at(r.known)
		// Whatever was published in the slot before ended at most there: a run is not longer than the store.
		end := s.published[r.known&s.mask].Load()
		if end <= r.known {
			return false
		}
		r.known = end
	}
	return true
}

// record returns the record in the slot of a position.
func (s *store) record(p uint64) *event.Record { return &s.records[p&s.mask] }

// number gives a record, made in the slot of a position that is claimed, its sequence number, and notes its class.
func (s *store) number(p uint64, rec *event.Record, c Class) {
	rec.SetSeq(event.Seq(p))
	state := uint8(rec.Kind())
	if c == Unanswered {
		state |= unanswered
	}
	s.states[p&s.mask] = state
}

// publish lets the reader have the n records from a position on, which were claimed together.
func (s *store) publish(first uint64, n int) { s.published[first&s.mask].Store(first + uint64(n)) }

// Resize gives the ring other limits. It keeps every record, and its sequence. Where a limit is raised it counts at once. Where one is
// lowered, it comes down with what is acknowledged: until then the ring is full, and one that evicts gives up a record for each that
// comes. It is an error if no ring can have those limits. Safe for concurrent use.
func (r *Ring) Resize(l Limits) error {
	if err := l.Check(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.limits, r.resizing = l, true
	r.resize()
	r.roomMade()
	return nil
}

// Limits returns the limits that the ring has or is to have, and whether it has them. Safe for concurrent use.
func (r *Ring) Limits() (l Limits, settled bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.limits, !r.resizing
}

// resize goes on with a change of the limits, and forgets a store whose records are all released. The lock is held.
func (r *Ring) resize() {
	s := r.store.Load()
	if s.former != nil && r.floor >= s.from.Load() {
		s.former = nil
	}
	if !r.resizing {
		return
	}
	slots, now := r.limits.Slots, len(s.records)
	there := r.credits.limit(r.limits)
	fits := r.credits.common.limitAll(min(slots, now))
	if slots != now && fits && s.former == nil {
		// No more credits are held, or can be taken, than the new store has slots; if it is larger, more are given only now.
		r.replace(newStore(r.limits.Slots))
		now = slots
		r.credits.common.limitAll(slots)
	}
	r.resizing = !there || !fits || slots != now
}

// replace makes another store that of the positions that are claimed from here on. The lock is held.
func (r *Ring) replace(s *store) {
	s.former = r.store.Load()
	r.store.Store(s)
	if r.floor >= r.begin(s) {
		s.former = nil
	}
}

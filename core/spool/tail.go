package spool

import (
	"sort"

	"github.com/rtflow/pipelined/sdk/event"
)

// tail holds the newest records, as they came from the ring: a sink that keeps up gets them from here. The lock of its spool is held
// for every method.
type tail struct {
	records []event.Record // a ring; its length is a power of two
	lo, hi  uint64         // positions of the oldest, and behind the newest
	before  event.Seq      // number of the record before the oldest
	lent    struct{ lo, hi uint64 }
}

func newTail(n int) tail { return tail{records: make([]event.Record, n)} }

func (t *tail) at(p uint64) *event.Record { return &t.records[p&uint64(len(t.records)-1)] }

// add copies records in, and forgets the oldest for them. What a sink has in hand is not written over: it keeps the memory that it
// has, and the tail gets another.
func (t *tail) add(records []event.Record) {
	size := uint64(len(t.records))
	if t.lent.lo < t.lent.hi && t.hi+uint64(len(records)) > t.lent.lo+size {
		before := t.before
		if t.hi > t.lo {
			before = t.at(t.hi - 1).Seq()
		}
		t.clear(before)
	}
	for len(records) > 0 {
		i := t.hi & (size - 1)
		n := min(uint64(len(records)), size-i)
		if used := t.hi - t.lo; used+n > size {
			drop := used + n - size
			t.before = t.at(t.lo + drop - 1).Seq()
			t.lo += drop
		}
		copy(t.records[i:], records[:n])
		t.hi += n
		records = records[n:]
	}
}

// clear forgets all records; the next one follows that number.
func (t *tail) clear(before event.Seq) {
	*t = tail{records: make([]event.Record, len(t.records)), lo: t.hi, hi: t.hi, before: before}
}

// after returns records that follow that number, as far as they stand together, at most limit. The number is not below before.
func (t *tail) after(seq event.Seq, limit int) []event.Record {
	n := sort.Search(int(t.hi-t.lo), func(i int) bool { return t.at(t.lo+uint64(i)).Seq() > seq })
	p := t.lo + uint64(n)
	i := p & uint64(len(t.records)-1)
	k := min(t.hi-p, uint64(limit), uint64(len(t.records))-i)
	return t.records[i : i+k]
}

// lend is after for a sink, which has the records until the next call, or until back.
func (t *tail) lend(seq event.Seq, limit int) []event.Record {
	r := t.after(seq, limit)
	t.lent.lo, t.lent.hi = 0, 0
	if len(r) > 0 {
		n := sort.Search(int(t.hi-t.lo), func(i int) bool { return t.at(t.lo+uint64(i)).Seq() > seq })
		t.lent.lo = t.lo + uint64(n)
		t.lent.hi = t.lent.lo + uint64(len(r))
	}
	return r
}

// back says that the sink has no records in hand.
func (t *tail) back() { t.lent.lo, t.lent.hi = 0, 0 }

// forget drops records up to that number: they are given up.
func (t *tail) forget(through event.Seq) {
	if through <= t.before {
		return
	}
	for t.lo < t.hi && t.at(t.lo).Seq() <= through {
		t.lo++
	}
	t.before = through
}

package spool

import (
	"sort"

	"github.com/rtflow/pipelined/sdk/event"
)

// What outstanding holds of a record beside its kind.
const (
	kindMask = 0x0f
	made     = 0x40 // a loss record that the spool has made, and that is in no segment
	rejected = 0x80 // the sink has rejected it
)

// outstanding holds what a sink has in hand: the numbers of the records that it was handed and has not acknowledged, in their order.
// The lock of its spool is held for every method.
type outstanding struct {
	seqs   []event.Seq // a ring, as states and times are; its length is a power of two
	states []uint8
	times  []int64 // of the records, in Unix nanoseconds
	lo, hi uint64
	limit  int
	lost   []lostAt // what the loss records among them stand for
}

// lostAt is what a loss record stands for that the spool has made.
type lostAt struct {
	seq  event.Seq
	lost Tally
}

func (o *outstanding) len() int  { return int(o.hi - o.lo) }
func (o *outstanding) room() int { return o.limit - o.len() }

func (o *outstanding) index(p uint64) uint64 { return p & uint64(len(o.seqs)-1) }

// push adds records.
func (o *outstanding) push(records []event.Record) {
	o.grow(len(records))
	seqs, states, times := o.seqs, o.states[:len(o.seqs)], o.times[:len(o.seqs)] // one look at the bounds for the three
	mask, p := uint64(len(seqs)-1), o.hi
	for i := range records {
		at := p & mask
		seqs[at], states[at], times[at] = records[i].Seq(), uint8(records[i].Kind()), records[i].Time()
		p++
	}
	o.hi = p
}

// pushLoss adds a loss record that the spool has made.
func (o *outstanding) pushLoss(record *event.Record, lost Tally) {
	o.grow(1)
	i := o.index(o.hi)
	o.seqs[i], o.states[i], o.times[i] = record.Seq(), uint8(event.Loss)|made, record.Time()
	o.hi++
	o.lost = append(o.lost, lostAt{record.Seq(), lost})
}

func (o *outstanding) grow(n int) {
	need := o.len() + n
	if need <= len(o.seqs) {
		return
	}
	size := max(1024, len(o.seqs))
	for size < need {
		size *= 2
	}
	seqs, states, times := make([]event.Seq, size), make([]uint8, size), make([]int64, size)
	for p := o.lo; p < o.hi; p++ {
		from, to := o.index(p), p&uint64(size-1)
		seqs[to], states[to], times[to] = o.seqs[from], o.states[from], o.times[from]
	}
	o.seqs, o.states, o.times = seqs, states, times
}

// reject marks a record and reports whether it was there to be marked.
func (o *outstanding) reject(seq event.Seq) bool {
	i := o.lo + uint64(sort.Search(o.len(), func(i int) bool { return o.seqs[o.index(o.lo+uint64(i))] >= seq }))
	if i == o.hi || o.seqs[o.index(i)] != seq || o.states[o.index(i)]&rejected != 0 {
		return false
	}
	o.states[o.index(i)] |= rejected
	return true
}

// pop takes the oldest record out. There is one.
func (o *outstanding) pop() (seq event.Seq, state uint8) {
	i := o.index(o.lo)
	o.lo++
	return o.seqs[i], o.states[i]
}

// countFrom adds the records from a number on, and what loss records among them stand for.
func (o *outstanding) countFrom(first event.Seq, n *Tally) {
	for p := o.lo; p < o.hi; p++ {
		if i := o.index(p); o.seqs[i] >= first && o.states[i]&made == 0 {
			n[o.states[i]&kindMask]++
		}
	}
	for i := range o.lost {
		if o.lost[i].seq >= first {
			n.Add(&o.lost[i].lost)
		}
	}
}

// popAlike takes out the oldest records up to a number, as far as none of them was rejected, or made by the spool. It counts them, and returns
// the last.
func (o *outstanding) popAlike(through event.Seq) (n Tally, last event.Seq) {
	if o.lo == o.hi {
		return n, 0
	}
	var counts [kindMask + 1]uint64
	for o.lo < o.hi {
		from := o.index(o.lo)
		seqs := o.seqs[from:min(from+uint64(o.len()), uint64(len(o.seqs)))] // as far as they stand contiguously
		states := o.states[from:][:len(seqs)]
		k := 0
		for k < len(seqs) && seqs[k] <= through && states[k]&^kindMask == 0 {
			counts[states[k]&kindMask]++
			k++
		}
		if k > 0 {
			last = seqs[k-1]
			o.lo += uint64(k)
		}
		if k < len(seqs) {
			break
		}
	}
	copy(n[:], counts[:])
	return n, last
}

// oldest returns the number of the oldest record. There is one.
func (o *outstanding) oldest() event.Seq { return o.seqs[o.index(o.lo)] }

// oldestTime returns the time of the oldest record. There is one.
func (o *outstanding) oldestTime() int64 { return o.times[o.index(o.lo)] }

// poppedTime returns the time of the record that was taken out last. It is called right after that.
func (o *outstanding) poppedTime() int64 { return o.times[o.index(o.lo-1)] }

// clear forgets them all.
func (o *outstanding) clear() { o.lo, o.lost = o.hi, nil }

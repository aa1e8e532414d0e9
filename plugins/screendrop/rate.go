package screendrop

import "sync/atomic"

// outcome is what a table says about one packet.
type outcome uint8

const (
	under   outcome = iota // within the threshold
	crossed                // the packet that goes over it: one per key and window
	over                   // a later packet of a key that is over it
)

// ways is how many keys one set of a table holds: as many words as fit in a cache line.
const ways = 8

// Layout of a rate word: tag, number of the second, count.
const (
	countBits  = 23
	windowBits = 16
	countMask  = 1<<countBits - 1
	tagShift   = countBits + windowBits

	// maxCount is the largest threshold: one more must fit in the count.
	maxCount = 1<<countBits - 2
)

// rateSets is how many sets a table of a flood screen has: 65,536 keys in 512 KiB.
const rateSets = 8192

// rateTable counts packets per key and second, for any number of workers at once.
//
// Seconds are those of the packets' clock, not of the key's first packet. In each, the packets 1 to limit of a key are
// under, the next one is crossed, and all others are over; with any number of workers exactly one is crossed. A
// worker whose clock is up to a second behind counts in the newer second.
//
// Memory is fixed. Where a set is full of keys of the current second, a new key takes the place of the one with the
// lowest count: keys that come once (a flood from random addresses) drive out each other and not a key that has been
// counted twice. A key that is over its threshold keeps its place until the second ends; if all of a set's keys are, a
// new one goes uncounted.
//
// A key is known by the number of its set and 25 bits of its hash. An address therefore shares the count of a given other
// one with a probability of 2^-38, and a count may look current again 18 hours after its second.
type rateTable struct {
	limit uint64
	mask  uint64
	sets  []rateSet
}

type rateSet [ways]atomic.Uint64

// newRateTable returns a table for a threshold from 1 to maxCount. sets is a power of two.
func newRateTable(limit uint64, sets int) *rateTable {
	return &rateTable{limit: limit, mask: uint64(sets - 1), sets: make([]rateSet, sets)}
}

// add counts one packet of the key with hash h at now, in nanoseconds.
func (t *rateTable) add(h uint64, now int64) outcome {
	set := &t.sets[h&t.mask]
	tag := max(h>>tagShift, 1) // 0 is an empty word
	second := uint16(now / 1e9)
	for {
		word, old := set.find(tag, h)
		if word == nil {
			word, old = t.victim(set, h, second)
			if word == nil {
				return under
			}
		}
		next, result := t.count(old, tag, second)
		if result == over || word.CompareAndSwap(old, next) {
			return result
		}
	}
}

// find returns the key's word and what it held, nil if the set does not have the key. It begins where victim begins: there the key is,
// in most cases.
func (s *rateSet) find(tag, h uint64) (*atomic.Uint64, uint64) {
	for i := range uint64(ways) {
		word := &s[(h>>32+i)%ways]
		if w := word.Load(); w>>tagShift == tag {
			return word, w
		}
	}
	return nil, 0
}

// count returns the word after one more packet of the key with that tag. old may belong to another key.
func (t *rateTable) count(old, tag uint64, second uint16) (next uint64, result outcome) {
	if old>>tagShift != tag || !current(old, second) {
		return tag<<tagShift | uint64(second)<<countBits | 1, under
	}
	switch n := old & countMask; {
	case n > t.limit:
		return old, over
	case n == t.limit:
		return old + 1, crossed
	}
	return old + 1, under
}

// victim returns the word that a new key may take, nil if there is none. It begins its search at a place that depends on
// the hash, so that among equals not always the same one goes.
func (t *rateTable) victim(set *rateSet, h uint64, second uint16) (*atomic.Uint64, uint64) {
	var best *atomic.Uint64
	var held uint64
	lowest := t.limit + 1
	for i := range uint64(ways) {
		word := &set[(h>>32+i)%ways]
		w := word.Load()
		if !current(w, second) {
			return word, w
		}
		if n := w & countMask; n < lowest {
			best, held, lowest = word, w, n
		}
	}
	return best, held
}

// current reports whether a word counts in this second, or in the next one because another worker is already there.
func current(w uint64, second uint16) bool {
	ahead := uint16(w>>countBits) - second
	return ahead <= 1
}

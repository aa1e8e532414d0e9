package screendrop

import (
	"math/bits"
	"sync/atomic"
)

// distinct is how many different ports or hosts make a scan or a sweep. Junos has no setting for it.
const distinct = 10

// Layout of a source's head: tag, start of its interval in microseconds, how many different targets were seen.
const (
	seenBits  = 4
	startBits = 37
	seenMask  = 1<<seenBits - 1
	startMask = 1<<startBits - 1
	ownShift  = seenBits + startBits
)

// scanSets is how many sets a table of a scan or sweep screen has: 16,384 sources in 1.25 MiB.
const scanSets = 2048

// scanTable tells which sources reach ten different targets (ports or hosts) within an interval, for any number of
// workers at once.
//
// A source's interval begins with its first packet, and the first packet after its end begins the next. Within it, the
// packet that goes to the tenth different target is crossed, for exactly one worker; all others after that are over,
// wherever they go.
//
// Memory is fixed. A source whose interval has ended gives way first, then the one with the fewest targets; one that is
// over keeps its place until its interval ends. A source is known by the number of its set and 23 bits of its hash, a
// target by 32 bits.
//
// Workers that begin a new interval of one source at the same moment may lose a target between them, never count one
// twice.
type scanTable struct {
	interval int64 // in microseconds
	mask     uint64
	sets     []scanSet
}

type scanSet struct {
	heads [ways]atomic.Uint64
	// seen holds the targets of each source but the tenth, in the order they came: a stamp that names the source and its
	// interval above the target. A word with another stamp is free, so that nothing is ever cleared.
	seen [ways][distinct - 1]atomic.Uint64
}

// newScanTable returns a table for an interval in microseconds. sets is a power of two.
func newScanTable(interval int64, sets int) *scanTable {
	return &scanTable{interval: interval, mask: uint64(sets - 1), sets: make([]scanSet, sets)}
}

// add notes that the source with hash h sent to a target at now, in nanoseconds.
func (t *scanTable) add(h uint64, target uint32, now int64) outcome {
	set := &t.sets[h&t.mask]
	head, i := t.claim(set, h, now/1e3)
	if i < 0 {
		return under
	}
	if head&seenMask == distinct {
		return over
	}
	own := head >> seenBits
	mark := stamp(own)<<32 | uint64(target)
	for n := range set.seen[i] {
		word := &set.seen[i][n]
		for {
			w := word.Load()
			if w == mark {
				return under
			}
			if w>>32 == mark>>32 {
				break // another target
			}
			if word.CompareAndSwap(w, mark) {
				raise(&set.heads[i], own, uint64(n)+1)
				return under
			}
		}
	}
	return raise(&set.heads[i], own, distinct)
}

// claim returns the head of the source with hash h in an interval that holds at the time us, and its place. It begins the
// interval if need be. The place is below 0 if there is no room for the source.
func (t *scanTable) claim(set *scanSet, h uint64, us int64) (head uint64, i int) {
	tag := max(h>>ownShift, 1) // 0 is an empty word
	fresh := tag<<ownShift | uint64(us)&startMask<<seenBits | 1
	for {
		i, head = set.find(tag)
		if i >= 0 && t.holds(head, us) {
			return head, i
		}
		if i < 0 {
			if i, head = t.victim(set, h, us); i < 0 {
				return 0, -1
			}
		}
		if set.heads[i].CompareAndSwap(head, fresh) {
			return fresh, i
		}
	}
}

// find returns the place and the head of a source, a place below 0 if the set does not have it.
func (s *scanSet) find(tag uint64) (int, uint64) {
	for i := range s.heads {
		if w := s.heads[i].Load(); w>>ownShift == tag {
			return i, w
		}
	}
	return -1, 0
}

// victim returns the place that a new source may take, below 0 if there is none.
func (t *scanTable) victim(set *scanSet, h uint64, us int64) (best int, held uint64) {
	best = -1
	fewest := uint64(distinct)
	for n := range uint64(ways) {
		i := (h>>32 + n) % ways
		w := set.heads[i].Load()
		if !t.holds(w, us) {
			return int(i), w
		}
		if seen := w & seenMask; seen < fewest {
			best, held, fewest = int(i), w, seen
		}
	}
	return best, held
}

// holds reports whether a head's interval holds at the time us. A worker may be a little behind the one that began it.
func (t *scanTable) holds(head uint64, us int64) bool {
	start := int64(head >> seenBits & startMask)
	age := (us - start) << (64 - startBits) >> (64 - startBits) // times are known modulo 2^startBits
	return -t.interval < age && age < t.interval
}

// raise says that a source has seen n targets. It is crossed for the one caller that takes the source to the last of
// them, over for callers that come too late for that, and under otherwise.
func raise(head *atomic.Uint64, own, n uint64) outcome {
	for {
		w := head.Load()
		if w>>seenBits != own {
			return under // the interval has ended meanwhile
		}
		switch {
		case w&seenMask == distinct:
			return over
		case w&seenMask >= n:
			return under
		}
		if head.CompareAndSwap(w, own<<seenBits|n) {
			if n == distinct {
				return crossed
			}
			return under
		}
	}
}

// stamp shortens a source and the start of its interval to 32 bits that are not zero.
func stamp(own uint64) uint64 {
	hi, lo := bits.Mul64(own, 0x9e3779b97f4a7c15)
	return (hi^lo)>>32 | 1
}

package logverify

import (
	"slices"
	"sort"
)

// maxIntervals bounds what is remembered of an epoch: so many gaps may be open at once before the oldest is given up.
const maxIntervals = 1 << 16

// sequence is what is known of the numbers of one epoch: those that were seen, as intervals in order that do not touch.
type sequence struct {
	seen     []interval
	repeated uint64
	missing  uint64 // in gaps that were given up
}

type interval struct{ first, last uint64 }

// add notes a number.
func (s *sequence) add(n uint64) {
	if k := len(s.seen); k > 0 && s.seen[k-1].last != ^uint64(0) && n == s.seen[k-1].last+1 { // nearly always
		s.seen[k-1].last = n
		return
	}
	// i is the first interval that ends at n or behind it.
	i := sort.Search(len(s.seen), func(i int) bool { return s.seen[i].last >= n })
	if i < len(s.seen) && s.seen[i].first <= n {
		s.repeated++
		return
	}
	before := i > 0 && s.seen[i-1].last+1 == n
	behind := i < len(s.seen) && s.seen[i].first == n+1
	switch {
	case before && behind:
		s.seen[i-1].last = s.seen[i].last
		s.seen = slices.Delete(s.seen, i, i+1)
	case before:
		s.seen[i-1].last = n
	case behind:
		s.seen[i].first = n
	default:
		s.seen = slices.Insert(s.seen, i, interval{n, n})
	}
	if len(s.seen) > maxIntervals {
		s.missing += s.seen[1].first - s.seen[0].last - 1
		s.seen[1].first = s.seen[0].first
		s.seen = slices.Delete(s.seen, 0, 1)
	}
}

func (s *sequence) first() uint64 { return s.seen[0].first }
func (s *sequence) last() uint64  { return s.seen[len(s.seen)-1].last }

// lost returns how many numbers between the first and the last were not seen.
func (s *sequence) lost() uint64 {
	n := s.missing
	for i := 1; i < len(s.seen); i++ {
		n += s.seen[i].first - s.seen[i-1].last - 1
	}
	return n
}

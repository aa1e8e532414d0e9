package logverify

import (
	"math/rand/v2"
	"testing"
)

// TestSequenceReordered pins that a complete sequence is complete in any order, and what is missing and repeated in another.
func TestSequenceReordered(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 100 {
		var s sequence
		seen := map[uint64]bool{}
		first, last, repeated := ^uint64(0), uint64(0), uint64(0)
		add := func(n uint64) {
			s.add(n)
			if seen[n] {
				repeated++
			}
			seen[n] = true
			first, last = min(first, n), max(last, n)
		}
		for _, i := range rng.Perm(500) {
			if round%2 == 1 && rng.IntN(4) == 0 { // some are lost
				continue
			}
			for range 1 + rng.IntN(1+round%3) { // some come more than once
				add(uint64(i) + 7)
			}
		}
		missing := last - first + 1 - uint64(len(seen))
		if s.first() != first || s.last() != last || s.lost() != missing || s.repeated != repeated {
			t.Fatalf("%d to %d, %d missing, %d repeated; want %d to %d, %d, %d", s.first(), s.last(), s.lost(), s.repeated, first, last, missing, repeated)
		}
		if round == 0 && (len(s.seen) != 1 || missing != 0) {
			t.Errorf("%d intervals of a complete sequence", len(s.seen))
		}
	}
}

// TestSequenceBounded pins that numbers with gaps everywhere cost bounded memory and are still counted.
func TestSequenceBounded(t *testing.T) {
	var s sequence
	const n = maxIntervals + 1000
	for i := range uint64(n) {
		s.add(2 * i)
	}
	s.add(^uint64(0))
	s.add(^uint64(0))
	if len(s.seen) > maxIntervals || s.repeated != 1 {
		t.Errorf("%d intervals, %d repeated", len(s.seen), s.repeated)
	}
	if want := ^uint64(0) - n; s.lost() != want {
		t.Errorf("%d missing, want %d", s.lost(), want)
	}
}

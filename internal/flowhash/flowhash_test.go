package flowhash

import (
	"math/bits"
	"math/rand/v2"
	"testing"
)

// TestChosenWords sends words that made every key collide when only one operand was secret: a word that equals a constant
// of the hash makes a product 0, whatever the other word is.
func TestChosenWords(t *testing.T) {
	constants := []uint64{0, 1, 1 << 63, ^uint64(0), 0x9e3779b97f4a7c15, 0xd6e8feb86659fd93, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb}
	for round := range 8 {
		k := New(rand.Uint64())
		for place := range 5 {
			for _, fixed := range constants {
				seen, seen3 := make(map[uint64]bool), make(map[uint64]bool)
				for i := range uint64(512) {
					w := [5]uint64{i << 40, i, i << 32, i << 48, i << 32}
					w[place] = fixed
					seen[k.Sum(w[0], w[1], w[2], w[3], w[4])] = true
					seen3[k.Sum3(w[0], w[1], w[2])] = true
				}
				if len(seen) != 512 || len(seen3) != 512 {
					t.Fatalf("round %d: word %d fixed to %#x: %d and %d values of 512 flows", round, place, fixed, len(seen), len(seen3))
				}
			}
		}
	}
}

// TestEveryBitCounts flips single bits of the words and expects about half of the result's bits to flip.
func TestEveryBitCounts(t *testing.T) {
	k := New(7)
	for _, c := range []struct {
		words int
		sum   func(w *[5]uint64) uint64
	}{
		{5, func(w *[5]uint64) uint64 { return k.Sum(w[0], w[1], w[2], w[3], w[4]) }},
		{3, func(w *[5]uint64) uint64 { return k.Sum3(w[0], w[1], w[2]) }},
	} {
		rng := rand.New(rand.NewPCG(1, 2))
		for bit := range c.words * 64 {
			flipped := 0
			const rounds = 200
			for range rounds {
				w := [5]uint64{rng.Uint64(), rng.Uint64(), rng.Uint64(), rng.Uint64(), rng.Uint64()}
				before := c.sum(&w)
				w[bit/64] ^= 1 << (bit % 64)
				flipped += bits.OnesCount64(before ^ c.sum(&w))
			}
			if mean := float64(flipped) / rounds; mean < 24 || mean > 40 {
				t.Errorf("%d words: bit %d of word %d: %.1f bits flip", c.words, bit%64, bit/64, mean)
			}
		}
	}
}

// TestNumbersInARow puts keys that differ by a number that counts up, such as that of a datagram, into 512 sets by their low
// bits. Chance fills 323 of them.
func TestNumbersInARow(t *testing.T) {
	for seed := range uint64(256) {
		k := New(seed)
		for place := range 3 {
			sets := make(map[uint64]bool)
			for i := range uint64(512) {
				w := [3]uint64{seed, 1, 2}
				w[place] = i
				sets[k.Sum3(w[0], w[1], w[2])%512] = true
			}
			if len(sets) < 250 {
				t.Errorf("seed %d, word %d: %d sets", seed, place, len(sets))
			}
		}
	}
}

// TestKey checks that a seed gives one key and another seed another one.
func TestKey(t *testing.T) {
	if a, b := New(1), New(1); a != b {
		t.Error("one seed, two keys")
	}
	if a, b := New(1), New(2); a == b {
		t.Error("two seeds, one key")
	}
	if a, b := Random(), Random(); a == b {
		t.Error("two random keys are equal")
	}
}

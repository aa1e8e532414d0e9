package spelling

import (
	"math/rand/v2"
	"testing"
)

// TestLevenshtein compares the distance with that of the whole matrix.
func TestLevenshtein(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	word := func() []rune {
		w := make([]rune, r.IntN(9))
		for i := range w {
			w[i] = 'a' + rune(r.IntN(3))
		}
		return w
	}
	for range 20_000 {
		a, b, limit := word(), word(), 1+r.IntN(4)
		if got, want := levenshtein(a, b, limit), min(matrix(a, b), limit+1); got != want {
			t.Fatalf("%q and %q with limit %d: %d; want %d", string(a), string(b), limit, got, want)
		}
	}
}

func matrix(a, b []rune) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		for j := range d[i] {
			switch {
			case i == 0 || j == 0:
				d[i][j] = i + j
			case a[i-1] == b[j-1]:
				d[i][j] = d[i-1][j-1]
			default:
				d[i][j] = 1 + min(d[i-1][j-1], d[i-1][j], d[i][j-1])
			}
		}
	}
	return d[len(a)][len(b)]
}

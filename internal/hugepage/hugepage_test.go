package hugepage

import (
	"runtime"
	"testing"
)

// TestMake checks arrays of all sizes around the border at which the kernel is asked, of elements that fill pages and of
// elements that do not: their length, that they are zero, and that they can be written to.
func TestMake(t *testing.T) {
	sizes(t, func(n int) []byte { return Make[byte](n) }, 1)
	sizes(t, func(n int) [][24]byte { return Make[[24]byte](n) }, 24)
	sizes(t, func(n int) [][64]byte { return Make[[64]byte](n) }, 64)
}

func sizes[T comparable](t *testing.T, make func(n int) []T, element int) {
	var zero T
	for _, bytes := range []int{0, 1, 4096, 1 << 19, 1<<19 + 1, 1 << 20, 2 << 20, 2<<20 + 1, 5 << 20} {
		n := bytes / element
		a := make(n)
		if len(a) != n || cap(a) != n {
			t.Fatalf("%d elements of %d bytes: length %d, capacity %d", n, element, len(a), cap(a))
		}
		for i := range a {
			if a[i] != zero {
				t.Fatalf("%d elements of %d bytes: the one at %d is not zero", n, element, i)
			}
		}
		runtime.GC()
		if n > 0 {
			a[0], a[n-1] = zero, zero
		}
	}
}

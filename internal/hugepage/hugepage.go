// Package hugepage asks the kernel for huge pages, of 2 MiB, behind large arrays.
//
// With pages of 4 KiB, a lookup in a large array waits for the address of each page more than for the memory in it.
package hugepage

import "unsafe"

const size = 2 << 20

// Make returns a zeroed array of which the kernel is asked to back everything with huge pages. It takes up to two of them
// more than it needs. An array of less than a quarter of such a page is an ordinary one.
func Make[T any](n int) []T {
	element := int(unsafe.Sizeof(*new(T)))
	if n*element < size/4 {
		return make([]T, n)
	}
	a := make([]T, n+2*(size/element+1))
	Advise(a)
	from := (untilBorder(unsafe.Pointer(unsafe.SliceData(a))) + element - 1) / element
	return a[from : from+n : from+n]
}

// untilBorder returns how many bytes are between p and the next border of huge pages.
func untilBorder(p unsafe.Pointer) int { return int(-uintptr(p) & (size - 1)) }

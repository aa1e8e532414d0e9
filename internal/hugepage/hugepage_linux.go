package hugepage

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Advise asks the kernel to back an array with huge pages, and takes them now: whoever touches one first would wait for the
// kernel to find and to clear it, which can take many milliseconds. The kernel may refuse, which changes nothing else. What
// is at either end of the array and fills no such page keeps small ones.
func Advise[T any](a []T) {
	first := unsafe.Pointer(unsafe.SliceData(a))
	n := len(a) * int(unsafe.Sizeof(*new(T)))
	skip := untilBorder(first)
	if n = (n - skip) &^ (size - 1); n > 0 {
		pages := unsafe.Slice((*byte)(unsafe.Add(first, skip)), n)
		if unix.Madvise(pages, unix.MADV_HUGEPAGE) == nil {
			_ = unix.Madvise(pages, unix.MADV_POPULATE_WRITE) // before Linux 5.14 they are found when they are touched
		}
	}
}

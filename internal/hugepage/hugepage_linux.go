package hugepage

import (
	"syscall"
	"unsafe"
)

// adviseHuge is MADV_HUGEPAGE, which package syscall does not name.
const adviseHuge = 14

// Advise asks the kernel to back an array with huge pages. It may refuse, which changes nothing else. What is at either end
// of the array and fills no such page keeps small ones.
func Advise[T any](a []T) {
	first := unsafe.Pointer(unsafe.SliceData(a))
	n := len(a) * int(unsafe.Sizeof(*new(T)))
	skip := untilBorder(first)
	if n = (n - skip) &^ (size - 1); n > 0 {
		_ = syscall.Madvise(unsafe.Slice((*byte)(unsafe.Add(first, skip)), n), adviseHuge)
	}
}

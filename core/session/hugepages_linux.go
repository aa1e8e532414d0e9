package session

import (
	"syscall"
	"unsafe"
)

const (
	hugePage = 2 << 20
	// adviseHuge is MADV_HUGEPAGE, which package syscall does not name.
	adviseHuge = 14
)

// preferHugePages asks the kernel to back an array with pages of 2 MiB. With pages of 4 KiB, a lookup in a large table waits
// for the address of each page more than for the memory in it. The kernel may refuse, which changes nothing else.
func preferHugePages[T any](a []T) {
	first := unsafe.Pointer(unsafe.SliceData(a))
	size := len(a) * int(unsafe.Sizeof(a[0]))
	skip := int(-uintptr(first) & (hugePage - 1))
	if size = (size - skip) &^ (hugePage - 1); size > 0 {
		_ = syscall.Madvise(unsafe.Slice((*byte)(unsafe.Add(first, skip)), size), adviseHuge)
	}
}

// Package prefetch asks the processor for memory that will be read soon, so that it is in a cache by then.
//
// It pays where what will be read is known for many things before the first of them is needed: waiting for all of it at once
// takes hardly longer than waiting for one. A request reads nothing, changes nothing and cannot fail, whatever the address
// is. On processors other than amd64 and arm64 it does nothing.
package prefetch

import "unsafe"

// Elements asks for the elements of an array at those places. Of one that is larger than two cache lines it asks for the first and the last.
func Elements[T any](array []T, at []uint32) {
	if len(at) > 0 {
		elements(unsafe.Pointer(unsafe.SliceData(array)), unsafe.Sizeof(*new(T)), unsafe.SliceData(at), len(at))
	}
}

// Pointed asks for the cache lines that the elements of an array point to. The first word of an element is the pointer, or a slice whose
// first element it is.
func Pointed[T any](array []T) {
	if len(array) > 0 {
		pointed(unsafe.Pointer(unsafe.SliceData(array)), unsafe.Sizeof(*new(T)), len(array))
	}
}

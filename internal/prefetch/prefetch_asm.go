//go:build amd64 || arm64

package prefetch

import "unsafe"

// Line asks for the cache line at p.
//
//go:noescape
func Line(p unsafe.Pointer)

// Pair asks for the two cache lines that begin at p.
//
//go:noescape
func Pair(p unsafe.Pointer)

// elements asks for the first and the last byte of n elements, which is not 0, of an array at base.
//
//go:noescape
func elements(base unsafe.Pointer, size uintptr, at *uint32, n int)

// pointed asks for what the first words of n elements of an array at base, which is not 0, point to.
//
//go:noescape
func pointed(base unsafe.Pointer, size uintptr, n int)

//go:build !amd64 && !arm64

package prefetch

import "unsafe"

// Line asks for the cache line at p.
func Line(unsafe.Pointer) {}

// Pair asks for the two cache lines that begin at p.
func Pair(unsafe.Pointer) {}

func elements(unsafe.Pointer, uintptr, *uint32, int) {}

func pointed(unsafe.Pointer, uintptr, int) {}

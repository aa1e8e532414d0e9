//go:build amd64 || arm64

package session

import "unsafe"

// prefetch asks the processor for the cache line at p. It reads nothing.
//
//go:noescape
func prefetch(p unsafe.Pointer)

// prefetchPair asks the processor for the two cache lines that begin at p. It reads nothing.
//
//go:noescape
func prefetchPair(p unsafe.Pointer)

//go:build !amd64 && !arm64

package session

import "unsafe"

func prefetch(unsafe.Pointer) {}

func prefetchPair(unsafe.Pointer) {}

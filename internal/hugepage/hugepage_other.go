//go:build !linux

package hugepage

// Advise does nothing.
func Advise[T any]([]T) {}

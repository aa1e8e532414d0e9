//go:build !linux

package session

func preferHugePages[T any]([]T) {}

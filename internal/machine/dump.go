package machine

import (
	"errors"

	"github.com/vishvananda/netlink"
)

// maxDumps is how often a list is read that changes while it is read.
const maxDumps = 10

// Dump returns a list that the kernel gave in one piece: one that changed meanwhile is read again, up to ten times.
func Dump[T any](list func() ([]T, error)) (all []T, err error) {
	for range maxDumps {
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return all, err
}

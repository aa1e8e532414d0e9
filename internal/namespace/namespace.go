// Package namespace runs functions in a network namespace that was the current one earlier.
package namespace

import (
	"fmt"
	"runtime"

	"github.com/vishvananda/netns"
)

// Namespace is a network namespace, held open.
type Namespace struct {
	handle netns.NsHandle
}

// Current returns the network namespace of the calling thread.
func Current() (Namespace, error) {
	handle, err := netns.Get()
	if err != nil {
		return Namespace{}, fmt.Errorf("current network namespace: %w", err)
	}
	return Namespace{handle: handle}, nil
}

// Close closes the handle.
func (n *Namespace) Close() error { return n.handle.Close() }

// Run calls fn on a thread in the namespace. A process that has only one namespace needs no privilege for it. Safe for
// concurrent use.
func (n *Namespace) Run(fn func()) error {
	runtime.LockOSThread()
	here, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("current network namespace: %w", err)
	}
	defer func() { _ = here.Close() }() // only a name for the namespace
	if here.Equal(n.handle) {
		defer runtime.UnlockOSThread()
		fn()
		return nil
	}
	if err := netns.Set(n.handle); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter the network namespace of the interface: %w", err)
	}
	fn()
	if err := netns.Set(here); err != nil {
		// The thread must not serve anyone else: it stays locked, and ends with the goroutine.
		return fmt.Errorf("leave the network namespace of the interface: %w", err)
	}
	runtime.UnlockOSThread()
	return nil
}

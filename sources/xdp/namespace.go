package xdp

import (
	"fmt"
	"runtime"

	"github.com/vishvananda/netns"
)

// namespace is the network namespace in which a source was opened, and in which it looks for its interface again.
type namespace struct {
	handle netns.NsHandle
}

func currentNamespace() (namespace, error) {
	handle, err := netns.Get()
	if err != nil {
		return namespace{}, fmt.Errorf("current network namespace: %w", err)
	}
	return namespace{handle: handle}, nil
}

func (n *namespace) close() error { return n.handle.Close() }

// run calls fn on a thread in the namespace. A process that has only one namespace needs no privilege for it.
func (n *namespace) run(fn func()) error {
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

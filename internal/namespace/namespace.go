// Package namespace runs functions in a network namespace that was the current one earlier.
package namespace

import (
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/vishvananda/netns"
)

// ErrClosed is the error of a namespace that is not held any more.
var ErrClosed = errors.New("the network namespace is not held open any more")

// Namespace is a network namespace, held open. It is safe for concurrent use.
type Namespace struct {
	mu     sync.RWMutex // held to read while a function runs
	handle netns.NsHandle
}

// Current returns the network namespace of the calling thread.
func Current() (*Namespace, error) {
	handle, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("current network namespace: %w", err)
	}
	return &Namespace{handle: handle}, nil
}

// Close waits for the functions that run, and closes the handle. Closing a second time, or a nil namespace, does nothing.
func (n *Namespace) Close() error {
	if n == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.handle.IsOpen() {
		return nil
	}
	return n.handle.Close()
}

// Run calls fn on a thread in the namespace, and returns [ErrClosed] without a call if it is closed. A process that has only one namespace
// needs no privilege for it. fn must not call Close.
func (n *Namespace) Run(fn func()) error {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if !n.handle.IsOpen() {
		return ErrClosed
	}
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

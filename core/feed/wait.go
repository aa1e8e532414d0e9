package feed

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// waiter waits until a stream has something to read.
type waiter struct {
	polled []unix.PollFd // the first is the eventfd
	forget func() bool   // ends the context's interest

	mu   sync.Mutex
	wake int // eventfd that ends a wait; -1 when it is closed
}

func newWaiter(ctx context.Context, streams []Stream) (*waiter, error) {
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	w := &waiter{wake: wake, polled: []unix.PollFd{{Fd: int32(wake), Events: unix.POLLIN}}}
	for _, s := range streams {
		w.polled = append(w.polled, unix.PollFd{Fd: int32(s.FD()), Events: unix.POLLIN})
	}
	w.forget = context.AfterFunc(ctx, w.interrupt)
	return w, nil
}

// wait waits for a stream unless it pauses, for the end of the context, or as long as that. It reports whether it was woken.
func (w *waiter) wait(timeout time.Duration, paused bool) (woken bool, err error) {
	polled := w.polled
	if paused {
		polled = polled[:1]
	}
	limit := unix.NsecToTimespec(timeout.Nanoseconds())
	n, err := unix.Ppoll(polled, &limit, nil)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return false, fmt.Errorf("wait for events: %w", err)
	}
	return n > 0, nil
}

// forgetFD waits no longer for the descriptor of a stream that has ended.
func (w *waiter) forgetFD(fd int) {
	for i := range w.polled[1:] {
		if w.polled[1+i].Fd == int32(fd) {
			w.polled[1+i].Fd = -1
		}
	}
}

// interrupt ends the wait, and every later one.
func (w *waiter) interrupt() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wake >= 0 {
		_, _ = unix.Write(w.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // fails only if it is about to wake already
	}
}

func (w *waiter) close() error {
	w.forget()
	w.mu.Lock()
	defer w.mu.Unlock()
	err := unix.Close(w.wake)
	w.wake = -1
	return err
}

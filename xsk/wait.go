package xsk

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Waiter waits for any of several sockets of one interface that have the same reader. It is the reader's, like
// [Socket.Wait], which is a Waiter of one.
type Waiter struct {
	sockets []*Socket
	polled  []unix.PollFd // for each socket, itself and its eventfd
	timeout unix.Timespec
	drained [8]byte
}

// NewWaiter returns a waiter for sockets that are open.
func NewWaiter(sockets ...*Socket) *Waiter {
	w := &Waiter{sockets: sockets}
	for _, s := range sockets {
		w.polled = append(w.polled,
			unix.PollFd{Fd: int32(s.fd), Events: unix.POLLIN},
			unix.PollFd{Fd: int32(s.wake), Events: unix.POLLIN})
	}
	return w
}

// Wait is [Socket.Wait] for all sockets of the waiter: a packet on any, or Interrupt of any, ends it.
func (w *Waiter) Wait(timeout time.Duration) error {
	for i, s := range w.sockets {
		if !s.enter() {
			w.leave(i)
			return ErrClosed
		}
	}
	defer w.leave(len(w.sockets))

	// A look costs less than a system call; and on an interface that is down or gone, poll would not tell.
	for _, s := range w.sockets {
		if s.receive.ready() > 0 {
			return nil
		}
	}
	if w.gone() {
		return ErrInterfaceGone
	}
	if err := w.poll(timeout); err != nil {
		return err
	}
	return nil // also if the interface went meanwhile: there may be last packets; the next call says so
}

func (w *Waiter) leave(n int) {
	for _, s := range w.sockets[:n] {
		s.leave()
	}
}

func (w *Waiter) gone() bool {
	return len(w.sockets) > 0 && w.sockets[0].shared.gone.Load()
}

func (w *Waiter) poll(timeout time.Duration) error {
	var limit *unix.Timespec
	if timeout >= 0 {
		w.timeout = unix.NsecToTimespec(timeout.Nanoseconds())
		limit = &w.timeout
	}
	n, err := unix.Ppoll(w.polled, limit, nil)
	if err == unix.EINTR {
		return nil // a signal, as the Go runtime sends them to preempt: early, as promised
	}
	if err != nil {
		return fmt.Errorf("poll: %w", err)
	}
	for i := 1; n > 0 && i < len(w.polled); i += 2 {
		if w.polled[i].Revents != 0 {
			_, _ = unix.Read(int(w.polled[i].Fd), w.drained[:]) // only another reader could have been faster: there is none
		}
	}
	return nil
}

package afpacket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// wait sleeps until there may be frames, or, paused, for all of the timeout. An interrupt ends both.
func (q *Queue) wait(ctx context.Context, timeout time.Duration, paused bool) error {
	if q.current.ended {
		return io.EOF
	}
	// In this order: a context that ends after the question interrupts the wait.
	q.interruptedBy(ctx)
	if ctx.Err() != nil {
		return nil
	}
	var limit *unix.Timespec
	if timeout >= 0 {
		q.timeout = unix.NsecToTimespec(timeout.Nanoseconds())
		limit = &q.timeout
	}
	polled := q.polled[:1]
	if !paused {
		polled = q.polled
	}
	for i := range polled[1:] {
		polled[1+i].Events = unix.POLLIN
		if q.sockets[i].ring.ready() {
			polled[1+i].Events = 0 // it waits for the others
		}
	}
	if _, err := unix.Ppoll(polled, limit, nil); errors.Is(err, unix.EINTR) {
		return nil // a signal, as the Go runtime sends them to preempt
	} else if err != nil {
		return fmt.Errorf("wait for packets: %w", err)
	}
	if polled[0].Revents != 0 {
		_, _ = unix.Read(q.wake, q.drained[:]) // nothing else reads it
	}
	for i := range polled[1:] {
		if p := &polled[1+i]; p.Revents&unix.POLLERR != 0 {
			// The interface went down or away, which the source is told as well. Reading the error takes it off the socket.
			_, _ = unix.GetsockoptInt(int(p.Fd), unix.SOL_SOCKET, unix.SO_ERROR)
		}
	}
	return nil
}

// interruptedBy arranges that the end of ctx wakes the queue. A worker has one context, so this happens once, and costs a
// comparison afterwards.
func (q *Queue) interruptedBy(ctx context.Context) {
	done := ctx.Done()
	if done == q.done {
		return
	}
	if q.forget != nil {
		q.forget()
		q.forget = nil
	}
	if q.done = done; done != nil {
		q.forget = context.AfterFunc(ctx, q.interrupt)
	}
}

// interrupt wakes the worker. Safe for concurrent use.
func (q *Queue) interrupt() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.wake >= 0 {
		_, _ = unix.Write(q.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // fails only if it is about to wake already
	}
}

package xdp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/monotonic"
	"github.com/rtflow/pipelined/xsk"
)

// Queue is the share of the interface that one worker reads: normally one receive queue; several, or none, while the
// interface has another number of queues than when the source was opened. Its methods are for one goroutine.
type Queue struct {
	number   int    // among those of the source
	id       uint32 // Frame.Interface; 0 = the kernel's index
	clock    *monotonic.Clock
	attached atomic.Pointer[attachment] // stored by the source's goroutine

	views [packet.BatchSize]xsk.Packet
	held  *attachment // what the frames of the last Receive came from

	forwarding *forwarding // nil: a tap
	offloading *offloading // nil: the XDP program carries no packets

	// patience is how long Receive waits at most, 0 = as long as it is told to. A frame that the kernel refuses to put into the ring wakes nobody,
	// and the program takes it for one that waits: of a queue that fails open the worker has to come before it counts as one that hangs.
	patience time.Duration

	done   <-chan struct{} // of the context that interrupts this queue
	forget func() bool     // ends that
}

// attachment is what a queue reads until the source attaches something else. Sockets and interface do not change.
type attachment struct {
	device   *xsk.Interface // of the sockets
	sockets  []*xsk.Socket
	waiter   *xsk.Waiter // nil if there are no sockets
	index    uint32      // the kernel's, of the interface
	ended    bool        // the source is closed: nothing follows
	replaced chan struct{}
	next     int  // the worker's: the socket whose turn it is
	begun    bool // the worker's: the sockets are served
}

// attach gives a queue something else to read, and wakes a worker that waits for it.
func (q *Queue) attach(a *attachment) {
	a.replaced = make(chan struct{})
	if len(a.sockets) > 0 {
		a.waiter = xsk.NewWaiter(a.sockets...)
	}
	if old := q.attached.Swap(a); old != nil {
		close(old.replaced)
	}
}

// Receive waits up to timeout (for ever, if it is negative) for frames and fills b. After a timeout, or when ctx ends,
// b.N is 0; it can also be 0 earlier. b.Now and b.Wall are always set. While the interface is away, Receive waits like on
// a silent one. It returns [io.EOF] after [Source.Close]; another error means that the kernel refused to wait, and is
// permanent. With an error there are no frames.
//
// But for its first call, when frames are there, Receive makes no system call and allocates nothing.
func (q *Queue) Receive(ctx context.Context, b *packet.Batch, timeout time.Duration) error {
	q.Release() // a worker that forgot would stop the interface from being closed
	b.N = 0
	if q.forwarding != nil {
		timeout = q.forwarding.flush(timeout)
	}
	if q.patience > 0 && (timeout < 0 || timeout > q.patience) {
		timeout = q.patience
	}
	a := q.attached.Load()
	if !a.begun {
		if err := a.begin(); err != nil {
			return err
		}
	}
	q.collect(a, b)
	if b.N == 0 {
		if err := q.wait(ctx, a, timeout); err != nil {
			b.Now, b.Wall = q.clock.Read()
			return err
		}
		q.collect(a, b)
	}
	b.Now, b.Wall = q.clock.Read()
	b.Coarse = true // AF_XDP in copy mode has no receive times
	leavesBy := uint32(0)
	if f := q.forwarding; f != nil {
		f.now, leavesBy = b.Now, f.leavesBy
	}
	for i := range b.Frames[:b.N] {
		b.Frames[i].Time, b.Frames[i].LeavesBy = b.Now, leavesBy
	}
	return nil
}

// begin has the frames of the queues handed to the sockets. Until there is a worker to read them, those of a bridge go without.
func (a *attachment) begin() error {
	a.begun = true
	for _, s := range a.sockets {
		err := a.device.Serve(s)
		if err != nil && !errors.Is(err, xsk.ErrClosed) && !errors.Is(err, xsk.ErrInterfaceGone) { // the source attaches another one
			return fmt.Errorf("begin to read queue %d: %w", s.Queue(), err)
		}
	}
	return nil
}

// Release gives the frames of the last Receive back. After Receive returned none it does nothing.
func (q *Queue) Release() {
	if q.held == nil {
		return
	}
	for _, s := range q.held.sockets {
		s.Release()
	}
	q.held = nil
	if q.offloading != nil {
		q.offloading.settle()
	}
}

// collect takes what is there, from each socket in turn, without waiting.
func (q *Queue) collect(a *attachment, b *packet.Batch) {
	id := q.id
	if id == 0 {
		id = a.index
	}
	for range a.sockets {
		s := a.sockets[a.next]
		if a.next++; a.next == len(a.sockets) {
			a.next = 0
		}
		n := s.Receive(q.views[b.N:])
		for i := range n {
			// What hooks and sessions look at is in the first buffer.
			f, view := &b.Frames[b.N+i], &q.views[b.N+i]
			f.Data, f.Wire, f.Interface = view.Data, view.Len(), id
		}
		b.N += n
	}
	if b.N > 0 {
		q.held = a
	}
}

// wait sleeps until there may be frames.
func (q *Queue) wait(ctx context.Context, a *attachment, timeout time.Duration) error {
	if a.ended {
		return io.EOF
	}
	// In this order: a context that ends after the question interrupts what was attached before it.
	q.interruptedBy(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if a.waiter == nil {
		return q.waitForAttachment(ctx, a, timeout)
	}
	err := a.waiter.Wait(timeout)
	if errors.Is(err, xsk.ErrInterfaceGone) || errors.Is(err, xsk.ErrClosed) {
		return q.waitForAttachment(ctx, a, timeout)
	}
	if err != nil {
		return fmt.Errorf("wait for packets: %w", err)
	}
	return nil
}

// waitForAttachment sleeps until the source has something else for the queue.
func (q *Queue) waitForAttachment(ctx context.Context, a *attachment, timeout time.Duration) error {
	var over <-chan time.Time
	if timeout >= 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-a.replaced:
	case <-ctx.Done():
	case <-over:
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

// interrupt is safe for concurrent use.
func (q *Queue) interrupt() {
	if a := q.attached.Load(); len(a.sockets) > 0 {
		a.sockets[0].Interrupt()
	}
}

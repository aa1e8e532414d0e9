package afpacket

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/monotonic"
	"github.com/rtflow/pipelined/internal/pace"
)

// Queue is what one worker reads: a socket on each interface that is there. Its methods are for one goroutine.
type Queue struct {
	clock    *monotonic.Clock
	warn     func(msg string, args ...any)
	attached atomic.Pointer[attachment] // stored by the source's goroutine

	current *attachment // what was attached when the worker looked last
	sockets []*socket   // that the worker reads: those of current, and of interfaces that have just gone
	polled  []unix.PollFd
	timeout unix.Timespec
	drained [8]byte
	pace    pace.Pace
	now     int64 // when the worker looked last
	last    int64 // time of the last frame

	received, bytes, malformed atomic.Uint64 // stored by the worker
	dropped, full              atomic.Uint64 // added by whoever reads the kernel's counters

	done   <-chan struct{} // of the context that interrupts this queue
	forget func() bool     // ends that

	mu   sync.Mutex
	wake int       // eventfd that ends a wait; -1 when it is closed
	open []*socket // all that were attached and are not closed
}

// attachment is the set of sockets that a queue reads, until the source attaches another one.
type attachment struct {
	sockets []*socket
	ended   bool // the source is closed: nothing follows
}

func newQueue(clock *monotonic.Clock, warn func(string, ...any)) (*Queue, error) {
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	q := &Queue{clock: clock, warn: warn, wake: wake, current: new(attachment)}
	q.attached.Store(q.current)
	q.use(nil)
	return q, nil
}

// attach gives the queue other sockets to read. It closes those that it does not read any longer.
func (q *Queue) attach(a *attachment) {
	q.mu.Lock()
	for _, s := range a.sockets {
		if !slices.Contains(q.open, s) {
			q.open = append(q.open, s)
		}
	}
	q.mu.Unlock()
	q.attached.Store(a)
	q.interrupt()
}

// Receive waits up to timeout (for ever, if it is negative) for frames and fills b. After a timeout, or when ctx ends,
// b.N is 0; it can also be 0 earlier. b.Now and b.Wall are always set. While no interface is there, Receive waits like on
// silent ones. It returns [io.EOF] after [Source.Close]; another error means that the kernel refused to wait, and is
// permanent, and may come with a last batch.
//
// Frames of several interfaces come in the order in which they were received, [reorder] later, and b.Now is as late.
//
// When frames are there, Receive makes no system call and allocates nothing.
func (q *Queue) Receive(ctx context.Context, b *packet.Batch, timeout time.Duration) error {
	q.Release()
	b.N, b.Coarse = 0, false
	wait := q.collect(b)
	if b.N > 0 {
		return nil
	}
	if timeout >= 0 && (wait < 0 || wait > timeout) {
		wait = timeout
	}
	paused, wait := q.pace.Wait(wait)
	err := q.wait(ctx, wait, paused)
	q.collect(b)
	q.pace.Waited(paused, q.now, b.N > 0)
	return err
}

// Release gives the frames of the last Receive back.
func (q *Queue) Release() {
	for _, s := range q.sockets {
		s.ring.release()
	}
}

// follow goes over to what is attached. Sockets that are not part of it any longer are read until the kernel has nothing more
// of them.
func (q *Queue) follow(now int64) {
	a := q.attached.Load()
	if a == q.current {
		return
	}
	q.current = a
	q.mu.Lock()
	open := slices.Clone(q.open)
	q.mu.Unlock()
	reading := slices.Clone(a.sockets)
	for _, s := range open {
		switch {
		case slices.Contains(a.sockets, s):
		case slices.Contains(q.sockets, s):
			if s.leaves == 0 {
				s.leaves = now + int64(reorder)
			}
			reading = append(reading, s)
		default: // it came and went between two looks
			q.retire(s)
		}
	}
	q.use(reading)
}

func (q *Queue) use(sockets []*socket) {
	q.sockets = sockets
	q.polled = append(q.polled[:0], unix.PollFd{Fd: int32(q.wake), Events: unix.POLLIN})
	for _, s := range sockets {
		q.polled = append(q.polled, unix.PollFd{Fd: int32(s.fd), Events: unix.POLLIN})
	}
}

// retireLeft closes the sockets of interfaces that have gone, when nothing is left in them. It reports whether there are
// others of them.
func (q *Queue) retireLeft(now int64) (more bool) {
	for _, s := range q.sockets {
		if s.leaves == 0 {
			continue
		}
		if s.leaves > now || s.ring.ready() {
			more = true
			continue
		}
		q.retire(s)
		q.use(slices.DeleteFunc(slices.Clone(q.sockets), func(other *socket) bool { return other == s }))
	}
	return more
}

// retire closes a socket and keeps what the kernel has counted.
func (q *Queue) retire(s *socket) {
	if err := errors.Join(q.count(s), s.close()); err != nil {
		q.warn("closing a packet socket failed", "error", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.open = slices.DeleteFunc(q.open, func(other *socket) bool { return other == s })
}

// count adds what the kernel has counted for a socket. Safe for concurrent use.
func (q *Queue) count(s *socket) error {
	l, err := s.lost()
	q.dropped.Add(l.dropped)
	q.full.Add(l.full)
	return err
}

// collect takes what is there without waiting, in the order of the times at which the packets were received, and sets the
// clocks of the batch. It returns how long the next packet has to wait for others, negative if there is none.
func (q *Queue) collect(b *packet.Batch) (wait time.Duration) {
	now, wall := q.clock.Read()
	q.now = now
	q.follow(now)
	leaving := q.retireLeft(now)
	offset, settled := wall-now, now // what was received until then is here
	if len(q.sockets) > 1 {
		settled -= int64(reorder)
	}
	wait = -1
	if leaving {
		wait = reorder
	}
	var bytes, malformed uint64
	for b.N < packet.BatchSize {
		s, received, until := q.earliest(settled + offset)
		if s == nil {
			break
		}
		if received-offset-now > int64(reorder) {
			until = received // stamped by a wall clock that has been set back since
		}
		if received > until {
			// Not for each packet by itself: a few milliseconds later there are more.
			wait = max(time.Duration(received-offset-settled), blockAge*time.Millisecond/2)
			break
		}
		for received <= until {
			f := &b.Frames[b.N]
			if s.ring.take(f) {
				q.last = max(q.last, min(received-offset, now))
				f.Time, f.Interface = q.last, s.id
				bytes += uint64(f.Wire)
				b.N++
			} else {
				malformed++
			}
			if s.ring.left == 0 || b.N == packet.BatchSize {
				break
			}
			received = s.ring.time()
		}
	}
	b.Now = max(settled, q.last)
	b.Wall = b.Now + offset
	if b.N > 0 || malformed > 0 {
		q.received.Store(q.received.Load() + uint64(b.N))
		q.bytes.Store(q.bytes.Load() + bytes)
		q.malformed.Store(q.malformed.Load() + malformed)
	}
	return wait
}

// reorder is how long a packet waits while another interface has none to show: the kernel hands over packets in blocks,
// those of a block that is not full after up to twice [blockAge] and the tick of its timer.
const reorder = 4 * blockAge * time.Millisecond

// earliest returns the socket whose next packet was received first, and when; nil if there is none. Its packets that were
// received up to until come before those of the others: before those that are there, and, what was received up to settled
// being there, before those that the kernel has not handed over yet. All times are Unix times.
func (q *Queue) earliest(settled int64) (first *socket, received, until int64) {
	until = math.MaxInt64
	for _, s := range q.sockets {
		if !s.ring.ready() {
			if len(q.sockets) > 1 {
				until = min(until, settled)
			}
			continue
		}
		switch t := s.ring.time(); {
		case first == nil:
			first, received = s, t
		case t < received:
			until = min(until, received)
			first, received = s, t
		default:
			until = min(until, t)
		}
	}
	return first, received, until
}

// close closes all sockets and the eventfd. The worker has stopped.
func (q *Queue) close() error {
	if q.forget != nil {
		q.forget()
	}
	q.mu.Lock()
	open := slices.Clone(q.open)
	q.mu.Unlock()
	for _, s := range open {
		q.retire(s)
	}
	q.use(nil)
	q.current = &attachment{ended: true}
	q.attached.Store(q.current)
	q.mu.Lock()
	defer q.mu.Unlock()
	err := unix.Close(q.wake)
	q.wake = -1
	return err
}

// countAll reads the kernel's counters of all sockets. Safe for concurrent use.
func (q *Queue) countAll() (err error) {
	q.mu.Lock()
	open := slices.Clone(q.open)
	q.mu.Unlock()
	for _, s := range open {
		err = errors.Join(err, q.count(s))
	}
	return err
}

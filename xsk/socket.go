package xsk

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Socket is one AF_XDP socket: one receive queue of an interface, with packet buffers of its own.
//
// Receive, Release and Wait are for one goroutine, the reader. Transmit, Flush, Interrupt, Stats, Queue and ZeroCopy may be
// called by any goroutine at any time, also after Close.
type Socket struct {
	queue    int
	zeroCopy bool
	shared   *shared

	// The reader holds this lock while it waits and from Receive to Release, so that nothing is unmapped under it. It is
	// contended only by close.
	reading sync.Mutex
	holding bool // the reader's: it has frames, and so the lock
	closed  bool // under reading

	fd      int
	umem    []byte
	chunk   uint64 // mask: an address in a buffer to the address of the buffer
	fill    fillRing
	receive receiveRing
	held    []uint64 // buffers handed out; never longer than the ring
	rest    [][]byte // of the packets handed out, what is not in their first buffers; never grows
	waiter  *Waiter
	waiting *atomic.Uint64 // of a bridge: not 0 while frames wait for the reader

	transmit transmitter // not open: the socket only receives

	received  atomic.Uint64
	bytes     atomic.Uint64
	malformed atomic.Uint64
	wakeups   atomic.Uint64

	// The descriptors that goroutines other than the reader use, against close.
	admin   sync.Mutex
	binding *binding // nil when closed
	wake    int      // eventfd; -1 when closed
	final   Stats    // when closed
}

// shared is what the sockets of an interface know about it.
type shared struct {
	gone    atomic.Bool // the interface
	closing atomic.Bool // Close was called
}

// Stats counts packets of a socket since it was opened. Of the packets that the program redirected to it, each is in
// Received, RxDropped, RxRingFull or Malformed, or still in the ring; after Close, in RxUnread.
type Stats struct {
	Received  uint64 `json:"received"`              // packets handed out by Receive
	Bytes     uint64 `json:"bytes"`                 // in them
	Malformed uint64 `json:"malformed_descriptors"` // descriptors outside the packet buffers: a fault of the kernel; part of Received nowhere
	Wakeups   uint64 `json:"wakeups"`               // system calls that a driver asked for with need_wakeup

	// The kernel's own, of this socket.

	RxDropped      uint64 `json:"rx_dropped"`             // too long, or there was no buffer: the reader is too slow
	RxInvalidDescs uint64 `json:"rx_invalid_descriptors"` // we returned a buffer that does not exist: a fault of this package
	RxRingFull     uint64 `json:"rx_ring_full"`           // no room in the receive ring
	FillRingEmpty  uint64 `json:"fill_ring_empty"`        // how often there was no buffer; in copy mode each is one of RxDropped

	RxUnread uint64 `json:"rx_unread"` // packets that were in the receive ring when the socket was closed: nobody has read them

	Transmit TransmitStats `json:"transmit,omitzero"` // of a bridge
}

// Plus adds counters.
func (s Stats) Plus(other Stats) Stats {
	s.Received += other.Received
	s.Bytes += other.Bytes
	s.Malformed += other.Malformed
	s.Wakeups += other.Wakeups
	s.RxDropped += other.RxDropped
	s.RxInvalidDescs += other.RxInvalidDescs
	s.RxRingFull += other.RxRingFull
	s.FillRingEmpty += other.FillRingEmpty
	s.RxUnread += other.RxUnread
	s.Transmit = s.Transmit.Plus(other.Transmit)
	return s
}

// Packet is a packet in one or more buffers, in their order.
type Packet struct {
	// Data is the packet, or the beginning of one that is longer than a buffer.
	Data []byte
	// Rest are the other buffers of a longer one.
	Rest [][]byte
}

// Len returns the length of the whole packet in bytes.
func (p *Packet) Len() int {
	n := len(p.Data)
	for _, data := range p.Rest {
		n += len(data)
	}
	return n
}

// openSocket opens a socket on one queue. flags are those of bind(2).
func openSocket(ctx context.Context, index, queue, frameSize int, l *layout, flags uint16, shared *shared, watch *linkWatch) (*Socket, error) {
	b, err := bindQueue(ctx, index, queue, frameSize, l, flags)
	if err != nil {
		return nil, fmt.Errorf("queue %d: %w", queue, err)
	}
	s := &Socket{
		queue:   queue,
		shared:  shared,
		fd:      b.socket.FD(),
		umem:    b.umem(frameSize)[:l.frames*frameSize],
		chunk:   ^uint64(frameSize - 1),
		held:    make([]uint64, 0, l.frames),
		rest:    make([][]byte, 0, l.frames),
		binding: b,
		wake:    -1,
	}
	if err := s.prepare(l, frameSize, watch); err != nil {
		return nil, errors.Join(fmt.Errorf("queue %d: %w", queue, err), s.close())
	}
	return s, nil
}

// prepare maps the rings and gives every buffer to the kernel.
func (s *Socket) prepare(l *layout, frameSize int, watch *linkWatch) (err error) {
	if s.wake, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		s.wake = -1
		return fmt.Errorf("make an eventfd: %w", err)
	}
	s.waiter = NewWaiter(s)
	if s.fill, err = mapFillRing(s.fd, l); err != nil {
		return err
	}
	if s.receive, err = mapReceiveRing(s.fd, l); err != nil {
		return err
	}
	if l.transmitFrames > 0 {
		if err := s.transmit.prepare(s.fd, s.binding.umem(frameSize), frameSize, l, watch); err != nil {
			return err
		}
		s.transmit.longest = maxSend(frameSize, s.binding.flags&unix.XDP_USE_SG != 0)
	}
	var options uint32
	if err := getsockopt(s.fd, unix.XDP_OPTIONS, unsafe.Pointer(&options), unsafe.Sizeof(options)); err != nil {
		return fmt.Errorf("read socket options: %w", err)
	}
	s.zeroCopy = options&unix.XDP_OPTIONS_ZEROCOPY != 0

	for i := range l.frames {
		s.held = append(s.held, uint64(i*frameSize))
	}
	s.giveBack()
	return nil
}

// Queue returns the number of the receive queue.
func (s *Socket) Queue() int { return s.queue }

// ZeroCopy reports whether the driver writes packets into the buffers of this socket, without a copy by the kernel.
func (s *Socket) ZeroCopy() bool { return s.zeroCopy }

// Receive puts packets that have arrived into the front of into and returns how many. It never blocks and makes no system
// call. The packets start with the Ethernet header; they are views on memory that the kernel will write to again, valid
// until [Socket.Release]; nobody may write to them. Receive may be called again before Release, until there is nothing
// left for the kernel to receive into. After Close it returns 0.
func (s *Socket) Receive(into []Packet) int {
	if !s.enter() {
		return 0
	}
	if s.waiting != nil && s.waiting.Load() != 0 {
		s.waiting.Store(0) // before the look at the ring: what comes after it is waited for again
	}
	ready := s.receive.ready()
	n, taken, size := 0, 0, uint64(0)
	for n < len(into) && taken < ready {
		d := s.receive.at(taken)
		if d.Options&unix.XDP_PKT_CONTD != 0 {
			k := s.chain(taken, ready)
			if k == 0 {
				break // its end has not come yet
			}
			if s.gather(taken, k, &into[n]) {
				size += uint64(into[n].Len())
				n++
			}
			taken += k
			continue
		}
		taken++
		if data := s.buffer(d); data != nil {
			into[n] = Packet{Data: data}
			size += uint64(d.Len)
			n++
		}
	}
	if taken > 0 {
		s.receive.consume(taken)
		s.received.Add(uint64(n))
		s.bytes.Add(size)
	}
	if len(s.held) > 0 {
		s.holding = true
		return n
	}
	s.reading.Unlock()
	return n
}

// buffer takes the buffer of a descriptor, and returns what is in it; nil if it is none of ours. That buffer is lost, which is better
// than to guess which one it was.
func (s *Socket) buffer(d unix.XDPDesc) []byte {
	end := d.Addr + uint64(d.Len)
	if end > uint64(len(s.umem)) || d.Addr > end {
		s.malformed.Add(1)
		return nil
	}
	s.held = append(s.held, d.Addr&s.chunk)
	return s.umem[d.Addr:end:end]
}

// chain returns how many descriptors from the i-th on are one packet, 0 if the last of them is not among those that are ready. One
// that fills the ring can have no end: it is taken as a packet.
func (s *Socket) chain(i, ready int) int {
	for k := i; k < ready; k++ {
		if s.receive.at(k).Options&unix.XDP_PKT_CONTD == 0 {
			return k - i + 1
		}
	}
	if ready-i == len(s.receive.entries) {
		return ready - i
	}
	return 0
}

// gather makes a packet of k descriptors from the i-th on. It reports false if one of them is malformed: then the packet is lost, and
// its buffers are taken.
func (s *Socket) gather(i, k int, into *Packet) bool {
	*into = Packet{Data: s.buffer(s.receive.at(i))}
	whole, start := into.Data != nil, len(s.rest)
	for j := 1; j < k; j++ {
		data := s.buffer(s.receive.at(i + j))
		whole = whole && data != nil
		s.rest = append(s.rest, data)
	}
	into.Rest = s.rest[start:len(s.rest):len(s.rest)]
	return whole
}

// Release gives all packets of the calls to Receive since the last Release back to the kernel. It makes a system call
// only if the driver has stopped for want of buffers and asked to be woken.
func (s *Socket) Release() {
	if !s.holding {
		return
	}
	s.giveBack()
	s.holding = false
	s.reading.Unlock()
}

func (s *Socket) giveBack() {
	s.fill.add(s.held)
	s.held, s.rest = s.held[:0], s.rest[:0]
	if s.fill.needsWakeup() {
		// The call only makes the driver look at the ring. Its result is of no use: it fails while the interface is down.
		_, _, _ = unix.Syscall6(unix.SYS_RECVFROM, uintptr(s.fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
		s.wakeups.Add(1)
	}
}

// Wait sleeps until there is a packet to receive, timeout is over (never, if it is negative), or Interrupt is called. It
// may return nil early, with nothing to receive. An error is final: it wraps [ErrInterfaceGone], once all packets of the
// vanished interface have been received, or [ErrClosed]. On an interface that is down it waits like on a silent one.
func (s *Socket) Wait(timeout time.Duration) error { return s.waiter.Wait(timeout) }

// Interrupt makes the reader's present Wait return; if it is not waiting, its next one.
func (s *Socket) Interrupt() {
	s.admin.Lock()
	defer s.admin.Unlock()
	if s.wake < 0 {
		return
	}
	one := [8]byte{1}                 // in either byte order it is not 0
	_, _ = unix.Write(s.wake, one[:]) // fails only if the counter is full, and then the reader is awake already
}

// Stats returns the counters; after Close, the last.
func (s *Socket) Stats() (Stats, error) {
	s.admin.Lock()
	defer s.admin.Unlock()
	return s.stats()
}

// stats needs the lock.
func (s *Socket) stats() (Stats, error) {
	if s.binding == nil {
		return s.final, nil
	}
	stats := Stats{
		Received:  s.received.Load(),
		Bytes:     s.bytes.Load(),
		Malformed: s.malformed.Load(),
		Wakeups:   s.wakeups.Load(),
		Transmit:  s.transmit.stats(),
	}
	kernel, err := readKernelStats(s.fd)
	if err != nil {
		return stats, fmt.Errorf("queue %d: %w", s.queue, err)
	}
	stats.RxDropped = kernel.Rx_dropped
	stats.RxInvalidDescs = kernel.Rx_invalid_descs
	stats.RxRingFull = kernel.Rx_ring_full
	stats.FillRingEmpty = kernel.Rx_fill_ring_empty_descs
	stats.Transmit.InvalidDescs = kernel.Tx_invalid_descs
	return stats, nil
}

// enter takes the reader's lock, unless the reader has it. It reports false, without the lock, if the socket is closed
// or about to be.
func (s *Socket) enter() bool {
	if s.holding {
		return !s.shared.closing.Load()
	}
	s.reading.Lock()
	if s.closed || s.shared.closing.Load() {
		s.reading.Unlock()
		return false
	}
	return true
}

// leave undoes enter, unless the reader holds packets.
func (s *Socket) leave() {
	if !s.holding {
		s.reading.Unlock()
	}
}

// close waits for the reader to be done with its packets, and frees the queue. shared.closing is set, or there is no
// reader yet.
func (s *Socket) close() error {
	s.Interrupt()
	s.reading.Lock()
	defer s.reading.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	errs := s.transmit.close()

	// From here on the other goroutines find no descriptors, and do not wait for the kernel.
	s.admin.Lock()
	final, err := s.stats()
	errs = append(errs, err)
	if s.receive.memory != nil {
		final.RxUnread = uint64(s.receive.packets())
	}
	binding, wake := s.binding, s.wake
	s.final, s.binding, s.wake = final, nil, -1
	s.admin.Unlock()

	for _, memory := range [][]byte{s.fill.memory, s.receive.memory} {
		if memory != nil {
			errs = append(errs, unix.Munmap(memory))
		}
	}
	s.fill, s.receive, s.umem = fillRing{}, receiveRing{}, nil
	errs = append(errs, binding.close())
	if wake >= 0 {
		errs = append(errs, unix.Close(wake))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close queue %d: %w", s.queue, err)
	}
	return nil
}

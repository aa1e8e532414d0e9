package xsk

import (
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// transmitter is the transmit side of a socket, with packet buffers of its own: those behind the buffers to receive into.
type transmitter struct {
	// mu is held while frames are queued, never for another lock. It is contended by close, and by other senders where an
	// interface has fewer queues than the one whose frames it sends.
	mu   sync.Mutex
	open bool

	fd         int
	watch      *linkWatch
	umem       []byte
	base       uint64 // address of umem
	size       uint64 // of one buffer
	longest    int    // packet that may be sent, in bytes
	free       []uint64
	ring       transmitRing
	completion completionRing

	sent, bytes             atomic.Uint64
	noRoom, tooLong, isDown atomic.Uint64
	wakeups                 atomic.Uint64
	unsent                  atomic.Uint64 // when closed
}

// maxSegments is how many buffers one packet may take: as many fragments as a packet of the kernel has at least (MAX_SKB_FRAGS).
const maxSegments = 17

// transmitBudget is how many buffers one system call sends at most, where the kernel lets us say so (Linux 6.17): more than
// a batch. Elsewhere they are 32.
const transmitBudget = 256

// prepare maps the rings.
func (t *transmitter) prepare(fd int, umem []byte, frameSize int, l *layout, watch *linkWatch) (err error) {
	t.fd, t.watch, t.size = fd, watch, uint64(frameSize)
	t.base = uint64(l.frames * frameSize)
	t.umem = umem[t.base:]
	if t.ring, err = mapTransmitRing(fd, l); err != nil {
		return err
	}
	if t.completion, err = mapCompletionRing(fd, l); err != nil {
		return err
	}
	t.free = make([]uint64, 0, l.transmitFrames)
	for i := range l.transmitFrames {
		t.free = append(t.free, t.base+uint64(i*frameSize))
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_XDP, unix.XDP_MAX_TX_SKB_BUDGET, min(transmitBudget, l.transmitFrames)) // an older kernel has a default
	t.open = true
	return nil
}

// Transmit queues copies of packets for sending, in their order, and returns how many it has queued. The others are lost: because
// too few buffers were free, because they are longer than the interface takes, or because it is down; [Stats] says which. left is true
// if the kernel has not taken all packets yet and waits for [Socket.Flush]. The error is nil, or [ErrClosed], and then the packets are in
// no counter.
//
// It makes one system call, and more only where the kernel sends fewer packets per call, and allocates nothing. Safe for
// concurrent use, also after Close, when it queues nothing.
func (s *Socket) Transmit(packets []Packet) (queued int, left bool, err error) {
	t := &s.transmit
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.open {
		return 0, false, ErrClosed
	}
	if !t.watch.up.Load() {
		t.isDown.Add(uint64(len(packets)))
		return 0, false, nil
	}
	longest := min(int(t.watch.mtu.Load())+linkOverhead, t.longest)
	t.free = t.completion.take(t.free)
	if len(t.free) < len(packets)*t.buffersFor(longest) && t.ring.unsent() > 0 {
		t.wake()
	}
	noRoom, tooLong, size := 0, 0, 0
	for i := range packets {
		p := &packets[i]
		length := p.Len()
		switch need := t.buffersFor(length); {
		case length > longest:
			tooLong++
		case need > len(t.free):
			noRoom++
		default:
			if need == 1 && len(p.Rest) == 0 {
				t.put(p.Data)
			} else {
				t.scatter(p, length)
			}
			size += length
			queued++
		}
	}
	if queued > 0 {
		t.ring.submit()
		t.sent.Add(uint64(queued))
		t.bytes.Add(uint64(size))
	}
	if noRoom > 0 {
		t.noRoom.Add(uint64(noRoom))
	}
	if tooLong > 0 {
		t.tooLong.Add(uint64(tooLong))
	}
	return queued, t.wake(), nil
}

// put queues a packet of one buffer.
func (t *transmitter) put(data []byte) {
	address := t.takeBuffer()
	copy(t.umem[address-t.base:][:t.size], data)
	t.ring.put(address, len(data), false)
}

// scatter queues a packet, of that length, that comes from several buffers or needs several.
func (t *transmitter) scatter(p *Packet, length int) {
	from, rest := p.Data, p.Rest
	for length > 0 {
		address, n := t.takeBuffer(), min(length, int(t.size))
		for to := t.umem[address-t.base:][:n]; len(to) > 0; {
			if len(from) == 0 {
				from, rest = rest[0], rest[1:]
			}
			k := copy(to, from)
			to, from = to[k:], from[k:]
		}
		length -= n
		t.ring.put(address, n, length > 0)
	}
}

// buffersFor returns how many buffers a packet takes.
func (t *transmitter) buffersFor(length int) int { return max(1, (length+int(t.size)-1)/int(t.size)) }

// takeBuffer returns the address of a buffer. There must be one.
func (t *transmitter) takeBuffer() uint64 {
	last := len(t.free) - 1
	address := t.free[last]
	t.free = t.free[:last]
	return address
}

// Flush asks the kernel again to send what is queued, and reports whether anything is left that it did not take. While the interface is
// down there is nothing to ask for: what is queued leaves with the next Transmit, or Flush, after it is up again. Safe for concurrent
// use, also after Close.
func (s *Socket) Flush() (left bool) {
	t := &s.transmit
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open && t.watch.up.Load() && t.wake()
}

// wake asks the kernel to send what is queued, if it waits for that, takes back the buffers that it has done with, and reports
// whether it waits still.
func (t *transmitter) wake() (left bool) {
	for unsent := t.ring.unsent(); unsent > 0 && t.ring.needsWakeup(); {
		_, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(t.fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
		t.wakeups.Add(1)
		before := unsent
		unsent = t.ring.unsent()
		// EAGAIN: it has sent as many as one call may, or the driver has no room. Whatever else is wrong is tried again later.
		if left = unsent > 0; errno != unix.EAGAIN || unsent == before {
			break
		}
	}
	t.free = t.completion.take(t.free)
	return left
}

// close unmaps the rings.
func (t *transmitter) close() (errs []error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open {
		t.unsent.Store(uint64(t.ring.unsentPackets()))
	}
	t.open = false
	for _, memory := range [][]byte{t.ring.memory, t.completion.memory} {
		if memory != nil {
			errs = append(errs, unix.Munmap(memory))
		}
	}
	t.ring, t.completion, t.umem = transmitRing{}, completionRing{}, nil
	return errs
}

// TransmitStats counts packets of the transmit side of a socket since it was opened. Each packet that was handed to Transmit before
// Close is in Sent, NoRoom, TooLong or Down.
type TransmitStats struct {
	Sent    uint64 `json:"sent"`        // queued for the kernel
	Bytes   uint64 `json:"sent_bytes"`  // in them
	NoRoom  uint64 `json:"tx_no_room"`  // too few buffers were free: the interface is slower than what comes
	TooLong uint64 `json:"tx_too_long"` // longer than the MTU of the interface allows
	Down    uint64 `json:"tx_down"`     // the interface was down
	Wakeups uint64 `json:"tx_wakeups"`  // system calls
	// Unsent is how many of Sent the kernel had not taken when the socket was closed.
	Unsent uint64 `json:"tx_unsent"`
	// InvalidDescs counts descriptors that the kernel refused: a fault of this package; part of Sent.
	InvalidDescs uint64 `json:"tx_invalid_descriptors"`
}

// Plus adds counters.
func (s TransmitStats) Plus(other TransmitStats) TransmitStats {
	s.Sent += other.Sent
	s.Bytes += other.Bytes
	s.NoRoom += other.NoRoom
	s.TooLong += other.TooLong
	s.Down += other.Down
	s.Wakeups += other.Wakeups
	s.Unsent += other.Unsent
	s.InvalidDescs += other.InvalidDescs
	return s
}

func (t *transmitter) stats() TransmitStats {
	return TransmitStats{
		Sent: t.sent.Load(), Bytes: t.bytes.Load(), NoRoom: t.noRoom.Load(), TooLong: t.tooLong.Load(), Down: t.isDown.Load(),
		Wakeups: t.wakeups.Load(), Unsent: t.unsent.Load(),
	}
}

// readKernelStats reads the statistics that the kernel has of a socket.
func readKernelStats(fd int) (stats unix.XDPStatistics, err error) {
	if err := getsockopt(fd, unix.XDP_STATISTICS, unsafe.Pointer(&stats), unsafe.Sizeof(stats)); err != nil {
		return stats, fmt.Errorf("read socket statistics: %w", err)
	}
	return stats, nil
}

package xsk

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The rings are shared with the kernel, one producer and one consumer each. An index only ever grows, and wraps at
// 2^32; its low bits are the position. The producer stores an entry and then the producer index (release); the consumer
// loads the producer index (acquire) and then the entry; and the other way round for the consumer index. Go's atomic
// loads and stores are at least that strong.

// layout is how the kernel lays out the rings of a socket.
type layout struct {
	offsets          unix.XDPMmapOffsets
	frames           int // entries of the fill ring and the receive ring
	transmitFrames   int // entries of the transmit ring; 0 = there is none
	completionFrames int // entries of the completion ring, which a socket must have also if it only receives
}

// layoutFor returns the layout for a number of packet buffers to receive into; a bridge has as many to send from.
func layoutFor(offsets unix.XDPMmapOffsets, frames int, bridge bool) *layout {
	l := &layout{offsets: offsets, frames: frames, completionFrames: completionFrames}
	if bridge {
		l.transmitFrames, l.completionFrames = frames, frames
	}
	return l
}

// place is where a ring is among the mappings of a socket, and in its own mapping.
type place struct {
	name       string // for errors
	pageOffset int64  // of the mapping
	at         unix.XDPRingOffset
	entries    int // a power of two
	entrySize  uintptr
}

// length returns the length of the mapping.
func (p *place) length() int { return int(p.at.Desc) + p.entries*int(p.entrySize) }

func (l *layout) receiveRing() place {
	return place{"receive ring", unix.XDP_PGOFF_RX_RING, l.offsets.Rx, l.frames, unsafe.Sizeof(unix.XDPDesc{})}
}

func (l *layout) transmitRing() place {
	return place{"transmit ring", unix.XDP_PGOFF_TX_RING, l.offsets.Tx, l.transmitFrames, unsafe.Sizeof(unix.XDPDesc{})}
}

func (l *layout) fillRing() place {
	return place{"fill ring", unix.XDP_UMEM_PGOFF_FILL_RING, l.offsets.Fr, l.frames, unsafe.Sizeof(uint64(0))}
}

func (l *layout) completionRing() place {
	return place{"completion ring", unix.XDP_UMEM_PGOFF_COMPLETION_RING, l.offsets.Cr, l.completionFrames, unsafe.Sizeof(uint64(0))}
}

// lengthAt returns the length of the ring that is mapped at a page offset.
func (l *layout) lengthAt(pageOffset uint64) (length int, ok bool) {
	for _, p := range [...]place{l.receiveRing(), l.transmitRing(), l.fillRing(), l.completionRing()} {
		if uint64(p.pageOffset) == pageOffset {
			return p.length(), true
		}
	}
	return 0, false
}

// queryOffsets asks the kernel with a socket that is thrown away. It is also the first thing that fails where there is
// no AF_XDP, with the kernel's own error.
func queryOffsets() (unix.XDPMmapOffsets, error) {
	var offsets unix.XDPMmapOffsets
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return offsets, fmt.Errorf("open an AF_XDP socket: %w", err)
	}
	defer func() { _ = unix.Close(fd) }() // nothing was done with it
	if err := getsockopt(fd, unix.XDP_MMAP_OFFSETS, unsafe.Pointer(&offsets), unsafe.Sizeof(offsets)); err != nil {
		return offsets, fmt.Errorf("read ring offsets: %w", err)
	}
	return offsets, nil
}

// MultiBuffer reports whether the kernel spreads packets over several buffers (XDP_USE_SG, Linux 6.6).
func MultiBuffer() bool {
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }() // it is bound to nothing
	// No interface has the number 0. A kernel that does not know the flag says so before it looks for one.
	return errors.Is(unix.Bind(fd, &unix.SockaddrXDP{Flags: unix.XDP_USE_SG}), unix.ENODEV)
}

func getsockopt(fd, option int, value unsafe.Pointer, size uintptr) error {
	length := uint32(size)
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_XDP, uintptr(option),
		uintptr(value), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// ring is what all rings have.
type ring[E unix.XDPDesc | uint64] struct {
	memory   []byte
	producer *atomic.Uint32
	consumer *atomic.Uint32
	flags    *atomic.Uint32
	entries  []E
	mask     uint32
	next     uint32 // our copy of the index that we move
}

// mapRing maps a ring whose entries are of type E.
func mapRing[E unix.XDPDesc | uint64](fd int, p place) (ring[E], error) {
	memory, err := unix.Mmap(fd, p.pageOffset, p.length(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return ring[E]{}, fmt.Errorf("map the %s: %w", p.name, err)
	}
	return ring[E]{
		memory: memory, producer: indexAt(memory, p.at.Producer), consumer: indexAt(memory, p.at.Consumer), flags: indexAt(memory, p.at.Flags),
		entries: unsafe.Slice((*E)(unsafe.Pointer(&memory[p.at.Desc])), p.entries), mask: uint32(p.entries - 1),
	}, nil
}

func indexAt(memory []byte, offset uint64) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&memory[offset]))
}

// fillRing gives buffers to the kernel: we produce.
type fillRing struct{ ring[uint64] }

func mapFillRing(fd int, l *layout) (r fillRing, err error) {
	if r.ring, err = mapRing[uint64](fd, l.fillRing()); err == nil {
		r.next = r.producer.Load()
	}
	return r, err
}

// add hands buffers to the kernel. There is always room: the ring has an entry for every buffer there is.
func (r *fillRing) add(addresses []uint64) {
	for i, address := range addresses {
		r.entries[(r.next+uint32(i))&r.mask] = address
	}
	r.next += uint32(len(addresses))
	r.producer.Store(r.next)
}

// needsWakeup reports whether the driver has stopped looking at the ring and wants a system call to look again.
func (r *fillRing) needsWakeup() bool {
	return r.flags.Load()&unix.XDP_RING_NEED_WAKEUP != 0
}

// receiveRing gives packets to us: we consume.
type receiveRing struct{ ring[unix.XDPDesc] }

func mapReceiveRing(fd int, l *layout) (r receiveRing, err error) {
	if r.ring, err = mapRing[unix.XDPDesc](fd, l.receiveRing()); err == nil {
		r.next = r.consumer.Load()
	}
	return r, err
}

// ready returns how many descriptors are in the ring.
func (r *receiveRing) ready() int { return int(r.producer.Load() - r.next) }

// packets returns how many packets are in the ring whole.
func (r *receiveRing) packets() (n int) {
	for i := range r.ready() {
		if r.at(i).Options&unix.XDP_PKT_CONTD == 0 {
			n++
		}
	}
	return n
}

// at returns the i-th descriptor that is ready.
func (r *receiveRing) at(i int) unix.XDPDesc { return r.entries[(r.next+uint32(i))&r.mask] }

// consume gives the first n entries of the ring back. Their buffers stay ours.
func (r *receiveRing) consume(n int) {
	r.next += uint32(n)
	r.consumer.Store(r.next)
}

// transmitRing gives packets to the kernel: we produce. next counts what put has added, too.
type transmitRing struct{ ring[unix.XDPDesc] }

func mapTransmitRing(fd int, l *layout) (r transmitRing, err error) {
	if r.ring, err = mapRing[unix.XDPDesc](fd, l.transmitRing()); err == nil {
		r.next = r.producer.Load()
	}
	return r, err
}

// put adds a buffer of a packet, which the kernel sees after submit; more says that another one follows. There is always room: the
// ring has an entry for every buffer there is.
func (r *transmitRing) put(address uint64, length int, more bool) {
	d := unix.XDPDesc{Addr: address, Len: uint32(length)}
	if more {
		d.Options = unix.XDP_PKT_CONTD
	}
	r.entries[r.next&r.mask] = d
	r.next++
}

func (r *transmitRing) submit() { r.producer.Store(r.next) }

// unsent returns how many buffers the kernel has not taken yet.
func (r *transmitRing) unsent() int { return int(r.next - r.consumer.Load()) }

// unsentPackets returns how many packets the kernel has not taken yet, or not all of.
func (r *transmitRing) unsentPackets() (n int) {
	for i := r.consumer.Load(); i != r.next; i++ {
		if r.entries[i&r.mask].Options&unix.XDP_PKT_CONTD == 0 {
			n++
		}
	}
	return n
}

// needsWakeup reports whether the kernel sends nothing before a system call asks it to.
func (r *transmitRing) needsWakeup() bool {
	return r.flags.Load()&unix.XDP_RING_NEED_WAKEUP != 0
}

// completionRing gives buffers of sent packets back to us: we consume.
type completionRing struct{ ring[uint64] }

func mapCompletionRing(fd int, l *layout) (r completionRing, err error) {
	if r.ring, err = mapRing[uint64](fd, l.completionRing()); err == nil {
		r.next = r.consumer.Load()
	}
	return r, err
}

// take appends the addresses of the buffers in the ring to free, as far as that has room without growing, and takes them out.
func (r *completionRing) take(free []uint64) []uint64 {
	n := min(r.producer.Load()-r.next, uint32(cap(free)-len(free)))
	for i := range n {
		free = append(free, r.entries[(r.next+i)&r.mask])
	}
	if n > 0 {
		r.next += n
		r.consumer.Store(r.next)
	}
	return free
}

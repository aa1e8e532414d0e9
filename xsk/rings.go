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

const (
	addressSize    = int(unsafe.Sizeof(uint64(0)))
	descriptorSize = int(unsafe.Sizeof(unix.XDPDesc{}))
)

func (l *layout) fillLength() int { return int(l.offsets.Fr.Desc) + l.frames*addressSize }
func (l *layout) completionLength() int {
	return int(l.offsets.Cr.Desc) + l.completionFrames*addressSize
}
func (l *layout) receiveLength() int { return int(l.offsets.Rx.Desc) + l.frames*descriptorSize }

func (l *layout) transmitLength() int {
	return int(l.offsets.Tx.Desc) + l.transmitFrames*descriptorSize
}

// lengthAt returns the length of the ring that is mapped at a page offset.
func (l *layout) lengthAt(pageOffset uint64) (length int, ok bool) {
	switch pageOffset {
	case unix.XDP_PGOFF_RX_RING:
		return l.receiveLength(), true
	case unix.XDP_PGOFF_TX_RING:
		return l.transmitLength(), true
	case unix.XDP_UMEM_PGOFF_FILL_RING:
		return l.fillLength(), true
	case unix.XDP_UMEM_PGOFF_COMPLETION_RING:
		return l.completionLength(), true
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

// fillRing gives buffers to the kernel: we produce.
type fillRing struct {
	memory    []byte
	producer  *atomic.Uint32
	flags     *atomic.Uint32
	addresses []uint64
	mask      uint32
	next      uint32 // our copy of the producer index
}

func mapFillRing(fd int, l *layout) (fillRing, error) {
	memory, err := unix.Mmap(fd, unix.XDP_UMEM_PGOFF_FILL_RING, l.fillLength(),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return fillRing{}, fmt.Errorf("map the fill ring: %w", err)
	}
	r := fillRing{
		memory:    memory,
		producer:  indexAt(memory, l.offsets.Fr.Producer),
		flags:     indexAt(memory, l.offsets.Fr.Flags),
		addresses: unsafe.Slice((*uint64)(unsafe.Pointer(&memory[l.offsets.Fr.Desc])), l.frames),
		mask:      uint32(l.frames - 1),
	}
	r.next = r.producer.Load()
	return r, nil
}

// add hands buffers to the kernel. There is always room: the ring has an entry for every buffer there is.
func (r *fillRing) add(addresses []uint64) {
	for i, address := range addresses {
		r.addresses[(r.next+uint32(i))&r.mask] = address
	}
	r.next += uint32(len(addresses))
	r.producer.Store(r.next)
}

// needsWakeup reports whether the driver has stopped looking at the ring and wants a system call to look again.
func (r *fillRing) needsWakeup() bool {
	return r.flags.Load()&unix.XDP_RING_NEED_WAKEUP != 0
}

// receiveRing gives packets to us: we consume.
type receiveRing struct {
	memory      []byte
	producer    *atomic.Uint32
	consumer    *atomic.Uint32
	descriptors []unix.XDPDesc
	mask        uint32
	next        uint32 // our copy of the consumer index
}

func mapReceiveRing(fd int, l *layout) (receiveRing, error) {
	memory, err := unix.Mmap(fd, unix.XDP_PGOFF_RX_RING, l.receiveLength(),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return receiveRing{}, fmt.Errorf("map the receive ring: %w", err)
	}
	r := receiveRing{
		memory:      memory,
		producer:    indexAt(memory, l.offsets.Rx.Producer),
		consumer:    indexAt(memory, l.offsets.Rx.Consumer),
		descriptors: unsafe.Slice((*unix.XDPDesc)(unsafe.Pointer(&memory[l.offsets.Rx.Desc])), l.frames),
		mask:        uint32(l.frames - 1),
	}
	r.next = r.consumer.Load()
	return r, nil
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
func (r *receiveRing) at(i int) unix.XDPDesc { return r.descriptors[(r.next+uint32(i))&r.mask] }

// consume gives the first n entries of the ring back. Their buffers stay ours.
func (r *receiveRing) consume(n int) {
	r.next += uint32(n)
	r.consumer.Store(r.next)
}

// transmitRing gives packets to the kernel: we produce.
type transmitRing struct {
	memory      []byte
	producer    *atomic.Uint32
	consumer    *atomic.Uint32
	flags       *atomic.Uint32
	descriptors []unix.XDPDesc
	mask        uint32
	next        uint32 // our copy of the producer index, and what put has added
}

func mapTransmitRing(fd int, l *layout) (transmitRing, error) {
	memory, err := unix.Mmap(fd, unix.XDP_PGOFF_TX_RING, l.transmitLength(),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return transmitRing{}, fmt.Errorf("map the transmit ring: %w", err)
	}
	r := transmitRing{
		memory:      memory,
		producer:    indexAt(memory, l.offsets.Tx.Producer),
		consumer:    indexAt(memory, l.offsets.Tx.Consumer),
		flags:       indexAt(memory, l.offsets.Tx.Flags),
		descriptors: unsafe.Slice((*unix.XDPDesc)(unsafe.Pointer(&memory[l.offsets.Tx.Desc])), l.transmitFrames),
		mask:        uint32(l.transmitFrames - 1),
	}
	r.next = r.producer.Load()
	return r, nil
}

// put adds a buffer of a packet, which the kernel sees after submit; more says that another one follows. There is always room: the
// ring has an entry for every buffer there is.
func (r *transmitRing) put(address uint64, length int, more bool) {
	d := unix.XDPDesc{Addr: address, Len: uint32(length)}
	if more {
		d.Options = unix.XDP_PKT_CONTD
	}
	r.descriptors[r.next&r.mask] = d
	r.next++
}

func (r *transmitRing) submit() { r.producer.Store(r.next) }

// unsent returns how many buffers the kernel has not taken yet.
func (r *transmitRing) unsent() int { return int(r.next - r.consumer.Load()) }

// unsentPackets returns how many packets the kernel has not taken yet, or not all of.
func (r *transmitRing) unsentPackets() (n int) {
	for i := r.consumer.Load(); i != r.next; i++ {
		if r.descriptors[i&r.mask].Options&unix.XDP_PKT_CONTD == 0 {
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
type completionRing struct {
	memory    []byte
	producer  *atomic.Uint32
	consumer  *atomic.Uint32
	addresses []uint64
	mask      uint32
	next      uint32 // our copy of the consumer index
}

func mapCompletionRing(fd int, l *layout) (completionRing, error) {
	memory, err := unix.Mmap(fd, unix.XDP_UMEM_PGOFF_COMPLETION_RING, l.completionLength(),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return completionRing{}, fmt.Errorf("map the completion ring: %w", err)
	}
	r := completionRing{
		memory:    memory,
		producer:  indexAt(memory, l.offsets.Cr.Producer),
		consumer:  indexAt(memory, l.offsets.Cr.Consumer),
		addresses: unsafe.Slice((*uint64)(unsafe.Pointer(&memory[l.offsets.Cr.Desc])), l.completionFrames),
		mask:      uint32(l.completionFrames - 1),
	}
	r.next = r.consumer.Load()
	return r, nil
}

// take appends the addresses of the buffers in the ring to free, as far as that has room without growing, and takes them out.
func (r *completionRing) take(free []uint64) []uint64 {
	n := min(r.producer.Load()-r.next, uint32(cap(free)-len(free)))
	for i := range n {
		free = append(free, r.addresses[(r.next+i)&r.mask])
	}
	if n > 0 {
		r.next += n
		r.consumer.Store(r.next)
	}
	return free
}

func indexAt(memory []byte, offset uint64) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&memory[offset]))
}

package xsk

import (
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
	completionFrames int // entries of the completion ring, which a socket must have also if it only receives
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

// lengthAt returns the length of the ring that is mapped at a page offset.
func (l *layout) lengthAt(pageOffset uint64) (length int, ok bool) {
	switch pageOffset {
	case unix.XDP_PGOFF_RX_RING:
		return l.receiveLength(), true
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

// ready returns how many packets are in the ring.
func (r *receiveRing) ready() int { return int(r.producer.Load() - r.next) }

// at returns the i-th descriptor that is ready.
func (r *receiveRing) at(i int) unix.XDPDesc { return r.descriptors[(r.next+uint32(i))&r.mask] }

// consume gives the first n entries of the ring back. Their buffers stay ours.
func (r *receiveRing) consume(n int) {
	r.next += uint32(n)
	r.consumer.Store(r.next)
}

func indexAt(memory []byte, offset uint64) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&memory[offset]))
}

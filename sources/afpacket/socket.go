package afpacket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// blockSize returns the size of the blocks of a ring: some packets of the snap length fit in one. The kernel hands over a block
// after [blockAge] however little is in it, so that a ring lasts for as many such times as it has blocks.
func blockSize(snapLength int) int {
	size := minBlock
	for size < 2*(snapLength+packetOverhead) {
		size *= 2
	}
	return size
}

const (
	minBlock       = 32 << 10
	packetOverhead = 256 // more than the headers in front of a packet and of a block
)

// blockAge is after how many milliseconds the kernel hands over a block that is not full. It bounds how late a packet is
// read when there are few.
const blockAge = 8

// socket is a packet socket with its ring, bound to an interface.
type socket struct {
	fd    int
	ring  *ring
	mem   []byte
	index uint32 // the kernel's, of the interface
	id    uint32 // of the interface as frames carry it

	// leaves is until when packets of an interface that has gone may be handed over, on the clock of the queue; 0 while the
	// interface is there. The worker's.
	leaves int64

	mu     sync.Mutex // held while the kernel's counters are read and the socket is closed
	closed bool
}

// socketOptions are what a socket is opened with.
type socketOptions struct {
	index       int    // the kernel's, of the interface
	id          uint32 // of the interface as frames carry it
	ringSize    int
	blockSize   int
	incoming    bool // packets that leave are not wanted
	promiscuous bool
}

// openSocket opens a socket whose ring has blocks of that size. It receives nothing until it is bound and its cut is set.
func openSocket(o socketOptions) (_ *socket, err error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if errors.Is(err, unix.EPERM) {
		return nil, ErrCapability
	}
	if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	s := &socket{fd: fd, index: uint32(o.index), id: o.id}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if err := s.prepare(o); err != nil {
		return nil, err
	}
	blocks := o.ringSize / o.blockSize
	request := unix.TpacketReq3{
		Block_size: uint32(o.blockSize), Block_nr: uint32(blocks), Retire_blk_tov: blockAge,
		Frame_size: packetSlot, Frame_nr: uint32(blocks * (o.blockSize / packetSlot)),
	}
	if err := unix.SetsockoptTpacketReq3(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &request); err != nil {
		return nil, fmt.Errorf("receive ring of %d bytes: %w", o.ringSize, err)
	}
	s.mem, err = unix.Mmap(fd, 0, blocks*o.blockSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the receive ring: %w", err)
	}
	s.ring = newRing(s.mem, o.blockSize)
	return s, nil
}

// filterPacketType is where a socket filter finds the type of a packet: SKF_AD_OFF + SKF_AD_PKTTYPE (linux/filter.h).
const filterPacketType = 0xfffff000 + 4

// packetSlot is the size in which the kernel accounts for packets of a ring; a packet takes as much of a block as it needs.
const packetSlot = 2048

// prepare sets what has to be set before the ring.
func (s *socket) prepare(o socketOptions) error {
	options := []struct {
		what          string
		option, value int
	}{
		{"version of the receive ring", unix.PACKET_VERSION, unix.TPACKET_V3},
		{"room for VLAN tags", unix.PACKET_RESERVE, tagLength},
		{"sizes of merged packets", unix.PACKET_VNET_HDR, 1},
	}
	if o.incoming {
		options = append(options, struct {
			what          string
			option, value int
		}{"incoming packets only", unix.PACKET_IGNORE_OUTGOING, 1})
	}
	for _, opt := range options {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_PACKET, opt.option, opt.value); err != nil {
			return fmt.Errorf("%s: %w", opt.what, os.NewSyscallError("setsockopt", err))
		}
	}
	if err := s.cut(0, false); err != nil {
		return err
	}
	if o.promiscuous {
		request := unix.PacketMreq{Ifindex: int32(o.index), Type: unix.PACKET_MR_PROMISC}
		if err := unix.SetsockoptPacketMreq(s.fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &request); err != nil {
			return fmt.Errorf("promiscuous mode: %w", err)
		}
	}
	return nil
}

// bind binds the socket to its interface, which must be up for a socket that joins others.
func (s *socket) bind() error {
	protocol := binary.NativeEndian.Uint16([]byte{unix.ETH_P_ALL >> 8, unix.ETH_P_ALL & 0xff}) // in network order
	if err := unix.Bind(s.fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: int(s.index)}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	return nil
}

// bound reports whether the socket is still bound to its interface: the kernel unbinds it when that goes, also to another network namespace,
// for good.
func (s *socket) bound() bool {
	name, err := unix.Getsockname(s.fd)
	if err != nil {
		return true // nothing is known
	}
	address, ok := name.(*unix.SockaddrLinklayer)
	return !ok || address.Ifindex == int(s.index)
}

// join makes bound sockets of one interface share its packets: which one gets a packet depends on a hash of its addresses and
// ports that is the same for both directions of a flow and on every interface (PACKET_FANOUT_HASH in packet(7)).
func join(sockets []*socket, incoming bool) error {
	if len(sockets) == 1 {
		return nil
	}
	mode := unix.PACKET_FANOUT_HASH
	if incoming {
		mode |= unix.PACKET_FANOUT_FLAG_IGNORE_OUTGOING // a group does not heed what its sockets say
	}
	first := sockets[0].fd
	err := unix.SetsockoptInt(first, unix.SOL_PACKET, unix.PACKET_FANOUT, (mode|unix.PACKET_FANOUT_FLAG_UNIQUEID)<<16)
	if errors.Is(err, unix.EINVAL) && incoming {
		// A kernel before 5.15: it hands over what leaves, too, which the filter of each socket then refuses.
		mode = unix.PACKET_FANOUT_HASH
		err = unix.SetsockoptInt(first, unix.SOL_PACKET, unix.PACKET_FANOUT, (mode|unix.PACKET_FANOUT_FLAG_UNIQUEID)<<16)
	}
	id := 0
	if err == nil {
		id, err = unix.GetsockoptInt(first, unix.SOL_PACKET, unix.PACKET_FANOUT)
	}
	for _, s := range sockets[1:] {
		if err == nil {
			err = unix.SetsockoptInt(s.fd, unix.SOL_PACKET, unix.PACKET_FANOUT, id&0xffff|mode<<16)
		}
	}
	if err != nil {
		return fmt.Errorf("share the packets of an interface: %w", err)
	}
	return nil
}

// cut makes the socket receive so many bytes of each packet, 0 for none, and with incoming only packets that come in. The
// value that a socket filter returns is how much of a packet to keep.
func (s *socket) cut(length int, incoming bool) error {
	filter := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: uint32(length)}}
	if incoming {
		filter = []unix.SockFilter{
			{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: filterPacketType},
			{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.PACKET_OUTGOING, Jt: 1},
			filter[0],
			{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		}
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.SetsockoptSockFprog(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
		return fmt.Errorf("snap length: %w", err)
	}
	return nil
}

// lost are packets the kernel has counted.
type lost struct {
	dropped uint64 // for which the ring had no room
	full    uint64 // how often the ring was full
}

// lost returns what the kernel has counted since the last call, nothing if the socket is closed. Safe for concurrent use.
func (s *socket) lost() (l lost, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return lost{}, nil
	}
	stats, err := unix.GetsockoptTpacketStatsV3(s.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return lost{}, fmt.Errorf("statistics of the socket: %w", err)
	}
	return lost{dropped: uint64(stats.Drops), full: uint64(stats.Freeze_q_cnt)}, nil
}

// close closes the socket and forgets its ring, from which nothing is used any more. Closing twice is allowed.
func (s *socket) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var err error
	if s.mem != nil {
		err = unix.Munmap(s.mem)
	}
	return errors.Join(err, unix.Close(s.fd))
}

package afpacket

import (
	"encoding/binary"
	"slices"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/packet"
)

// What the kernel writes into a block and in front of a packet (linux/if_packet.h): struct tpacket_block_desc with its
// tpacket_hdr_v1, and struct tpacket3_hdr followed by a sockaddr_ll. All numbers are in
// the byte order of the host.
const (
	blockStatus = 8
	blockCount  = 12
	blockFirst  = 16

	packetNext    = 0
	packetSeconds = 4
	packetNanos   = 8
	packetCut     = 12
	packetWire    = 16
	packetStatus  = 20
	packetMAC     = 24
	packetNet     = 26
	packetTag     = 32
	packetTPID    = 36
	packetAddress = 48 // the sockaddr_ll

	addressHardware = packetAddress + 8
	addressType     = packetAddress + 10
	packetHeader    = packetAddress + unix.SizeofSockaddrLinklayer
)

// The struct virtio_net_hdr in front of a packet, as PACKET_VNET_HDR asks for (linux/virtio_net.h).
const (
	superHeader = 10
	superType   = 1
	superSize   = 4
	superECN    = 0x80 // a bit of the type
	superTCP4   = 1
	superTCP6   = 4
	superUDP    = 5
)

const (
	macAddresses = 12 // destination and source of an Ethernet header
	tagLength    = 4  // of an 802.1Q tag
	tpidVLAN     = 0x8100
)

// ring is a TPACKET_V3 receive ring: blocks that the kernel fills with packets, one after the other, and hands over when they
// are full or a moment old. It is the reader's; the kernel is the writer.
type ring struct {
	mem    []byte
	size   int // of a block
	blocks int

	block    int    // whose packets are read
	end      int    // offset in mem of what follows it
	left     uint32 // packets of it that were not read
	next     int    // offset in mem of the first of them
	returned int    // first block that was not given back
	read     int    // blocks from there on that were read to their end

	malformed uint64 // blocks or packets that lie outside of the ring
}

// header is what stands in front of a packet.
type header [packetHeader]byte

func (h *header) uint32(field int) uint32 { return binary.NativeEndian.Uint32(h[field:]) }
func (h *header) uint16(field int) uint16 { return binary.NativeEndian.Uint16(h[field:]) }

func newRing(mem []byte, blockSize int) *ring {
	return &ring{mem: mem, size: blockSize, blocks: len(mem) / blockSize}
}

func (r *ring) uint32(off int) uint32 { return binary.NativeEndian.Uint32(r.mem[off:]) }

// header returns that of the packet to read.
func (r *ring) header() *header { return (*header)(r.mem[r.next:]) }

// status is shared with the kernel.
func (r *ring) status(block int) *uint32 {
	return (*uint32)(unsafe.Pointer(&r.mem[block*r.size+blockStatus]))
}

// ready reports whether there is a packet to read.
func (r *ring) ready() bool {
	for r.left == 0 {
		if r.read == r.blocks || atomic.LoadUint32(r.status(r.block))&unix.TP_STATUS_USER == 0 {
			return false
		}
		base := r.block * r.size
		r.end = base + r.size
		r.left = r.uint32(base + blockCount)
		r.next = base + int(r.uint32(base+blockFirst))
		if r.left > 0 && (r.next < base || r.next+packetHeader > r.end) {
			r.malformed++
			r.left = 0
		}
		if r.left == 0 {
			r.finish()
		}
	}
	return true
}

// finish goes on to the next block. The present one is still being used.
func (r *ring) finish() {
	r.read++
	if r.block++; r.block == r.blocks {
		r.block = 0
	}
}

// time returns when the packet to read was received, as Unix time in nanoseconds.
func (r *ring) time() int64 {
	h := r.header()
	return int64(h.uint32(packetSeconds))*1e9 + int64(h.uint32(packetNanos))
}

// take reads the packet at hand into f, but for its time and interface, and goes on to the next one; ready has reported
// true. It reports false if the packet is malformed.
func (r *ring) take(f *packet.Frame) (ok bool) {
	h, at := r.header(), r.next
	mac, net := int(h.uint16(packetMAC)), int(h.uint16(packetNet))
	cut, wire := int(h.uint32(packetCut)), int(h.uint32(packetWire))
	ok = mac >= packetHeader && net >= mac && cut >= 0 && cut <= wire && at+mac+cut <= r.end
	if ok {
		// Field by field: most of them are not 0.
		f.Data, f.Wire, f.Link = r.mem[at+mac:at+mac+cut:at+mac+cut], wire, packet.LinkEthernet
		f.SegmentSize, f.SegmentProto = segment((*[superHeader]byte)(r.mem[at+mac-superHeader:]))
		f.Outgoing = h[addressType] == unix.PACKET_OUTGOING
		r.link(f, h, at+mac, net-mac)
	}
	step := int(h.uint32(packetNext))
	if r.left--; r.left > 0 && (step < packetHeader || at+step+packetHeader > r.end) {
		r.left, ok = 0, false
	}
	r.next = at + step
	if !ok {
		r.malformed++
	}
	if r.left == 0 {
		r.finish()
	}
	return ok
}

// segment returns how much data each of the packets carries that a packet stands for, and their protocol; 0 if it is only itself.
func segment(super *[superHeader]byte) (size uint16, proto uint8) {
	switch super[superType] &^ superECN {
	case superTCP4, superTCP6:
		proto = packet.ProtoTCP
	case superUDP:
		proto = packet.ProtoUDP
	default:
		return 0, 0
	}
	return binary.NativeEndian.Uint16(super[superSize:]), proto
}

// link settles how the frame begins that is at an offset and has a header of that length. The kernel hands an interface's own
// header over as it is: an Ethernet header without the VLAN tag that the driver has stripped, which is put back, or another
// one, which is left out for the IP packet behind it.
func (r *ring) link(f *packet.Frame, h *header, at, length int) {
	if hw := h.uint16(addressHardware); hw != unix.ARPHRD_ETHER && hw != unix.ARPHRD_LOOPBACK {
		skip := min(length, len(f.Data))
		f.Data, f.Wire, f.Link = f.Data[skip:], f.Wire-skip, packet.LinkRaw
		return
	}
	status := h.uint32(packetStatus)
	if status&unix.TP_STATUS_VLAN_VALID == 0 || len(f.Data) < macAddresses {
		return
	}
	tpid := uint16(tpidVLAN)
	if status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
		tpid = h.uint16(packetTPID)
	}
	tagged := r.mem[at-tagLength : at+len(f.Data)] // there is room: the ring is set up with it
	copy(tagged, f.Data[:macAddresses])
	binary.BigEndian.PutUint16(tagged[macAddresses:], tpid)
	binary.BigEndian.PutUint16(tagged[macAddresses+2:], uint16(h.uint32(packetTag)))
	f.Data, f.Wire = slices.Clip(tagged), f.Wire+tagLength
}

// release gives the blocks back that were read to their end: what was taken from them is not used any more.
func (r *ring) release() {
	for ; r.read > 0; r.read-- {
		atomic.StoreUint32(r.status(r.returned), unix.TP_STATUS_KERNEL)
		if r.returned++; r.returned == r.blocks {
			r.returned = 0
		}
	}
}

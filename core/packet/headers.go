package packet

import "net/netip"

// Family is the address family byte of the RT_FLOW record: AF_INET or AF_INET6 as Linux numbers them.
type Family uint8

const (
	IPv4 Family = 2
	IPv6 Family = 10
)

// IP protocol numbers that the decoder or the hooks use (IANA Protocol Numbers).
const (
	ProtoHopByHop = 0
	ProtoICMP     = 1
	ProtoTCP      = 6
	ProtoUDP      = 17
	ProtoRouting  = 43
	ProtoFragment = 44
	ProtoESP      = 50
	ProtoAH       = 51
	ProtoICMPv6   = 58
	ProtoNoNext   = 59
	ProtoDstOpts  = 60
	ProtoSCTP     = 132
	ProtoMobility = 135
	ProtoHIP      = 139
	ProtoShim6    = 140
)

// TCP control bits (RFC 9293 section 3.1).
const (
	FIN = 0x01
	SYN = 0x02
	RST = 0x04
	PSH = 0x08
	ACK = 0x10
	URG = 0x20
)

// ICMP types that carry no session of their own or that start one (RFC 792, RFC 4443).
const (
	ICMPEchoReply     = 0
	ICMPUnreachable   = 3
	ICMPEchoRequest   = 8
	ICMPv6EchoRequest = 128
	ICMPv6EchoReply   = 129
)

// Options is a set of IP options (IPv4) or extension headers (IPv6) that were present. The IPv4 bits are named after the
// option number without its copy and class bits, as the screens are.
type Options uint8

const (
	OptRecordRoute  Options = 1 << iota // option 7
	OptTimestamp                        // option 4 (wire 68)
	OptSecurity                         // option 2 (wire 130)
	OptStream                           // option 8 (wire 136)
	OptLooseSource                      // option 3 (wire 131), or an IPv6 routing header of type 0
	OptStrictSource                     // option 9 (wire 137)
	OptBad                              // malformed or cut off
)

// Addr holds an IPv6 address, or an IPv4 address in its first four bytes and zero behind it: the layout of the RT_FLOW
// record. It says nothing about its family; [Headers.Family] does.
type Addr [16]byte

// Netip returns a as a netip.Addr of the given family.
func (a Addr) Netip(f Family) netip.Addr {
	if f == IPv4 {
		return netip.AddrFrom4([4]byte(a[:4]))
	}
	return netip.AddrFrom16(a)
}

// AddrFrom returns the address in record layout, and its family. An IPv4-mapped IPv6 address stays IPv6: on the wire
// they are different packets.
func AddrFrom(ip netip.Addr) (Addr, Family) {
	if ip.Is4() {
		var a Addr
		b := ip.As4()
		copy(a[:], b[:])
		return a, IPv4
	}
	return ip.As16(), IPv6
}

// Tuple names one direction of a flow. Ports are 0 where the protocol has none; an ICMP echo has its identifier as
// source and its sequence number as destination port.
type Tuple struct {
	Src, Dst         Addr
	SrcPort, DstPort uint16
	Proto            uint8
	Family           Family
}

// Reverse returns the tuple of the other direction. For ICMP echoes the ports keep their places: both directions carry
// the same identifier and sequence number.
func (t Tuple) Reverse() Tuple {
	t.Src, t.Dst = t.Dst, t.Src
	if !IsICMP(t.Proto) {
		t.SrcPort, t.DstPort = t.DstPort, t.SrcPort
	}
	return t
}

// IsICMP reports whether proto is ICMP or ICMPv6.
func IsICMP(proto uint8) bool { return proto == ProtoICMP || proto == ProtoICMPv6 }

// Headers holds what [Decode] found in one frame. The caller owns it and may reuse it; Decode overwrites all of it. Family is
// 0 if no IP header was read.
type Headers struct {
	Tuple

	IPLen   uint32 // IP packet length in bytes, header included: as the packet says, or the frame where it says 0
	FragID  uint32 // valid if Fragment
	DataLen uint32 // bytes behind the IP header and the IPv6 extension headers, as IPLen says
	// TCPSeq and TCPAck are the sequence and acknowledgement numbers, TCPNext the sequence number behind the segment: a SYN
	// and a FIN count one each (RFC 9293 section 3.4). Valid as TCPFlags; TCPAck only with the ACK bit.
	TCPSeq, TCPNext, TCPAck uint32

	// MorePackets and MoreBytes are what the packet counts as beside itself, if the kernel has merged several into it: see
	// [Headers.Merge].
	MoreBytes   uint32
	MorePackets uint16

	FragOff uint16 // offset of this fragment's data, in bytes; valid if Fragment

	VLAN      uint16 // outer VLAN id, 0 = untagged
	InnerVLAN uint16 // id of the second VLAN tag, 0 = none

	L3 uint16 // offset of the IP header in the frame
	L4 uint16 // offset of the transport header; valid if HasL4

	TTL      uint8 // IPv4 TTL or IPv6 hop limit
	DSCP     uint8 // 0 to 63
	IPFlags  uint8 // the three IPv4 flag bits, more-fragments = 1, dont-fragment = 2 (IPv6: more-fragments only)
	TCPFlags uint8 // FIN to URG; valid if HasL4 and Proto is TCP
	ICMPType uint8 // valid if HasHead and IsICMP(Proto)
	ICMPCode uint8 // as ICMPType
	Options  Options

	Fragment bool // part of a larger packet: more fragments follow, or FragOff > 0
	HasHead  bool // ports, or ICMP type and code, were read; false for later fragments and protocols not known
	HasL4    bool // the transport header was read: HasHead, and the TCP flags or what follows in the others
	Plain    bool // a TCP segment or UDP datagram in one piece, all right, directly behind an IPv4 header without options or an IPv6 header: most packets
	HasInner bool // ICMP error whose quoted packet could be read; Inner is valid

	Inner    Tuple  // the packet an ICMP error quotes, in the direction it was sent
	InnerSeq uint32 // its sequence number, if it is TCP and so much of it is quoted
}

// Size returns how many packets the packet counts as, and of how many bytes of IP.
func (h *Headers) Size() (packets, bytes uint64) {
	return 1 + uint64(h.MorePackets), uint64(h.IPLen) + uint64(h.MoreBytes)
}

// MoreFragments and DontFragment are the bits of [Headers.IPFlags].
const (
	MoreFragments = 1
	DontFragment  = 2
)

// ICMPError reports whether the packet is an ICMP or ICMPv6 error message, which never makes a session of its own
// (RFC 792, RFC 4443 section 2.1).
func (h *Headers) ICMPError() bool {
	if !h.HasL4 {
		return false
	}
	switch h.Proto {
	case ProtoICMP:
		switch h.ICMPType {
		case 3, 4, 5, 11, 12:
			return true
		}
	case ProtoICMPv6:
		return h.ICMPType >= 1 && h.ICMPType <= 4
	}
	return false
}

// NeighbourDiscovery reports whether the packet is one of IPv6 neighbour discovery that comes from its own link (RFC 4861
// section 6 and 7; a fragment is none by RFC 6980).
func (h *Headers) NeighbourDiscovery() bool {
	return h.Proto == ProtoICMPv6 && h.HasL4 && h.ICMPType >= 133 && h.ICMPType <= 137 && h.TTL == 255 && !h.Fragment
}

// Echo reports whether the packet is an ICMP or ICMPv6 echo request or reply.
func (h *Headers) Echo() bool { return h.EchoRequest() || h.EchoReply() }

// EchoRequest reports whether the packet is an ICMP or ICMPv6 echo request.
func (h *Headers) EchoRequest() bool {
	return h.HasL4 && (h.Proto == ProtoICMP && h.ICMPType == ICMPEchoRequest ||
		h.Proto == ProtoICMPv6 && h.ICMPType == ICMPv6EchoRequest)
}

// EchoReply reports whether the packet is an ICMP or ICMPv6 echo reply.
func (h *Headers) EchoReply() bool {
	return h.HasL4 && (h.Proto == ProtoICMP && h.ICMPType == ICMPEchoReply ||
		h.Proto == ProtoICMPv6 && h.ICMPType == ICMPv6EchoReply)
}

package application

import "github.com/rtflow/pipelined/core/packet"

// Range is a range of ports, both ends included. The zero Range is port 0 alone; [AnyPort] is every port.
type Range struct {
	Lo, Hi uint16
}

// AnyPort returns the range of all ports.
func AnyPort() Range { return Range{0, 65535} }

// Any reports whether r is every port.
func (r Range) Any() bool { return r == AnyPort() }

// Contains reports whether port lies in r.
func (r Range) Contains(port uint16) bool { return r.Lo <= port && port <= r.Hi }

// AnyICMP stands for every ICMP type or code.
const AnyICMP = -1

// Term is one alternative of an application: a packet belongs to the application if one of its terms matches.
type Term struct {
	Proto              uint8
	Src, Dst           Range
	ICMPType, ICMPCode int16  // of ICMP and ICMPv6, AnyICMP = every one
	Timeout            uint32 // inactivity timeout of its sessions in seconds; 0 = by protocol, [Never] = none
}

// Match reports whether the packet is what the term describes. A packet whose transport header is not there (a later
// fragment) has no ports and no ICMP type: it matches only a term that asks for neither.
func (t *Term) Match(h *packet.Headers) bool {
	if h.Proto != t.Proto {
		return false
	}
	if packet.IsICMP(t.Proto) {
		return t.ICMPType == AnyICMP || h.HasHead && int16(h.ICMPType) == t.ICMPType &&
			(t.ICMPCode == AnyICMP || int16(h.ICMPCode) == t.ICMPCode)
	}
	if t.Dst.Any() && t.Src.Any() {
		return true
	}
	return h.HasHead && t.Dst.Contains(h.DstPort) && t.Src.Contains(h.SrcPort)
}

// hasPorts reports whether packets of the protocol have ports that the decoder reads.
func hasPorts(proto uint8) bool {
	return proto == packet.ProtoTCP || proto == packet.ProtoUDP || proto == packet.ProtoSCTP
}

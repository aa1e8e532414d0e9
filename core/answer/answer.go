// Package answer makes the packet that tells a sender that its packet was rejected.
//
// A policy rejects as a host does whose port is closed ([Closed]): a TCP segment is answered with a reset (RFC 9293 section 3.10.7.1),
// everything else with an ICMP or ICMPv6 error, "port unreachable" (RFC 1122 section 3.2.2.1, RFC 4443 section 3.1). A packet filter
// says what it is ([Prohibited]): "communication administratively prohibited" (RFC 1812 section 5.2.7.1, RFC 4443 section 3.1). The answer
// comes from the address that the packet was sent to: whoever rejects it in between needs no address.
package answer

import (
	"encoding/binary"

	"github.com/rtflow/pipelined/core/packet"
)

// Kind is how a sender is told.
type Kind uint8

// Kinds.
const (
	Closed     Kind = iota // a TCP segment with a reset, all else with an ICMP error: port unreachable
	Prohibited             // with an ICMP error: administratively prohibited
)

// MaxLength is the length of the longest answer behind the Ethernet header and its tags.
const MaxLength = maxIPv6

const (
	ethernetHeader = 14
	vlanTag        = 4
	ipv4Header     = 20
	ipv6Header     = 40
	tcpHeader      = 20
	icmpHeader     = 8 // with the four unused bytes of an error

	maxIPv4 = 576  // what every host takes (RFC 1812 section 4.3.2.3)
	maxIPv6 = 1280 // RFC 4443 section 2.4

	hops = 64

	unreachable         = 3   // ICMP type
	unreachableV6       = 1   // ICMPv6 type
	firstQueryV6        = 128 // ICMPv6 types below are errors
	dontFragment        = 0x40
	offsetOfTCPChecksum = 16
)

// Codes of an ICMP and of an ICMPv6 error, by kind.
var (
	codes   = [...]byte{Closed: 3, Prohibited: 13}
	codesV6 = [...]byte{Closed: 4, Prohibited: 1}
)

// Append appends the frame that answers a rejected one, and returns to as it was if nobody may be answered. h is what was decoded of
// the frame, which begins with an Ethernet header; its VLAN tags are those of the answer.
//
// Not answered are resets, ICMP errors and echo replies; fragments but the first; what was sent to or by a group of stations or an
// address that is not that of one host; and what is behind other headers than VLAN tags.
func Append(to, frame []byte, h *packet.Headers, kind Kind) []byte {
	if !answerable(frame, h) {
		return to
	}
	l3 := int(h.L3)
	quoted := frame[l3:]
	if int(h.IPLen) < len(quoted) {
		quoted = quoted[:h.IPLen] // without padding
	}
	to = append(to, frame[6:12]...)
	to = append(to, frame[:6]...)
	to = append(to, frame[12:l3]...)
	ip := len(to)

	proto, most := uint8(packet.ProtoICMP), maxIPv4-ipv4Header-icmpHeader
	if h.Family == packet.IPv6 {
		proto, most = packet.ProtoICMPv6, maxIPv6-ipv6Header-icmpHeader
	}
	if h.Proto == packet.ProtoTCP && kind == Closed {
		proto = packet.ProtoTCP
	}
	if h.Family == packet.IPv6 {
		to = append(to, 0x60, 0, 0, 0, 0, 0, proto, hops)
		to = append(to, h.Dst[:]...)
		to = append(to, h.Src[:]...)
	} else {
		to = append(to, 0x45, 0, 0, 0, 0, 0, dontFragment, 0, hops, proto, 0, 0)
		to = append(to, h.Dst[:4]...)
		to = append(to, h.Src[:4]...)
	}
	l4 := len(to)
	checksumAt := l4 + 2
	switch {
	case proto == packet.ProtoTCP:
		to = appendReset(to, h)
		checksumAt = l4 + offsetOfTCPChecksum
	case h.Family == packet.IPv6:
		to = append(to, unreachableV6, codesV6[kind], 0, 0, 0, 0, 0, 0)
	default:
		to = append(to, unreachable, codes[kind], 0, 0, 0, 0, 0, 0)
	}
	if proto != packet.ProtoTCP {
		to = append(to, quoted[:min(len(quoted), most)]...)
	}

	size := len(to) - l4
	sum := uint32(0)
	if h.Family == packet.IPv6 {
		binary.BigEndian.PutUint16(to[ip+4:], uint16(size))
		sum = add(uint32(size)+uint32(proto), to[ip+8:l4]) // RFC 8200 section 8.1
	} else {
		binary.BigEndian.PutUint16(to[ip+2:], uint16(ipv4Header+size))
		binary.BigEndian.PutUint16(to[ip+10:], fold(add(0, to[ip:l4])))
		if proto == packet.ProtoTCP {
			sum = add(uint32(size)+uint32(proto), to[ip+12:l4])
		}
	}
	binary.BigEndian.PutUint16(to[checksumAt:], fold(add(sum, to[l4:])))
	return to
}

// appendReset appends the TCP header of the reset to a segment.
func appendReset(to []byte, h *packet.Headers) []byte {
	to = binary.BigEndian.AppendUint16(to, h.DstPort)
	to = binary.BigEndian.AppendUint16(to, h.SrcPort)
	sequence, acknowledged, flags := uint32(0), h.TCPNext, byte(packet.RST|packet.ACK)
	if h.TCPFlags&packet.ACK != 0 {
		sequence, acknowledged, flags = h.TCPAck, 0, packet.RST
	}
	to = binary.BigEndian.AppendUint32(to, sequence)
	to = binary.BigEndian.AppendUint32(to, acknowledged)
	return append(to, tcpHeader/4<<4, flags, 0, 0, 0, 0, 0, 0)
}

// answerable reports whether a frame may be answered.
func answerable(frame []byte, h *packet.Headers) bool {
	if h.Family == 0 || h.FragOff != 0 || !behindTags(frame, h) || frame[0]&1 != 0 || frame[6]&1 != 0 {
		return false
	}
	if !isHost(&h.Src, h.Family) || !isHost(&h.Dst, h.Family) || h.Src == h.Dst {
		return false
	}
	switch h.Proto {
	case packet.ProtoTCP:
		// Of a fragment the length of the segment is not known.
		return h.HasL4 && h.TCPFlags&packet.RST == 0 && (h.TCPFlags&packet.ACK != 0 || !h.Fragment)
	case packet.ProtoICMP:
		return h.Family == packet.IPv4 && h.HasHead && !h.ICMPError() && h.ICMPType != packet.ICMPEchoReply
	case packet.ProtoICMPv6:
		return h.Family == packet.IPv6 && h.HasHead && h.ICMPType >= firstQueryV6 && h.ICMPType != packet.ICMPv6EchoReply
	}
	return true
}

// behindTags reports whether only VLAN tags are between the Ethernet header of a frame and its IP header.
func behindTags(frame []byte, h *packet.Headers) bool {
	l3 := int(h.L3)
	if l3 < ethernetHeader || l3 > len(frame) || (l3-ethernetHeader)%vlanTag != 0 {
		return false
	}
	for at := 12; at < l3-2; at += vlanTag {
		switch binary.BigEndian.Uint16(frame[at:]) {
		case 0x8100, 0x88a8, 0x9100, 0x9200, 0x9300:
		default:
			return false
		}
	}
	switch binary.BigEndian.Uint16(frame[l3-2:]) {
	case 0x0800:
		return h.Family == packet.IPv4
	case 0x86dd:
		return h.Family == packet.IPv6
	}
	return false
}

var loopbackV6 = packet.Addr{15: 1}

// isHost reports whether an address can be that of one host.
func isHost(a *packet.Addr, f packet.Family) bool {
	if f == packet.IPv4 {
		return a[0] != 0 && a[0] != 127 && a[0] < 224
	}
	return a[0] != 0xff && *a != loopbackV6 && *a != packet.Addr{}
}

// add adds 16-bit words to an Internet checksum (RFC 1071). Its callers add less than 64 KiB.
func add(sum uint32, data []byte) uint32 {
	for len(data) >= 2 {
		sum += uint32(binary.BigEndian.Uint16(data))
		data = data[2:]
	}
	if len(data) == 1 {
		sum += uint32(data[0]) << 8
	}
	return sum
}

// fold ends an Internet checksum.
func fold(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

package packet

import "encoding/binary"

const (
	tcpHeader   = 20
	tcpFlagsEnd = 14 // the flags are the last of a TCP header that is read
	udpHeader   = 8
	sctpHeader  = 12
	icmpHeader  = 8 // RFC 792: every message has at least eight bytes. ICMPv6 has four-byte messages on paper only
	headBytes   = 4 // ports, or ICMP type, code and checksum
)

// decodeL4 reads the transport header at off of the packet b, which ends at total (of which len(b) may be captured).
func decodeL4(b []byte, off, total int, h *Headers) Cause {
	end := min(len(b), total)
	seg := b[min(off, end):end]
	room := total - off // bytes of the segment in this packet, captured or not
	cause := OK
	switch h.Proto {
	case ProtoTCP:
		if len(seg) < tcpHeader {
			return decodeCut(seg, off, tcpHeader, room, TCPShort, h)
		}
		readTCP(seg, room, h)
		if hlen := int(seg[12]>>4) * 4; hlen < tcpHeader || !h.Fragment && hlen > room {
			cause = TCPShort
		}
	case ProtoUDP:
		if len(seg) < udpHeader {
			return decodeCut(seg, off, udpHeader, room, UDPShort, h)
		}
		if n := int(binary.BigEndian.Uint16(seg[4:])); (n < udpHeader || !h.Fragment && n > room) && !(n == 0 && lengthless(b)) {
			cause = UDPShort
		}
	case ProtoSCTP:
		if len(seg) < sctpHeader {
			return decodeCut(seg, off, sctpHeader, room, SCTPShort, h)
		}
	case ProtoICMP, ProtoICMPv6:
		return decodeICMP(seg, off, room, h)
	default:
		return OK
	}
	h.SrcPort = binary.BigEndian.Uint16(seg)
	h.DstPort = binary.BigEndian.Uint16(seg[2:])
	h.L4 = h.L3 + uint16(off)
	h.HasHead, h.HasL4 = true, true
	return cause
}

// readTCP reads the flags and the numbers of a TCP header, of which there are at least tcpFlagsEnd bytes, and room bytes of
// the segment in this packet.
func readTCP(seg []byte, room int, h *Headers) {
	setTCP((*[tcpFlagsEnd]byte)(seg), uint32(max(room-int(seg[12]>>4)*4, 0)), h)
}

// setTCP sets the flags and the numbers of a TCP header with so many bytes of data behind it.
func setTCP(seg *[tcpFlagsEnd]byte, data uint32, h *Headers) {
	h.TCPFlags = seg[13] & 0x3f
	h.TCPSeq = binary.BigEndian.Uint32(seg[4:])
	h.TCPAck = binary.BigEndian.Uint32(seg[8:])
	h.TCPNext = h.TCPSeq + data + uint32(h.TCPFlags&SYN/SYN) + uint32(h.TCPFlags&FIN)
}

// lengthless reports whether the length field of an IP header is 0, as that of a packet which the network card is to cut
// into segments, or of a jumbogram. The length of a UDP header is 0 then, too (RFC 2675 section 4).
func lengthless(b []byte) bool {
	if b[0]>>4 == 4 {
		return b[2]|b[3] == 0
	}
	return b[4]|b[5] == 0
}

// decodeCut reads what there is of a TCP, UDP or SCTP header of need bytes that is not all captured or not all in this
// packet. The packet is refused for c if it is whole and too short, and as [Truncated] if even the ports were not captured.
// The first fragment of a TCP segment may end behind the ports (RFC 1858): it is not refused.
func decodeCut(seg []byte, off, need, room int, c Cause, h *Headers) Cause {
	if len(seg) < headBytes {
		return short(c, headBytes, room)
	}
	h.SrcPort = binary.BigEndian.Uint16(seg)
	h.DstPort = binary.BigEndian.Uint16(seg[2:])
	h.HasHead = true
	if h.Proto == ProtoTCP && len(seg) >= tcpFlagsEnd {
		readTCP(seg, room, h)
		h.L4 = h.L3 + uint16(off)
		h.HasL4 = true
	}
	if room < need && !h.Fragment {
		return c
	}
	return OK
}

// decodeICMP reads an ICMP or ICMPv6 header.
func decodeICMP(seg []byte, off, room int, h *Headers) Cause {
	if (h.Proto == ProtoICMP) != (h.Family == IPv4) {
		return OK // ICMP in IPv6 or ICMPv6 in IPv4: a protocol that nobody speaks
	}
	if len(seg) < headBytes {
		return short(ICMPShort, headBytes, room)
	}
	h.ICMPType, h.ICMPCode = seg[0], seg[1]
	h.HasHead = true
	if len(seg) < icmpHeader {
		return short(ICMPShort, icmpHeader, room)
	}
	h.L4 = h.L3 + uint16(off)
	h.HasL4 = true
	if h.Echo() {
		h.SrcPort = binary.BigEndian.Uint16(seg[4:])
		h.DstPort = binary.BigEndian.Uint16(seg[6:])
	} else if h.ICMPError() {
		h.HasInner = decodeInner(seg[8:], h)
	}
	return OK
}

// decodeInner reads the packet that an ICMP error quotes: the IP header and at least eight bytes more (RFC 792), which
// is enough for ports. An error quotes a packet of its own family. decodeInner reports whether a flow could be named
// from it; a quoted fragment other than the first cannot name one.
func decodeInner(b []byte, h *Headers) bool {
	f, t := h.Family, &h.Inner
	if len(b) < ipv4Header {
		return false
	}
	off := 0
	switch {
	case f == IPv4 && b[0]>>4 == 4:
		off = int(b[0]&0x0f) * 4
		if off < ipv4Header || off > len(b) || binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
			return false
		}
		t.Family, t.Proto = IPv4, b[9]
		copy(t.Src[:4], b[12:16])
		copy(t.Dst[:4], b[16:20])
	case f == IPv6 && b[0]>>4 == 6:
		if len(b) < ipv6Header {
			return false
		}
		next := b[6]
		off = ipv6Header
		for n := 0; isExtension(next); n++ {
			if n == maxExtensions || off+8 > len(b) {
				return false
			}
			size := (int(b[off+1]) + 1) * 8
			switch next {
			case ProtoFragment:
				if binary.BigEndian.Uint16(b[off+2:])&^7 != 0 {
					return false
				}
				size = 8
			case ProtoAH:
				size = (int(b[off+1]) + 2) * 4
			}
			next = b[off]
			off += size
		}
		t.Family, t.Proto = IPv6, next
		copy(t.Src[:], b[8:24])
		copy(t.Dst[:], b[24:40])
	default:
		return false
	}
	switch t.Proto {
	case ProtoTCP, ProtoUDP, ProtoSCTP:
		if len(b) < off+4 {
			return false
		}
		t.SrcPort = binary.BigEndian.Uint16(b[off:])
		t.DstPort = binary.BigEndian.Uint16(b[off+2:])
		if len(b) >= off+8 {
			h.InnerSeq = binary.BigEndian.Uint32(b[off+4:])
		}
	case ProtoICMP, ProtoICMPv6:
		if len(b) < off+8 {
			return false
		}
		typ := b[off]
		if typ == ICMPEchoRequest && t.Proto == ProtoICMP || typ == ICMPv6EchoRequest && t.Proto == ProtoICMPv6 ||
			typ == ICMPEchoReply && t.Proto == ProtoICMP || typ == ICMPv6EchoReply && t.Proto == ProtoICMPv6 {
			t.SrcPort = binary.BigEndian.Uint16(b[off+4:])
			t.DstPort = binary.BigEndian.Uint16(b[off+6:])
		}
	}
	return true
}

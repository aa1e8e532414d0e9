package packet

import "encoding/binary"

// Ethernet types (IEEE 802 numbers).
const (
	etherIPv4  = 0x0800
	etherIPv6  = 0x86dd
	etherVLAN  = 0x8100 // 802.1Q
	etherQinQ  = 0x88a8 // 802.1ad
	etherQinQ2 = 0x9100 // what QinQ used before 802.1ad had a number
)

const (
	etherHeader   = 14
	vlanTag       = 4
	maxVLANTags   = 2
	ipv4Header    = 20
	ipv6Header    = 40
	maxExtensions = 8
	ahFixed       = 12 // authentication header without its check value (RFC 4302 section 2)
)

// Decode reads the headers of frame into h and returns [OK], or why it could not. wire is the frame's length on the
// wire, at least len(frame); they differ where a capture was cut by its snap length. On anything but OK the contents of h
// are those read so far and must not be used, except VLAN and InnerVLAN.
//
// Decode allocates nothing, keeps no reference to frame, and verifies no checksum: offloading network cards and virtual
// links hand over packets whose checksums were never filled in.
func Decode(frame []byte, wire int, h *Headers) Cause {
	*h = Headers{}
	if len(frame) < etherHeader {
		return short(EtherShort, etherHeader, wire)
	}
	off := etherHeader
	ether := binary.BigEndian.Uint16(frame[12:])
	for tags := 0; ether == etherVLAN || ether == etherQinQ || ether == etherQinQ2; tags++ {
		if tags == maxVLANTags {
			return VLANDepth
		}
		if len(frame) < off+vlanTag {
			return short(EtherShort, off+vlanTag, wire)
		}
		id := binary.BigEndian.Uint16(frame[off:]) & 0x0fff
		if tags == 0 {
			h.VLAN = id
		} else {
			h.InnerVLAN = id
		}
		ether = binary.BigEndian.Uint16(frame[off+2:])
		off += vlanTag
	}
	h.L3 = uint16(off)
	switch ether {
	case etherIPv4:
		return decodeIPv4(frame[off:], wire-off, h)
	case etherIPv6:
		return decodeIPv6(frame[off:], wire-off, h)
	default:
		return NotIP
	}
}

// short returns why the first need bytes of something are not all there, of which there were have on the wire: c, or
// [Truncated] if they only were not captured. A header that lies about itself is never excused by a snap length.
func short(c Cause, need, have int) Cause {
	if need <= have {
		return Truncated
	}
	return c
}

// decodeIPv4 reads an IPv4 header (RFC 791). b is what was captured of the packet, wire what there was of it.
func decodeIPv4(b []byte, wire int, h *Headers) Cause {
	if len(b) < ipv4Header {
		return short(IPShort, ipv4Header, wire)
	}
	if b[0]>>4 != 4 {
		return IPVersion
	}
	hlen := int(b[0]&0x0f) * 4
	total := int(binary.BigEndian.Uint16(b[2:]))
	if hlen < ipv4Header {
		return IPHeaderLen
	}
	if total < hlen || total > wire {
		return IPTotalLen
	}
	if len(b) < hlen {
		return Truncated
	}
	h.Family = IPv4
	h.DSCP = b[1] >> 2
	h.IPLen = uint32(total)
	h.TTL = b[8]
	h.Proto = b[9]
	copy(h.Src[:4], b[12:16])
	copy(h.Dst[:4], b[16:20])
	h.DataLen = uint16(total - hlen)

	frag := binary.BigEndian.Uint16(b[6:])
	h.IPFlags = uint8(frag >> 13)
	h.FragOff = frag << 3
	if h.FragOff != 0 || h.IPFlags&MoreFragments != 0 {
		h.Fragment = true
		h.FragID = uint32(binary.BigEndian.Uint16(b[4:]))
		if h.IPFlags&MoreFragments != 0 && h.DataLen&7 != 0 {
			return FragmentBounds
		}
	}
	if hlen > ipv4Header {
		h.Options = ipv4Options(b[ipv4Header:hlen])
	}
	if h.FragOff != 0 {
		return OK
	}
	return decodeL4(b, hlen, total, h)
}

// ipv4Options reports which options are present. A malformed option is not a reason to refuse the packet: the screen
// "bad-option" judges it.
func ipv4Options(opts []byte) (set Options) {
	for len(opts) > 0 {
		// These two are one byte long, and only they: hosts compare the whole byte, so an option of number 0 with a class
		// or copy bit must not hide what stands behind it.
		switch opts[0] {
		case 0: // end of the option list
			return set
		case 1: // no operation
			opts = opts[1:]
			continue
		}
		if len(opts) < 2 || opts[1] < 2 || int(opts[1]) > len(opts) {
			return set | OptBad
		}
		switch opts[0] & 0x1f {
		case 2:
			set |= OptSecurity
		case 3:
			set |= OptLooseSource
		case 4:
			set |= OptTimestamp
		case 7:
			set |= OptRecordRoute
		case 8:
			set |= OptStream
		case 9:
			set |= OptStrictSource
		}
		opts = opts[opts[1]:]
	}
	return set
}

// decodeIPv6 reads an IPv6 header and its extension headers (RFC 8200 section 4).
func decodeIPv6(b []byte, wire int, h *Headers) Cause {
	if len(b) < ipv6Header {
		return short(IPShort, ipv6Header, wire)
	}
	if b[0]>>4 != 6 {
		return IPVersion
	}
	total := ipv6Header + int(binary.BigEndian.Uint16(b[4:]))
	if total > wire {
		return IPTotalLen
	}
	h.Family = IPv6
	h.DSCP = uint8(binary.BigEndian.Uint16(b[0:])>>6) & 0x3f
	h.IPLen = uint32(total)
	h.TTL = b[7]
	copy(h.Src[:], b[8:24])
	copy(h.Dst[:], b[24:40])

	end := min(len(b), total)
	next, off := b[6], ipv6Header
	fragmentHeader := false
	for n := 0; isExtension(next); n++ {
		if n == maxExtensions {
			return ExtensionChain
		}
		if off+8 > end {
			return short(ExtensionLen, off+8, total)
		}
		var size int
		switch next {
		case ProtoFragment:
			size = 8
			frag := binary.BigEndian.Uint16(b[off+2:])
			h.FragOff = frag &^ 7
			h.FragID = binary.BigEndian.Uint32(b[off+4:])
			if frag&1 != 0 {
				h.IPFlags |= MoreFragments
			}
			// An atomic fragment (RFC 6946) is the whole packet. One behind a fragment header that is not atomic does not
			// make it whole again.
			h.Fragment = h.Fragment || frag&1 != 0 || h.FragOff != 0
			if fragmentHeader {
				h.Options |= OptBad // RFC 8200 section 4.1: once
			}
			fragmentHeader = true
			if frag&1 != 0 && (total-off-size)&7 != 0 {
				return FragmentBounds
			}
		case ProtoAH:
			size = (int(b[off+1]) + 2) * 4
			if size < ahFixed {
				return ExtensionLen
			}
		default:
			size = (int(b[off+1]) + 1) * 8
			if next == ProtoRouting && b[off+2] == 0 {
				h.Options |= OptLooseSource
			}
			if (next == ProtoHopByHop || next == ProtoDstOpts) && off+size <= end && badTLVs(b[off+2:off+size]) {
				h.Options |= OptBad
			}
			if next == ProtoHopByHop && n != 0 {
				// RFC 8200 section 4.1: hop-by-hop options stand first or not at all.
				h.Options |= OptBad
			}
		}
		if off+size > end {
			return short(ExtensionLen, off+size, total)
		}
		next = b[off]
		off += size
		if h.FragOff != 0 {
			break
		}
	}
	h.Proto = next
	h.DataLen = uint16(total - off)
	if h.FragOff != 0 {
		return OK
	}
	return decodeL4(b, off, total, h)
}

func isExtension(next uint8) bool {
	switch next {
	case ProtoHopByHop, ProtoRouting, ProtoFragment, ProtoAH, ProtoDstOpts, ProtoMobility, ProtoHIP, ProtoShim6:
		return true
	default:
		return false
	}
}

// badTLVs reports whether the options of a hop-by-hop or destination options header run off its end.
func badTLVs(b []byte) bool {
	for len(b) > 0 {
		if b[0] == 0 { // Pad1
			b = b[1:]
			continue
		}
		if len(b) < 2 || int(b[1])+2 > len(b) {
			return true
		}
		b = b[int(b[1])+2:]
	}
	return false
}

// decodeL4 reads the transport header at off of the packet b, which ends at total (of which len(b) may be captured).
func decodeL4(b []byte, off, total int, h *Headers) Cause {
	end := min(len(b), total)
	seg := b[min(off, end):end]
	room := total - off // bytes of the segment in this packet, captured or not
	switch h.Proto {
	case ProtoTCP:
		if len(seg) < 20 {
			return short(TCPShort, 20, room)
		}
		hlen := int(seg[12]>>4) * 4
		if hlen < 20 || !h.Fragment && hlen > room {
			return TCPShort
		}
		h.SrcPort = binary.BigEndian.Uint16(seg)
		h.DstPort = binary.BigEndian.Uint16(seg[2:])
		h.TCPFlags = seg[13] & 0x3f
	case ProtoUDP:
		if len(seg) < 8 {
			return short(UDPShort, 8, room)
		}
		if n := int(binary.BigEndian.Uint16(seg[4:])); n < 8 || !h.Fragment && n > room {
			return UDPShort
		}
		h.SrcPort = binary.BigEndian.Uint16(seg)
		h.DstPort = binary.BigEndian.Uint16(seg[2:])
	case ProtoSCTP:
		if len(seg) < 12 {
			return short(SCTPShort, 12, room)
		}
		h.SrcPort = binary.BigEndian.Uint16(seg)
		h.DstPort = binary.BigEndian.Uint16(seg[2:])
	case ProtoICMP, ProtoICMPv6:
		if (h.Proto == ProtoICMP) != (h.Family == IPv4) {
			return OK // ICMP in IPv6 or ICMPv6 in IPv4: a protocol that nobody speaks
		}
		if len(seg) < 8 {
			// RFC 792: every message has at least eight bytes. ICMPv6 has four-byte messages on paper only.
			return short(ICMPShort, 8, room)
		}
		h.ICMPType, h.ICMPCode = seg[0], seg[1]
		h.HasL4 = true
		if h.Echo() {
			h.SrcPort = binary.BigEndian.Uint16(seg[4:])
			h.DstPort = binary.BigEndian.Uint16(seg[6:])
		} else if h.ICMPError() {
			h.HasInner = decodeInner(seg[8:], h.Family, &h.Inner)
		}
	default:
		return OK
	}
	h.L4 = h.L3 + uint16(off)
	h.HasL4 = true
	return OK
}

// decodeInner reads the packet that an ICMP error quotes: the IP header and at least eight bytes more (RFC 792), which
// is enough for ports. An error quotes a packet of its own family, f. decodeInner reports whether a flow could be named
// from it; a quoted fragment other than the first cannot name one.
func decodeInner(b []byte, f Family, t *Tuple) bool {
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

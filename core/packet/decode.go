package packet

import "encoding/binary"

const (
	ipv4Header    = 20
	ipv6Header    = 40
	maxExtensions = 8
	ahFixed       = 12 // authentication header without its check value (RFC 4302 section 2)
	// minFrame is what the shortest Ethernet frame holds behind its header, with room for tags: what is longer than a packet
	// of that size says is padding.
	minFrame = 64
)

// Decode reads the headers of an Ethernet frame into h and returns [OK], or why the packet is refused. wire is the frame's
// length on the wire, at least len(frame); they differ where a capture was cut by its snap length.
//
// A packet that is refused may still have been read in part. If h.Family is not 0, its IP header was: addresses, protocol
// and what the fields of h say is there are valid, and the packet is to be judged by them before it is refused. VLAN and
// InnerVLAN are always valid.
//
// A packet is as long as its IP header says, also where that is more than the frame: mirrors cut frames. It is as long as
// the frame where the IP header says 0: hosts that leave segmentation to the network card hand over such packets.
//
// Decode allocates nothing, keeps no reference to frame, and verifies no checksum: offloading network cards and virtual
// links hand over packets whose checksums were never filled in.
func Decode(frame []byte, wire int, h *Headers) Cause {
	return DecodeLink(LinkEthernet, frame, wire, h)
}

// DecodeLink is [Decode] for frames that begin as l says. l is below [NumLinks].
func DecodeLink(l Link, frame []byte, wire int, h *Headers) Cause {
	*h = Headers{}
	if l != LinkEthernet {
		return decodeLink(l, frame, wire, h)
	}
	if len(frame) < etherHeader {
		return short(LinkShort, etherHeader, wire)
	}
	switch typ := binary.BigEndian.Uint16(frame[12:]); typ {
	case etherIPv4:
		h.L3 = etherHeader
		if len(frame) >= etherHeader+plainHeaders && decodePlain((*[plainHeaders]byte)(frame[etherHeader:]), h) {
			return OK
		}
		return decodeAny(frame[etherHeader:], wire-etherHeader, h)
	case etherIPv6:
		h.L3 = etherHeader
		return decodeIPv6(frame[etherHeader:], wire-etherHeader, h)
	default:
		return decodeType(typ, frame, etherHeader, wire, h)
	}
}

// short returns the cause for need bytes of a header that are not all captured, of a packet with so many bytes on the wire:
// [Truncated] if the packet has them, else c. A snap length is not the cause where the header's own lengths are false.
func short(c Cause, need, have int) Cause {
	if need <= have {
		return Truncated
	}
	return c
}

// decodeIPv4 reads an IPv4 header (RFC 791). b is what was captured of the packet, wire what there was of it.
func decodeIPv4(b []byte, wire int, h *Headers) Cause {
	if len(b) >= plainHeaders && decodePlain((*[plainHeaders]byte)(b), h) {
		return OK
	}
	return decodeAny(b, wire, h)
}

// plainHeaders is how much decodePlain reads: the headers of IPv4 and TCP, or more than that of UDP.
const plainHeaders = ipv4Header + tcpHeader

// decodePlain reads an IPv4 packet that is [Headers.Plain], as most are, at once: whoever reads headers one by one looks for
// the end of the frame at each. It reports false for any other, of which it has read nothing. decodeAny reads the same of both.
func decodePlain(p *[plainHeaders]byte, h *Headers) bool {
	frag := binary.BigEndian.Uint16(p[6:])
	if p[0] != 4<<4|ipv4Header/4 || frag&(MoreFragments<<13|0x1fff) != 0 {
		return false
	}
	total := uint32(binary.BigEndian.Uint16(p[2:]))
	room := total - ipv4Header
	seg := (*[tcpHeader]byte)(p[ipv4Header:])
	switch p[9] {
	case ProtoTCP:
		hlen := uint32(seg[12]>>4) * 4
		if total < ipv4Header+tcpHeader || hlen < tcpHeader || hlen > room {
			return false
		}
		setTCP((*[tcpFlagsEnd]byte)(seg[:]), room-hlen, h)
	case ProtoUDP:
		n := uint32(binary.BigEndian.Uint16(seg[4:]))
		if total < ipv4Header+udpHeader || n < udpHeader || n > room {
			return false
		}
	default:
		return false
	}
	h.Family = IPv4
	h.DSCP = p[1] >> 2
	h.TTL = p[8]
	h.Proto = p[9]
	*(*[4]byte)(h.Src[:]) = [4]byte(p[12:])
	*(*[4]byte)(h.Dst[:]) = [4]byte(p[16:])
	h.SrcPort = binary.BigEndian.Uint16(seg[0:])
	h.DstPort = binary.BigEndian.Uint16(seg[2:])
	h.IPLen, h.DataLen = total, room
	h.IPFlags = uint8(frag >> 13)
	h.L4 = h.L3 + ipv4Header
	h.HasHead, h.HasL4, h.Plain = true, true, true
	return true
}

// decodeAny is decodeIPv4 for any packet.
func decodeAny(b []byte, wire int, h *Headers) Cause {
	if len(b) < ipv4Header {
		return short(IPShort, ipv4Header, wire)
	}
	if b[0]>>4 != 4 {
		return IPVersion
	}
	h.Family = IPv4
	h.DSCP = b[1] >> 2
	h.TTL = b[8]
	h.Proto = b[9]
	*(*[4]byte)(h.Src[:]) = [4]byte(b[12:]) // copy would compare the addresses of both
	*(*[4]byte)(h.Dst[:]) = [4]byte(b[16:])
	hlen := int(b[0]&0x0f) * 4
	total := int(binary.BigEndian.Uint16(b[2:]))
	if total == 0 {
		total = wire
	}
	h.IPLen = uint32(total)
	frag := binary.BigEndian.Uint16(b[6:])
	h.IPFlags = uint8(frag >> 13)
	h.FragOff = frag << 3
	switch {
	case hlen < ipv4Header:
		return IPHeaderLen
	case total < hlen:
		return IPTotalLen
	}
	h.DataLen = uint32(total - hlen)
	cause := OK
	if h.FragOff != 0 || h.IPFlags&MoreFragments != 0 {
		h.Fragment = true
		h.FragID = uint32(binary.BigEndian.Uint16(b[4:]))
		if h.IPFlags&MoreFragments != 0 && h.DataLen&7 != 0 {
			cause = FragmentBounds
		}
	}
	if hlen > ipv4Header {
		if len(b) < hlen {
			h.Options = ipv4Options(b[ipv4Header:]) &^ OptBad
			return Truncated
		}
		h.Options = ipv4Options(b[ipv4Header:hlen])
	}
	if h.FragOff != 0 {
		return cause
	}
	if c := decodeL4(b, hlen, total, h); cause == OK {
		cause = c
	}
	return cause
}

// ipv4Options returns which options are present. A malformed option is no reason to refuse the packet: the screen
// "bad-option" is for it.
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
	if decodePlainIPv6(b, h) {
		return OK
	}
	return decodeAnyIPv6(b, wire, h)
}

// decodePlainIPv6 is decodePlain for IPv6, and decodeAnyIPv6 what reads the same of any packet.
func decodePlainIPv6(b []byte, h *Headers) bool {
	if len(b) < ipv6Header+udpHeader {
		return false
	}
	p := (*[ipv6Header + udpHeader]byte)(b)
	if p[0]>>4 != 6 {
		return false
	}
	room := uint32(binary.BigEndian.Uint16(p[4:]))
	switch p[6] {
	case ProtoTCP:
		if len(b) < ipv6Header+tcpHeader {
			return false
		}
		seg := (*[tcpHeader]byte)(b[ipv6Header:])
		hlen := uint32(seg[12]>>4) * 4
		if hlen < tcpHeader || hlen > room {
			return false
		}
		setTCP((*[tcpFlagsEnd]byte)(seg[:]), room-hlen, h)
	case ProtoUDP:
		n := uint32(binary.BigEndian.Uint16(p[ipv6Header+4:]))
		if n < udpHeader || n > room {
			return false
		}
	default:
		return false
	}
	h.Family = IPv6
	h.DSCP = uint8(binary.BigEndian.Uint16(p[0:])>>6) & 0x3f
	h.TTL = p[7]
	h.Proto = p[6]
	h.Src = Addr(p[8:])
	h.Dst = Addr(p[24:])
	h.SrcPort = binary.BigEndian.Uint16(p[ipv6Header:])
	h.DstPort = binary.BigEndian.Uint16(p[ipv6Header+2:])
	h.IPLen, h.DataLen = ipv6Header+room, room
	h.L4 = h.L3 + ipv6Header
	h.HasHead, h.HasL4, h.Plain = true, true, true
	return true
}

// decodeAnyIPv6 is decodeIPv6 for any packet.
func decodeAnyIPv6(b []byte, wire int, h *Headers) Cause {
	if len(b) < ipv6Header {
		return short(IPShort, ipv6Header, wire)
	}
	if b[0]>>4 != 6 {
		return IPVersion
	}
	payload := int(binary.BigEndian.Uint16(b[4:]))
	total := ipv6Header + payload
	if payload == 0 && b[6] != ProtoNoNext && wire > minFrame {
		total = wire
	}
	h.Family = IPv6
	h.DSCP = uint8(binary.BigEndian.Uint16(b[0:])>>6) & 0x3f
	h.IPLen = uint32(total)
	h.TTL = b[7]
	copy(h.Src[:], b[8:24])
	copy(h.Dst[:], b[24:40])
	h.Proto = b[6]
	if !isExtension(h.Proto) {
		h.DataLen = uint32(total - ipv6Header)
		return decodeL4(b, ipv6Header, total, h)
	}
	off, cause := decodeExtensions(b, total, h)
	h.DataLen = uint32(total - off)
	if cause != OK && cause != FragmentBounds || h.FragOff != 0 {
		return cause
	}
	if c := decodeL4(b, off, total, h); cause == OK {
		cause = c
	}
	return cause
}

// decodeExtensions reads the extension headers of an IPv6 packet that ends at total, sets h.Proto to what follows them and
// returns where that is. If one is not all there, or there are too many, it stops before that one.
func decodeExtensions(b []byte, total int, h *Headers) (off int, cause Cause) {
	end := min(len(b), total)
	off = ipv6Header
	fragmentHeader := false
	for n := 0; isExtension(h.Proto); n++ {
		if n == maxExtensions {
			h.Options |= OptBad
			return off, ExtensionChain
		}
		if off+8 > end {
			return off, shortExtension(off+8, total, h)
		}
		var size int
		switch h.Proto {
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
				cause = FragmentBounds
			}
		case ProtoAH:
			size = (int(b[off+1]) + 2) * 4
			if size < ahFixed {
				h.Options |= OptBad
				return off, ExtensionLen
			}
		default:
			size = (int(b[off+1]) + 1) * 8
			if h.Proto == ProtoRouting && b[off+2] == 0 {
				h.Options |= OptLooseSource
			}
			if (h.Proto == ProtoHopByHop || h.Proto == ProtoDstOpts) && off+size <= end && badTLVs(b[off+2:off+size]) {
				h.Options |= OptBad
			}
			if h.Proto == ProtoHopByHop && n != 0 {
				// RFC 8200 section 4.1: hop-by-hop options stand first or not at all.
				h.Options |= OptBad
			}
		}
		if off+size > end {
			return off, shortExtension(off+size, total, h)
		}
		h.Proto = b[off]
		off += size
		if h.FragOff != 0 {
			break
		}
	}
	return off, cause
}

// shortExtension says why an extension header that would end at need is not all there.
func shortExtension(need, total int, h *Headers) Cause {
	cause := short(ExtensionLen, need, total)
	if cause == ExtensionLen {
		h.Options |= OptBad
	}
	return cause
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

package packet

import "encoding/binary"

// Link is the link layer of a source's frames: what is in front of the IP packet.
type Link uint8

const (
	LinkEthernet Link = iota
	LinkRaw           // none: an IPv4 or IPv6 packet
	LinkSLL           // Linux cooked capture, version 1
	LinkSLL2          // Linux cooked capture, version 2
	LinkNull          // BSD loopback: an address family in the byte order of the host or of the network
	LinkPPP           // PPP, with or without HDLC address and control, or Cisco HDLC
	LinkPPPoE         // PPPoE without Ethernet
	LinkNFLOG         // a message of the Linux nflog subsystem

	NumLinks
)

var linkNames = [NumLinks]string{
	LinkEthernet: "Ethernet", LinkRaw: "raw IP", LinkSLL: "Linux cooked", LinkSLL2: "Linux cooked v2", LinkNull: "BSD loopback",
	LinkPPP: "PPP", LinkPPPoE: "PPPoE", LinkNFLOG: "NFLOG",
}

// String returns the name of the link type.
func (l Link) String() string {
	if l < NumLinks {
		return linkNames[l]
	}
	return "unknown"
}

// Ethernet types (IEEE 802 numbers).
const (
	etherIPv4     = 0x0800
	etherIPv6     = 0x86dd
	etherVLAN     = 0x8100 // 802.1Q
	etherQinQ     = 0x88a8 // 802.1ad
	etherQinQ2    = 0x9100 // what QinQ used before 802.1ad had a number
	etherQinQ3    = 0x9200 // the same of other vendors
	etherQinQ4    = 0x9300
	etherMPLS     = 0x8847 // RFC 5332
	etherMPLSUp   = 0x8848 // MPLS with an upstream-assigned label
	etherPPPoE    = 0x8864 // session stage (RFC 2516)
	pppIPv4       = 0x0021 // PPP protocol numbers (IANA)
	pppIPv6       = 0x0057
	pppMPLS       = 0x0281
	pppMPLSUp     = 0x0283
	arpNetlink    = 824 // ARPHRD_NETLINK: the protocol field of a cooked header is no Ethernet type
	nflogPayload  = 9   // NFULA_PAYLOAD
	nflogMaxType  = 64  // no attribute of nflog has a larger number
	pppAllStation = 0xff03
	ciscoUnicast  = 0x0f00
	ciscoMulti    = 0x8f00
)

const (
	etherHeader   = 14
	vlanTag       = 4
	mplsLabel     = 4
	pppoeHeader   = 6
	sllHeader     = 16
	sll2Header    = 20
	nullHeader    = 4
	nflogHeader   = 4
	maxVLANTags   = 8
	maxMPLSLabels = 16
)

// decodeLink reads a frame of a link layer that is not Ethernet.
func decodeLink(l Link, frame []byte, wire int, h *Headers) Cause {
	switch l {
	case LinkSLL:
		return decodeCooked(frame, sllHeader, 14, 2, wire, h)
	case LinkSLL2:
		return decodeCooked(frame, sll2Header, 0, 8, wire, h)
	case LinkNull:
		return decodeNull(frame, wire, h)
	case LinkPPP:
		return decodeSerial(frame, wire, h)
	case LinkPPPoE:
		return decodePPPoE(frame, 0, wire, h)
	case LinkNFLOG:
		return decodeNFLOG(frame, wire, h)
	default:
		return decodeRaw(frame, 0, wire, h)
	}
}

// decodeType reads what is at off according to an Ethernet type.
func decodeType(typ uint16, frame []byte, off, wire int, h *Headers) Cause {
	for tags := 0; ; tags++ {
		switch typ {
		case etherIPv4:
			h.L3 = uint16(off)
			return decodeIPv4(frame[off:], wire-off, h)
		case etherIPv6:
			h.L3 = uint16(off)
			return decodeIPv6(frame[off:], wire-off, h)
		case etherVLAN, etherQinQ, etherQinQ2, etherQinQ3, etherQinQ4:
		case etherPPPoE:
			return decodePPPoE(frame, off, wire, h)
		case etherMPLS, etherMPLSUp:
			return decodeMPLS(frame, off, wire, h)
		default:
			return NotIP
		}
		if tags == maxVLANTags {
			return VLANDepth
		}
		if len(frame) < off+vlanTag {
			return short(LinkShort, off+vlanTag, wire)
		}
		switch id := binary.BigEndian.Uint16(frame[off:]) & 0x0fff; tags {
		case 0:
			h.VLAN = id
		case 1:
			h.InnerVLAN = id
		}
		typ = binary.BigEndian.Uint16(frame[off+2:])
		off += vlanTag
	}
}

// decodeRaw reads an IP packet at off whose version field alone says which it is.
func decodeRaw(frame []byte, off, wire int, h *Headers) Cause {
	if len(frame) <= off {
		return short(IPShort, off+1, wire)
	}
	switch frame[off] >> 4 {
	case 4:
		return decodeType(etherIPv4, frame, off, wire, h)
	case 6:
		return decodeType(etherIPv6, frame, off, wire, h)
	default:
		return NotIP
	}
}

// decodePPPoE reads a PPPoE header at off (RFC 2516 section 4) and the PPP frame behind it.
func decodePPPoE(frame []byte, off, wire int, h *Headers) Cause {
	if len(frame) < off+pppoeHeader {
		return short(LinkShort, off+pppoeHeader, wire)
	}
	if frame[off+1] != 0 { // session data have code 0
		return NotIP
	}
	return decodePPP(frame, off+pppoeHeader, wire, h)
}

// decodePPP reads a PPP protocol field at off, which is one byte if that is odd (RFC 1661 section 2), and what follows.
func decodePPP(frame []byte, off, wire int, h *Headers) Cause {
	if len(frame) <= off {
		return short(LinkShort, off+1, wire)
	}
	protocol := uint16(frame[off])
	off++
	if protocol&1 == 0 {
		if len(frame) <= off {
			return short(LinkShort, off+1, wire)
		}
		protocol = protocol<<8 | uint16(frame[off])
		off++
	}
	switch protocol {
	case pppIPv4:
		return decodeType(etherIPv4, frame, off, wire, h)
	case pppIPv6:
		return decodeType(etherIPv6, frame, off, wire, h)
	case pppMPLS, pppMPLSUp:
		return decodeMPLS(frame, off, wire, h)
	default:
		return NotIP
	}
}

// decodeSerial reads the header of a serial line: PPP, with or without its HDLC address and control field, or Cisco HDLC.
func decodeSerial(frame []byte, wire int, h *Headers) Cause {
	if len(frame) < 2 {
		return short(LinkShort, 2, wire)
	}
	switch binary.BigEndian.Uint16(frame) {
	case pppAllStation:
		return decodePPP(frame, 2, wire, h)
	case ciscoUnicast, ciscoMulti:
		if len(frame) < 4 {
			return short(LinkShort, 4, wire)
		}
		return decodeType(binary.BigEndian.Uint16(frame[2:]), frame, 4, wire, h)
	default:
		return decodePPP(frame, 0, wire, h)
	}
}

// decodeMPLS reads a stack of MPLS labels at off (RFC 3032) and the IP packet behind it. Labels do not tell what
// follows the last one: what does not begin like an IP packet is not IP.
func decodeMPLS(frame []byte, off, wire int, h *Headers) Cause {
	for range maxMPLSLabels {
		if len(frame) < off+mplsLabel {
			return short(LinkShort, off+mplsLabel, wire)
		}
		bottom := frame[off+2]&1 != 0
		off += mplsLabel
		if bottom {
			return decodeRaw(frame, off, wire, h)
		}
	}
	return MPLSDepth
}

// decodeCooked reads a header of a Linux cooked capture of that size, with the protocol and the ARP hardware type at these
// offsets. Packets of every direction are read.
func decodeCooked(frame []byte, size, protocol, hardware, wire int, h *Headers) Cause {
	if len(frame) < size {
		return short(LinkShort, size, wire)
	}
	if binary.BigEndian.Uint16(frame[hardware:]) == arpNetlink {
		return NotIP
	}
	return decodeType(binary.BigEndian.Uint16(frame[protocol:]), frame, size, wire, h)
}

// decodeNull reads the header of a BSD loopback interface. The capturing host's byte order is not known, and systems
// number IPv6 differently: 10 (Linux), 24 (NetBSD, OpenBSD), 28 (FreeBSD), 30 (macOS).
func decodeNull(frame []byte, wire int, h *Headers) Cause {
	if len(frame) < nullHeader {
		return short(LinkShort, nullHeader, wire)
	}
	family := binary.LittleEndian.Uint32(frame)
	if family > 0xffff {
		family = binary.BigEndian.Uint32(frame)
	}
	switch family {
	case 2, 10, 24, 28, 30:
		return decodeRaw(frame, nullHeader, wire, h)
	default:
		return NotIP
	}
}

// decodeNFLOG reads a message of the nflog subsystem: a header of four bytes, then attributes, of which one is the packet.
// Their lengths and types are in the byte order of the capturing host.
func decodeNFLOG(frame []byte, wire int, h *Headers) Cause {
	if len(frame) < nflogHeader {
		return short(LinkShort, nflogHeader, wire)
	}
	off, end := nflogPacket(binary.LittleEndian, frame, wire)
	if off == 0 {
		if off, end = nflogPacket(binary.BigEndian, frame, wire); off == 0 {
			return short(NotIP, len(frame)+1, wire)
		}
	}
	return decodeRaw(frame[:min(end, len(frame))], off, end, h)
}

// nflogPacket returns where in a message the packet begins and ends, 0 if it has none in that byte order.
func nflogPacket(order binary.ByteOrder, frame []byte, wire int) (off, end int) {
	for off = nflogHeader; off+4 <= len(frame); {
		size, typ := int(order.Uint16(frame[off:])), order.Uint16(frame[off+2:])
		if typ == nflogPayload && size >= 4 {
			return off + 4, min(off+size, wire)
		}
		if size < 4 || off+size > wire || typ > nflogMaxType {
			return 0, 0
		}
		off += (size + 3) &^ 3
	}
	return 0, 0
}

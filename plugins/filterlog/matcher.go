package filterlog

import (
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
)

// fieldID numbers the fields of a packet that conditions are about, in the order they are looked at: those that tell most
// terms apart for the least work come first.
type fieldID uint8

const (
	fieldProtocol fieldID = iota
	fieldDstPort
	fieldSrcPort
	fieldTCPFlags
	fieldICMPType
	fieldICMPCode
	fieldFragment
	fieldLength
	fieldDSCP
	fieldTTL
	fieldFragOffset

	numFields
)

// What a field's value is where the packet has none: one that no condition wants.
const (
	noPort  = 1 << 16
	noFlags = 1 << len(tcpFlagNames)
	noICMP  = 1 << 9
)

// maxLength is the longest packet that is told apart: an IPv6 header and a payload of 65535 bytes. Longer ones count as
// this long.
const maxLength = 40 + 65535

// fieldValues is how many values each field has.
var fieldValues = [numFields]uint32{
	fieldProtocol: 1 << 8, fieldDstPort: noPort + 1, fieldSrcPort: noPort + 1, fieldTCPFlags: noFlags + 1,
	fieldICMPType: noICMP + 1, fieldICMPCode: noICMP + 1, fieldFragment: 1 << 5, fieldLength: maxLength + 1,
	fieldDSCP: 1 << 6, fieldTTL: 1 << 8, fieldFragOffset: 1 << 13,
}

// value returns a packet's value of a field, below fieldValues. What stands in a transport header has none if that header
// is not in the packet (a later fragment) or was not read, or if the protocol has no such thing.
func value(f fieldID, h *packet.Headers) uint32 {
	switch f {
	case fieldProtocol:
		return uint32(h.Proto)
	case fieldDstPort:
		if hasPorts(h) {
			return uint32(h.DstPort)
		}
		return noPort
	case fieldSrcPort:
		if hasPorts(h) {
			return uint32(h.SrcPort)
		}
		return noPort
	case fieldTCPFlags:
		if h.HasL4 && h.Proto == packet.ProtoTCP {
			return uint32(h.TCPFlags) & (noFlags - 1)
		}
		return noFlags
	case fieldICMPType:
		return icmpValue(h, h.ICMPType)
	case fieldICMPCode:
		return icmpValue(h, h.ICMPCode)
	case fieldFragment:
		return fragmentValue(h.IPFlags, h.Fragment, h.FragOff)
	case fieldLength:
		return min(h.IPLen, maxLength)
	case fieldDSCP:
		return uint32(h.DSCP) & 63
	case fieldTTL:
		return uint32(h.TTL)
	default: // fieldFragOffset
		return uint32(h.FragOff) / 8
	}
}

// hasPorts reports whether the packet has ports. What an ICMP echo has in their place are none.
func hasPorts(h *packet.Headers) bool {
	return h.HasHead && (h.Proto == packet.ProtoTCP || h.Proto == packet.ProtoUDP || h.Proto == packet.ProtoSCTP)
}

func icmpValue(h *packet.Headers, v uint8) uint32 {
	switch {
	case !h.HasHead:
		return noICMP
	case h.Proto == packet.ProtoICMP:
		return uint32(v)
	case h.Proto == packet.ProtoICMPv6:
		return 1<<8 | uint32(v)
	}
	return noICMP
}

// fragmentValue is the IP flags, above them whether the packet is a fragment, and a later one.
func fragmentValue(flags uint8, fragment bool, offset uint16) uint32 {
	v := uint32(flags) & 7
	if fragment {
		v |= 1 << 3
	}
	if offset > 0 {
		v |= 1 << 4
	}
	return v
}

// matcher finds the terms that match a packet. It is immutable.
type matcher struct {
	words  int
	terms  []uint64 // the bits that are terms
	fields []usedField

	source, destination *trie
	either              *trie  // conditions that one of the two addresses must meet
	eitherPort          *table // the same for ports
}

// usedField is a field that some term has a condition on.
type usedField struct {
	id fieldID
	*table
}

// addresses are the rows of a packet's addresses, each looked up when it is first asked for.
type addresses struct {
	known                                      uint8
	source, destination, eitherSrc, eitherDest uint32
}

// match returns the terms w*64 to w*64+63 that match, as bits.
func (m *matcher) match(p *hook.Packet, w int, a *addresses) uint64 {
	c := m.terms[w]
	for i := range m.fields {
		f := &m.fields[i]
		if c&f.care[w] == 0 {
			continue
		}
		if c &= f.agree(value(f.id, &p.Headers), w); c == 0 {
			return 0
		}
	}
	if t := m.eitherPort; t != nil && c&t.care[w] != 0 {
		c &= t.agree(value(fieldSrcPort, &p.Headers), w) | t.agree(value(fieldDstPort, &p.Headers), w)
	}
	if t := m.source; t != nil && c&t.care[w] != 0 {
		if a.known&1 == 0 {
			a.known, a.source = a.known|1, t.find(p.Src.Netip(p.Family))
		}
		c &= t.bits[int(a.source)+w]
	}
	if t := m.destination; t != nil && c&t.care[w] != 0 {
		if a.known&2 == 0 {
			a.known, a.destination = a.known|2, t.find(p.Dst.Netip(p.Family))
		}
		c &= t.bits[int(a.destination)+w]
	}
	if t := m.either; t != nil && c&t.care[w] != 0 {
		if a.known&4 == 0 {
			a.known, a.eitherSrc, a.eitherDest = a.known|4, t.find(p.Src.Netip(p.Family)), t.find(p.Dst.Netip(p.Family))
		}
		c &= t.bits[int(a.eitherSrc)+w] | t.bits[int(a.eitherDest)+w]
	}
	return c
}

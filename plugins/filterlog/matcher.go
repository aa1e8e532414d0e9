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

// dstPort and srcPort return the ports of a packet that has any, see hasPorts.
func dstPort(h *packet.Headers, hasPorts bool) uint32 {
	if hasPorts {
		return uint32(h.DstPort)
	}
	return noPort
}

func srcPort(h *packet.Headers, hasPorts bool) uint32 {
	if hasPorts {
		return uint32(h.SrcPort)
	}
	return noPort
}

// hasPorts reports whether the packet has ports. What an ICMP echo has in their place are none.
func hasPorts(h *packet.Headers) bool {
	return h.Plain || h.HasHead && (h.Proto == packet.ProtoTCP || h.Proto == packet.ProtoUDP || h.Proto == packet.ProtoSCTP)
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
	words               []word
	source, destination *trie
	either              *trie  // conditions that one of the two addresses must meet
	eitherPort          *table // the same for ports
}

// word is 64 terms, and which of them have which conditions, as bits.
type word struct {
	terms  uint64
	fields []wordField
	beyond uint64 // the terms with conditions on what follows

	source, destination, either, eitherPort uint64
}

// wordField is a field that some term of a word has a condition on: what the word needs of its table.
type wordField struct {
	id   fieldID
	care uint64
	row  []uint32
	bits []uint64 // from the place of the word on, so that where a row begins its word stands
}

// agree returns the terms that agree with a value.
func (f *wordField) agree(value uint32) uint64 { return f.bits[f.row[value]] }

// addresses are the rows of a packet's addresses, each looked up when it is first asked for.
type addresses struct {
	known                                      uint8
	source, destination, eitherSrc, eitherDest uint32
}

// match returns the terms w*64 to w*64+63 that match, as bits.
//
// The value of a field is below fieldValues. What stands in a transport header has none if that header is not in the packet
// (a later fragment) or was not read, or if the protocol has no such thing. All of them are read here: a call for each would
// cost more than the rest.
func (m *matcher) match(p *hook.Packet, w int, a *addresses) uint64 {
	wd, h := &m.words[w], &p.Headers
	c, ports := wd.terms, hasPorts(h)
	for i := range wd.fields {
		f := &wd.fields[i]
		if c&f.care == 0 {
			continue
		}
		var value uint32
		switch f.id {
		case fieldProtocol:
			value = uint32(h.Proto)
		case fieldDstPort:
			value = dstPort(h, ports)
		case fieldSrcPort:
			value = srcPort(h, ports)
		case fieldTCPFlags:
			if value = noFlags; h.HasL4 && h.Proto == packet.ProtoTCP {
				value = uint32(h.TCPFlags) & (noFlags - 1)
			}
		case fieldICMPType:
			value = icmpValue(h, h.ICMPType)
		case fieldICMPCode:
			value = icmpValue(h, h.ICMPCode)
		case fieldFragment:
			value = fragmentValue(h.IPFlags, h.Fragment, h.FragOff)
		case fieldLength:
			value = min(h.IPLen, maxLength)
		case fieldDSCP:
			value = uint32(h.DSCP) & 63
		case fieldTTL:
			value = uint32(h.TTL)
		case fieldFragOffset:
			value = uint32(h.FragOff) / 8
		}
		if c &= f.agree(value); c == 0 {
			return 0
		}
	}
	if c&wd.beyond == 0 {
		return c
	}
	return m.matchBeyond(p, wd, w, a, c)
}

// matchBeyond returns those of the terms c whose conditions on addresses and on either port match.
func (m *matcher) matchBeyond(p *hook.Packet, wd *word, w int, a *addresses, c uint64) uint64 {
	if c&wd.eitherPort != 0 {
		h := &p.Headers
		ports := hasPorts(h)
		c &= m.eitherPort.agree(srcPort(h, ports), w) | m.eitherPort.agree(dstPort(h, ports), w)
	}
	if c&wd.source != 0 {
		if a.known&1 == 0 {
			a.known, a.source = a.known|1, m.source.find(&p.Src, p.Family)
		}
		c &= m.source.bits[int(a.source)+w]
	}
	if c&wd.destination != 0 {
		if a.known&2 == 0 {
			a.known, a.destination = a.known|2, m.destination.find(&p.Dst, p.Family)
		}
		c &= m.destination.bits[int(a.destination)+w]
	}
	if c&wd.either != 0 {
		if a.known&4 == 0 {
			a.known, a.eitherSrc, a.eitherDest = a.known|4, m.either.find(&p.Src, p.Family), m.either.find(&p.Dst, p.Family)
		}
		c &= m.either.bits[int(a.eitherSrc)+w] | m.either.bits[int(a.eitherDest)+w]
	}
	return c
}

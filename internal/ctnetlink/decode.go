package ctnetlink

import (
	"encoding/binary"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/nfnetlink"
)

// Attributes of an entry (linux/netfilter/nfnetlink_conntrack.h).
const (
	attrTupleOrig     = 1
	attrTupleReply    = 2
	attrStatus        = 3
	attrProtoInfo     = 4
	attrTimeout       = 7
	attrMark          = 8
	attrCountersOrig  = 9
	attrCountersReply = 10
	attrID            = 12
	attrZone          = 18
	attrTimestamp     = 20
	attrEventTime     = 27

	tupleIP    = 1
	tupleProto = 2
	tupleZone  = 3

	ipv4Src = 1
	ipv4Dst = 2
	ipv6Src = 3
	ipv6Dst = 4

	protoNum        = 1
	protoSrcPort    = 2
	protoDstPort    = 3
	protoICMPID     = 4
	protoICMPType   = 5
	protoICMPCode   = 6
	protoICMPv6ID   = 7
	protoICMPv6Type = 8
	protoICMPv6Code = 9

	protoInfoTCP = 1
	tcpState     = 1

	countersPackets = 1
	countersBytes   = 2

	timestampStart = 1
	timestampStop  = 2
)

// Decode fills e from a message that is about an entry. It returns false if the message is malformed, or lacks one of the tuples; e is
// undefined then. It does not allocate.
func Decode(m *nfnetlink.Message, e *Entry) bool {
	*e = Entry{}
	var orig, reply tuple
	b := m.Attrs
	for {
		typ, value, rest, ok := nfnetlink.NextAttr(b)
		if !ok {
			break
		}
		b = rest
		switch typ {
		case attrTupleOrig:
			ok = orig.decode(value)
		case attrTupleReply:
			ok = reply.decode(value)
		case attrStatus:
			ok = number(value, (*uint32)(&e.Status))
		case attrProtoInfo:
			ok = e.decodeProtoInfo(value)
		case attrTimeout:
			ok = number(value, &e.Timeout)
		case attrMark:
			ok = number(value, &e.Mark)
		case attrCountersOrig:
			e.Counted = true
			ok = pair(value, countersPackets, countersBytes, &e.OrigPackets, &e.OrigBytes)
		case attrCountersReply:
			e.Counted = true
			ok = pair(value, countersPackets, countersBytes, &e.ReplyPackets, &e.ReplyBytes)
		case attrID:
			ok = number(value, &e.ID)
		case attrZone:
			ok = short(value, &e.Zone)
		case attrTimestamp:
			var start, stop uint64
			ok = pair(value, timestampStart, timestampStop, &start, &stop)
			e.Start, e.Stop = int64(start), int64(stop)
		case attrEventTime:
			var at uint64
			ok = long(value, &at)
			e.Time = int64(at)
		}
		if !ok {
			return false
		}
	}
	if len(b) != 0 || !orig.whole() || !reply.whole() || orig.Family != reply.Family || orig.Proto != reply.Proto {
		return false
	}
	e.Orig, e.Reply, e.ICMPType, e.ICMPCode = orig.Tuple, reply.Tuple, orig.icmpType, orig.icmpCode
	if orig.zone != 0 {
		e.Zone = orig.zone
	}
	return true
}

// tuple is one direction.
type tuple struct {
	packet.Tuple
	has                has
	icmpType, icmpCode uint8
	zone               uint16
}

// has is what a tuple was given.
type has uint8

const (
	hasSrc has = 1 << iota
	hasDst
	hasProto
)

func (t *tuple) whole() bool { return t.has == hasSrc|hasDst|hasProto }

func (t *tuple) decode(b []byte) bool {
	for {
		typ, value, rest, ok := nfnetlink.NextAttr(b)
		if !ok {
			return len(b) == 0
		}
		b = rest
		switch typ {
		case tupleIP:
			ok = t.decodeIP(value)
		case tupleProto:
			ok = t.decodeProto(value)
		case tupleZone:
			ok = short(value, &t.zone)
		}
		if !ok {
			return false
		}
	}
}

func (t *tuple) decodeIP(b []byte) bool {
	for {
		typ, value, rest, ok := nfnetlink.NextAttr(b)
		if !ok {
			return len(b) == 0
		}
		b = rest
		switch typ {
		case ipv4Src:
			ok = t.address(&t.Src, value, packet.IPv4, hasSrc)
		case ipv4Dst:
			ok = t.address(&t.Dst, value, packet.IPv4, hasDst)
		case ipv6Src:
			ok = t.address(&t.Src, value, packet.IPv6, hasSrc)
		case ipv6Dst:
			ok = t.address(&t.Dst, value, packet.IPv6, hasDst)
		}
		if !ok {
			return false
		}
	}
}

// address sets one address. All addresses of a tuple are of one family, and each is given once.
func (t *tuple) address(to *packet.Addr, value []byte, family packet.Family, which has) bool {
	length := 4
	if family == packet.IPv6 {
		length = 16
	}
	if len(value) != length || t.has&which != 0 || t.has&(hasSrc|hasDst) != 0 && t.Family != family {
		return false
	}
	copy(to[:], value)
	t.Family = family
	t.has |= which
	return true
}

func (t *tuple) decodeProto(b []byte) bool {
	for {
		typ, value, rest, ok := nfnetlink.NextAttr(b)
		if !ok {
			return len(b) == 0
		}
		b = rest
		switch typ {
		case protoNum:
			ok = octet(value, &t.Proto)
			t.has |= hasProto
		case protoSrcPort, protoICMPID, protoICMPv6ID:
			ok = short(value, &t.SrcPort)
		case protoDstPort:
			ok = short(value, &t.DstPort)
		case protoICMPType, protoICMPv6Type:
			ok = octet(value, &t.icmpType)
		case protoICMPCode, protoICMPv6Code:
			ok = octet(value, &t.icmpCode)
		}
		if !ok {
			return false
		}
	}
}

// decodeProtoInfo reads the state of TCP; other protocols' is passed over.
func (e *Entry) decodeProtoInfo(b []byte) bool {
	for {
		typ, value, rest, ok := nfnetlink.NextAttr(b)
		if !ok {
			return len(b) == 0
		}
		b = rest
		if typ != protoInfoTCP {
			continue
		}
		for inner := value; ; {
			typ, value, rest, ok := nfnetlink.NextAttr(inner)
			if !ok {
				if len(inner) != 0 {
					return false
				}
				break
			}
			inner = rest
			if typ == tcpState && !octet(value, (*uint8)(&e.State)) {
				return false
			}
		}
	}
}

// pair reads two numbers of 64 bits from nested attributes of these types.
func pair(b []byte, first, second uint16, a, c *uint64) bool {
	for {
		typ, value, rest, ok := nfnetlink.NextAttr(b)
		if !ok {
			return len(b) == 0
		}
		b = rest
		switch typ {
		case first:
			ok = long(value, a)
		case second:
			ok = long(value, c)
		}
		if !ok {
			return false
		}
	}
}

func octet(b []byte, to *uint8) bool {
	if len(b) != 1 {
		return false
	}
	*to = b[0]
	return true
}

func short(b []byte, to *uint16) bool {
	if len(b) != 2 {
		return false
	}
	*to = binary.BigEndian.Uint16(b)
	return true
}

func number(b []byte, to *uint32) bool {
	if len(b) != 4 {
		return false
	}
	*to = binary.BigEndian.Uint32(b)
	return true
}

func long(b []byte, to *uint64) bool {
	if len(b) != 8 {
		return false
	}
	*to = binary.BigEndian.Uint64(b)
	return true
}

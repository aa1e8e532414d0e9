package ctnetlink

import (
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/nfnetlink"
)

// AppendDump appends a request for every entry.
func AppendDump(b []byte, seq uint32) []byte {
	b, start := nfnetlink.AppendMessage(b, nfnetlink.Message{Type: messageGet, Flags: unix.NLM_F_REQUEST | unix.NLM_F_DUMP, Seq: seq})
	return nfnetlink.EndMessage(b, start)
}

// AppendGet appends a request for the entry with the Orig, the ICMP type and code, and the Zone of e. The answer is the entry, or the
// error ENOENT.
func AppendGet(b []byte, seq uint32, e *Entry) []byte {
	family := uint8(unix.AF_INET)
	if e.Orig.Family == packet.IPv6 {
		family = unix.AF_INET6
	}
	b, start := nfnetlink.AppendMessage(b, nfnetlink.Message{Type: messageGet, Flags: unix.NLM_F_REQUEST, Seq: seq, Family: family})
	b = appendTuple(b, attrTupleOrig, &e.Orig, e.ICMPType, e.ICMPCode)
	if e.Zone != 0 {
		b = nfnetlink.AppendUint16(b, attrZone, e.Zone)
	}
	return nfnetlink.EndMessage(b, start)
}

// appendTuple appends one direction.
func appendTuple(b []byte, typ uint16, t *packet.Tuple, icmpType, icmpCode uint8) []byte {
	b, whole := nfnetlink.BeginNested(b, typ)
	b, nested := nfnetlink.BeginNested(b, tupleIP)
	if t.Family == packet.IPv6 {
		b = nfnetlink.AppendAttr(b, ipv6Src, t.Src[:])
		b = nfnetlink.AppendAttr(b, ipv6Dst, t.Dst[:])
	} else {
		b = nfnetlink.AppendAttr(b, ipv4Src, t.Src[:4])
		b = nfnetlink.AppendAttr(b, ipv4Dst, t.Dst[:4])
	}
	b = nfnetlink.EndNested(b, nested)
	b, nested = nfnetlink.BeginNested(b, tupleProto)
	b = nfnetlink.AppendUint8(b, protoNum, t.Proto)
	switch t.Proto {
	case packet.ProtoICMP:
		b = nfnetlink.AppendUint16(b, protoICMPID, t.SrcPort)
		b = nfnetlink.AppendUint8(b, protoICMPType, icmpType)
		b = nfnetlink.AppendUint8(b, protoICMPCode, icmpCode)
	case packet.ProtoICMPv6:
		b = nfnetlink.AppendUint16(b, protoICMPv6ID, t.SrcPort)
		b = nfnetlink.AppendUint8(b, protoICMPv6Type, icmpType)
		b = nfnetlink.AppendUint8(b, protoICMPv6Code, icmpCode)
	default:
		b = nfnetlink.AppendUint16(b, protoSrcPort, t.SrcPort)
		b = nfnetlink.AppendUint16(b, protoDstPort, t.DstPort)
	}
	return nfnetlink.EndNested(nfnetlink.EndNested(b, nested), whole)
}

// AppendStats appends a request for the number of entries, see [DecodeStats], that the kernel acknowledges.
func AppendStats(b []byte, seq uint32) []byte {
	b, start := nfnetlink.AppendMessage(b, nfnetlink.Message{Type: messageStats, Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK, Seq: seq})
	return nfnetlink.EndMessage(b, start)
}

// Stats are numbers of the conntrack table of a network namespace.
type Stats struct {
	Entries, Max uint32
}

// DecodeStats reads the answer to a request for [Stats]. Max is 0 before Linux 4.18.
func DecodeStats(m *nfnetlink.Message) (s Stats, ok bool) {
	const (
		entries    = 1
		maxEntries = 2
	)
	if m.Type != messageStats {
		return Stats{}, false
	}
	for typ, value, rest, ok := nfnetlink.NextAttr(m.Attrs); ok; typ, value, rest, ok = nfnetlink.NextAttr(rest) {
		switch typ {
		case entries:
			ok = number(value, &s.Entries)
		case maxEntries:
			ok = number(value, &s.Max)
		}
		if !ok {
			return Stats{}, false
		}
	}
	return s, true
}

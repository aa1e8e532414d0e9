// Package ctmessage makes the messages that the kernel's connection tracking sends, for tests that have no kernel to send them.
//
// Only tests import it.
package ctmessage

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/ctnetlink"
	"github.com/rtflow/pipelined/internal/nfnetlink"
)

// Types of messages and attributes (linux/netfilter/nfnetlink_conntrack.h).
const (
	messageNew    = unix.NFNL_SUBSYS_CTNETLINK << 8
	messageDelete = messageNew | 2

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
)

// Append appends an event about e, as the kernel sends it. port is that of the socket whose request caused it, 0 for none.
func Append(b []byte, kind ctnetlink.Kind, port uint32, e *ctnetlink.Entry) []byte {
	m := nfnetlink.Message{Type: messageNew, Port: port, Family: uint8(e.Orig.Family)}
	switch kind {
	case ctnetlink.New:
		m.Flags = unix.NLM_F_CREATE | unix.NLM_F_EXCL
	case ctnetlink.Destroy:
		m.Type = messageDelete
	}
	return message(b, m, e)
}

// AppendAnswer appends the answer to a request for an entry, or with unix.NLM_F_MULTI a part of a dump.
func AppendAnswer(b []byte, seq uint32, flags uint16, e *ctnetlink.Entry) []byte {
	return message(b, nfnetlink.Message{Type: messageNew, Flags: flags, Seq: seq, Family: uint8(e.Orig.Family)}, e)
}

// AppendCreate appends a request to make an entry.
func AppendCreate(b []byte, seq uint32, e *ctnetlink.Entry) []byte {
	flags := uint16(unix.NLM_F_REQUEST | unix.NLM_F_CREATE | unix.NLM_F_EXCL)
	return message(b, nfnetlink.Message{Type: messageNew, Flags: flags, Seq: seq, Family: uint8(e.Orig.Family)}, e)
}

// AppendFlush appends a request to remove all entries, which the kernel acknowledges.
func AppendFlush(b []byte, seq uint32) []byte {
	b, start := nfnetlink.AppendMessage(b, nfnetlink.Message{Type: messageDelete, Flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK, Seq: seq})
	return nfnetlink.EndMessage(b, start)
}

// AppendError appends an answer of NLMSG_ERROR.
func AppendError(b []byte, seq uint32, errno unix.Errno) []byte {
	return appendControl(b, unix.NLMSG_ERROR, 0, seq, -int32(errno))
}

// AppendDone appends the end of a dump.
func AppendDone(b []byte, seq uint32, flags uint16) []byte {
	return appendControl(b, unix.NLMSG_DONE, flags|unix.NLM_F_MULTI, seq, 0)
}

func appendControl(b []byte, typ, flags uint16, seq uint32, value int32) []byte {
	b = binary.NativeEndian.AppendUint32(b, unix.NLMSG_HDRLEN+4)
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = binary.NativeEndian.AppendUint16(b, flags)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = binary.NativeEndian.AppendUint32(b, 0)
	return binary.NativeEndian.AppendUint32(b, uint32(value))
}

func message(b []byte, m nfnetlink.Message, e *ctnetlink.Entry) []byte {
	b, start := nfnetlink.AppendMessage(b, m)
	b = tuple(b, attrTupleOrig, &e.Orig, e.ICMPType, e.ICMPCode)
	b = tuple(b, attrTupleReply, &e.Reply, e.ICMPType, e.ICMPCode)
	b = nfnetlink.AppendUint32(b, attrID, e.ID)
	b = nfnetlink.AppendUint32(b, attrStatus, uint32(e.Status))
	if e.Timeout != 0 {
		b = nfnetlink.AppendUint32(b, attrTimeout, e.Timeout)
	}
	if e.Counted {
		b = pair(b, attrCountersOrig, e.OrigPackets, e.OrigBytes)
		b = pair(b, attrCountersReply, e.ReplyPackets, e.ReplyBytes)
	}
	if e.Start != 0 {
		b = pair(b, attrTimestamp, uint64(e.Start), uint64(e.Stop))
	}
	if e.State != ctnetlink.NoState {
		var outer, inner int
		b, outer = nfnetlink.BeginNested(b, attrProtoInfo)
		b, inner = nfnetlink.BeginNested(b, 1)
		b = nfnetlink.AppendUint8(b, 1, uint8(e.State))
		b = nfnetlink.EndNested(nfnetlink.EndNested(b, inner), outer)
	}
	if e.Mark != 0 {
		b = nfnetlink.AppendUint32(b, attrMark, e.Mark)
	}
	if e.Zone != 0 {
		b = nfnetlink.AppendUint16(b, attrZone, e.Zone)
	}
	if e.Time != 0 {
		b = nfnetlink.AppendAttr(b, attrEventTime, binary.BigEndian.AppendUint64(nil, uint64(e.Time)))
	}
	return nfnetlink.EndMessage(b, start)
}

func tuple(b []byte, typ uint16, t *packet.Tuple, icmpType, icmpCode uint8) []byte {
	b, outer := nfnetlink.BeginNested(b, typ)
	b, inner := nfnetlink.BeginNested(b, 1)
	if t.Family == packet.IPv6 {
		b = nfnetlink.AppendAttr(b, 3, t.Src[:])
		b = nfnetlink.AppendAttr(b, 4, t.Dst[:])
	} else {
		b = nfnetlink.AppendAttr(b, 1, t.Src[:4])
		b = nfnetlink.AppendAttr(b, 2, t.Dst[:4])
	}
	b = nfnetlink.EndNested(b, inner)
	b, inner = nfnetlink.BeginNested(b, 2)
	b = nfnetlink.AppendUint8(b, 1, t.Proto)
	switch t.Proto {
	case packet.ProtoICMP:
		b = nfnetlink.AppendUint16(b, 4, t.SrcPort)
		b = nfnetlink.AppendUint8(b, 5, icmpType)
		b = nfnetlink.AppendUint8(b, 6, icmpCode)
	case packet.ProtoICMPv6:
		b = nfnetlink.AppendUint16(b, 7, t.SrcPort)
		b = nfnetlink.AppendUint8(b, 8, icmpType)
		b = nfnetlink.AppendUint8(b, 9, icmpCode)
	default:
		b = nfnetlink.AppendUint16(b, 2, t.SrcPort)
		b = nfnetlink.AppendUint16(b, 3, t.DstPort)
	}
	return nfnetlink.EndNested(nfnetlink.EndNested(b, inner), outer)
}

func pair(b []byte, typ uint16, first, second uint64) []byte {
	b, start := nfnetlink.BeginNested(b, typ)
	b = nfnetlink.AppendAttr(b, 1, binary.BigEndian.AppendUint64(nil, first))
	b = nfnetlink.AppendAttr(b, 2, binary.BigEndian.AppendUint64(nil, second))
	return nfnetlink.EndNested(b, start)
}

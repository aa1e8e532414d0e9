package eventstream

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/rtflow/pipelined/sdk/event"
)

// Session frames of the existing protocol. Ports and all integers are little-endian, the family byte is 4 or 6, zone ids
// have 8 bits, and there is no time, session id, policy or counter. A is the length of an address, 4 or 16:
//
//	open, update (56 or 116 bytes)            close (19 or 43 bytes)
//	 0     u8   family                         0     u8   family
//	 1     u8   IP protocol                    1     u8   IP protocol
//	 2     u16  source port                    2     u16  source port
//	 4     u16  destination port               4     u16  destination port
//	 6     u16  translated source port         6     A    source address
//	 8     u16  translated destination port    6+A   A    destination address
//	10     u16  owner redundancy group         6+2A  u16  owner redundancy group
//	12     u16  egress interface               8+2A  u8   flags
//	14     u16  transmit interface             9+2A  u8   ingress zone
//	16     u16  tunnel endpoint               10+2A  u8   egress zone
//	18     u16  transmit VLAN
//	20     u8   flags
//	21     u8   ingress zone
//	22     u8   egress zone
//	23     u8   disposition: 0 forward
//	24     A    source, destination, translated source, translated destination address
//	24+4A  6+6  neighbour and own MAC address
//	36+4A  A    next hop
//
// What a tap does not know (redundancy groups, egress, MAC addresses, next hop) is zero.
const (
	openFixed  = 24 + 12
	closeFixed = 6 + 5
	zoneBytes  = 2 // producers before the zone bytes leave them out
)

const (
	familyIPv4 = 4
	familyIPv6 = 6
)

// AppendOpen appends the delta frame of a session that began or lives: t is [SessionOpen] or [SessionUpdate]. rec is a
// SessionOpen record.
func AppendOpen(b []byte, t event.FrameType, seq event.Seq, rec *event.Record) []byte {
	src, dst := rec.Src(), rec.Dst()
	size := addrLen(src)
	natSrc, _ := rec.NATSrc()
	natDst, _ := rec.NATDst()
	b = AppendFrame(b, t, openFixed+5*size, seq)
	b = appendPorts(b, rec)
	b = binary.LittleEndian.AppendUint16(b, natSrc.Port())
	b = binary.LittleEndian.AppendUint16(b, natDst.Port())
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, zoneByte(rec.InZone()), zoneByte(rec.OutZone()), 0)
	b = appendAddr(appendAddr(b, src, size), dst, size)
	b = appendAddr(appendAddr(b, natSrc.Addr(), size), natDst.Addr(), size)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	return appendAddr(b, netip.Addr{}, size)
}

// AppendClose appends the delta frame of a session that ended. rec is a SessionClose record.
func AppendClose(b []byte, seq event.Seq, rec *event.Record) []byte {
	src, dst := rec.Src(), rec.Dst()
	size := addrLen(src)
	b = AppendFrame(b, SessionClose, closeFixed+2*size, seq)
	b = appendPorts(b, rec)
	b = appendAddr(appendAddr(b, src, size), dst, size)
	return append(b, 0, 0, 0, zoneByte(rec.InZone()), zoneByte(rec.OutZone()))
}

func addrLen(a netip.Addr) int {
	if a.Is4() {
		return 4
	}
	return 16
}

// appendPorts appends family, protocol and ports.
func appendPorts(b []byte, rec *event.Record) []byte {
	family := byte(familyIPv6)
	if rec.Family() == event.FamilyIPv4 {
		family = familyIPv4
	}
	b = append(b, family, rec.Proto())
	b = binary.LittleEndian.AppendUint16(b, rec.SrcPort())
	return binary.LittleEndian.AppendUint16(b, rec.DstPort())
}

// appendAddr appends an address, or zeros if there is none.
func appendAddr(b []byte, a netip.Addr, size int) []byte {
	switch {
	case !a.IsValid():
		var zero [16]byte
		return append(b, zero[:size]...)
	case size == 4:
		v := a.As4()
		return append(b, v[:]...)
	default:
		v := a.As16()
		return append(b, v[:]...)
	}
}

// zoneByte returns a zone id as these frames have room for it: one that needs more than 8 bits is unknown, rather than
// another zone.
func zoneByte(id uint16) byte {
	if id > 0xff {
		return 0
	}
	return byte(id)
}

// DecodeDelta makes a record of a frame of type [SessionOpen], [SessionUpdate] (both give a SessionOpen record) or
// [SessionClose], with the frame's sequence number. The error is an [*event.FrameError]; rec is undefined then.
func DecodeDelta(f Frame, rec *event.Record) error {
	p := f.Payload()
	size := 4
	if len(p) > 0 && p[0] == familyIPv6 {
		size = 16
	}
	isClose := f.Type() == SessionClose
	want, addrs := openFixed+5*size, 24
	if isClose {
		want, addrs = closeFixed+2*size, 6
	}
	if len(p) != want && (!isClose || len(p) != want-zoneBytes) {
		return &event.FrameError{Size: len(f), Type: f.Type(), Reason: fmt.Sprintf("length %d, want %d", len(p), want)}
	}
	if p[0] != familyIPv4 && p[0] != familyIPv6 {
		return &event.FrameError{Size: len(f), Type: f.Type(), Reason: fmt.Sprintf("address family %d", p[0])}
	}
	kind, family := event.SessionOpen, uint8(event.FamilyIPv4)
	if isClose {
		kind = event.SessionClose
	}
	if size == 16 {
		family = event.FamilyIPv6
	}
	rec.Reset(kind)
	rec.SetSeq(f.Seq())
	addr := func(i int) (a [16]byte) {
		copy(a[:], p[addrs+i*size:addrs+(i+1)*size])
		return a
	}
	src, dst := addr(0), addr(1)
	le := binary.LittleEndian
	rec.SetFlow(family, p[1], &src, &dst, le.Uint16(p[2:]), le.Uint16(p[4:]))
	rec.SetAction(event.ActionPermit)
	switch {
	case !isClose:
		rec.SetZones(uint16(p[21]), uint16(p[22]))
		natSrc, natDst := addr(2), addr(3)
		rec.SetNAT(&natSrc, &natDst, le.Uint16(p[6:]), le.Uint16(p[8:]))
	case len(p) == want:
		rec.SetZones(uint16(p[want-2]), uint16(p[want-1]))
	}
	return nil
}

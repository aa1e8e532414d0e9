package event

import (
	"encoding/binary"
	"math"
	"net/netip"
)

// Seq is the number of a record in one sink's stream: 1 for the first of an epoch, without gaps. 0 is none.
type Seq uint64

// Record is one event. It holds the frame in the layout of the wire, and the configuration generation, which the frame has
// no field for. Records stand in ring slots and are reused; a sink must copy what it keeps longer than the batch.
//
// A method is valid for the kinds that its comment names, for all kinds if it names none; for other kinds its result is
// meaningless. A Record is safe for concurrent reads, not for concurrent writes.
type Record struct {
	frame [MaxFrame]byte
	// Generation is the configuration generation that made the record; it selects the [Names] that its ids belong to.
	Generation uint32
	kind       Kind
}

// Reset makes r an empty record of kind k: every field zero but event type, frame type and length.
func (r *Record) Reset(k Kind) {
	*r = Record{kind: k}
	n := uint32(RecordSize)
	if k == SessionOpen || k == SessionClose {
		n += sessionTail
	}
	binary.LittleEndian.PutUint32(r.frame[0:], n)
	r.frame[4] = byte(frameTypes[k])
	r.frame[HeaderSize+offType] = eventTypes[k]
}

// Kind returns the record's kind.
func (r *Record) Kind() Kind { return r.kind }

// Frame returns the record's frame in the layout of the wire: 152 bytes, or 160 of a session record. It aliases r.
func (r *Record) Frame() []byte {
	if r.kind == SessionOpen || r.kind == SessionClose {
		return r.frame[:MaxFrame]
	}
	return r.frame[:FrameSize]
}

// Payload returns the 136-byte RT_FLOW record. It aliases r.
func (r *Record) Payload() []byte { return r.frame[HeaderSize:FrameSize] }

func (r *Record) u16(off int) uint16  { return binary.LittleEndian.Uint16(r.frame[HeaderSize+off:]) }
func (r *Record) u32(off int) uint32  { return binary.LittleEndian.Uint32(r.frame[HeaderSize+off:]) }
func (r *Record) u64(off int) uint64  { return binary.LittleEndian.Uint64(r.frame[HeaderSize+off:]) }
func (r *Record) port(off int) uint16 { return binary.BigEndian.Uint16(r.frame[HeaderSize+off:]) }
func (r *Record) putU16(off int, v uint16) {
	binary.LittleEndian.PutUint16(r.frame[HeaderSize+off:], v)
}
func (r *Record) putU32(off int, v uint32) {
	binary.LittleEndian.PutUint32(r.frame[HeaderSize+off:], v)
}
func (r *Record) putU64(off int, v uint64) {
	binary.LittleEndian.PutUint64(r.frame[HeaderSize+off:], v)
}
func (r *Record) putPort(off int, v uint16) {
	binary.BigEndian.PutUint16(r.frame[HeaderSize+off:], v)
}

// Seq returns the sequence number in the frame header.
func (r *Record) Seq() Seq { return Seq(binary.LittleEndian.Uint64(r.frame[8:])) }

// SetSeq sets the sequence number. The ring calls it when the record gets its place.
func (r *Record) SetSeq(s Seq) { binary.LittleEndian.PutUint64(r.frame[8:], uint64(s)) }

// Time returns when the event happened, in Unix nanoseconds; 0 = unknown.
func (r *Record) Time() int64 { return int64(r.u64(offTime)) }

// SetTime sets the time in Unix nanoseconds.
func (r *Record) SetTime(ns int64) { r.putU64(offTime, uint64(ns)) }

// SetFlow sets family (2 or 10), protocol, addresses and ports. An IPv4 address is in the first four bytes.
func (r *Record) SetFlow(family, proto uint8, src, dst *[16]byte, srcPort, dstPort uint16) {
	r.frame[HeaderSize+offFamily] = family
	r.frame[HeaderSize+offProto] = proto
	*(*[16]byte)(r.frame[HeaderSize+offSrc:]) = *src
	*(*[16]byte)(r.frame[HeaderSize+offDst:]) = *dst
	r.putPort(offSrcPort, srcPort)
	r.putPort(offDstPort, dstPort)
}

// Family returns the address family byte: FamilyIPv4 or FamilyIPv6, 0 where the record has no addresses (Loss).
func (r *Record) Family() uint8 { return r.frame[HeaderSize+offFamily] }

// Proto returns the IP protocol number.
func (r *Record) Proto() uint8 { return r.frame[HeaderSize+offProto] }

func (r *Record) addr(off int) netip.Addr {
	b := r.frame[HeaderSize+off : HeaderSize+off+16]
	switch r.Family() {
	case FamilyIPv4:
		return netip.AddrFrom4([4]byte(b[:4]))
	case FamilyIPv6:
		return netip.AddrFrom16([16]byte(b))
	default:
		return netip.Addr{}
	}
}

// Src returns the source address; invalid for a Loss record.
func (r *Record) Src() netip.Addr { return r.addr(offSrc) }

// Dst returns the destination address; invalid for a Loss record.
func (r *Record) Dst() netip.Addr { return r.addr(offDst) }

// SrcBytes returns the source address as the record holds it, one of IPv4 in the first four bytes. It aliases r.
func (r *Record) SrcBytes() *[16]byte { return (*[16]byte)(r.frame[HeaderSize+offSrc:]) }

// DstBytes is SrcBytes for the destination address.
func (r *Record) DstBytes() *[16]byte { return (*[16]byte)(r.frame[HeaderSize+offDst:]) }

// SrcPort returns the source port, or the identifier of an ICMP echo.
func (r *Record) SrcPort() uint16 { return r.port(offSrcPort) }

// DstPort returns the destination port, or the sequence number of an ICMP echo.
func (r *Record) DstPort() uint16 { return r.port(offDstPort) }

// NATSrc returns the translated source, and whether there was a translation.
func (r *Record) NATSrc() (netip.AddrPort, bool) { return r.nat(offNATSrc, offNATSrcPort) }

// NATDst returns the translated destination, and whether there was a translation.
func (r *Record) NATDst() (netip.AddrPort, bool) { return r.nat(offNATDst, offNATDstPort) }

func (r *Record) nat(addr, port int) (netip.AddrPort, bool) {
	if !r.translated(addr) {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(r.addr(addr), r.port(port)), true
}

func (r *Record) translated(addr int) bool { return r.u64(addr)|r.u64(addr+8) != 0 }

// Translated reports whether there was a translation at either end. Valid for session records.
func (r *Record) Translated() bool { return r.translated(offNATSrc) || r.translated(offNATDst) }

// SetNAT sets the translated source and destination. A zero address means that the end is not translated.
func (r *Record) SetNAT(src, dst *[16]byte, srcPort, dstPort uint16) {
	*(*[16]byte)(r.frame[HeaderSize+offNATSrc:]) = *src
	*(*[16]byte)(r.frame[HeaderSize+offNATDst:]) = *dst
	r.putPort(offNATSrcPort, srcPort)
	r.putPort(offNATDstPort, dstPort)
}

// SetZones sets ingress and egress zone; 0 = unknown.
func (r *Record) SetZones(in, out uint16) {
	r.putU16(offInZone, in)
	r.putU16(offOutZone, out)
}

// InZone returns the ingress zone id; 0 = unknown.
func (r *Record) InZone() uint16 { return r.u16(offInZone) }

// OutZone returns the egress zone id; 0 = unknown.
func (r *Record) OutZone() uint16 { return r.u16(offOutZone) }

// Action returns what was done with the packet. Valid for deny, screen and filter records.
func (r *Record) Action() Action { return Action(r.frame[HeaderSize+offAction]) }

// SetAction sets the action byte.
func (r *Record) SetAction(a Action) { r.frame[HeaderSize+offAction] = byte(a) }

// Policy returns the policy id. Valid for session and deny records.
func (r *Record) Policy() uint32 { return r.u32(offPolicy) }

// SetPolicy sets the policy id of a session record.
func (r *Record) SetPolicy(id uint32) { r.putU32(offPolicy, id) }

// SetDeny sets the fields of deny records: the policy id, which the protocol has twice, the id that the session would have
// got, of which the record holds the low 48 bits, and the ICMP type.
func (r *Record) SetDeny(policy uint32, session uint64, icmpType uint8) {
	r.putU32(offPolicy, policy)
	r.putU32(offRule, policy)
	r.putU16(offDenyID, uint16(session))
	r.putU32(offDenyID+2, uint32(session>>16))
	r.frame[HeaderSize+offReason] = byte(ClosePolicy)
	r.frame[HeaderSize+offICMPType] = icmpType
}

// SetScreen sets the screen that fired.
func (r *Record) SetScreen(s Screen) {
	if s >= ScreenExtended {
		r.putU32(offPolicy, 1<<ScreenExtended)
		r.putU32(offRule, uint32(s))
		return
	}
	r.putU32(offPolicy, 1<<s)
}

// Screen returns the screen that fired, or NumScreens for a mask that names none. Valid for screen records.
func (r *Record) Screen() Screen {
	mask := r.u32(offPolicy)
	if mask == 1<<ScreenExtended {
		if s := r.u32(offRule); s > uint32(ScreenExtended) && s < NumScreens {
			return Screen(s)
		}
		return NumScreens
	}
	for s := range ScreenExtended {
		if mask == 1<<s {
			return s
		}
	}
	return NumScreens
}

// SetFilter sets the fields of filter records: filter and term id, where the filter is attached, ICMP type and code.
func (r *Record) SetFilter(filter, term uint32, at FilterSource, icmpType, icmpCode uint8) {
	r.putU32(offPolicy, filter)
	r.putU32(offTerm, term)
	r.frame[HeaderSize+offReason] = byte(at)
	r.frame[HeaderSize+offICMPType] = icmpType
	r.frame[HeaderSize+offICMPCode] = icmpCode
}

// Filter returns the filter id. Valid for filter records.
func (r *Record) Filter() uint32 { return r.u32(offPolicy) }

// Term returns the term id, counted from 0 in its filter. Valid for filter records.
func (r *Record) Term() uint32 { return r.u32(offTerm) }

// FilterSource returns where the filter is attached. Valid for filter records.
func (r *Record) FilterSource() FilterSource { return FilterSource(r.frame[HeaderSize+offReason]) }

// ICMPType returns the ICMP type. Valid for deny and filter records.
func (r *Record) ICMPType() uint8 { return r.frame[HeaderSize+offICMPType] }

// ICMPCode returns the ICMP code. Valid for filter records.
func (r *Record) ICMPCode() uint8 { return r.frame[HeaderSize+offICMPCode] }

// SetSessionID sets the session id of a session record.
func (r *Record) SetSessionID(id uint64) { binary.LittleEndian.PutUint64(r.frame[FrameSize:], id) }

// SessionID returns the session id: the same in open and close of a session; of a deny record the low 48 bits of the id
// that the session would have got. Valid for session and deny records.
func (r *Record) SessionID() uint64 {
	if r.kind == PolicyDeny {
		return uint64(r.u16(offDenyID)) | uint64(r.u32(offDenyID+2))<<16
	}
	return binary.LittleEndian.Uint64(r.frame[FrameSize:])
}

// SetClose sets the fields of close records. created is the time of creation in Unix seconds, on the clock of
// [Record.Time].
func (r *Record) SetClose(clientPackets, clientBytes, serverPackets, serverBytes uint64, created uint32, why CloseReason) {
	r.putU64(offClientPkts, clientPackets)
	r.putU64(offClientByte, clientBytes)
	r.putU64(offServerPkts, serverPackets)
	r.putU64(offServerByte, serverBytes)
	r.putU32(offCreated, created)
	r.frame[HeaderSize+offReason] = byte(why)
}

// ClientPackets returns packets from client to server. Valid for close records.
func (r *Record) ClientPackets() uint64 { return r.u64(offClientPkts) }

// ClientBytes returns IP bytes from client to server. Valid for close records.
func (r *Record) ClientBytes() uint64 { return r.u64(offClientByte) }

// ServerPackets returns packets from server to client. Valid for close records.
func (r *Record) ServerPackets() uint64 { return r.u64(offServerPkts) }

// ServerBytes returns IP bytes from server to client. Valid for close records.
func (r *Record) ServerBytes() uint64 { return r.u64(offServerByte) }

// CloseReason returns why the session ended. Valid for close records.
func (r *Record) CloseReason() CloseReason { return CloseReason(r.frame[HeaderSize+offReason]) }

// Elapsed returns the whole seconds from creation to close; 0 if the record has no creation time. Valid for close records.
func (r *Record) Elapsed() uint32 {
	created, end := int64(r.u32(offCreated)), r.Time()/1e9
	if created == 0 || end <= created {
		return 0
	}
	return uint32(min(end-created, math.MaxUint32)) // the end may be later than 2106
}

// SetInterface sets the id of the interface the packet came in on: the kernel's ifindex where there is one.
func (r *Record) SetInterface(id uint32) { r.putU32(offIfindex, id) }

// Interface returns the ingress interface id; 0 = unknown.
func (r *Record) Interface() uint32 { return r.u32(offIfindex) }

// SetApplication sets the application id; 0 = unknown.
func (r *Record) SetApplication(id uint16) { r.putU16(offApp, id) }

// Application returns the application id; 0 = unknown.
func (r *Record) Application() uint16 { return r.u16(offApp) }

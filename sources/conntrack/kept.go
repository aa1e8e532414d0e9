package conntrack

import (
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/ctnetlink"
)

var _ source.Keeper = (*Source)(nil)

// Keep implements [source.Keeper].
func (s *Source) Keep(yield func(piece []byte) bool) (ends uint64) { return s.stream.keep(yield) }

// TakeOver implements [source.Keeper].
func (s *Source) TakeOver(pieces iter.Seq2[[]byte, error], ids source.IDs) error {
	return s.stream.takeOver(pieces, ids)
}

// Layout of what is kept, little-endian. A piece begins with the version, whether there may be sessions that are not among these, the
// serial number of the last session, and since when what begins is known; sessions follow, in the order of [appendKept]. Pieces of
// version 1 have no such time.
const (
	keptVersion = 2
	keptHead    = 14
	keptHead1   = 6
	tupleSize   = 38
	keptSize    = 15 + 2*tupleSize + 6*8 + 7
	keptPiece   = 1 << 16
)

// Bits of what is kept with a session for the feed.
const (
	keptCarried = 1 << iota
	keptSilent
	keptOwed
	keptEnded
)

// keep yields the sessions, and returns how many have not ended. Read is not called any more.
func (s *Stream) keep(yield func(piece []byte) bool) (ends uint64) {
	s.Lock()
	defer s.Unlock()
	unsettled, since := byte(0), s.resync.since
	if s.resync.first { // there may be entries that were there before the source was opened
		unsettled = 1
	}
	if s.unkept > 0 { // and that were told, and are not in the table: until the last Read
		unsettled, since = 1, max(since, s.wall)
	}
	head := binary.LittleEndian.AppendUint32([]byte{keptVersion, unsettled}, s.serial)
	head = binary.LittleEndian.AppendUint64(head, uint64(since))
	b := append(make([]byte, 0, keptPiece+keptSize), head...)
	for i := uint32(1); i < s.sessions.fresh; i++ {
		x := &s.sessions.slots[i]
		if !x.has(live) {
			continue
		}
		b = appendKept(b, x)
		if !x.has(told) {
			ends++
		}
		if len(b) >= keptPiece {
			if !yield(b) {
				return ends
			}
			b = b[:keptHead]
		}
	}
	yield(b)
	return ends
}

func appendKept(b []byte, x *session) []byte {
	le, k := binary.LittleEndian, &x.kept
	var bits byte
	for i, set := range [...]bool{k.Carried, k.Silent, k.Owed, k.Ended} {
		if set {
			bits |= 1 << i
		}
	}
	b = le.AppendUint32(le.AppendUint32(append(b, bits), k.Policy), k.Interface)
	b = le.AppendUint16(le.AppendUint16(le.AppendUint16(b, k.InZone), k.OutZone), k.App)
	b = appendTuple(appendTuple(b, &x.orig), &x.reply)
	for _, v := range [...]uint64{uint64(x.created), x.id, x.clientPackets, x.clientBytes, x.serverPackets, x.serverBytes} {
		b = le.AppendUint64(b, v)
	}
	return append(le.AppendUint16(le.AppendUint16(b, x.ctZone), x.zone), x.icmpType, x.icmpCode, byte(x.flags))
}

func appendTuple(b []byte, t *packet.Tuple) []byte {
	b = append(append(b, t.Src[:]...), t.Dst[:]...)
	b = binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(b, t.SrcPort), t.DstPort)
	return append(b, t.Proto, byte(t.Family))
}

// takeOver makes the sessions of an earlier run those of this one. What the kernel's table has beyond them when it is read has begun
// since, and what it lacks has ended. If the earlier run did not know all of the table, what has begun since it knew tells the rest.
func (s *Stream) takeOver(pieces iter.Seq2[[]byte, error], ids source.IDs) error {
	s.Lock()
	defer s.Unlock()
	var all []session
	serial, first, since := s.serial, s.resync.first, s.resync.since
	for piece, err := range pieces {
		if err != nil {
			return err
		}
		head := keptHead
		if len(piece) > 0 && piece[0] == 1 {
			head = keptHead1
		}
		if len(piece) < head || piece[0] != 1 && piece[0] != keptVersion || (len(piece)-head)%keptSize != 0 {
			return fmt.Errorf("conntrack: what is kept has another layout: %d bytes, version %d", len(piece), piece[:min(len(piece), 1)])
		}
		first = piece[1] != 0
		serial = max(serial, binary.LittleEndian.Uint32(piece[2:]))
		if head == keptHead {
			since = min(s.resync.opened, int64(binary.LittleEndian.Uint64(piece[6:])))
		}
		for b := piece[head:]; len(b) > 0; b = b[keptSize:] {
			x, err := decodeKept(b, ids)
			if err != nil {
				return err
			}
			all = append(all, x)
		}
	}
	s.serial, s.resync.first, s.resync.since = serial, first, since
	s.counters.unsettled.Store(first)
	for i := range all {
		s.again(&all[i])
	}
	s.counters.sessions.Store(uint64(s.sessions.live))
	return nil
}

// again puts a session of an earlier run into the table.
func (s *Stream) again(x *session) {
	e := ctnetlink.Entry{Orig: x.orig, Reply: x.reply, Zone: x.ctZone, ICMPType: x.icmpType, ICMPCode: x.icmpCode}
	hash := s.sessions.hash(&e.Orig, e.ICMPType, e.ICMPCode, e.Zone)
	if s.sessions.find(hash, &e) != 0 {
		return
	}
	n := s.sessions.add(hash, &e)
	if n == 0 {
		s.counters.full.Add(1)
		s.unkept++
		return
	}
	next := s.sessions.slots[n].next
	s.sessions.slots[n] = *x
	s.sessions.slots[n].next = next
	if x.has(mute) {
		s.resync.mute++
	}
	if !x.has(told) {
		s.counters.takenOver.Add(1)
	}
}

func decodeKept(b []byte, ids source.IDs) (x session, err error) {
	le := binary.LittleEndian
	u16 := func() (v uint16) { v, b = le.Uint16(b), b[2:]; return v }
	u32 := func() (v uint32) { v, b = le.Uint32(b), b[4:]; return v }
	u64 := func() (v uint64) { v, b = le.Uint64(b), b[8:]; return v }
	bits := b[0]
	b = b[1:]
	k := &x.kept
	k.Carried, k.Silent, k.Owed, k.Ended = bits&keptCarried != 0, bits&keptSilent != 0, bits&keptOwed != 0, bits&keptEnded != 0
	k.Policy, k.Interface = ids.Policy(u32()), ids.Interface(u32())
	k.InZone, _ = ids.Zone(u16())
	k.OutZone, _ = ids.Zone(u16())
	k.App = ids.Application(u16())
	for _, t := range [...]*packet.Tuple{&x.orig, &x.reply} {
		copy(t.Src[:], b)
		copy(t.Dst[:], b[16:])
		b = b[32:]
		t.SrcPort, t.DstPort = u16(), u16()
		t.Proto, t.Family, b = b[0], packet.Family(b[1]), b[2:]
	}
	x.created, x.id, x.clientPackets, x.clientBytes, x.serverPackets, x.serverBytes = int64(u64()), u64(), u64(), u64(), u64(), u64()
	x.ctZone = u16()
	x.zone, _ = ids.Zone(u16())
	x.icmpType, x.icmpCode = b[0], b[1]
	// What a dump or an answer has brought was followed by events of the earlier run.
	x.flags = flags(b[2]) &^ (missing | brought | byAnswer)
	if f := x.orig.Family; !x.has(live) || f != packet.IPv4 && f != packet.IPv6 {
		return x, fmt.Errorf("conntrack: what is kept is not a session: flags %#x, family %d", b[2], f)
	}
	return x, nil
}

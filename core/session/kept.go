package session

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

// KeptVersion is the version of what [Table.Kept] writes. It changes with the layout, and with what any of its values means.
const KeptVersion = 1

// Layout of a session, little-endian: flags, the flow, the rest of an entry and of cold, in the order of [shard.appendKept]; behind
// them, if the flag says so, how it is translated.
const (
	keptSize       = 149
	keptNATSize    = 36
	keptTranslated = 1 // flag
	// keptChunk is how many bytes of sessions are yielded at once, about.
	keptChunk = 1 << 16
	// keptTime bounds times of sessions, so that nothing that is computed from them overflows.
	keptTime = int64(1) << 61
)

// IDs says what the ids of an earlier run's names are in this one. ok is false for a name that there is not any more.
type IDs interface {
	Zone(id uint16) (now uint16, ok bool)
	Policy(id uint32) uint32
	Interface(id uint32) uint32
	Application(id uint16) uint16
}

// Kept yields every session, those that wait for stragglers among them, as bytes for [Table.TakeOver] of the next run: many at once, valid
// until yield returns. Nobody uses the table meanwhile.
func (t *Table) Kept(yield func(sessions []byte) bool) {
	b := make([]byte, 0, keptChunk+keptSize+keptNATSize)
	for i := range t.shards {
		s := &t.shards[i]
		for j := uint32(1); j < s.fresh; j++ {
			if s.cold[j].id == 0 {
				continue
			}
			b = s.appendKept(b, j)
			if len(b) >= keptChunk {
				if !yield(b) {
					return
				}
				b = b[:0]
			}
		}
	}
	if len(b) > 0 {
		yield(b)
	}
}

func (s *shard) appendKept(b []byte, i uint32) []byte {
	e, c, le := &s.entries[i], &s.cold[i], binary.LittleEndian
	if e.isCarried() {
		s.hold(i)
	}
	translated := s.nat != nil && s.nat[i].Any()
	if translated {
		b = append(b, keptTranslated)
	} else {
		b = append(b, 0)
	}
	for _, v := range [...]uint64{
		e.aHi, e.aLo, e.bHi, e.bLo, e.rest, uint64(e.lastSeen), e.packets[0], e.packets[1], e.bytes[0], e.bytes[1], uint64(c.began), c.id,
	} {
		b = le.AppendUint64(b, v)
	}
	for _, v := range [...]uint32{
		e.domain[0], e.domain[1], uint32(e.state &^ anyCarried), e.policy, e.end[0], e.end[1], e.acked[0], e.acked[1], e.timeout, e.idle, c.iface,
	} {
		b = le.AppendUint32(b, v)
	}
	for _, v := range [...]uint16{e.inZone, e.outZone, e.app, e.lost} {
		b = le.AppendUint16(b, v)
	}
	if translated {
		n := &s.nat[i]
		b = append(append(b, n.Src[:]...), n.Dst[:]...)
		b = le.AppendUint16(le.AppendUint16(b, n.SrcPort), n.DstPort)
	}
	return b
}

// kept is a session of an earlier run.
type kept struct {
	entry
	cold
	nat packet.Translation
}

// errKept is the error of sessions that cannot be read.
var errKept = errors.New("not a session")

// decode reads a session and returns what follows it.
func (k *kept) decode(b []byte) (rest []byte, err error) {
	if len(b) < keptSize || b[0] > keptTranslated || b[0] == keptTranslated && len(b) < keptSize+keptNATSize {
		return nil, fmt.Errorf("%w: %d bytes", errKept, len(b))
	}
	translated := b[0] == keptTranslated
	b = b[1:]
	le := binary.LittleEndian
	u64 := func() (v uint64) { v, b = le.Uint64(b), b[8:]; return v }
	u32 := func() (v uint32) { v, b = le.Uint32(b), b[4:]; return v }
	u16 := func() (v uint16) { v, b = le.Uint16(b), b[2:]; return v }
	*k = kept{}
	k.aHi, k.aLo, k.bHi, k.bLo, k.rest, k.lastSeen = u64(), u64(), u64(), u64(), u64(), int64(u64())
	k.packets[0], k.packets[1], k.bytes[0], k.bytes[1], k.began, k.id = u64(), u64(), u64(), u64(), int64(u64()), u64()
	k.domain[0], k.domain[1], k.state, k.policy = u32(), u32(), state(u32())&^anyCarried, u32()
	k.end[0], k.end[1], k.acked[0], k.acked[1], k.timeout, k.idle, k.iface = u32(), u32(), u32(), u32(), u32(), u32(), u32()
	k.inZone, k.outZone, k.app, k.lost = u16(), u16(), u16(), u16()
	if translated {
		copy(k.nat.Src[:], b)
		copy(k.nat.Dst[:], b[16:])
		b = b[32:]
		k.nat.SrcPort, k.nat.DstPort = u16(), u16()
	}
	if f := k.family(); k.id == 0 || f != event.FamilyIPv4 && f != event.FamilyIPv6 || max(k.lastSeen, -k.lastSeen, k.began, -k.began) > keptTime {
		return nil, errKept
	}
	return b, nil
}

// CheckKept returns how many sessions there are in what [Table.Kept] has yielded.
func CheckKept(sessions []byte) (n int, err error) {
	var k kept
	for ; len(sessions) > 0; n++ {
		if sessions, err = k.decode(sessions); err != nil {
			return n, err
		}
	}
	return n, nil
}

// Takeover says how sessions of an earlier run become those of a table.
type Takeover struct {
	IDs IDs
	// Now is the time until when the earlier run has aged them, later by Shift.
	Now int64
	// Shift is added to the time of the last packet of each, so that its timer stands still for as long.
	Shift int64
	// ByZone says that [ByZone] told sessions apart, and does now; otherwise domains mean the same. Apart says that what tells them apart
	// has changed, or that packets come in other zones: those that come next tell it anew.
	ByZone, Apart bool
}

// TakeOver makes the sessions of an earlier run, as [Table.Kept] has yielded them, sessions of this table. A session whose zone there is
// not any more ends, by [event.ClosePolicy], with the next Expire. Those for which there is no room have ended: they are appended to
// out. Nobody else uses the table yet.
func (t *Table) TakeOver(sessions []byte, how *Takeover, out []Session) ([]Session, error) {
	var k kept
	var err error
	for len(sessions) > 0 {
		if sessions, err = k.decode(sessions); err != nil {
			return out, err
		}
		out = t.takeOver(&k, how, out)
	}
	return out, nil
}

func (t *Table) takeOver(k *kept, how *Takeover, out []Session) []Session {
	e := &k.entry
	e.lastSeen += how.Shift
	k.renumber(how)
	hash := e.hash(&t.secret)
	s := t.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active == 0 {
		s.turned = max(s.turned, Slot(how.Now)-1)
	}
	s.stats.TakenOver++
	i := s.alloc()
	if i == 0 {
		if e.reason() == event.CloseNone {
			e.setReason(event.CloseAgeOut)
		}
		s.stats.Closed++
		s.stats.GivenUp++
		alone := shard{entries: []entry{*e}, cold: []cold{k.cold}, nat: []packet.Translation{k.nat}}
		out = append(out, Session{})
		alone.copyTo(&out[len(out)-1], 0, max(how.Now, e.lastSeen))
		return out
	}
	s.active++
	s.entries[i], s.cold[i] = *e, cold{began: k.began, id: k.id, iface: k.iface}
	if s.nat != nil {
		s.nat[i] = k.nat
	}
	if e.state&withdrawn == 0 {
		s.link(hash, i)
	}
	s.file(i, how.Now)
	return out
}

// renumber gives a session the ids of this run. It ends if one of its zones is gone.
func (k *kept) renumber(how *Takeover) {
	e := &k.entry
	in, inOK := how.IDs.Zone(e.inZone)
	outZone, outOK := how.IDs.Zone(e.outZone)
	switch {
	case how.Apart:
		e.domain = [2]uint32{}
	case how.ByZone:
		for i, d := range e.domain {
			if d == 0 {
				continue
			}
			z, ok := how.IDs.Zone(uint16(d - 1))
			if e.domain[i] = 1 + uint32(z); !ok {
				e.domain[i] = 0
			}
		}
	}
	e.inZone, e.outZone = in, outZone
	e.policy, e.app, k.iface = how.IDs.Policy(e.policy), how.IDs.Application(e.app), how.IDs.Interface(k.iface)
	if inOK && outOK {
		return
	}
	if e.reason() == event.CloseNone {
		e.setReason(event.ClosePolicy)
	}
	e.state = e.state&^unreachable | closing
	e.lastSeen, e.timeout = how.Now, 0
}

// KeptDropped appends to b the flows of which the first packet was dropped, for [Table.TakeOverDropped] of a table with the same seed.
func (t *Table) KeptDropped(b []byte) []byte {
	for i := range t.dropped {
		b = binary.LittleEndian.AppendUint64(b, t.dropped[i].Load())
	}
	return b
}

// TakeOverDropped takes over what [Table.KeptDropped] has appended.
func (t *Table) TakeOverDropped(b []byte) error {
	if len(b) != 8*len(t.dropped) {
		return fmt.Errorf("%d bytes of dropped flows, want %d", len(b), 8*len(t.dropped))
	}
	for i := range t.dropped {
		t.dropped[i].Store(binary.LittleEndian.Uint64(b[8*i:]))
	}
	return nil
}

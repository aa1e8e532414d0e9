package session

import (
	"net/netip"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

// base is when every test begins: the time of a capture, not a multiple of a wheel slot or a tick.
const base = int64(1_700_000_000_123_456_789)

// oneSlot is the granularity of the wheel.
const oneSlot = time.Duration(1) << slotShift

const clientAddr, serverAddr = "192.0.2.10", "198.51.100.1"

// headers returns a packet of 100 bytes of IP.
func headers(proto uint8, src, dst string, srcPort, dstPort uint16) *packet.Headers {
	h := &packet.Headers{IPLen: 100, HasL4: true}
	h.Src, h.Family = packet.AddrFrom(netip.MustParseAddr(src))
	h.Dst, _ = packet.AddrFrom(netip.MustParseAddr(dst))
	h.SrcPort, h.DstPort, h.Proto = srcPort, dstPort, proto
	return h
}

// fromClient and fromServer return packets of one and the same flow.
func fromClient(proto, flags uint8) *packet.Headers {
	h := headers(proto, clientAddr, serverAddr, 40000, 80)
	h.TCPFlags = flags
	return h
}

func fromServer(proto, flags uint8) *packet.Headers {
	h := headers(proto, serverAddr, clientAddr, 80, 40000)
	h.TCPFlags = flags
	return h
}

func echo(src, dst string, typ uint8, id, seq uint16) *packet.Headers {
	proto := uint8(packet.ProtoICMP)
	if netip.MustParseAddr(src).Is6() {
		proto = packet.ProtoICMPv6
	}
	h := headers(proto, src, dst, id, seq)
	h.ICMPType = typ
	return h
}

// icmpError returns an error that quotes the packet.
func icmpError(typ, code uint8, quoted *packet.Headers) *packet.Headers {
	h := &packet.Headers{IPLen: 56, HasL4: true, HasInner: true, Inner: quoted.Tuple, ICMPType: typ, ICMPCode: code}
	h.Src, h.Dst, h.Family = quoted.Dst, quoted.Src, quoted.Family
	h.Proto = packet.ProtoICMP
	if h.Family == packet.IPv6 {
		h.Proto = packet.ProtoICMPv6
	}
	return h
}

// unkeyed is a table that is asked about packets whose keys are not at hand.
type unkeyed struct{ *Table }

func (t unkeyed) key(tuple *packet.Tuple, domain uint32) *Key {
	k := new(Key)
	t.SetKey(k, tuple, domain)
	return k
}

func (t unkeyed) Lookup(h *packet.Headers, domain uint32, now int64, hit *Hit) bool {
	return t.Table.Lookup(t.key(&h.Tuple, domain), h, now, hit)
}

func (t unkeyed) Create(h *packet.Headers, domain uint32, now int64, p *Params, old *Replaced) Outcome {
	return t.Table.Create(t.key(&h.Tuple, domain), h, now, p, old)
}

func (t unkeyed) Quoted(h *packet.Headers, domain uint32, now int64, hit *Hit) bool {
	return t.Table.Quoted(t.key(&h.Inner, domain), h, now, hit)
}

func (t unkeyed) Unkept(h *packet.Headers, now int64) bool {
	return t.Table.Unkept(t.key(&h.Tuple, 1), now)
}

func (t unkeyed) OweOpen(h *packet.Headers, domain uint32) { t.Table.OweOpen(t.key(&h.Tuple, domain)) }

func (t unkeyed) Get(h *packet.Headers, domain uint32, now int64, out *Session) bool {
	return t.Table.Get(t.key(&h.Tuple, domain), now, out)
}

// rig is a table with one worker that does with packets what a worker does.
type rig struct {
	t *testing.T
	unkeyed
	nextID uint64
	hit    Hit
}

func newRig(t *testing.T, maxSessions int) *rig {
	return &rig{t: t, unkeyed: unkeyed{New(Config{Max: maxSessions, Seed: 1, Timeouts: DefaultTimeouts()})}}
}

// packet carries one packet at a time after base. It returns the session that had to go for it, if any, and whether the
// packet has a session now.
func (r *rig) packet(at time.Duration, h *packet.Headers, p Params) (old Replaced, ok bool) {
	return r.packetIn(1, at, h, p)
}

// packetIn is packet in a domain.
func (r *rig) packetIn(domain uint32, at time.Duration, h *packet.Headers, p Params) (old Replaced, ok bool) {
	now := base + int64(at)
	if h.ICMPError() {
		return old, r.Quoted(h, domain, now, &r.hit)
	}
	if r.Lookup(h, domain, now, &r.hit) {
		return old, true
	}
	p.FromServer = p.FromServer || h.Proto == packet.ProtoTCP && h.HasL4 && h.TCPFlags&(syn|ack) == syn|ack
	r.nextID++
	p.ID = r.nextID
	outcome := r.Create(h, domain, now, &p, &old)
	return old, outcome != Full
}

// expire ends everything due at a time after base.
func (r *rig) expire(at time.Duration) (closed []Session) {
	r.t.Helper()
	var out [3]Session // small, so that every longer run is resumed
	for {
		n, more := r.Expire(0, base+int64(at), out[:])
		closed = append(closed, out[:n]...)
		if !more {
			return closed
		}
	}
}

// closesAt checks that the only session ends for that reason when its deadline at a time after base has come, not before
// and at most a slot after.
func (r *rig) closesAt(deadline time.Duration, why event.CloseReason) Session {
	r.t.Helper()
	if early := r.expire(deadline - 1); len(early) != 0 {
		r.t.Fatalf("closed before %v: %+v", deadline, early)
	}
	closed := r.expire(deadline + oneSlot)
	if len(closed) != 1 {
		r.t.Fatalf("%d sessions closed by %v, want 1", len(closed), deadline)
	}
	s := closed[0]
	if s.Reason != why {
		r.t.Errorf("reason %d, want %d", s.Reason, why)
	}
	if off := time.Duration(s.Closed-base) - deadline; off != 0 {
		r.t.Errorf("closed at %v, want %v", time.Duration(s.Closed-base), deadline)
	}
	if again := r.expire(deadline + 100*time.Hour); len(again) != 0 {
		r.t.Errorf("closed again: %+v", again)
	}
	if st := r.Stats(); st.Active != 0 || st.Closed != st.Created {
		r.t.Errorf("stats %+v after everything has closed", st)
	}
	return s
}

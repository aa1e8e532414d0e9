package session

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/sdk/event"
)

// modelTable is the flow table as one would write it without regard to cost: a map from the client's tuple to a session,
// times in nanoseconds, and no wheel.
type modelTable map[packet.Tuple]*modelSession

type modelSession struct {
	id               uint64
	created, last    time.Duration
	timeout, idle    time.Duration
	packets, bytes   [2]uint64 // of the client, of the server
	synAck, complete bool
	syn, clientAck   bool
	fins             [2]bool
	ended            bool
	unreachable      bool
	why              event.CloseReason
	inZone, outZone  uint16
}

func (m modelTable) find(t packet.Tuple) (s *modelSession, key packet.Tuple, who int) {
	if s, ok := m[t]; ok {
		return s, t, client
	}
	key = t.Reverse()
	return m[key], key, server
}

// packet returns the id of the session that a SYN put an end to, and whether the packet created one.
func (m modelTable) packet(h *packet.Headers, now time.Duration, p Params) (old uint64, created bool) {
	s, key, who := m.find(h.Tuple)
	isTCP := h.Proto == tcp && h.HasL4
	pure := isTCP && h.TCPFlags&(syn|ack|rst|fin) == syn
	if s != nil && pure && (!s.syn || s.ended || s.fins == [2]bool{true, true}) {
		if !s.syn && (now-s.created).Abs() <= Late {
			delete(m, key)
			m[h.Tuple] = s
			if who == server {
				s.packets[0], s.packets[1] = s.packets[1], s.packets[0]
				s.bytes[0], s.bytes[1] = s.bytes[1], s.bytes[0]
				s.fins[0], s.fins[1] = s.fins[1], s.fins[0]
				switch s.why {
				case event.CloseClientRST:
					s.why = event.CloseServerRST
				case event.CloseServerRST:
					s.why = event.CloseClientRST
				}
				who = client
			}
			wasIdle := s.timeout == s.idle
			if s.idle = idleTimeout(h.Proto, p.Timeout); wasIdle {
				s.timeout = s.idle
			}
		} else {
			old = s.id
			if s.why == event.CloseNone {
				s.why = event.CloseAgeOut
			}
			delete(m, key)
			s = nil
		}
	}
	if s == nil {
		who = client
		s = &modelSession{id: p.ID, created: now, idle: idleTimeout(h.Proto, p.Timeout), inZone: p.InZone, outZone: p.OutZone}
		s.timeout = s.idle
		if isTCP && h.TCPFlags&(syn|ack) == syn {
			s.timeout, s.syn = 20*sec, true
		} else {
			s.complete = true
		}
		m[h.Tuple] = s
		created = true
	}
	s.packets[who]++
	s.bytes[who] += uint64(h.IPLen)
	if s.ended {
		return old, created
	}
	s.last = max(s.last, now)
	if s.unreachable {
		s.unreachable, s.timeout = false, s.idle
	}
	if pure && who == client {
		s.syn = true
	}
	if !h.HasL4 {
		return old, created
	}
	if packet.IsICMP(h.Proto) && who == server && h.EchoReply() {
		s.end(event.CloseResponse)
	}
	if !isTCP {
		return old, created
	}
	if !s.complete && h.TCPFlags&ack != 0 {
		switch {
		case h.TCPFlags&syn == 0 && who == server:
			s.synAck, s.clientAck = true, true
		case h.TCPFlags&syn == 0:
			s.clientAck = true
		case who == server:
			s.synAck = true
		}
		if s.synAck && s.clientAck {
			s.complete = true
			if s.fins != [2]bool{true, true} {
				s.timeout = s.idle
			}
		}
	}
	both := s.fins == [2]bool{true, true}
	switch {
	case h.TCPFlags&rst != 0:
		s.end([]event.CloseReason{event.CloseClientRST, event.CloseServerRST}[who])
	case h.TCPFlags&fin != 0:
		s.fins[who] = true
		if !both && s.fins == [2]bool{true, true} {
			s.timeout, s.why = 150*sec, event.CloseFIN
		}
	case both && h.TCPFlags&ack != 0:
		s.end(event.CloseFIN)
	}
	return old, created
}

func idleTimeout(proto uint8, want uint32) time.Duration {
	if want != 0 {
		return time.Duration(want) * sec
	}
	switch proto {
	case tcp:
		return 1800 * sec
	case udp, packet.ProtoICMP, packet.ProtoICMPv6, 89:
		return 60 * sec
	default:
		return 1800 * sec
	}
}

func (s *modelSession) end(why event.CloseReason) {
	s.ended, s.timeout, s.why = true, 2*sec, why
}

// quoted is an ICMP error.
func (m modelTable) quoted(h *packet.Headers, now time.Duration) bool {
	s, _, _ := m.find(h.Inner)
	if s == nil {
		return false
	}
	hard := map[uint8][]uint8{packet.ProtoICMP: {3, 11, 12}, packet.ProtoICMPv6: {1, 3, 4}}[h.Proto]
	tooBig := h.Proto == packet.ProtoICMP && h.ICMPType == 3 && h.ICMPCode == 4
	for _, typ := range hard {
		if typ == h.ICMPType && !tooBig && h.Inner.Proto != tcp && !s.ended {
			s.last, s.unreachable, s.timeout = max(s.last, now), true, 2*sec
			if s.packets[client] > 0 && s.packets[server] > 0 {
				s.timeout = max(s.timeout, min(s.idle, 30*sec))
			}
		}
	}
	return true
}

// randomPacket returns a packet of one of a few hundred flows, whose ends and flags are any.
func randomPacket(rng *rand.Rand) *packet.Headers {
	a := [...]string{"10.0.0.1", "10.0.0.2", "192.0.2.1", "255.255.255.255"}
	if rng.IntN(3) == 0 {
		a = [...]string{"2001:db8::1", "2001:db8::2", "a00:1::", "a00:2::"}
	}
	proto := [...]uint8{tcp, tcp, tcp, udp, packet.ProtoICMP, 89, 47}[rng.IntN(7)]
	h := headers(proto, a[rng.IntN(4)], a[rng.IntN(4)], uint16(rng.IntN(3)), uint16(rng.IntN(3)))
	h.IPLen = uint32(20 + rng.IntN(1500))
	switch proto {
	case tcp:
		h.TCPFlags = [...]uint8{syn, syn, syn | ack, ack, ack, ack, fin | ack, fin, rst, rst | ack, uint8(rng.IntN(64))}[rng.IntN(11)]
	case packet.ProtoICMP:
		h.ICMPType = [...]uint8{8, 0, 13}[rng.IntN(3)]
		if h.Family == packet.IPv6 {
			h.Proto = packet.ProtoICMPv6
			h.ICMPType = [...]uint8{128, 129, 135}[rng.IntN(3)]
		}
	}
	h.HasL4 = rng.IntN(20) != 0
	if rng.IntN(10) == 0 {
		return icmpError([...]uint8{1, 2, 3, 4, 5, 11, 12}[rng.IntN(7)], uint8(rng.IntN(6)), h)
	}
	return h
}

// TestModel carries random packets at random times past the table and the model and compares every answer.
func TestModel(t *testing.T) {
	seeds := uint64(12)
	if race.Enabled {
		seeds = 2 // one goroutine: there is nothing to find for the detector
	}
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 7))
		r := newRig(t, 1<<14)
		m := modelTable{}
		now, nextID := time.Duration(0), uint64(0)
		for range 5000 {
			now += [...]time.Duration{0, time.Millisecond, sec, 15 * sec, 100 * sec}[rng.IntN(5)] * time.Duration(rng.IntN(4))
			if rng.IntN(500) == 0 {
				now += time.Duration(rng.Int64N(int64(2 * MaxTimeout)))
			}
			modelExpire(t, r, m, now)
			h := randomPacket(rng)
			nextID++
			p := Params{ID: nextID, InZone: 1, OutZone: 2, Timeout: [...]uint32{0, 0, 5, 3000, 200_000}[rng.IntN(5)]}
			modelPacket(t, r, m, h, now, &p)
			if got := r.Stats(); got.Active != len(m) || got.Full+got.GivenUp != 0 {
				t.Fatalf("%+v, the model has %d sessions", got, len(m))
			}
		}
		modelExpire(t, r, m, now+100*time.Hour)
		if len(m) != 0 {
			t.Fatalf("%d sessions never closed", len(m))
		}
	}
}

// modelExpire expires the table and checks each close, and that no close is overdue.
func modelExpire(t *testing.T, r *rig, m modelTable, now time.Duration) {
	t.Helper()
	for _, c := range r.expire(now) {
		s := m[c.Client]
		if s == nil || s.id != c.ID {
			t.Fatalf("at %v session %d of %v closed, the model has %+v there", now, c.ID, c.Client, s)
		}
		if s.why == event.CloseNone {
			s.why = event.CloseTimeout
			if s.unreachable {
				s.why = event.CloseICMPError
			}
		}
		deadline := s.last + s.timeout
		if now < deadline || time.Duration(c.Closed-base) != deadline {
			t.Fatalf("at %v session %d closed as of %v, its deadline is %v", now, c.ID, time.Duration(c.Closed-base), deadline)
		}
		compareClose(t, &c, s)
		delete(m, c.Client)
	}
	for _, s := range m {
		if now > s.last+s.timeout+oneSlot {
			t.Fatalf("at %v session %d is still there, its deadline was %v", now, s.id, s.last+s.timeout)
		}
	}
}

func compareClose(t *testing.T, c *Session, s *modelSession) {
	t.Helper()
	if c.Reason != s.why || [2]uint64{c.ClientPackets, c.ServerPackets} != s.packets ||
		[2]uint64{c.ClientBytes, c.ServerBytes} != s.bytes {
		t.Fatalf("closed as\n%+v, the model has\n%+v", c, s)
	}
	if off := time.Duration(c.Created-base) - s.created; off != 0 {
		t.Fatalf("session %d created at %v, want %v", c.ID, time.Duration(c.Created-base), s.created)
	}
}

// modelPacket carries one packet past both and compares.
func modelPacket(t *testing.T, r *rig, m modelTable, h *packet.Headers, now time.Duration, p *Params) {
	t.Helper()
	at := base + int64(now)
	if h.ICMPError() {
		if got, want := r.Quoted(h, 1, at, &r.hit), m.quoted(h, now); got != want {
			t.Fatalf("Quoted(%v) is %v, want %v", h.Inner, got, want)
		}
		return
	}
	before, _, _ := m.find(h.Tuple)
	wantOld, wantCreated := m.packet(h, now, *p)
	var old Replaced
	if r.Lookup(h, 1, at, &r.hit) {
		_, _, who := m.find(h.Tuple)
		if want := (Hit{FromClient: who == client, OutZone: [2]uint16{2, 1}[who]}); wantCreated || wantOld != 0 || r.hit != want {
			t.Fatalf("Lookup(%v) gives %+v, want %+v, created %v, old %d", h.Tuple, r.hit, want, wantCreated, wantOld)
		}
		return
	}
	if got := r.Create(h, 1, at, p, &old); got != Created && got != Adopted || (got == Created) != wantCreated {
		t.Fatalf("Create(%v) is %d, want a new session: %v", h.Tuple, got, wantCreated)
	}
	if old.Valid != (wantOld != 0) || old.ID != wantOld {
		t.Fatalf("%+v ended session %d, want %d", h, old.ID, wantOld)
	}
	if old.Valid {
		compareClose(t, &old.Session, before)
	}
}

// FuzzModel is TestModel with the random numbers chosen by the fuzzer.
func FuzzModel(f *testing.F) {
	f.Add(uint64(1), uint64(2), uint16(100))
	f.Add(uint64(0), uint64(0), uint16(2000))
	f.Fuzz(func(t *testing.T, a, b uint64, n uint16) {
		rng := rand.New(rand.NewPCG(a, b))
		r := newRig(t, 1<<14)
		m := modelTable{}
		now := time.Duration(0)
		for i := range n {
			now += time.Duration(rng.Int64N(int64(30 * sec)))
			modelExpire(t, r, m, now)
			modelPacket(t, r, m, randomPacket(rng), now, &Params{ID: uint64(i) + 1, InZone: 1, OutZone: 2})
		}
		modelExpire(t, r, m, now+100*time.Hour)
		if len(m) != 0 {
			t.Fatalf("%d sessions never closed", len(m))
		}
	})
}

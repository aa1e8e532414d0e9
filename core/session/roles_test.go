package session

import (
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

// numbered gives a TCP packet its numbers.
func numbered(h *packet.Headers, seq, next, acks uint32) *packet.Headers {
	h.TCPSeq, h.TCPNext, h.TCPAck = seq, next, acks
	return h
}

// opened is a handshake with numbers, at 0: the client's begin with 1000, the server's with 5000.
func opened() []step {
	return []step{
		{0, numbered(fromClient(tcp, syn), 1000, 1001, 0)},
		{0, numbered(fromServer(tcp, syn|ack), 5000, 5001, 1001)},
		{0, numbered(fromClient(tcp, ack), 1001, 1101, 5001)},
		{0, numbered(fromServer(tcp, ack), 5001, 5501, 1101)},
	}
}

// TestReuse sends a SYN on the ports of an established session whose end was not seen.
func TestReuse(t *testing.T) {
	for _, c := range []struct {
		name string
		syn  *packet.Headers
		ends bool
	}{
		{"the same SYN again", numbered(fromClient(tcp, syn), 1000, 1001, 0), false},
		{"numbers of another connection", numbered(fromClient(tcp, syn), 900_000_000, 900_000_001, 0), true},
		{"far below", numbered(fromClient(tcp, syn), 1<<31, 1<<31+1, 0), true},
		{"from the other end", numbered(fromServer(tcp, syn), 900_000_000, 900_000_001, 0), true},
		{"SYN-ACK", numbered(fromServer(tcp, syn|ack), 900_000_000, 900_000_001, 7), false},
	} {
		r := newRig(t, 64)
		for _, s := range opened() {
			r.packet(s.at, s.h, Params{Policy: 1})
		}
		old, _ := r.packet(10*minute, c.syn, Params{Policy: 2})
		if old.Valid != c.ends || c.ends && (old.Reason != event.CloseAgeOut || old.Policy != 1 || old.ClientPackets != 2) {
			t.Errorf("%s: old session %+v, want an end: %v", c.name, old, c.ends)
		}
	}
}

// TestBlindEnds sends RST and FIN whose numbers do not fit the connection, and some that do.
func TestBlindEnds(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps []step
		h     *packet.Headers
		want  event.CloseReason
	}{
		{"RST that fits", opened(), numbered(fromClient(tcp, rst), 1101, 1101, 0), event.CloseClientRST},
		{"RST that answers what was acknowledged", opened(), numbered(fromServer(tcp, rst), 5001, 5001, 0), event.CloseServerRST},
		{"RST by guess", opened(), numbered(fromClient(tcp, rst), 800_000_000, 800_000_000, 0), event.CloseNone},
		{"RST by guess, below", opened(), numbered(fromServer(tcp, rst|ack), 1<<31, 1<<31, 1101), event.CloseNone},
		{"a SYN refused", opened()[:1], numbered(fromServer(tcp, rst|ack), 0, 0, 1001), event.CloseServerRST},
		{"a SYN refused by guess", opened()[:1], numbered(fromServer(tcp, rst|ack), 0, 0, 77_000_000), event.CloseNone},
		{"one direction only", []step{{0, numbered(fromClient(tcp, ack), 1, 2, 3)}}, numbered(fromClient(tcp, rst), 800_000_000, 800_000_000, 0), event.CloseClientRST},
	} {
		r := newRig(t, 64)
		for _, s := range append(c.steps, step{sec, c.h}) {
			r.packet(s.at, s.h, Params{})
		}
		got := event.CloseNone
		if closed := r.expire(sec + 2*sec + oneSlot); len(closed) > 0 {
			got = closed[0].Reason
		}
		if got != c.want {
			t.Errorf("%s: ended for %d, want %d", c.name, got, c.want)
		}
	}
	r := newRig(t, 64)
	for _, s := range opened() {
		r.packet(s.at, s.h, Params{})
	}
	quote := icmpError(3, 1, fromClient(tcp, ack))
	for seq, want := range map[uint32]bool{1001: true, 1 << 30: false} {
		quote.InnerSeq = seq
		if _, ok := r.packet(sec, quote, Params{}); ok != want {
			t.Errorf("an error that quotes %d finds the session: %v", seq, ok)
		}
	}
}

// TestFirstPacketIsLate creates a session from a later packet and lets the first one come after it.
func TestFirstPacketIsLate(t *testing.T) {
	query, answer := fromClient(udp, 0), fromServer(udp, 0)
	for _, c := range []struct {
		name   string
		later  *packet.Headers
		params Params // of the later packet
		at     time.Duration
		first  *packet.Headers
		swaps  bool
	}{
		{"ACK of the server, SYN", fromServer(tcp, ack), Params{}, 5 * time.Millisecond, fromClient(tcp, syn), true},
		{"SYN-ACK, SYN", fromServer(tcp, syn|ack), Params{FromServer: true}, -time.Millisecond, fromClient(tcp, syn), true},
		{"answer, received before it", answer, Params{Exact: true}, -10 * time.Millisecond, query, true},
		{"question and answer", query, Params{Exact: true}, 10 * time.Millisecond, answer, false},
		{"question and answer, read in one order", query, Params{}, -time.Millisecond, answer, false},
		{"perhaps an answer, no receive times", answer, Params{Doubtful: true}, time.Millisecond, query, true},
		{"perhaps an answer, long ago", answer, Params{Doubtful: true}, sec, query, false},
	} {
		r := newRig(t, 64)
		c.params.Policy, c.params.InZone, c.params.OutZone = 1, 2, 1
		r.packet(sec, c.later, c.params)
		before := r.Stats().Created
		r.packet(sec+c.at, c.first, Params{Policy: 9, InZone: 1, OutZone: 2, Interface: 5, LogClose: true})
		if got := r.Stats().Created; got != before {
			t.Errorf("%s: another session", c.name)
			continue
		}
		s := r.expire(10 * time.Hour)[0]
		if c.swaps && (s.Client != c.first.Tuple || s.Policy != 9 || s.InZone != 1 || s.Interface != 5 || !s.LogClose || s.ClientPackets != 1 || s.ServerPackets != 1) {
			t.Errorf("%s: %+v, want the first packet's client", c.name, s)
		}
		if !c.swaps && (s.Client != c.later.Tuple || s.Policy != 1 || s.ClientPackets != 1 || s.ServerPackets != 1) {
			t.Errorf("%s: %+v, want the client that was there", c.name, s)
		}
	}
}

// TestDomains carries the same flow in two VLANs, and one whose question and answer come in two.
func TestDomains(t *testing.T) {
	query, answer := fromClient(udp, 0), fromServer(udp, 0)
	r := newRig(t, 4096)
	for _, domain := range []uint32{10, 20} {
		r.packetIn(domain, 0, query, Params{})
	}
	for _, domain := range []uint32{20, 10, 20} {
		if !r.Lookup(answer, domain, base, &r.hit) {
			t.Fatalf("no session for the answer in %d", domain)
		}
	}
	closed := r.expire(2 * minute)
	if len(closed) != 2 || closed[0].ServerPackets*closed[1].ServerPackets != 2 {
		t.Errorf("%+v, want a session with one answer and one with two", closed)
	}
	r = newRig(t, 4096)
	r.packetIn(10, 0, query, Params{})
	for _, c := range []struct {
		h      *packet.Headers
		domain uint32
		found  bool
	}{{answer, 20, true}, {answer, 20, true}, {query, 20, false}, {answer, 30, false}, {answer, 10, true}, {query, 10, true}} {
		if got := r.Lookup(c.h, c.domain, base, &r.hit); got != c.found {
			t.Errorf("port %d in %d: %v", c.h.SrcPort, c.domain, got)
		}
	}
}

// TestUnkept asks for answers to flows that a full table refused.
func TestUnkept(t *testing.T) {
	r := newRig(t, 1)
	refused := 0
	for i := range 1000 {
		h := flow(i)
		back := *h
		back.Tuple = h.Reverse()
		if _, ok := r.packet(0, h, Params{}); ok {
			r.packet(0, &back, Params{})
			continue
		}
		refused++
		if !r.Unkept(&back, base) || r.Unkept(h, base) || r.Unkept(&back, base+2*int64(minute)) {
			t.Fatalf("flow %d: answer %v, question %v, later %v", i, r.Unkept(&back, base), r.Unkept(h, base), r.Unkept(&back, base+2*int64(minute)))
		}
	}
	if refused == 0 {
		t.Error("nothing was refused")
	}
}

// TestUnkeptGivenUp asks for answers to flows that were given up for others, and at times about the refusal: a worker that is
// behind carries packets that came before it.
func TestUnkeptGivenUp(t *testing.T) {
	const slot = int64(1) << slotShift
	for _, at := range []int64{1, slot / 2, slot, base, base / slot * slot, slot << 32} {
		r := newRig(t, 1)
		var old Replaced
		now, given := at, 0
		for i := range 1000 {
			if r.Create(flow(i), 1, now, &Params{ID: uint64(i)}, &old); !old.Valid {
				continue
			}
			gone := headers(udp, clientAddr, serverAddr, 1, 1)
			gone.Tuple = old.Client
			back := *gone
			back.Tuple = gone.Reverse()
			given++
			for _, off := range []int64{0, -1, -slot, slot, int64(50 * sec)} {
				if now+off >= 0 && !r.Unkept(&back, now+off) {
					t.Fatalf("at %d: no answer to what was given up %d ns before", at, off)
				}
			}
			if r.Unkept(gone, now) || r.Unkept(&back, now+2*int64(minute)) {
				t.Fatalf("at %d: question %v, later %v", at, r.Unkept(gone, now), r.Unkept(&back, now+2*int64(minute)))
			}
			old = Replaced{}
		}
		if given == 0 {
			t.Error("nothing was given up")
		}
	}
}

// TestOweOpen checks that an open record that was held back is due once, when both ends have sent.
func TestOweOpen(t *testing.T) {
	r := newRig(t, 64)
	r.packet(0, fromClient(udp, 0), Params{})
	r.OweOpen(fromClient(udp, 0), 1)
	r.packet(0, fromClient(udp, 0), Params{})
	if r.hit.OpenDue {
		t.Error("due before the answer")
	}
	r.packet(0, fromServer(udp, 0), Params{})
	due := r.hit.OpenDue
	r.packet(0, fromServer(udp, 0), Params{})
	var s Session
	if !due || r.hit.OpenDue || !r.Get(fromServer(udp, 0), 1, base, &s) || s.OpenOwed || !s.Wanted {
		t.Errorf("due %v, again %v, %+v", due, r.hit.OpenDue, s)
	}
}

package session

import (
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

const (
	syn    = packet.SYN
	ack    = packet.ACK
	rst    = packet.RST
	fin    = packet.FIN
	tcp    = packet.ProtoTCP
	udp    = packet.ProtoUDP
	never  = 1<<32 - 1
	sec    = time.Second
	minute = time.Minute
)

type step struct {
	at time.Duration
	h  *packet.Headers
}

// handshake is SYN, SYN-ACK, ACK at 0, 1 and 2 seconds.
func handshake(more ...step) []step {
	return append([]step{
		{0, fromClient(tcp, syn)}, {1 * sec, fromServer(tcp, syn|ack)}, {2 * sec, fromClient(tcp, ack)},
	}, more...)
}

// TestLife follows single sessions from their first packet to their end.
func TestLife(t *testing.T) {
	v6 := func(h *packet.Headers) *packet.Headers { h.Family = packet.IPv6; return h }
	noL4 := func(h *packet.Headers) *packet.Headers { h.HasL4 = false; return h }
	ping := echo(clientAddr, serverAddr, packet.ICMPEchoRequest, 7, 1)
	pong := echo(serverAddr, clientAddr, packet.ICMPEchoReply, 7, 1)
	ping6 := echo("2001:db8::1", "2001:db8::2", packet.ICMPv6EchoRequest, 7, 1)
	pong6 := echo("2001:db8::2", "2001:db8::1", packet.ICMPv6EchoReply, 7, 1)
	query := fromClient(udp, 0)
	for _, c := range []struct {
		name    string
		steps   []step
		timeout uint32 // asked for by the policy
		end     time.Duration
		why     event.CloseReason
	}{
		{"SYN alone", []step{{0, fromClient(tcp, syn)}}, 0, 20 * sec, event.CloseTimeout},
		{"SYN repeated", []step{{0, fromClient(tcp, syn)}, {3 * sec, fromClient(tcp, syn)}}, 0, 23 * sec, event.CloseTimeout},
		{"half open", handshake()[:2], 0, 21 * sec, event.CloseTimeout},
		{"half open has no use for the application's timeout", handshake()[:2], 600, 21 * sec, event.CloseTimeout},
		{"ACK without SYN-ACK completes nothing", []step{{0, fromClient(tcp, syn)}, {sec, fromClient(tcp, ack)}}, 0, 21 * sec, event.CloseTimeout},
		{"server's ACK completes it, its SYN-ACK not seen", []step{{0, fromClient(tcp, syn)}, {sec, fromServer(tcp, ack)}}, 0, 1801 * sec, event.CloseTimeout},
		{"established", handshake(), 0, 1802 * sec, event.CloseTimeout},
		{"established and used", handshake(step{1000 * sec, fromServer(tcp, ack)}), 0, 2800 * sec, event.CloseTimeout},
		{"established, longer by application", handshake(), 3600, 3602 * sec, event.CloseTimeout},
		{"established, shorter than the handshake by application", handshake(), 5, 7 * sec, event.CloseTimeout},
		{"a week", handshake(), 7 * 24 * 3600, 7*24*time.Hour + 2*sec, event.CloseTimeout},
		{"joined in the middle", []step{{0, fromClient(tcp, ack)}}, 0, 1800 * sec, event.CloseTimeout},
		{"joined at the SYN-ACK", []step{{0, fromServer(tcp, syn|ack)}}, 0, 20 * sec, event.CloseTimeout},
		{"TCP without its header", []step{{0, noL4(fromClient(tcp, syn))}}, 0, 1800 * sec, event.CloseTimeout},
		{"a fragment moves no state", handshake(step{3 * sec, noL4(fromServer(tcp, rst))}), 0, 1803 * sec, event.CloseTimeout},

		{"one FIN", handshake(step{10 * sec, fromClient(tcp, fin|ack)}), 0, 1810 * sec, event.CloseTimeout},
		{"one FIN, acknowledged", handshake(step{10 * sec, fromClient(tcp, fin|ack)}, step{11 * sec, fromServer(tcp, ack)}), 0, 1811 * sec, event.CloseTimeout},
		{"the same FIN twice", handshake(step{10 * sec, fromClient(tcp, fin|ack)}, step{12 * sec, fromClient(tcp, fin|ack)}), 0, 1812 * sec, event.CloseTimeout},
		{"both FINs", handshake(step{10 * sec, fromClient(tcp, fin|ack)}, step{11 * sec, fromServer(tcp, fin|ack)}), 0, 161 * sec, event.CloseFIN},
		{"both FINs, short application timeout", handshake(step{3 * sec, fromClient(tcp, fin|ack)}, step{4 * sec, fromServer(tcp, fin|ack)}), 5, 154 * sec, event.CloseFIN},
		{"both FINs, one repeated", handshake(step{10 * sec, fromClient(tcp, fin|ack)}, step{11 * sec, fromServer(tcp, fin|ack)}, step{12 * sec, fromServer(tcp, fin|ack)}), 0, 162 * sec, event.CloseFIN},
		{"final ACK", handshake(step{10 * sec, fromServer(tcp, fin|ack)}, step{11 * sec, fromClient(tcp, fin|ack)}, step{12 * sec, fromServer(tcp, ack)}), 0, 14 * sec, event.CloseFIN},
		{"after the final ACK nothing refreshes", handshake(step{10 * sec, fromServer(tcp, fin|ack)}, step{11 * sec, fromClient(tcp, fin|ack)},
			step{12 * sec, fromServer(tcp, ack)}, step{13 * sec, fromClient(tcp, ack)}, step{13 * sec, fromClient(tcp, rst)}), 0, 14 * sec, event.CloseFIN},
		{"FIN before the handshake is complete", []step{{0, fromClient(tcp, syn)}, {sec, fromClient(tcp, fin)}}, 0, 21 * sec, event.CloseTimeout},
		{"SYN with FIN", []step{{0, fromClient(tcp, syn|fin)}, {sec, fromServer(tcp, fin|ack)}}, 0, 151 * sec, event.CloseFIN},

		{"RST of the client", handshake(step{10 * sec, fromClient(tcp, rst)}), 0, 12 * sec, event.CloseClientRST},
		{"RST of the server", handshake(step{10 * sec, fromServer(tcp, rst|ack)}), 0, 12 * sec, event.CloseServerRST},
		{"connection refused", []step{{0, fromClient(tcp, syn)}, {sec, fromServer(tcp, rst|ack)}}, 0, 3 * sec, event.CloseServerRST},
		{"after a RST nothing refreshes", handshake(step{10 * sec, fromServer(tcp, rst)}, step{11 * sec, fromClient(tcp, ack)}, step{11 * sec, fromClient(tcp, rst)}), 0, 12 * sec, event.CloseServerRST},
		{"RST after both FINs", handshake(step{10 * sec, fromServer(tcp, fin)}, step{11 * sec, fromClient(tcp, fin)}, step{12 * sec, fromClient(tcp, rst)}), 0, 14 * sec, event.CloseClientRST},
		{"RST with FIN", handshake(step{10 * sec, fromServer(tcp, rst|fin)}), 0, 12 * sec, event.CloseServerRST},

		{"UDP", []step{{0, query}}, 0, minute, event.CloseTimeout},
		{"UDP answered", []step{{0, query}, {50 * sec, fromServer(udp, 0)}}, 0, 110 * sec, event.CloseTimeout},
		{"UDP by application", []step{{0, query}}, 7, 7 * sec, event.CloseTimeout},
		{"UDP unreachable", []step{{0, query}, {sec, icmpError(3, 3, query)}}, 0, 3 * sec, event.CloseICMPError},
		{"UDP error about the answer", []step{{0, query}, {sec, fromServer(udp, 0)}, {2 * sec, icmpError(3, 3, fromServer(udp, 0))}}, 0, 32 * sec, event.CloseICMPError},
		{"UDP out of hops", []step{{0, query}, {sec, icmpError(11, 0, query)}}, 0, 3 * sec, event.CloseICMPError},
		{"UDP parameter problem", []step{{0, query}, {sec, icmpError(12, 0, query)}}, 0, 3 * sec, event.CloseICMPError},
		{"UDP fragmentation needed", []step{{0, query}, {sec, icmpError(3, 4, query)}}, 0, minute, event.CloseTimeout},
		{"UDP source quench", []step{{0, query}, {sec, icmpError(4, 0, query)}}, 0, minute, event.CloseTimeout},
		{"UDP redirect", []step{{0, query}, {sec, icmpError(5, 0, query)}}, 0, minute, event.CloseTimeout},
		{"UDP that goes on after an error", []step{{0, query}, {sec, icmpError(3, 3, query)}, {2 * sec, query}}, 0, 62 * sec, event.CloseTimeout},
		{"UDP that goes on after an error and gets another", []step{{0, query}, {sec, icmpError(3, 3, query)}, {2 * sec, query}, {2 * sec, icmpError(3, 3, query)}}, 0, 4 * sec, event.CloseICMPError},
		{"UDP answered after an error", []step{{0, query}, {sec, icmpError(3, 1, query)}, {2 * sec, fromServer(udp, 0)}}, 0, 62 * sec, event.CloseTimeout},
		{"UDP answered, an error, and an answer after 29 s", []step{{0, query}, {sec, fromServer(udp, 0)}, {2 * sec, icmpError(3, 1, query)}, {31 * sec, fromServer(udp, 0)}}, 0, 91 * sec, event.CloseTimeout},
		{"UDP answered, short timeout, an error", []step{{0, query}, {0, fromServer(udp, 0)}, {sec, icmpError(3, 1, query)}}, 7, 8 * sec, event.CloseICMPError},
		{"TCP unreachable", []step{{0, fromClient(tcp, syn)}, {sec, icmpError(3, 1, fromClient(tcp, syn))}}, 0, 20 * sec, event.CloseTimeout},
		{"UDP over IPv6 unreachable", []step{{0, v6(fromClient(udp, 0))}, {sec, icmpError(1, 4, v6(fromClient(udp, 0)))}}, 0, 3 * sec, event.CloseICMPError},
		{"UDP over IPv6 packet too big", []step{{0, v6(fromClient(udp, 0))}, {sec, icmpError(2, 0, v6(fromClient(udp, 0)))}}, 0, minute, event.CloseTimeout},
		{"UDP over IPv6 out of hops", []step{{0, v6(fromClient(udp, 0))}, {sec, icmpError(3, 0, v6(fromClient(udp, 0)))}}, 0, 3 * sec, event.CloseICMPError},

		{"echo not answered", []step{{0, ping}}, 0, minute, event.CloseTimeout},
		{"echo answered", []step{{0, ping}, {sec, pong}}, 0, 3 * sec, event.CloseResponse},
		{"echo answered twice", []step{{0, ping}, {sec, pong}, {2 * sec, pong}}, 0, 3 * sec, event.CloseResponse},
		{"echo repeated by the client", []step{{0, ping}, {sec, ping}}, 0, 61 * sec, event.CloseTimeout},
		{"echo unreachable", []step{{0, ping}, {sec, icmpError(3, 1, ping)}}, 0, 3 * sec, event.CloseICMPError},
		{"ICMPv6 echo answered", []step{{0, ping6}, {sec, pong6}}, 0, 3 * sec, event.CloseResponse},
		{"ICMP timestamp and its reply", []step{{0, echo(clientAddr, serverAddr, 13, 0, 0)}, {sec, echo(serverAddr, clientAddr, 14, 0, 0)}}, 0, 61 * sec, event.CloseTimeout},

		{"OSPF", []step{{0, headers(89, clientAddr, serverAddr, 0, 0)}}, 0, minute, event.CloseTimeout},
		{"GRE", []step{{0, headers(47, clientAddr, serverAddr, 0, 0)}}, 0, 1800 * sec, event.CloseTimeout},
		{"ESP both ways", []step{{0, headers(50, clientAddr, serverAddr, 0, 0)}, {sec, headers(50, serverAddr, clientAddr, 0, 0)}}, 0, 1801 * sec, event.CloseTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, 64)
			for i, st := range c.steps {
				old, ok := r.packet(st.at, st.h, Params{Timeout: c.timeout})
				if !ok || old.Valid {
					t.Fatalf("step %d: session %v, old %+v", i, ok, old)
				}
				if early := r.expire(st.at); len(early) > 0 {
					t.Fatalf("closed at step %d: %+v", i, early)
				}
			}
			if got := r.Stats(); got.Active != 1 || got.Created != 1 {
				t.Fatalf("%+v, want one session", got)
			}
			r.closesAt(c.end, c.why)
		})
	}
}

// TestNewSYN checks that a SYN begins a new session where the old one has ended, and only there.
func TestNewSYN(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps []step
		syn   *packet.Headers
		why   event.CloseReason // of the old session; none if the SYN belongs to it
	}{
		{"half open", handshake()[:1], fromClient(tcp, syn), event.CloseNone},
		{"established", handshake(), fromClient(tcp, syn), event.CloseNone},
		{"one FIN", handshake(step{3 * sec, fromClient(tcp, fin)}), fromClient(tcp, syn), event.CloseNone},
		{"both FINs", handshake(step{3 * sec, fromClient(tcp, fin)}, step{3 * sec, fromServer(tcp, fin)}), fromClient(tcp, syn), event.CloseFIN},
		{"final ACK", handshake(step{3 * sec, fromClient(tcp, fin)}, step{3 * sec, fromServer(tcp, fin)}, step{3 * sec, fromClient(tcp, ack)}), fromClient(tcp, syn), event.CloseFIN},
		{"RST", handshake(step{3 * sec, fromServer(tcp, rst)}), fromClient(tcp, syn), event.CloseServerRST},
		{"RST, SYN from the other end", handshake(step{3 * sec, fromServer(tcp, rst)}), fromServer(tcp, syn), event.CloseServerRST},
		{"RST, SYN-ACK", handshake(step{3 * sec, fromServer(tcp, rst)}), fromServer(tcp, syn|ack), event.CloseNone},
		{"RST, SYN with RST", handshake(step{3 * sec, fromServer(tcp, rst)}), fromClient(tcp, syn|rst), event.CloseNone},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, 64)
			for _, st := range c.steps {
				r.packet(st.at, st.h, Params{Policy: 1})
			}
			old, ok := r.packet(4*sec, c.syn, Params{Policy: 2})
			if !ok {
				t.Fatal("no session")
			}
			if old.Valid != (c.why != event.CloseNone) {
				t.Fatalf("old session closed: %v", old.Valid)
			}
			st := r.Stats()
			if !old.Valid {
				if st.Created != 1 {
					t.Errorf("%+v, want the SYN in the session that is there", st)
				}
				return
			}
			if old.Reason != c.why || old.ID != 1 || old.Closed != base+int64(4*sec) {
				t.Errorf("old session %+v, want id 1 closed for %d now", old.Session, c.why)
			}
			if st.Created != 2 || st.Active != 1 {
				t.Errorf("%+v, want a second session in place of the first", st)
			}
			fresh := r.closesAt(24*sec, event.CloseTimeout)
			if fresh.ID != 2 || fresh.Policy != 2 || fresh.ClientPackets != 1 || fresh.Client != c.syn.Tuple {
				t.Errorf("new session %+v", fresh)
			}
		})
	}
}

// TestCounters counts both directions, whichever end has the smaller address or port.
func TestCounters(t *testing.T) {
	for _, c := range []struct {
		name string
		h    *packet.Headers
	}{
		{"client first", headers(udp, "10.0.0.1", "10.0.0.2", 1000, 53)},
		{"server first", headers(udp, "10.0.0.2", "10.0.0.1", 1000, 53)},
		{"one address, client first", headers(udp, "10.0.0.1", "10.0.0.1", 53, 1000)},
		{"one address, server first", headers(udp, "10.0.0.1", "10.0.0.1", 1000, 53)},
		{"the last byte decides", headers(udp, "2001:db8::2", "2001:db8::1", 53, 53)},
		{"echo, server first", echo("10.0.0.2", "10.0.0.1", packet.ICMPEchoRequest, 9, 3)},
		{"echo, client first", echo("10.0.0.1", "10.0.0.2", packet.ICMPEchoRequest, 3, 9)},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, 64)
			back := *c.h
			back.Tuple = c.h.Reverse()
			for i, length := range []uint32{1500, 40, 65535} {
				c.h.IPLen = length
				r.packet(time.Duration(i)*sec, c.h, Params{InZone: 3, OutZone: 4, Policy: 5, App: 6, Interface: 7, LogClose: true})
			}
			if r.hit != (Hit{FromClient: true, OutZone: 4, Policy: 5, App: 6}) {
				t.Errorf("hit %+v of a packet from the client", r.hit)
			}
			back.IPLen = 100
			r.packet(3*sec, &back, Params{})
			if r.hit != (Hit{FromClient: false, OutZone: 3, Policy: 5, App: 6}) {
				t.Errorf("hit %+v of a packet from the server: it goes to the zone the session came from", r.hit)
			}
			got := r.closesAt(63*sec, event.CloseTimeout)
			want := Session{
				ID: 1, Client: c.h.Tuple, ClientPackets: 3, ClientBytes: 1500 + 40 + 65535, ServerPackets: 1, ServerBytes: 100,
				Created: got.Created, Closed: got.Closed, Reason: event.CloseTimeout, Policy: 5, Interface: 7,
				InZone: 3, OutZone: 4, App: 6, LogClose: true, Wanted: true,
			}
			if got != want {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
			if off := time.Duration(got.Created - base); off != 0 {
				t.Errorf("created %v off", off)
			}
			if lived := time.Duration(got.Closed - got.Created); lived != 63*sec {
				t.Errorf("lived %v, want 63s", lived)
			}
		})
	}
}

// TestApart lists packets that have much in common and must not share a session.
func TestApart(t *testing.T) {
	one := headers(udp, "32.1.13.184", "32.1.13.185", 1, 2)
	six := *one
	six.Family = packet.IPv6 // the same 16 bytes
	for _, c := range []struct {
		name string
		a, b *packet.Headers
	}{
		{"family", one, &six},
		{"protocol", headers(udp, clientAddr, serverAddr, 1, 2), headers(tcp, clientAddr, serverAddr, 1, 2)},
		{"port", headers(udp, clientAddr, serverAddr, 1, 2), headers(udp, clientAddr, serverAddr, 1, 3)},
		{"ports swapped, addresses not", headers(udp, clientAddr, serverAddr, 1, 2), headers(udp, clientAddr, serverAddr, 2, 1)},
		{"echo id", echo(clientAddr, serverAddr, 8, 1, 1), echo(clientAddr, serverAddr, 8, 2, 1)},
		{"echo sequence", echo(clientAddr, serverAddr, 8, 1, 1), echo(clientAddr, serverAddr, 8, 1, 2)},
		{"echo id and sequence swapped", echo(clientAddr, serverAddr, 8, 1, 2), echo(serverAddr, clientAddr, 8, 2, 1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, 64)
			r.packet(0, c.a, Params{})
			r.packet(0, c.b, Params{})
			if got := r.Stats().Active; got != 2 {
				t.Errorf("%d sessions, want 2", got)
			}
		})
	}
}

// TestQuotedUnknown checks that an error about nothing known finds nothing and creates nothing.
func TestQuotedUnknown(t *testing.T) {
	r := newRig(t, 64)
	r.packet(0, fromClient(udp, 0), Params{})
	other := headers(udp, clientAddr, serverAddr, 40001, 80)
	if _, ok := r.packet(sec, icmpError(3, 3, other), Params{}); ok {
		t.Error("found a session for an error about another flow")
	}
	if got := r.Stats(); got.Created != 1 {
		t.Errorf("%+v, want the one session", got)
	}
}

// TestQuotedDirection checks whose error it is: it goes against the packet that it quotes.
func TestQuotedDirection(t *testing.T) {
	r := newRig(t, 64)
	r.packet(0, fromClient(tcp, syn), Params{InZone: 1, OutZone: 2})
	r.packet(sec, icmpError(3, 4, fromClient(tcp, syn)), Params{})
	if r.hit.FromClient || r.hit.OutZone != 1 {
		t.Errorf("hit %+v of an error about a packet of the client: it goes to the client", r.hit)
	}
	r.packet(sec, icmpError(3, 4, fromServer(tcp, syn)), Params{})
	if !r.hit.FromClient || r.hit.OutZone != 2 {
		t.Errorf("hit %+v of an error about a packet of the server: it goes to the server", r.hit)
	}
}

// TestExists checks the race of two workers that both found no session: the second packet is counted into the first's.
func TestExists(t *testing.T) {
	r := newRig(t, 64)
	var old Replaced
	if got := r.Create(fromClient(tcp, syn), 1, base, &Params{ID: 1}, &old); got != Created {
		t.Fatalf("first: %d", got)
	}
	if got := r.Create(fromServer(tcp, syn|ack), 1, base, &Params{ID: 2}, &old); got != Exists {
		t.Fatalf("second: %d, want Exists", got)
	}
	got := r.closesAt(20*sec, event.CloseTimeout)
	if got.ID != 1 || got.ClientPackets != 1 || got.ServerPackets != 1 {
		t.Errorf("%+v, want id 1 with a packet of each end", got)
	}
}

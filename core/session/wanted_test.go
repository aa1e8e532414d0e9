package session

import "testing"

// TestP3Wanted carries what forged addresses can bring about beside sessions of both ends: a reset is no answer.
func TestP3Wanted(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps []step
		want  bool
	}{
		{"SYN, reset", []step{{0, fromClient(tcp, syn)}, {0, fromServer(tcp, rst|ack)}}, false},
		{"SYN, SYN-ACK, reset", []step{{0, fromClient(tcp, syn)}, {0, fromServer(tcp, syn|ack)}, {0, fromClient(tcp, rst)}}, false},
		{"SYN, SYN-ACK, reset with ACK", []step{{0, fromClient(tcp, syn)}, {0, fromServer(tcp, syn|ack)}, {0, fromClient(tcp, rst|ack)}}, false},
		{"ACK, reset", []step{{0, fromClient(tcp, ack)}, {0, fromServer(tcp, rst)}}, false},
		{"ACK, reset with ACK", []step{{0, fromClient(tcp, ack)}, {0, fromServer(tcp, rst|ack)}}, false},
		{"FIN, reset", []step{{0, fromClient(tcp, fin|ack)}, {0, fromServer(tcp, rst)}}, false},
		{"ACK, reset, ACK", []step{{0, fromClient(tcp, ack)}, {0, fromServer(tcp, rst)}, {0, fromClient(tcp, ack)}}, false},
		{"ACK, and one of the other end", []step{{0, fromClient(tcp, ack)}, {0, fromServer(tcp, ack)}}, true},
		{"handshake", handshake(), true},
		{"handshake, reset of the client", handshake(step{2 * sec, fromClient(tcp, rst)}), true},
		{"handshake, reset of the server", handshake(step{2 * sec, fromServer(tcp, rst|ack)}), true},
		{"UDP", []step{{0, fromClient(udp, 0)}}, false},
		{"UDP, answered", []step{{0, fromClient(udp, 0)}, {0, fromServer(udp, 0)}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, 64)
			for _, s := range c.steps {
				r.packet(s.at, s.h, Params{})
			}
			var s Session
			if !r.Get(fromClient(c.steps[0].h.Proto, 0), 1, base, &s) || s.Wanted != c.want {
				t.Errorf("wanted %v, want %v", s.Wanted, c.want)
			}
		})
	}
}

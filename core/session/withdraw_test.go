package session

import (
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

// TestWithdraw ends every second session of a table: no packet finds them any more, their flows may begin again at once, and they are told
// of as ended by their policy when the wheel has turned.
func TestWithdraw(t *testing.T) {
	const sessions = 1000
	r := newRig(t, 4096)
	odd := func(port uint16) bool { return port%2 == 1 }
	packetOf := func(i int) *packet.Headers {
		return headers(packet.ProtoUDP, clientAddr, serverAddr, uint16(20000+i), 80)
	}
	for i := range sessions {
		r.packet(0, packetOf(i), Params{LogClose: true})
	}
	r.packet(0, headers(packet.ProtoTCP, clientAddr, serverAddr, 20001, 80), Params{})
	ended := headers(packet.ProtoTCP, clientAddr, serverAddr, 20003, 81)
	ended.TCPFlags = packet.SYN
	r.packet(0, ended, Params{})
	ended.TCPFlags = packet.RST
	r.packet(0, ended, Params{})
	asked := 0
	at := base + int64(time.Second)
	n := r.Withdraw(at, func(s *Session) bool {
		asked++
		return s.Client.Proto != packet.ProtoUDP || !odd(s.Client.SrcPort)
	})
	if n != sessions/2 || asked < sessions {
		t.Errorf("%d sessions withdrawn of %d that were asked about", n, asked)
	}
	for range r.All(at) {
		asked--
	}
	if asked != sessions/2 {
		t.Errorf("%d sessions are listed no more", asked)
	}
	var hit Hit
	for i := range sessions {
		h := packetOf(i)
		if found := r.Lookup(h, 1, at, &hit); found == odd(h.SrcPort) {
			t.Fatalf("packet of session %d: found %v", i, found)
		}
	}
	if _, ok := r.packet(time.Second, packetOf(1), Params{}); !ok {
		t.Error("a flow cannot begin again")
	}
	out := make([]Session, 2*sessions)
	gone, _ := r.Expire(0, at+2*int64(oneSlot), out)
	policy := 0
	for _, s := range out[:gone] {
		if s.Reason == event.ClosePolicy && odd(s.Client.SrcPort) && s.Closed == at && s.LogClose && s.ClientPackets == 1 {
			policy++
		}
	}
	if st := r.Stats(); policy != sessions/2 || st.Withdrawn != sessions/2 || uint64(st.Active)+st.Closed != st.Created {
		t.Errorf("%d sessions ended by their policy; %+v", policy, st)
	}
	if !r.Lookup(packetOf(1), 1, at, &hit) {
		t.Error("the session that came after is gone")
	}
}

// TestWithdrawnIsKept hands sessions that were withdrawn, and not told of yet, to the next run, which tells of them, and finds none of them.
func TestWithdrawnIsKept(t *testing.T) {
	r := newRig(t, 4096)
	h := fromClient(packet.ProtoUDP, 0)
	r.packet(0, h, Params{LogClose: true})
	if n := r.Withdraw(base, func(*Session) bool { return false }); n != 1 {
		t.Fatal(n)
	}
	r.packet(0, h, Params{Policy: 7})
	next := newRig(t, 4096)
	takeOver(t, r.Table, next.Table, Takeover{IDs: sameIds{}, Now: base})
	if !next.Lookup(h, 1, base, &r.hit) || r.hit.Policy != 7 {
		t.Errorf("the flow is of another session: %+v", r.hit)
	}
	out := make([]Session, 8)
	if n, _ := next.Expire(0, base+2*int64(oneSlot), out); n != 1 || out[0].Reason != event.ClosePolicy || !next.Lookup(h, 1, base, &r.hit) {
		t.Errorf("%d ended: %+v", n, out[:n])
	}
}

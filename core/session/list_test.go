package session

import (
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/packet"
)

// TestAll checks that the list has every session that lives, as it was created, and none that has ended or was removed.
func TestAll(t *testing.T) {
	r := newRig(t, 100_000)
	const n = 20_000 // several chunks in each shard
	want := make(map[uint64]uint16)
	for i := range n {
		h := headers(packet.ProtoUDP, clientAddr, serverAddr, uint16(i), uint16(1+i%3))
		r.packet(time.Duration(i)*time.Microsecond, h, Params{ID: uint64(i + 1), Policy: 7, InZone: 1, OutZone: 2})
		want[uint64(i+1)] = uint16(i)
	}
	tcp := headers(packet.ProtoTCP, clientAddr, serverAddr, 1, 80)
	tcp.TCPFlags = packet.SYN
	r.packet(time.Second, tcp, Params{ID: n + 1})
	tcp.TCPFlags = packet.RST
	r.packet(time.Second, tcp, Params{}) // it has ended and waits for stragglers
	list := func(at time.Duration) map[uint64]uint16 {
		got := make(map[uint64]uint16)
		for s := range r.All(base + int64(at)) {
			if s.ID == n+1 {
				t.Error("a session that has ended is listed")
			}
			if age := base + int64(at) - s.Created; age < 0 || age > int64(at) || s.Policy != 7 || s.InZone != 1 || s.OutZone != 2 {
				t.Fatalf("session %+v, %d ns old", *s, age)
			}
			got[s.ID] = s.Client.SrcPort
		}
		return got
	}
	got := list(time.Second)
	if len(got) != n {
		t.Fatalf("%d sessions, want %d", len(got), n)
	}
	for id, port := range want {
		if got[id] != port {
			t.Fatalf("session %d has client port %d, want %d", id, got[id], port)
		}
	}
	seen := 0
	for range r.All(base) {
		if seen++; seen == 1000 {
			break // whoever lists may stop at any place, and the table goes on
		}
	}
	if expired := r.expire(5 * time.Minute); len(expired) != n+1 {
		t.Fatalf("%d expired", len(expired))
	}
	if left := list(5 * time.Minute); len(left) != 0 {
		t.Errorf("%d sessions are listed after all have ended", len(left))
	}
}

// TestAllLeavesOutWhatHasEnded ends every session while they are listed: none is yielded after its end, so that a list which
// is taken in parts cannot bring back a session whose end was told.
func TestAllLeavesOutWhatHasEnded(t *testing.T) {
	r := newRig(t, 100_000)
	const n = 1000
	for i := range n {
		h := headers(packet.ProtoUDP, clientAddr, serverAddr, uint16(i), 53)
		r.packet(0, h, Params{ID: uint64(i + 1)})
	}
	out := make([]Session, n)
	seen := 0
	for range r.All(base) {
		if seen++; seen == 10 {
			for ended, at := 0, 5*time.Minute; ended < n; at += time.Minute {
				got, _ := r.Expire(0, base+int64(at), out[ended:])
				ended += got
			}
		}
	}
	if seen != 10 {
		t.Errorf("%d sessions were listed, and all had ended after 10", seen)
	}
}

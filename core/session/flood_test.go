package session

import (
	"runtime"
	"testing"
	"unsafe"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/sdk/event"
)

// tcpFlow returns a TCP packet of the i-th of many flows to one server.
func tcpFlow(i int, flags uint8, back bool) *packet.Headers {
	h := flow(i)
	h.Proto, h.DstPort, h.TCPFlags = tcp, 443, flags
	if back {
		h.Tuple = h.Reverse()
	}
	return h
}

// TestFlood fills half of a small table with sessions of both ends and sends floods of every sort that a spoofing sender
// can make. Every one of the sessions must survive it, new ones must find room, and nothing may be lost unaccounted.
func TestFlood(t *testing.T) {
	for _, c := range []struct {
		name  string
		flood func(r *rig, i int) (closes int)
	}{
		{"SYN", func(r *rig, i int) int { return r.count(tcpFlow(i, syn, false)) }},
		{"SYN, answered", func(r *rig, i int) int {
			return r.count(tcpFlow(i, syn, false)) + r.count(tcpFlow(i, syn|ack, true))
		}},
		{"ACK", func(r *rig, i int) int { return r.count(tcpFlow(i, ack, false)) }},
		{"SYN-ACK", func(r *rig, i int) int { return r.count(tcpFlow(i, syn|ack, true)) }},
		{"UDP", func(r *rig, i int) int { return r.count(flow(i)) }},
		{"RST after SYN", func(r *rig, i int) int {
			return r.count(tcpFlow(i, syn, false)) + r.count(tcpFlow(i, rst, true))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			const size, good, floods = 4096, 2048, 20_000
			r := newRig(t, size)
			for i := range good {
				for _, h := range []*packet.Headers{tcpFlow(i, syn, false), tcpFlow(i, syn|ack, true), tcpFlow(i, ack, false)} {
					r.packet(0, h, Params{})
				}
			}
			if got := r.Stats(); got.Active != good || got.GivenUp != 0 {
				t.Fatalf("before the flood: %+v", got)
			}
			closes := 0
			for i := range floods {
				closes += c.flood(r, good+i)
			}
			got := r.Stats()
			if got.Active > size {
				t.Errorf("%d sessions in a table of %d", got.Active, size)
			}
			if got.GivenUp == 0 || uint64(closes) != got.GivenUp {
				t.Errorf("gave up %d sessions and handed out %d", got.GivenUp, closes)
			}
			if got.Created != uint64(got.Active)+got.Closed {
				t.Errorf("%+v: created is not active and closed", got)
			}
			if got.Full > floods/15 {
				t.Errorf("%d of %d refused, half of the table is of no worth", got.Full, floods)
			}
			for i := range good {
				if !r.Lookup(tcpFlow(i, ack, true), 1, base, &r.hit) {
					t.Fatalf("established session %d is gone", i)
				}
			}
		})
	}
}

// count carries a packet and counts the sessions given up for it.
func (r *rig) count(h *packet.Headers) int {
	old, _ := r.packet(0, h, Params{})
	if !old.Valid {
		return 0
	}
	if old.Reason == event.CloseNone || old.Reason == event.CloseTimeout {
		r.t.Fatalf("given up for reason %d", old.Reason)
	}
	return 1
}

// TestFull checks that a table of sessions of both ends refuses new ones and goes on with the old.
func TestFull(t *testing.T) {
	r := newRig(t, numShards) // one session per shard
	for i := range 10_000 {
		r.packet(0, flow(i), Params{})
		back := flow(i)
		back.Tuple = back.Reverse()
		r.Lookup(back, 1, base, &r.hit)
	}
	got := r.Stats()
	if got.Active != numShards || got.Created != numShards || got.Full != 10_000-numShards {
		t.Errorf("%+v, want %d sessions and the rest refused", got, numShards)
	}
	if closed := r.expire(2 * minute); len(closed) != numShards {
		t.Errorf("%d closed, want %d", len(closed), numShards)
	}
	if _, ok := r.packet(2*minute, flow(1), Params{}); !ok {
		t.Error("no room after all sessions have ended")
	}
}

// TestGiveUpEnded checks that a session that has ended goes for a new one, with its own reason.
func TestGiveUpEnded(t *testing.T) {
	r := newRig(t, 1)
	for i := range 1000 {
		for _, h := range []*packet.Headers{tcpFlow(i, syn, false), tcpFlow(i, syn|ack, true), tcpFlow(i, ack, false)} {
			if old, _ := r.packet(0, h, Params{}); old.Valid && old.Reason != event.CloseServerRST {
				t.Fatalf("given up for reason %d, want that of its end", old.Reason)
			}
		}
		r.packet(0, tcpFlow(i, rst, true), Params{})
	}
	if got := r.Stats(); got.GivenUp != 1000-numShards || got.Full != 0 {
		t.Errorf("%+v, want all but the last %d given up", got, numShards)
	}
}

// TestEntrySize pins the size of a session: a change is a decision.
func TestEntrySize(t *testing.T) {
	if hot, rest := unsafe.Sizeof(entry{}), unsafe.Sizeof(cold{}); hot != 128 || rest != 32 {
		t.Errorf("an entry is %d and %d bytes, want 128 and 32", hot, rest)
	}
	if got := unsafe.Sizeof(bucket{}); got != 64 {
		t.Errorf("a bucket is %d bytes, want a cache line of 64", got)
	}
	if got := unsafe.Sizeof(shard{}); got != 256 {
		t.Errorf("a shard is %d bytes, want 256: four cache lines, of which two are only read", got)
	}
}

// TestMemory measures what a full table costs and that it does not grow.
func TestMemory(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector has memory of its own")
	}
	const sessions = 1 << 18
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	r := newRig(t, sessions)
	built := heap()
	h := flow(0)
	var old Replaced
	for i := range 2 * sessions {
		h.SrcPort, h.Src[2], h.Src[3] = uint16(i), byte(i>>16), byte(i>>24)
		r.Create(h, 1, base, &Params{ID: uint64(i)}, &old)
	}
	full := heap()
	if got := r.Stats().Active; got != sessions {
		t.Fatalf("%d sessions, want a full table of %d", got, sessions)
	}
	if per := float64(built-before) / sessions; per >= 172 {
		t.Errorf("%.1f bytes per session, want less than 172", per)
	} else {
		t.Logf("%.1f bytes per session", per)
	}
	if int64(full-built) > 64<<10 {
		t.Errorf("grew by %d bytes", full-built)
	}
	runtime.KeepAlive(r)
}

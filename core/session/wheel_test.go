package session

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

// flow returns a UDP packet of the i-th of many flows.
func flow(i int) *packet.Headers {
	h := headers(udp, "10.0.0.0", serverAddr, uint16(i), 53)
	h.Src[1], h.Src[2] = byte(i>>24), byte(i>>16)
	return h
}

// TestExpireOnTime creates sessions at all times and with all timeouts, also beyond what the wheel reaches, and turns the
// wheel once in a while. None may end more than a tick early, or be there a slot and a tick after its deadline.
func TestExpireOnTime(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	r := newRig(t, 1<<14)
	deadlines := make(map[uint64]time.Duration)
	now := time.Duration(0)
	for i := range 2500 {
		now += time.Duration(rng.Int64N(int64(20 * sec)))
		timeout := uint32(rng.IntN(100) + 1)
		switch rng.IntN(4) {
		case 0:
			timeout = uint32(rng.IntN(4 * wheelSlots))
		case 1:
			timeout = 18 * 3600
		}
		r.packet(now, flow(i), Params{Timeout: timeout})
		deadlines[r.nextID] = now + time.Duration(r.idle(udp, timeout))*sec
		if rng.IntN(3) != 0 {
			continue
		}
		if rng.IntN(50) == 0 {
			now += time.Duration(rng.Int64N(int64(18 * time.Hour)))
		}
		for _, c := range r.expire(now) {
			deadline := deadlines[c.ID]
			if deadline == 0 {
				t.Fatalf("session %d closed twice", c.ID)
			}
			delete(deadlines, c.ID)
			if now < deadline {
				t.Fatalf("closed at %v, %v before its deadline", now, deadline-now)
			}
			if off := time.Duration(c.Closed-base) - deadline; off != 0 {
				t.Fatalf("close time %v off", off)
			}
		}
		for id, deadline := range deadlines {
			if now > deadline+oneSlot {
				t.Fatalf("session %d still there %v after its deadline", id, now-deadline)
			}
		}
		if got := r.Stats().Active; got != len(deadlines) {
			t.Fatalf("%d active, want %d", got, len(deadlines))
		}
	}
}

// TestJumps moves the clock far at once, as a capture with a broken time stamp does.
func TestJumps(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, jump := range []time.Duration{
		wheelSlots*oneSlot - oneSlot, wheelSlots * oneSlot, wheelSlots*oneSlot + oneSlot, 7 * wheelSlots * oneSlot,
		MaxTimeout, year, 9*year + year/2, 17 * year,
	} {
		t.Run(fmt.Sprint(jump), func(t *testing.T) {
			r := newRig(t, 1<<12)
			for i := range 1000 {
				r.packet(0, flow(i), Params{Timeout: uint32(i + 1)})
			}
			if got := len(r.expire(jump)); got != min(1000, int(jump/sec)) {
				t.Errorf("%d sessions closed", got)
			}
			r.packet(jump, flow(5000), Params{})
			if got := r.expire(jump + minute - 1); len(got) != 0 && jump > 1000*sec {
				t.Errorf("closed early after the jump: %+v", got)
			}
			if r.expire(jump + 2000*sec); r.Stats().Active != 0 {
				t.Errorf("%+v, want nothing left", r.Stats())
			}
		})
	}
}

// TestSkew lets a worker carry packets whose clock is behind that of the worker that turned the wheel.
func TestSkew(t *testing.T) {
	r := newRig(t, 64)
	r.packet(10*sec, fromClient(udp, 0), Params{})
	r.expire(12 * sec)
	r.packet(9*sec, fromServer(udp, 0), Params{}) // does not make the session older
	r.packet(9*sec, flow(1), Params{Timeout: 1})
	closed := r.expire(13 * sec)
	if len(closed) != 1 || closed[0].ID != 2 {
		t.Fatalf("closed %+v, want the session of one second", closed)
	}
	r.closesAt(70*sec, event.CloseTimeout)
}

// TestSameSeedSameOrder checks that one seed gives one order of closes, which a capture's events depend on.
func TestSameSeedSameOrder(t *testing.T) {
	order := func(seed uint64) (ids []uint64) {
		r := &rig{t: t, unkeyed: unkeyed{New(Config{Max: 1 << 12, Seed: seed, Timeouts: DefaultTimeouts()})}}
		for i := range 500 {
			r.packet(time.Duration(i)*time.Millisecond, flow(i), Params{})
		}
		for _, c := range r.expire(5 * minute) {
			ids = append(ids, c.ID)
		}
		return ids
	}
	first := order(1)
	if len(first) != 500 || !slices.Equal(first, order(1)) {
		t.Error("the same seed gave two orders")
	}
	if slices.Equal(first, order(2)) {
		t.Error("the seed changes nothing")
	}
}

// TestExpireShares checks that the workers' shares of the shards do not overlap and leave none out.
func TestExpireShares(t *testing.T) {
	for _, workers := range []int{1, 3, numShards, numShards + 5} {
		table := unkeyed{New(Config{Max: 1 << 12, Seed: 1, Workers: workers, Timeouts: DefaultTimeouts()})}
		var old Replaced
		for i := range 1000 {
			table.Create(flow(i), 1, base, &Params{ID: uint64(i)}, &old)
		}
		seen := make(map[uint64]bool)
		out := make([]Session, 1000)
		for w := range workers {
			n := 0
			for more := true; more; {
				var got int
				got, more = table.Expire(w, base+int64(2*minute), out[n:])
				n += got
			}
			for _, c := range out[:n] {
				if seen[c.ID] {
					t.Fatalf("%d workers: session %d closed twice", workers, c.ID)
				}
				seen[c.ID] = true
			}
		}
		if len(seen) != 1000 {
			t.Errorf("%d workers: %d of 1000 sessions closed", workers, len(seen))
		}
	}
}

// TestExpireWithoutRoom checks that no session is lost when there is no room for it.
func TestExpireWithoutRoom(t *testing.T) {
	r := newRig(t, 64)
	r.packet(0, fromClient(udp, 0), Params{})
	if n, _ := r.Expire(0, base+int64(2*minute), nil); n != 0 {
		t.Fatalf("%d sessions copied into nothing", n)
	}
	if got := r.expire(2 * minute); len(got) != 1 {
		t.Errorf("%d sessions, want the one", len(got))
	}
}

// TestShare shares the ageing of a table among other workers again and again while sessions end: each ends once, on time for whoever ages it then.
func TestShare(t *testing.T) {
	table := New(Config{Max: 1 << 14, Seed: 1, Workers: 2, Timeouts: DefaultTimeouts()})
	const n = 4000
	for i := range uint64(n) {
		h := flow(int(i))
		k := new(Key)
		table.SetKey(k, &h.Tuple, 1)
		var old Replaced
		if out := table.Create(k, h, base+int64(i)*1e6, &Params{ID: i + 1, Timeout: uint32(1 + i%40)}, &old); out != Created {
			t.Fatalf("session %d: %v", i, out)
		}
	}
	shares := [][]int{{0, 1}, {1}, {5, 0, 3}, {2}, {0, 1, 2, 3, 4, 5, 6}, make([]int, 0, 80)}
	for i := range 80 { // more than there are shards
		shares[5] = append(shares[5], i)
	}
	ended := make(map[uint64]bool)
	out := make([]Session, n)
	for second := range 90 {
		workers := shares[second%len(shares)]
		table.Share(workers)
		now := base + int64(second)*1e9
		for worker := range 81 {
			got, more := table.Expire(worker, now, out)
			for more {
				var some int
				some, more = table.Expire(worker, now, out[got:])
				got += some
			}
			if got > 0 && !slices.Contains(workers, worker) {
				t.Fatalf("worker %d ends sessions, and ages nothing", worker)
			}
			for _, s := range out[:got] {
				if ended[s.ID] {
					t.Fatalf("session %d ends twice", s.ID)
				}
				ended[s.ID] = true
			}
		}
		for i := range uint64(n) { // two slots later than due at most
			if due := int64(i)*1e6 + int64(1+i%40)*1e9; now-base > due+3*1e9 && !ended[i+1] {
				t.Fatalf("session %d was due %v ago", i+1, time.Duration(now-base-due))
			}
		}
	}
	if left := table.Stats().Active; left != 0 {
		t.Errorf("%d sessions are left", left)
	}
	table.Share([]int{3})
	if got := table.End(0, base, nil); len(got) != 0 {
		t.Errorf("%d sessions end", len(got))
	}
}

package session

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/packet"
)

// TestChosenFlows creates flows of a sender who knows the program and not the seed. No bucket may hold many of them.
func TestChosenFlows(t *testing.T) {
	const flows = 4096
	for _, id := range []uint64{0, 1, 0x9e3779b97f4a7c15, 0xd6e8feb86659fd93, ^uint64(0)} {
		table := unkeyed{New(Config{Max: 1 << 18, Seed: rand.Uint64(), Timeouts: DefaultTimeouts()})}
		var old Replaced
		for i := range uint64(flows) {
			h := packet.Headers{IPLen: 100, HasL4: true}
			putAddr(&h.Src, 0x2001_0db8_0000_0001, id)
			putAddr(&h.Dst, 0x3fff<<48|i<<32, id)
			h.Family, h.Proto, h.SrcPort, h.DstPort = packet.IPv6, packet.ProtoUDP, uint16(i>>16), uint16(i)
			table.Create(&h, 1, base, &Params{ID: i + 1}, &old)
		}
		longest := longestBucket(table.Table)
		if longest > 8 {
			t.Errorf("interface id %#x: %d of %d flows in one bucket", id, longest, flows)
		}
	}
}

// longestBucket returns how many links there are in the bucket that has most.
func longestBucket(t *Table) (longest int) {
	for i := range t.shards {
		s := &t.shards[i]
		for j := range s.buckets {
			b := &s.buckets[j]
			n := 0
			for n < bucketSlots && b.slots[n].Load() != 0 {
				n++
			}
			for link := b.overflow.Load(); link != 0; link = s.cold[link&s.indexMask].overflow {
				n++
			}
			longest = max(longest, n)
		}
	}
	return longest
}

// TestOneFlowInEveryVLAN has a sender who makes one flow in as many domains as there is room for. The way to each of its sessions
// stays short, and packets of either end find theirs, in this run and in the next one.
func TestOneFlowInEveryVLAN(t *testing.T) {
	const domains = 3000
	r := newRig(t, 1<<18) // 4096 in each shard
	query := headers(packet.ProtoUDP, clientAddr, serverAddr, 40000, 53)
	answer := headers(packet.ProtoUDP, serverAddr, clientAddr, 53, 40000)
	var old Replaced
	var got Session
	for d := uint32(1); d <= domains; d++ {
		first, p := query, Params{ID: uint64(d), Policy: d}
		if d%3 == 0 { // its first packet was not seen
			first, p.FromServer = answer, true
		}
		if outcome := r.Create(first, d, base, &p, &old); outcome != Created {
			t.Fatalf("domain %d: outcome %d", d, outcome)
		}
		if !r.Lookup(answer, d, base, &r.hit) || !r.Lookup(query, d, base, &r.hit) || r.hit.Policy != d {
			t.Fatalf("domain %d: its second packet belongs to the one of policy %d", d, r.hit.Policy)
		}
	}
	if n := longestBucket(r.Table); n > togetherMost+2*perBucket {
		t.Errorf("%d sessions in one bucket", n)
	}
	for d := uint32(1); d <= domains; d++ {
		for _, h := range []*packet.Headers{answer, query} {
			if !r.Lookup(h, d, base, &r.hit) || r.hit.Policy != d || r.hit.FromClient != (h == query) {
				t.Fatalf("domain %d: %+v", d, r.hit)
			}
		}
		if !r.Quoted(icmpError(3, 4, query), d, base, &r.hit) || r.hit.Policy != d {
			t.Fatalf("domain %d: an error that quotes it belongs to the one of policy %d", d, r.hit.Policy)
		}
	}
	next := newRig(t, 1<<18)
	takeOver(t, r.Table, next.Table, Takeover{IDs: sameIds{}, Now: base})
	for _, r := range []*rig{r, next} {
		for d := uint32(1); d <= domains; d++ {
			if !r.Get(answer, d, base, &got) || got.ID != uint64(d) || got.ClientPackets+got.ServerPackets != 5 {
				t.Fatalf("domain %d: session %d with %d and %d packets", d, got.ID, got.ClientPackets, got.ServerPackets)
			}
		}
		ended := r.expire(2 * minute)
		if st := r.Stats(); len(ended) != domains || st.Active != 0 || longestBucket(r.Table) != 0 {
			t.Errorf("%d sessions ended; %+v, and %d are in a bucket", len(ended), st, longestBucket(r.Table))
		}
		for i := range r.shards {
			if n := r.shards[i].apart; n != 0 {
				t.Errorf("shard %d counts %d sessions that are apart", i, n)
			}
		}
	}
}

// TestApartAlone has the sessions of a flow in the bucket of the flow end before those that are apart: these are found all the same.
func TestApartAlone(t *testing.T) {
	const domains = 3 * togetherMost
	r := newRig(t, 1<<18)
	query := headers(packet.ProtoUDP, clientAddr, serverAddr, 40000, 53)
	answer := headers(packet.ProtoUDP, serverAddr, clientAddr, 53, 40000)
	for d := uint32(1); d <= domains; d++ {
		r.packetIn(d, 0, query, Params{Policy: d})
	}
	for d := uint32(togetherMost + 1); d <= domains; d++ {
		r.packetIn(d, minute/2, query, Params{})
	}
	if n := len(r.expire(minute + oneSlot)); n != togetherMost {
		t.Fatalf("%d sessions ended, want %d", n, togetherMost)
	}
	for d := uint32(togetherMost + 1); d <= domains; d++ {
		for _, h := range []*packet.Headers{query, answer} {
			if !r.Lookup(h, d, base+int64(minute), &r.hit) || r.hit.Policy != d {
				t.Fatalf("domain %d: %+v", d, r.hit)
			}
		}
	}
}

// TestTwoDomainsTogether links a session whose ends are in two domains, as one of an earlier run, when there are enough in the bucket of
// the flow: it is found from both.
func TestTwoDomainsTogether(t *testing.T) {
	r := newRig(t, 1<<18)
	query := headers(packet.ProtoUDP, clientAddr, serverAddr, 40000, 53)
	answer := headers(packet.ProtoUDP, serverAddr, clientAddr, 53, 40000)
	const in, out = 500, 501
	r.packetIn(in, 0, query, Params{Policy: in})
	r.packetIn(out, 0, answer, Params{})
	k := r.key(&query.Tuple, in)
	s := r.shard(k.hash)
	i := s.find(k)
	s.unlink(k.hash, i)
	for d := uint32(1); d <= 2*togetherMost; d++ {
		r.packetIn(d, 0, query, Params{Policy: d})
	}
	s.link(k.hash, i)
	if !r.Lookup(query, in, base, &r.hit) || r.hit.Policy != in || !r.Lookup(answer, out, base, &r.hit) || r.hit.Policy != in {
		t.Errorf("%+v", r.hit)
	}
}

// TestExpireIsBounded fills one wheel slot with sessions none of which is due when it comes, because each had another packet:
// one call looks at a bounded number of them, and calls that follow come to the end.
func TestExpireIsBounded(t *testing.T) {
	const sessions = 20_000
	r := newRig(t, 2*sessions)
	for i := range sessions {
		r.packet(0, flow(i), Params{})
	}
	for i := range sessions {
		r.packet(50*sec, flow(i), Params{})
	}
	waiting := func() (n int) { // in the slots around the first deadline
		for i := range r.shards {
			s := &r.shards[i]
			for slot := (base + int64(59*sec)) >> slotShift; slot <= (base+int64(61*sec))>>slotShift; slot++ {
				for j := s.wheel[slot&(wheelSlots-1)]; j != 0; j = s.cold[j].next {
					n++
				}
			}
		}
		return n
	}
	out := make([]Session, 8)
	calls := 0
	for more := true; more; calls++ {
		before := waiting()
		var n int
		if n, more = r.Expire(0, base+int64(64*sec), out); n != 0 {
			t.Fatalf("%d sessions ended", n)
		}
		if looked := before - waiting(); looked > expireSteps {
			t.Fatalf("one call looked at %d sessions", looked)
		}
	}
	if left := waiting(); left != 0 || calls < sessions/expireSteps {
		t.Errorf("%d sessions not looked at after %d calls", left, calls)
	}
}

// TestLongTimeouts lets sessions live for longer than 18 hours, and for ever.
func TestLongTimeouts(t *testing.T) {
	for _, timeout := range []time.Duration{19 * time.Hour, 7 * 24 * time.Hour, MaxTimeout} {
		r := newRig(t, 64)
		r.packet(0, fromClient(udp, 0), Params{Timeout: uint32(timeout / sec)})
		for at := time.Duration(0); at < timeout; at += timeout / 50 {
			if len(r.expire(at)) != 0 {
				t.Fatalf("a timeout of %v was over after %v", timeout, at)
			}
		}
		if len(r.expire(timeout+oneSlot)) != 1 {
			t.Errorf("a timeout of %v does not come", timeout)
		}
	}
	r := newRig(t, 64)
	r.packet(0, fromClient(udp, 0), Params{Timeout: Never})
	for at := time.Duration(0); at < 20*MaxTimeout; at += MaxTimeout / 4 {
		if len(r.expire(at)) != 0 {
			t.Fatalf("never came after %v", at)
		}
	}
}

package session

import (
	"math/rand/v2"
	"testing"

	"github.com/rtflow/pipelined/core/packet"
)

// TestBucketOverflows creates and ends, in random order, more sessions of one hash than a bucket has slots: those of one flow
// in many domains. Each must be found as long as it lives and not after.
func TestBucketOverflows(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	r := newRig(t, 64*numShards)
	const domains = 4 * bucketSlots
	var alive [domains + 1]uint64 // ids by domain
	query := headers(packet.ProtoUDP, clientAddr, serverAddr, 40000, 53)
	var old Replaced
	var got Session
	most, n := 0, 0
	for id := uint64(1); id < 20_000; id++ {
		domain := 1 + rng.Uint32N(domains)
		// More sessions are created than ended for a while, and then fewer.
		create := rng.IntN(8) < 3+int(id>>8&1)*2
		switch {
		case alive[domain] == 0 && create:
			if outcome := r.Create(query, domain, base, &Params{ID: id}, &old); outcome != Created {
				t.Fatalf("outcome %d", outcome)
			}
			alive[domain] = id
			n++
		case alive[domain] != 0 && !create:
			k := r.key(&query.Tuple, domain)
			s := r.lockOf(k)
			s.remove(s.find(k), k.hash, base, &got)
			s.mu.Unlock()
			if got.ID != alive[domain] {
				t.Fatalf("session %d of domain %d ended, want %d", got.ID, domain, alive[domain])
			}
			alive[domain] = 0
			n--
		}
		most = max(most, n)
		for domain, id := range alive {
			if domain == 0 {
				continue
			}
			if found := r.Get(query, uint32(domain), base, &got); found != (id != 0) || found && got.ID != id {
				t.Fatalf("domain %d: found %v, session %d, want %d", domain, found, got.ID, id)
			}
		}
	}
	if most < 2*bucketSlots {
		t.Errorf("at most %d sessions at once: the test does not cover the list", most)
	}
}

// TestAmongEquals checks that of several sessions of a flow that an answer or an ICMP error may belong to the newest is
// taken, and for an error from another domain the oldest, wherever the sessions stand in their bucket.
func TestAmongEquals(t *testing.T) {
	query := headers(packet.ProtoUDP, clientAddr, serverAddr, 40000, 53)
	answer := headers(packet.ProtoUDP, serverAddr, clientAddr, 53, 40000)
	for n := 2; n < 2*bucketSlots; n += 5 {
		r := newRig(t, 64*numShards)
		var old Replaced
		for id := range uint64(n) {
			r.Create(query, uint32(id)+1, base, &Params{ID: id + 1, Policy: uint32(id) + 1}, &old)
		}
		if !r.Quoted(icmpError(3, 1, query), 1000, base, &r.hit) || r.hit.Policy != 1 {
			t.Errorf("of %d sessions an error belongs to the one of policy %d, want 1", n, r.hit.Policy)
		}
		if !r.Quoted(icmpError(3, 1, query), 2, base, &r.hit) || r.hit.Policy != 2 {
			t.Errorf("of %d sessions an error of domain 2 belongs to the one of policy %d", n, r.hit.Policy)
		}
		if !r.Lookup(answer, 1000, base, &r.hit) || r.hit.Policy != uint32(n) {
			t.Errorf("of %d sessions an answer belongs to the one of policy %d", n, r.hit.Policy)
		}
	}
}

// TestPrefetchIsAHint changes the table between Prefetch and what is asked after it: a session that ended is not found, nor
// the one that has its entry, and one that began is.
func TestPrefetchIsAHint(t *testing.T) {
	r := newRig(t, numShards) // one entry per shard: the next session of the shard takes it
	var (
		old Replaced
		got Session
	)
	first := fromClient(packet.ProtoUDP, 0)
	keys := []Key{*r.key(&first.Tuple, 1), *r.key(&first.Tuple, 2)}
	r.Create(first, 1, base, &Params{ID: 1}, &old)
	r.Prefetch(keys)
	if keys[0].hint == 0 {
		t.Error("nothing was found to prefetch")
	}
	if !r.Table.Get(&keys[0], base, &got) || got.ID != 1 {
		t.Fatalf("session %d, want the one that was prefetched", got.ID)
	}
	r.Create(first, 2, base, &Params{ID: 2}, &old) // of the same shard: the first one is given up
	if !old.Valid || old.ID != 1 {
		t.Fatalf("session %d was given up, want 1", old.ID)
	}
	if r.Table.LookupDenied(&keys[0], first, base, &r.hit) || r.Table.Lookup(&keys[0], first, base, &r.hit) {
		t.Error("a session that has ended is found")
	}
	if !r.Table.Get(&keys[1], base, &got) || got.ID != 2 {
		t.Errorf("session %d, want the one that has begun", got.ID)
	}
}

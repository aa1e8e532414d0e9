package policydeny

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/testing/race"
)

// wide is a configuration of n policies that make a tree of all sorts of nodes: many sources, many destinations of any source, of
// one network and of several, in both families, and many pairs of zones.
func wide(n int) string {
	var b strings.Builder
	b.WriteString("[hooks.policies]\npolicy = [\n")
	zones := []string{`"trust"`, `"untrust"`, `"dmz"`, `"any"`}
	for i := range n {
		from, to, host := zones[0], zones[1], fmt.Sprintf("198.51.%d.%d", i>>8&255, i&255)
		source := fmt.Sprintf("10.%d.%d.0/24", i>>8&255, i&255)
		switch i % 6 {
		case 1:
			source = "any"
		case 2:
			source = "172.16.0.0/16"
		case 3:
			source, host = fmt.Sprintf("2001:db8:%x::/48", i), fmt.Sprintf("2001:db8:ffff::%x", i)
		case 4:
			source, host = fmt.Sprintf("10.%d.0.0/16", i>>8&255), fmt.Sprintf("198.51.%d.0/24", i%64)
		case 5:
			from, to = zones[i/6%4], zones[i/24%4]
		}
		fmt.Fprintf(&b, `{ name = "p%d", from = %s, to = %s, source = %q, destination = %q, application = "junos-https", then = %q },`+"\n",
			i, from, to, source, host, [...]string{"permit", "deny"}[i%2])
	}
	b.WriteString("]\n")
	return b.String()
}

// widePacket is a packet that some of those policies match or nearly match, at a random place of a batch.
func widePacket(r *rand.Rand, n int) hook.Packet {
	i := r.IntN(n + n/8)
	src := pick(r, fmt.Sprintf("10.%d.%d.7", i>>8, i&255), "172.16.3.4")
	dst := fmt.Sprintf("198.51.%d.%d", i>>8, i&255)
	if r.IntN(4) == 0 {
		src, dst = fmt.Sprintf("2001:db8:%x::7", i), fmt.Sprintf("2001:db8:ffff::%x", i)
	}
	p := pkt(trust, untrust, tcp, src, dst, 443)
	switch r.IntN(12) {
	case 0:
		p.InZone = pick[uint16](r, untrust, dmz, 0, 7)
	case 1:
		p.OutZone = pick[uint16](r, trust, dmz, 0, 7)
	case 2:
		p.DstPort = 80
	case 3:
		p.Proto = pick[uint8](r, udp, 47, icmp)
	case 4:
		p.HasHead = false
	}
	p.Place = r.IntN(packet.BatchSize)
	return p
}

// TestPrefetch judges random packets past a large rule base with their memory fetched and without: decisions and counters are the
// same, whatever was fetched for which packets, and nothing is allocated.
func TestPrefetch(t *testing.T) {
	const policies = 1000
	with := newPrefetching(load(t, wide(policies)).Session.(*engine))
	without := *with.engine
	without.workers = []worker{{scratch: without.index.newScratch()}, {scratch: without.index.newScratch()}}
	without.tally = hook.NewTally(2, make([]string, len(without.policies)+1))
	judge := func(h hook.SessionHook, p hook.Packet) (permit hook.Permit, f hook.Finding, v hook.Verdict) {
		if v = h.Decide(&p, &permit, &f); v != hook.Pass {
			h.Denied(&p, &f)
		}
		return permit, f, v
	}
	r := rand.New(rand.NewPCG(1, 1))
	verdicts, batch := make(map[hook.Verdict]int), make([]hook.Packet, 2*packet.BatchSize) // more than there should be
	var beforehand []*hook.Packet
	for range 100 {
		beforehand = beforehand[:0]
		worker := r.IntN(2)
		for i := range batch {
			batch[i] = widePacket(r, policies)
			batch[i].Worker = worker
			if i <= r.IntN(len(batch)) {
				beforehand = append(beforehand, &batch[i])
			}
		}
		with.Prefetch(beforehand)
		for i := range batch {
			if i%4 == 0 {
				batch[i] = widePacket(r, policies)
			}
			permit, f, v := judge(with, batch[i])
			wantPermit, wantFinding, want := judge(&without, batch[i])
			if permit != wantPermit || f != wantFinding || v != want {
				t.Fatalf("%+v is %v %+v %+v, want %v %+v %+v", batch[i], v, permit, f, want, wantPermit, wantFinding)
			}
			verdicts[v]++
		}
	}
	if verdicts[hook.Pass] < 500 || verdicts[hook.Drop] < 500 {
		t.Errorf("the random packets are too poor: %v", verdicts)
	}
	got, want := with.tally.Counters(), without.tally.Counters()
	for i := range want {
		want[i].Name = got[i].Name
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if race.Enabled {
		return // it allocates
	}
	beforehand = beforehand[:1]
	for i := range batch[1:packet.BatchSize] {
		beforehand = append(beforehand, &batch[i])
	}
	if n := testing.AllocsPerRun(100, func() { with.Prefetch(beforehand) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestPrefetchIfLarge: the memory of a large rule base is fetched, that of a small one is not.
func TestPrefetchIfLarge(t *testing.T) {
	e := load(t, hundred()).Session.(*engine)
	if _, fetched := e.hook().(hook.Prefetcher); fetched {
		t.Error("the memory of a small rule base is fetched")
	}
	e.index.named.entries = make([]entry, nearCache/32)
	if _, fetched := e.hook().(hook.Prefetcher); !fetched {
		t.Error("the memory of a large rule base is not fetched")
	}
}

// TestPrefetchLittle has the memory of the smallest rule bases fetched: none, one policy, one family alone.
func TestPrefetchLittle(t *testing.T) {
	const policy = "[[hooks.policies.policy]]\nname = \"p\"\nfrom = \"trust\"\nto = \"untrust\"\nthen = \"permit\"\n"
	for _, text := range []string{"[hooks.policies]", policy, policy + "source = \"2001:db8::/32\"", policy + "destination = \"10.0.0.0/8\"", policy + "application = \"junos-https\""} {
		x := load(t, text)
		h := newPrefetching(x.Session.(*engine))
		h.Prefetch(nil)
		for _, p := range []hook.Packet{
			pkt(trust, untrust, tcp, "10.1.1.1", "10.1.1.2", 443), pkt(0, 0, udp, "255.255.255.255", "0.0.0.0", 0),
			pkt(trust, untrust, tcp, "2001:db8::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 443), pkt(trust, untrust, tcp, "::", "::", 443), {},
		} {
			want := x.decide(p)
			h.Prefetch([]*hook.Packet{&p})
			if got := x.decide(p); got != want {
				t.Errorf("%s\n%+v is %+v, want %+v", text, p, got, want)
			}
		}
	}
}

// TestNumbersOfOnePacket keeps what the addresses of a packet map to from packets that differ from it in one address, or in the family
// only: an address of IPv4 has the bytes of one of IPv6.
func TestNumbersOfOnePacket(t *testing.T) {
	p := pkt(trust, untrust, tcp, "10.1.2.3", "10.3.2.1", 443)
	n := addressNumbers{src: p.Src, dst: p.Dst, family: p.Family}
	if !n.of(&p) {
		t.Error("not those of the packet itself")
	}
	for name, change := range map[string]func(*hook.Packet){
		"source":      func(p *hook.Packet) { p.Src[3]++ },
		"destination": func(p *hook.Packet) { p.Dst[3]++ },
		"family":      func(p *hook.Packet) { p.Family = packet.IPv6 },
	} {
		other := p
		change(&other)
		if n.of(&other) {
			t.Errorf("those of a packet with another %s", name)
		}
	}
	if new(addressNumbers).of(&hook.Packet{Headers: packet.Headers{Tuple: packet.Tuple{Family: packet.IPv4}}}) {
		t.Error("numbers that were never found")
	}
}

package policydeny

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/hook"
)

// hundred is a configuration of 100 policies between the same two zones, of the kind that grows in an office: a service, a
// few sources and a destination each.
func hundred() string {
	var b strings.Builder
	services := []string{"junos-ssh", "junos-https", "junos-http", "junos-dns-udp", "junos-smtp"}
	for i := range 100 {
		fmt.Fprintf(&b, `
			[[hooks.policies.policy]]
			name = "p%d"
			from = "trust"
			to = "untrust"
			source = ["10.%d.0.0/16", "172.16.%d.0/24", "2001:db8:%d::/48"]
			destination = ["198.51.100.%d", "2001:db8:ffff::%d"]
			application = %q
			then = "permit"`, i, i, i, i, i, i, services[i%len(services)])
	}
	return b.String()
}

func TestDecideAllocates(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	x := load(t, hundred())
	var (
		permit hook.Permit
		f      hook.Finding
	)
	packets := []hook.Packet{
		pkt(trust, untrust, tcp, "10.96.0.1", "198.51.100.96", 443),
		pkt(trust, untrust, tcp, "2001:db8:1::1", "2001:db8:ffff::1", 443),
		pkt(0, 0, udp, "10.96.0.1", "198.51.100.96", 443),
	}
	if n := testing.AllocsPerRun(100, func() {
		for i := range packets {
			x.Session.Decide(&packets[i], &permit, &f)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// BenchmarkDecide100Policies: the packet matches the last policy, none, or one that is passed over at the gate for its
// port every time.
func BenchmarkDecide100Policies(b *testing.B) {
	for _, c := range []struct {
		name string
		p    hook.Packet
		want hook.Verdict
	}{
		{"first", pkt(trust, untrust, tcp, "10.0.0.1", "198.51.100.0", 22), hook.Pass},
		{"last", pkt(trust, untrust, tcp, "10.99.0.1", "198.51.100.99", 25), hook.Pass},
		{"last-ipv6", pkt(trust, untrust, tcp, "2001:db8:99::1", "2001:db8:ffff::99", 25), hook.Pass},
		{"none", pkt(trust, untrust, tcp, "10.200.0.1", "198.51.100.200", 443), hook.Drop},
		{"none-port", pkt(trust, untrust, tcp, "10.200.0.1", "198.51.100.200", 9999), hook.Drop},
	} {
		b.Run(c.name, func(b *testing.B) {
			x := load(b, hundred())
			var (
				permit hook.Permit
				f      hook.Finding
			)
			p := c.p
			if v := x.Session.Decide(&p, &permit, &f); v != c.want {
				b.Fatalf("verdict %v, want %v", v, c.want)
			}
			b.ReportAllocs()
			for b.Loop() {
				x.Session.Decide(&p, &permit, &f)
			}
		})
	}
}

// BenchmarkAddresses: one lookup in a list of that many prefixes.
func BenchmarkAddresses(b *testing.B) {
	for _, n := range []int{1, 8, 64, 4096} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			parts := make([]addrs, n)
			for i := range parts {
				lo := uint32(i) << 8
				parts[i] = addrs{v4: []span4{{lo, lo + 15}}}
			}
			set := union(parts)
			a, hits := uint32(0), 0
			for b.Loop() {
				a = a*1664525 + 1013904223
				if set.has4(a >> 8 % (uint32(n) << 8)) {
					hits++
				}
			}
		})
	}
}

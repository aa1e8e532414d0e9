package policydeny

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/testing/race"
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
	if race.Enabled {
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

// BenchmarkDecide100Policies: the packet matches the first policy, the last, or none.
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

// many is a configuration of n policies between two zones: a host or network each way, and a service.
func many(n int) string {
	var b strings.Builder
	services := []string{"junos-ssh", "junos-https", "junos-http", "junos-dns-udp", "junos-smtp"}
	b.WriteString("[hooks.policies]\npolicy = [\n")
	for i := range n {
		fmt.Fprintf(&b, `{ name = "p%d", from = "trust", to = "untrust", source = "10.%d.%d.0/24", destination = "198.%d.%d.%d", application = %q, then = "permit" },`+"\n",
			i, i>>8&255, i&255, 18+i>>16, i>>8&255, i&255, services[i%len(services)])
	}
	b.WriteString("]\n")
	return b.String()
}

// BenchmarkDecidePolicies: packets at random over the policies, each of a flow of its own; half of them match a policy,
// half match its addresses and not its service.
func BenchmarkDecidePolicies(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10_000, 100_000} {
		x := load(b, many(n))
		var (
			permit hook.Permit
			f      hook.Finding
		)
		ports := []uint16{22, 443, 80, 53, 25}
		b.Run(fmt.Sprintf("first/%d", n), func(b *testing.B) {
			r := uint32(1)
			denied := 0
			for b.Loop() {
				r = r*1664525 + 1013904223
				i := int(r>>8) % n
				p := hook.Packet{InZone: trust, OutZone: untrust}
				p.Family, p.Proto, p.HasHead, p.SrcPort = packet.IPv4, tcp, true, uint16(r)
				p.Src = packet.Addr{10, byte(i >> 8), byte(i), byte(r)}
				p.Dst = packet.Addr{198, byte(18 + i>>16), byte(i >> 8), byte(i)}
				p.DstPort = ports[i%len(ports)]
				if r&128 != 0 {
					p.DstPort = 9999
				}
				if x.Session.Decide(&p, &permit, &f) != hook.Pass {
					denied++
				}
			}
			b.ReportMetric(float64(denied)/float64(b.N), "denied/op")
		})
	}
}

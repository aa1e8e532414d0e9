package bench

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// BenchmarkGrowthNftables carries the packets of [BenchmarkGrowthPolicies] through the firewall of a Linux router that has the
// same rules: as one chain, as one map from addresses, protocol and port to a verdict, and not at all, which is what
// connection tracking and forwarding cost without rules.
func BenchmarkGrowthNftables(b *testing.B) {
	nettest.Require(b)
	nettest.RequireCommands(b, "nft")
	for _, n := range []int{10, 100, 1000, 10_000} {
		for _, traffic := range []string{"first", "denied"} {
			for _, form := range []string{"none", "chain", "map"} {
				b.Run(fmt.Sprintf("%s/%s/%d", form, traffic, n), func(b *testing.B) {
					r := newRouter(b, ruleset(form, n, traffic == "first"))
					random := uint32(1)
					r.measure(b, traffic == "first", packets(b.N, form, n), func(f *frame) {
						random = random*1664525 + 1013904223
						i := int(random>>8) % n
						port := services[i%len(services)].port
						if traffic == "denied" {
							port = services[(i+1)%len(services)].port
						}
						f.policy(i, tcp, byte(random), uint16(random), port)
					})
				})
			}
		}
	}
}

// packets is how many packets are carried: fewer than connections that the kernel tracks, and, since a chain of many rules
// takes 100 µs for each, fewer for those.
func packets(wanted int, form string, n int) int {
	if form == "chain" {
		wanted = min(wanted, max(2000, 20_000_000/n))
	}
	return min(wanted, 100_000)
}

// ruleset is what nft reads: the rules of [ruleBase] in a form, behind the rule for established connections that every
// such firewall begins with. Without rules, the policy of the chain decides.
func ruleset(form string, n int, permit bool) string {
	var b strings.Builder
	source := func(i int) string { return fmt.Sprintf("10.%d.%d.0/24", i>>8&255, i&255) }
	destination := func(i int) string { return fmt.Sprintf("198.%d.%d.%d", 18+i>>16, i>>8&255, i&255) }
	b.WriteString("table ip filter {\n")
	if form == "map" {
		b.WriteString("map policies {\ntype ipv4_addr . ipv4_addr . inet_proto . inet_service : verdict\nflags interval\nelements = {\n")
		for i := range n {
			fmt.Fprintf(&b, "%s . %s . tcp . %d : accept,\n", source(i), destination(i), services[i%len(services)].port)
		}
		b.WriteString("}\n}\n")
	}
	policy := "drop"
	if form == "none" && permit {
		policy = "accept"
	}
	fmt.Fprintf(&b, "chain forward {\ntype filter hook forward priority filter; policy %s;\nct state established,related accept\n", policy)
	switch form {
	case "chain":
		for i := range n {
			fmt.Fprintf(&b, "iifname \"in\" oifname \"out\" ip saddr %s ip daddr %s tcp dport %d accept\n", source(i), destination(i), services[i%len(services)].port)
		}
	case "map":
		b.WriteString("iifname \"in\" oifname \"out\" ip saddr . ip daddr . meta l4proto . th dport vmap @policies\n")
	}
	if form != "none" {
		b.WriteString("udp dport 53 accept\n")
	}
	b.WriteString("}\n}\n")
	return b.String()
}

// router is a host that forwards between two others.
type router struct {
	*nettest.Host
	wire *nettest.Wire // to the router
	to   net.HardwareAddr
}

func newRouter(b *testing.B, rules string) *router {
	b.Helper()
	client, server := nettest.NewHost(b), nettest.NewHost(b)
	r := &router{Host: nettest.NewHost(b)}
	nettest.Cable(client, "out", r.Host, "in", 1)
	nettest.Cable(r.Host, "out", server, "in", 1)
	r.Address("in", "172.31.255.1/30")
	r.Address("out", "172.31.255.5/30")
	r.Route("198.18.0.0/15", "172.31.255.6")
	out := r.Link("out").Attrs().Index
	r.Do(func() {
		for name, value := range map[string]string{
			"ipv4/ip_forward": "1", "ipv4/conf/all/rp_filter": "0", "ipv4/conf/in/rp_filter": "0", "netfilter/nf_conntrack_checksum": "0",
		} {
			if err := os.WriteFile(filepath.Join("/proc/sys/net", name), []byte(value), 0); err != nil {
				b.Fatal(err)
			}
		}
		// An address of nobody, so that the server drops what it gets at once.
		err := netlink.NeighAdd(&netlink.Neigh{
			LinkIndex: out, State: netlink.NUD_PERMANENT, IP: net.IPv4(172, 31, 255, 6), HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 99},
		})
		if err != nil {
			b.Fatal(err)
		}
	})
	file := filepath.Join(b.TempDir(), "rules.nft")
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		b.Fatal(err)
	}
	r.Run("nft", "-f", file)
	r.wire, r.to = client.Wire("out"), r.Link("in").Attrs().HardwareAddr
	return r
}

// measure sends packets and reports the CPU time of each: that of the thread which sends them, in which the kernel also
// forwards them, and that of the kernel's own thread, which takes over if there are too many.
func (r *router) measure(b *testing.B, pass bool, n int, fill func(*frame)) {
	b.Helper()
	runtime.LockOSThread() // and not unlocked: the thread ends with the goroutine, and stays on its processor until then
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		b.Fatal(err)
	}
	processor := 0
	for !set.IsSet(processor) {
		processor++
	}
	set.Zero()
	set.Set(processor)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		b.Fatal(err)
	}
	forwarded := func() uint64 { return r.Link("out").Attrs().Statistics.TxPackets }
	helper := kernelThread(b, fmt.Sprintf("ksoftirqd/%d", processor))
	before, began, helped := forwarded(), cpu(), runTime(b, helper)
	var f frame
	untagged := f[4:] // without the VLAN tag, which takes the place of a source
	copy(untagged, r.to)
	for range n {
		fill(&f)
		binary.BigEndian.PutUint16(f[28:], 0)
		binary.BigEndian.PutUint16(f[28:], checksum(f[18:38]))
		r.wire.Send(untagged)
	}
	used := cpu() - began + runTime(b, helper) - helped
	b.ReportMetric(float64(used)/float64(n), "cpu-ns/pkt")
	want := uint64(0)
	if pass {
		want = uint64(n)
	}
	if got := forwarded() - before; got != want {
		b.Fatalf("%d of %d packets were forwarded, want %d", got, n, want)
	}
}

// checksum returns that of an IPv4 header.
func checksum(header []byte) uint16 {
	var sum uint32
	for i := 0; i < len(header); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(header[i:]))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// kernelThread returns the file with the scheduler's figures of a thread of the kernel.
func kernelThread(b *testing.B, name string) string {
	b.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		b.Fatal(err)
	}
	for _, file := range names {
		if text, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(text)) == name {
			return filepath.Join(filepath.Dir(file), "schedstat")
		}
	}
	b.Fatalf("no thread is called %s", name)
	return ""
}

// runTime returns how long a thread has run, in nanoseconds.
func runTime(b *testing.B, file string) int64 {
	b.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), " ")
	ns, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return ns
}

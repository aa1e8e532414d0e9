package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// rule is a rule of a firewall that this project and nftables can both have.
type rule struct {
	name                string
	inward              bool     // from outside to inside; false: the other way
	sources, dests      []string // addresses of both families; nil: any
	protocol            string   // "tcp", "udp", "ping", "" for any
	ports               string   // "80", "8000-8100"
	then                string   // "permit", "deny", "reject"
	onlyIPv4            bool
	sourcesExceptListed bool
}

var (
	clientA = []string{nettest.LANHost, nettest.LANHost6}
	clientB = []string{"10.20.1.3", "fd20:1::3"}
	server1 = []string{nettest.WANHost, nettest.WANHost6}
	server2 = []string{"198.51.100.3", "fd20:3::3"}
	server3 = []string{"198.51.100.4", "fd20:3::4"}
)

// rules are those of the test: what none of them matches is denied.
var rules = []rule{
	{name: "no-telnet", protocol: "tcp", ports: "23", then: "reject"},
	{name: "no-smb", protocol: "tcp", ports: "445", then: "deny"},
	{name: "web-a", sources: clientA, dests: server1, protocol: "tcp", ports: "80", then: "permit"},
	{name: "tls-not-b", sources: clientB, sourcesExceptListed: true, protocol: "tcp", ports: "443", then: "permit"},
	{name: "proxy-b", sources: clientB, protocol: "tcp", ports: "8080", then: "reject"},
	{name: "ssh-a", sources: clientA, dests: server2, protocol: "tcp", ports: "22", then: "permit"},
	{name: "no-ssh", dests: slices.Concat(server1, server2), protocol: "tcp", ports: "22", then: "deny"},
	{name: "no-ntp", protocol: "udp", ports: "123", then: "reject"},
	{name: "dns", dests: server1, protocol: "udp", ports: "53", then: "permit"},
	{name: "dns-elsewhere", protocol: "udp", ports: "53", then: "reject"},
	{name: "no-snmp", protocol: "udp", ports: "161-162", then: "deny"},
	{name: "echo", sources: clientA, protocol: "udp", ports: "7", then: "permit"},
	{name: "ike-a", sources: clientA, protocol: "udp", ports: "500", then: "reject"},
	{name: "ike", protocol: "udp", ports: "500", then: "deny"},
	{name: "ping-1", dests: server1, protocol: "ping", then: "permit"},
	{name: "ping-2", dests: server2, protocol: "ping", then: "reject"},
	{name: "range", dests: server3, protocol: "tcp", ports: "8000-8100", then: "permit"},
	{name: "mail4", protocol: "tcp", ports: "25", then: "permit", onlyIPv4: true},
	{name: "mail", protocol: "tcp", ports: "25", then: "reject"},
	{name: "b-not-3", sources: clientB, dests: server3, then: "reject"},
	{name: "a-3", sources: clientA, dests: server3, then: "permit"},
	{name: "back-web", inward: true, dests: clientA, protocol: "tcp", ports: "80", then: "permit"},
	{name: "back-ident", inward: true, protocol: "tcp", ports: "113", then: "reject"},
	{name: "back-udp", inward: true, sources: server1, protocol: "udp", ports: "9000", then: "reject"},
}

// policies returns the rules as this project has them.
func policies() string {
	var text strings.Builder
	fmt.Fprintf(&text, "[hooks.policies]\nplugin = \"policydeny\"\n")
	applications := make(map[string]string)
	for _, r := range rules {
		from, to := "inside", "outside"
		if r.inward {
			from, to = to, from
		}
		fmt.Fprintf(&text, "[[hooks.policies.policy]]\nname = %q\nfrom = %q\nto = %q\nthen = %q\n", r.name, from, to, r.then)
		if r.onlyIPv4 {
			fmt.Fprintln(&text, `source = "any-ipv4"`)
		}
		for key, list := range map[string][]string{"source": r.sources, "destination": r.dests} {
			if len(list) > 0 {
				fmt.Fprintf(&text, "%s = [\"%s\"]\n", key, strings.Join(list, `", "`))
			}
		}
		if r.sourcesExceptListed {
			fmt.Fprintln(&text, "source-excluded = true")
		}
		switch r.protocol {
		case "":
		case "ping":
			fmt.Fprintln(&text, `application = ["junos-ping", "junos-pingv6"]`)
		default:
			name := r.protocol + "-" + r.ports
			applications[name] = fmt.Sprintf("[hooks.policies.applications.%s]\nprotocol = %q\ndestination-port = %q\n", name, r.protocol, r.ports)
			fmt.Fprintf(&text, "application = %q\n", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(applications)) {
		text.WriteString(applications[name])
	}
	return text.String()
}

// nftables returns the rules as a chain of nftables. Where a policy of Junos rejects, TCP is reset, UDP is told that the port is
// unreachable, and all else is dropped: nftables' own reject would answer that, too.
func nftables() string {
	var text strings.Builder
	fmt.Fprintf(&text, "table inet firewall {\n chain forward {\n  type filter hook forward priority filter; policy drop;\n  ct state established,related accept\n")
	for _, r := range rules {
		from, to := "lan0", "wan0"
		if r.inward {
			from, to = to, from
		}
		for i, family := range []struct{ address, ping, echo string }{{"ip", "icmp", "echo-request"}, {"ip6", "icmpv6", "echo-request"}} {
			if r.onlyIPv4 && i == 1 {
				continue
			}
			line := fmt.Sprintf("  iifname %q oifname %q meta nfproto %s", from, to, []string{"ipv4", "ipv6"}[i])
			addresses := func(list []string, side string, except bool) {
				var of []string
				for _, a := range list {
					if netip.MustParseAddr(a).Is4() == (i == 0) {
						of = append(of, a)
					}
				}
				if len(of) > 0 {
					not := ""
					if except {
						not = "!= "
					}
					line += fmt.Sprintf(" %s %s %s{ %s }", family.address, side, not, strings.Join(of, ", "))
				}
			}
			addresses(r.sources, "saddr", r.sourcesExceptListed)
			addresses(r.dests, "daddr", false)
			switch r.protocol {
			case "":
			case "ping":
				line += fmt.Sprintf(" %s type %s", family.ping, family.echo)
			default:
				line += fmt.Sprintf(" %s dport %s", r.protocol, r.ports)
			}
			switch r.then {
			case "permit":
				fmt.Fprintf(&text, "%s accept\n", line)
			case "deny":
				fmt.Fprintf(&text, "%s drop\n", line)
			case "reject":
				fmt.Fprintf(&text, "%s meta l4proto tcp reject with tcp reset\n%s meta l4proto udp reject with icmpx port-unreachable\n%s drop\n", line, line, line)
			}
		}
	}
	text.WriteString(" }\n}\n")
	return text.String()
}

// probe is the first packet of a flow.
type probe struct {
	inward   bool
	src, dst netip.Addr
	protocol string
	port     int
}

func (p probe) String() string {
	return fmt.Sprintf("%s %v > %v %d", p.protocol, p.src, p.dst, p.port)
}

// probes are the flows of the test. Each has a number of its own in it, as its source port or identifier.
func probes() (list []probe) {
	for family := range 2 {
		add := func(inward bool, src, dst []string) {
			for protocol, ports := range map[string][]int{
				"tcp": {22, 23, 25, 80, 113, 443, 445, 8000, 8080, 9999}, "udp": {7, 53, 123, 161, 162, 500, 9000, 9999}, "ping": {0},
			} {
				for _, port := range ports {
					list = append(list, probe{inward, netip.MustParseAddr(src[family]), netip.MustParseAddr(dst[family]), protocol, port})
				}
			}
		}
		for _, src := range [][]string{clientA, clientB} {
			for _, dst := range [][]string{server1, server2, server3} {
				add(false, src, dst)
			}
			add(true, server1, src)
		}
	}
	slices.SortFunc(list, func(a, b probe) int { return strings.Compare(a.String(), b.String()) })
	return list
}

const firstProbe = 20000 // number of the first

// frame returns the packet of a probe.
func (p probe) frame(t *testing.T, number int, from, to net.HardwareAddr) []byte {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: from, DstMAC: to, EthernetType: layers.EthernetTypeIPv4}
	protocol := map[string]layers.IPProtocol{"tcp": layers.IPProtocolTCP, "udp": layers.IPProtocolUDP, "ping": layers.IPProtocolICMPv4}[p.protocol]
	var ip gopacket.SerializableLayer = &layers.IPv4{Version: 4, IHL: 5, TTL: 64, Protocol: protocol, SrcIP: p.src.AsSlice(), DstIP: p.dst.AsSlice()}
	if p.src.Is6() {
		eth.EthernetType = layers.EthernetTypeIPv6
		if p.protocol == "ping" {
			protocol = layers.IPProtocolICMPv6
		}
		ip = &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: protocol, SrcIP: p.src.AsSlice(), DstIP: p.dst.AsSlice()}
	}
	stack := []gopacket.SerializableLayer{eth, ip}
	network := ip.(gopacket.NetworkLayer)
	switch {
	case p.protocol == "tcp":
		tcp := &layers.TCP{SrcPort: layers.TCPPort(number), DstPort: layers.TCPPort(p.port), Seq: 1000, SYN: true, Window: 1000}
		_ = tcp.SetNetworkLayerForChecksum(network) // it is one of the two that it knows
		stack = append(stack, tcp)
	case p.protocol == "udp":
		udp := &layers.UDP{SrcPort: layers.UDPPort(number), DstPort: layers.UDPPort(p.port)}
		_ = udp.SetNetworkLayerForChecksum(network)
		stack = append(stack, udp, gopacket.Payload("hello"))
	case p.src.Is4():
		stack = append(stack, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoRequest, 0), Id: uint16(number)})
	default:
		icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeEchoRequest, 0)}
		_ = icmp.SetNetworkLayerForChecksum(network)
		stack = append(stack, icmp, &layers.ICMPv6Echo{Identifier: uint16(number)})
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, stack...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// numberOf returns the number of the probe that a packet is, answers, or quotes, and what it is.
func numberOf(frame []byte) (number int, what string) {
	var h packet.Headers
	packet.Decode(frame, len(frame), &h)
	isNumber := func(port uint16) bool { return port >= firstProbe && port < firstProbe+10000 }
	switch {
	case h.ICMPError():
		// Behind the quoted addresses are the ports, or, of an echo, the identifier.
		header, at := 20, 0
		if h.Family == packet.IPv6 {
			header = 40
		}
		at = int(h.L3) + header + 8 + header
		if len(frame) < at+6 {
			return 0, ""
		}
		return int(frame[at])<<8 | int(frame[at+1]), fmt.Sprintf("ICMP error %d, %d", h.ICMPType, h.ICMPCode)
	case h.Proto == packet.ProtoTCP && isNumber(h.SrcPort), h.Proto == packet.ProtoUDP && isNumber(h.SrcPort), h.EchoRequest() && isNumber(h.SrcPort):
		return int(h.SrcPort), "probe"
	case h.Proto == packet.ProtoTCP && isNumber(h.DstPort):
		return int(h.DstPort), fmt.Sprintf("TCP flags %#x, acknowledging %d", h.TCPFlags, h.TCPAck)
	case h.Proto == packet.ProtoUDP && isNumber(h.DstPort):
		return int(h.DstPort), "UDP answer"
	case h.EchoReply():
		return max(int(h.SrcPort), int(h.DstPort)), "echo reply"
	}
	return 0, ""
}

// outcomes sends the probes, and returns what became of each: whether it has arrived, and what its sender was told. way are the
// stations that the hosts send to. A last packet, which is let through, shows that the others have been decided.
func (n *network) outcomes(list []probe, way [2]net.HardwareAddr) []string {
	n.t.Helper()
	for _, h := range []*nettest.Host{n.client, n.server, n.tap} {
		h.Do(func() { // answers are not to be limited in rate
			for name, value := range map[string]string{"ipv4/icmp_ratemask": "0", "ipv6/icmp/ratelimit": "0", "ipv6/icmp/ratemask": ""} {
				n.must(os.WriteFile("/proc/sys/net/"+name, []byte(value+"\n"), 0))
			}
		})
	}
	hosts := [2]*nettest.Host{n.client, n.server}
	var sniffers [2]*sniffer
	var wires [2]*nettest.Wire
	var own [2]net.HardwareAddr
	for i, h := range hosts {
		sniffers[i], wires[i], own[i] = n.sniff(h), h.Wire("eth0"), h.Link("eth0").Attrs().HardwareAddr
	}
	send := func(p probe, number int) {
		side := 0
		if p.inward {
			side = 1
		}
		wires[side].Send(p.frame(n.t.(*testing.T), number, own[side], way[side]))
	}
	arrived, told := make(map[int]bool), make(map[int]string)
	look := func() {
		for _, s := range sniffers {
			s.read()
			for _, frames := range s.received {
				for _, frame := range frames {
					switch number, what := numberOf(frame); {
					case what == "probe":
						arrived[number] = true
					case what != "" && told[number] == "":
						told[number] = what
					}
				}
			}
			clear(s.received)
			clear(s.sent)
		}
	}
	last := probe{false, netip.MustParseAddr(clientA[0]), netip.MustParseAddr(server1[0]), "ping", 0}
	for i, p := range list {
		send(p, firstProbe+i)
		if i%16 == 15 || i == len(list)-1 { // no more than fit the buffers at once
			number := firstProbe + 5000 + i
			send(last, number)
			eventually(n.t, "the last of some probes is answered", func() bool { look(); return told[number] != "" })
		}
	}
	// What has arrived is answered by the host that it arrived at.
	unanswered := func() (waiting []string) {
		for i, p := range list {
			if arrived[firstProbe+i] && told[firstProbe+i] == "" {
				waiting = append(waiting, p.String())
			}
		}
		return waiting
	}
	n.t.Cleanup(func() {
		if n.t.Failed() {
			n.t.Logf("not answered: %q", unanswered())
		}
	})
	eventually(n.t, "what has arrived is answered", func() bool {
		look()
		return len(unanswered()) == 0
	})
	results := make([]string, len(list))
	for i := range list {
		results[i] = "stopped"
		if arrived[firstProbe+i] {
			results[i] = "arrived"
		}
		if results[i] += ", "; told[firstProbe+i] == "" {
			results[i] += "silence"
		}
		results[i] += told[firstProbe+i]
	}
	return results
}

// listen makes the server take connections to port 80. All other ports are closed.
func (n *network) listen() {
	n.t.Helper()
	n.server.Do(func() {
		l, err := net.Listen("tcp", ":80")
		n.must(err)
		n.t.Cleanup(func() { _ = l.Close() })
	})
}

// The same rules decide the same in a bridge of this project and in a router with nftables, and tell the clients the same.
func TestBridgeAgreesWithNftables(t *testing.T) {
	nettest.RequireCommands(t, "ip")
	list := probes()

	r := nettest.NewRouter(t)
	r.Rules(nftables())
	router := &network{t: t, client: r.LAN, server: r.WAN, tap: r.Host}
	r.LAN.Address("eth0", clientB[0]+"/24")
	r.LAN.Address("eth0", clientB[1]+"/64")
	for _, server := range [][]string{server2, server3} {
		r.WAN.Address("eth0", server[0]+"/24")
		r.WAN.Address("eth0", server[1]+"/64")
	}
	r.WAN.Route("10.20.1.0/24", nettest.WANRouter)
	router.listen()
	theirs := router.outcomes(list, [2]net.HardwareAddr{r.Link("lan0").Attrs().HardwareAddr, r.Link("wan0").Attrs().HardwareAddr})

	n := bridged(t)
	for h, addresses := range map[*nettest.Host][][]string{n.client: {clientA, clientB}, n.server: {server1, server2, server3}} {
		for _, a := range addresses {
			h.Address("eth0", a[0]+"/24")
			h.Address("eth0", a[1]+"/64")
		}
		h.Run("ip", "route", "replace", "10.20.1.0/24", "dev", "eth0")
		h.Run("ip", "route", "replace", "198.51.100.0/24", "dev", "eth0")
		h.Run("ip", "-6", "route", "replace", "fd20::/16", "dev", "eth0")
	}
	n.listen()
	before, _, _ := strings.Cut(bridgeConfig, "[hooks.policies]")
	_, after, _ := strings.Cut(bridgeConfig, "[sinks.events]")
	d := startWith(n, before+policies()+"[sinks.events]"+after, "")
	ours := n.outcomes(list, [2]net.HardwareAddr{n.server.Link("eth0").Attrs().HardwareAddr, n.client.Link("eth0").Attrs().HardwareAddr})

	kinds := make(map[string]int)
	for i, p := range list {
		kinds[ours[i]]++
		if ours[i] != theirs[i] {
			t.Errorf("%v: %s; with nftables %s", p, ours[i], theirs[i])
		}
	}
	t.Logf("%d flows by %d rules: %v", len(list), len(rules), kinds)
	for _, want := range []string{"stopped, silence", "stopped, TCP flags 0x14, acknowledging 1001", "stopped, ICMP error 3, 3", "stopped, ICMP error 1, 4", "arrived, echo reply"} {
		if kinds[want] == 0 {
			t.Errorf("no flow was %s", want)
		}
	}
	eventually(t, "every denied flow is told", func() bool {
		denied := 0
		for _, result := range ours {
			if strings.HasPrefix(result, "stopped") {
				denied++
			}
		}
		return bytes.Count([]byte(d.events()), []byte("RT_FLOW_SESSION_DENY")) >= denied
	})
	d.stop()
}

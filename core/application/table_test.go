package application

import (
	"slices"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/testing/race"
)

func TestService(t *testing.T) {
	table := Predefined()
	for _, c := range []struct {
		proto uint8
		port  uint16
		want  string
	}{
		{packet.ProtoTCP, 80, "junos-http"},
		{packet.ProtoTCP, 443, "junos-https"},
		{packet.ProtoTCP, 23, "junos-telnet"},
		{packet.ProtoUDP, 53, "junos-dns-udp"},
		{packet.ProtoTCP, 53, "junos-dns-tcp"},
		{packet.ProtoTCP, 5191, "junos-aol"},
		{packet.ProtoTCP, 5194, ""},
		{packet.ProtoTCP, 6063, "junos-x-windows"},
		{packet.ProtoUDP, 5060, "junos-sip"},
		{packet.ProtoTCP, 5060, "junos-sip"},
		{packet.ProtoUDP, 3479, "junos-stun"},
		{packet.ProtoTCP, 1720, "junos-h323"},
		{packet.ProtoUDP, 1719, "junos-h323"},
		// Several names: the first one listed.
		{packet.ProtoTCP, 25, "junos-smtp"},
		{packet.ProtoTCP, 139, "junos-netbios-session"},
		{packet.ProtoTCP, 389, "junos-ldap"},
		{packet.ProtoTCP, 445, "junos-smb-session"},
		{packet.ProtoTCP, 515, "junos-printer"},
		{packet.ProtoUDP, 67, "junos-dhcp-server"},
		{packet.ProtoUDP, 111, "junos-nfs"},
		{packet.ProtoUDP, 2123, "junos-gtp"},
		// Applications that mean a whole transport protocol name nothing.
		{packet.ProtoTCP, 0, ""},
		{packet.ProtoTCP, 1, ""},
		{packet.ProtoTCP, 65535, ""},
		{packet.ProtoUDP, 40000, ""},
		{packet.ProtoSCTP, 80, ""},
		{packet.ProtoICMP, 80, "icmp"},
		{packet.ProtoICMPv6, 0, "icmpv6"},
		{47, 0, "junos-gre"},
		{89, 0, "junos-ospf"},
		{50, 0, ""},
		{0, 80, ""},
	} {
		id := table.Service(c.proto, c.port)
		if got := table.Names()[id]; got != c.want {
			t.Errorf("Service(%d, %d) = %q, want %q", c.proto, c.port, got, c.want)
		}
	}
}

// TestServiceAgainstList compares the index with a walk over the list, for every protocol and port.
func TestServiceAgainstList(t *testing.T) {
	table := Predefined()
	walk := func(proto uint8, port uint16) string {
		switch proto {
		case packet.ProtoICMP:
			return "icmp"
		case packet.ProtoICMPv6:
			return "icmpv6"
		}
		for _, app := range predefinedApps {
			if app.name == "junos-tcp-any" || app.name == "junos-udp-any" || app.name == "junos-sctp-any" {
				continue
			}
			for _, term := range app.terms {
				if term.Proto == proto && term.Dst.Lo <= port && port <= term.Dst.Hi {
					return app.name
				}
			}
		}
		return ""
	}
	for proto := range 256 {
		step := 1
		if proto != packet.ProtoTCP && proto != packet.ProtoUDP {
			step = 4099 // the port does not matter
		}
		for port := 0; port < 65536; port += step {
			id := table.Service(uint8(proto), uint16(port))
			if got, want := table.Names()[id], walk(uint8(proto), uint16(port)); got != want {
				t.Fatalf("Service(%d, %d) = %q, want %q", proto, port, got, want)
			}
		}
	}
}

func TestNames(t *testing.T) {
	table := Predefined()
	names := table.Names()
	if names[None] != "" || names[ICMP] != "icmp" || names[ICMPv6] != "icmpv6" {
		t.Fatalf("names begin %q", names[:firstPredefined])
	}
	seen := make(map[string]bool)
	for _, n := range names[firstPredefined:] {
		if !strings.HasPrefix(n, "junos-") || seen[n] {
			t.Errorf("name %q is not one of a predefined application, or stands twice", n)
		}
		seen[n] = true
		if _, ok := table.Resolve(n); !ok {
			t.Errorf("Resolve(%q) knows nothing", n)
		}
	}
	if !slices.Equal(Predefined().Names(), names) {
		t.Error("ids differ from one table to the next")
	}
}

func TestTimeout(t *testing.T) {
	table := Predefined()
	for id, name := range table.Names() {
		want := uint32(0)
		if name == "junos-http" {
			want = 300
		}
		if got := table.Timeout(uint16(id)); got != want {
			t.Errorf("Timeout of %q = %d, want %d", name, got, want)
		}
	}
	if got := table.Timeout(65535); got != 0 {
		t.Errorf("Timeout of an unknown id = %d", got)
	}
}

func TestResolve(t *testing.T) {
	for _, c := range []struct {
		name string
		want []Term
	}{
		{"junos-ssh", tcp(22)},
		{"junos-http", withTimeout(300, tcp(80))},
		{"junos-cifs", join(tcp(139), tcp(445))},
		{"junos-mgcp", join(udp(2427), udp(2727))},
		{"junos-ms-rpc", join(tcp(135), udp(135))},
		{"junos-sun-rpc", join(tcp(111), udp(111))},
		{"junos-routing-inbound", join(tcp(179), udp(520), tcp(646), udp(646))},
		{"junos-smb", join(tcp(139), tcp(445))},
		{"junos-tcp-any", tcpRange(1, 65535)},
		{"junos-ping", protocol(packet.ProtoICMP)},
		{"junos-icmp-ping", icmp(packet.ProtoICMP, 8, AnyICMP)},
		{"junos-icmp6-dst-unreach-port", icmp(packet.ProtoICMPv6, 1, 4)},
		{"junos-icmp6-time-exceed-reassembly", icmp(packet.ProtoICMPv6, 3, 1)},
	} {
		got, ok := Predefined().Resolve(c.name)
		if !ok || !slices.Equal(got, c.want) {
			t.Errorf("Resolve(%q) = %v, %v, want %v", c.name, got, ok, c.want)
		}
	}
	for _, name := range []string{"", "any", "icmp", "http", "junos-htp"} {
		if got, ok := Predefined().Resolve(name); ok {
			t.Errorf("Resolve(%q) = %v, want nothing", name, got)
		}
	}
}

func TestKnown(t *testing.T) {
	known := Predefined().Known()
	if !slices.IsSorted(known) {
		t.Error("not sorted")
	}
	if want := len(predefinedApps) + len(predefinedSets); len(known) != want {
		t.Errorf("%d names, want %d", len(known), want)
	}
	for _, name := range []string{"junos-http", "junos-cifs"} {
		if !slices.Contains(known, name) {
			t.Errorf("%q is missing", name)
		}
	}
}

func TestTermMatch(t *testing.T) {
	web := tcp(80)[0]
	fromLow := Term{Proto: packet.ProtoUDP, Src: Range{0, 1023}, Dst: AnyPort(), ICMPType: AnyICMP, ICMPCode: AnyICMP}
	ping := icmp(packet.ProtoICMP, 8, 0)[0]
	allICMP := protocol(packet.ProtoICMP)[0]
	gre := protocol(protoGRE)[0]
	sctp := protocol(packet.ProtoSCTP)[0]
	head := func(proto uint8, src, dst uint16) packet.Headers {
		return packet.Headers{Tuple: packet.Tuple{Proto: proto, SrcPort: src, DstPort: dst}, HasHead: true}
	}
	echo := head(packet.ProtoICMP, 7, 9)
	echo.ICMPType = 8
	reply := echo
	reply.ICMPType = 0
	code := echo
	code.ICMPCode = 1
	fragment := head(packet.ProtoTCP, 0, 0)
	fragment.HasHead = false
	udpFragment := head(packet.ProtoUDP, 0, 0)
	udpFragment.HasHead = false
	icmpFragment := packet.Headers{Tuple: packet.Tuple{Proto: packet.ProtoICMP}}
	sctpFragment := packet.Headers{Tuple: packet.Tuple{Proto: packet.ProtoSCTP}}
	for _, c := range []struct {
		name string
		term Term
		h    packet.Headers
		want bool
	}{
		{"port", web, head(packet.ProtoTCP, 40000, 80), true},
		{"other port", web, head(packet.ProtoTCP, 40000, 81), false},
		{"source port is not destination port", web, head(packet.ProtoTCP, 80, 40000), false},
		{"other protocol", web, head(packet.ProtoUDP, 40000, 80), false},
		{"source range", fromLow, head(packet.ProtoUDP, 1023, 5), true},
		{"outside of source range", fromLow, head(packet.ProtoUDP, 1024, 5), false},
		{"fragment has no port", web, fragment, false},
		{"fragment has no port 0 either", fromLow, udpFragment, false},
		{"fragment of a protocol as a whole", sctp, sctpFragment, true},
		{"icmp type and code", ping, echo, true},
		{"icmp other type", ping, reply, false},
		{"icmp other code", ping, code, false},
		{"icmp fragment has no type", ping, icmpFragment, false},
		{"icmp any type", allICMP, icmpFragment, true},
		{"protocol only", gre, packet.Headers{Tuple: packet.Tuple{Proto: 47}}, true},
		{"protocol only, other", gre, packet.Headers{Tuple: packet.Tuple{Proto: 50}}, false},
	} {
		if got := c.term.Match(&c.h); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestServiceAllocates(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	table := Predefined()
	term := tcp(80)[0]
	h := packet.Headers{Tuple: packet.Tuple{Proto: packet.ProtoTCP, DstPort: 80}, HasHead: true}
	var sum int
	if n := testing.AllocsPerRun(100, func() {
		id := table.Service(packet.ProtoTCP, 443)
		sum += int(table.Timeout(id))
		if term.Match(&h) {
			sum++
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkService(b *testing.B) {
	table := Predefined()
	var sum uint16
	port := uint16(1)
	for b.Loop() {
		port = port*25173 + 13849 // every port, in no order
		sum += table.Service(packet.ProtoTCP, port)
	}
	_ = sum
}

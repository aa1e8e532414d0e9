package filterlog

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/testing/race"
)

// fiftyTerms is a filter as one finds them at the edge of a network: 49 terms of many kinds, and one for the rest.
func fiftyTerms() string {
	var b strings.Builder
	add := func(from, then string) {
		fmt.Fprintf(&b, "[[hooks.f.term]]\nname = \"t%d\"\nfrom = { %s }\nthen = %s\n", strings.Count(b.String(), "[["), from, then)
	}
	b.WriteString(`attach = { input = ["wan0"] }
[hooks.f.prefix-lists]
bogons = ["0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/3", "fc00::/7"]
admins = ["198.51.100.0/25", "198.51.100.200", "2001:db8:ad::/48"]
peers  = ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
`)
	add(`source-prefix-list = "bogons"`, `["count bogons", "discard"]`)
	add(`destination-address = "203.0.113.255"`, `"discard"`)
	add(`is-fragment = true, protocol = "udp"`, `["log", "discard"]`)
	add(`ttl = 0`, `"discard"`)
	add(`protocol = "tcp", tcp-flags = "syn & fin"`, `["log", "discard"]`)
	add(`source-prefix-list = "peers", protocol = "tcp", port = "bgp"`, `"accept"`)
	add(`protocol = "tcp", port = "bgp"`, `["log", "reject"]`)
	add(`icmp-type = ["redirect", "timestamp", "info-request", "mask-request"]`, `"discard"`)
	add(`protocol = "udp", source-port = ["ntp", 1900, 11211, 19, 17], packet-length = "468-65535"`, `["count amplification", "discard"]`)
	add(`dscp = "cs7"`, `"discard"`)
	for i := range 20 {
		add(fmt.Sprintf(`protocol = "tcp", destination-address = "203.0.113.%d", destination-port = [%d, %d]`, i, 8000+i, 9000+10*i), `"accept"`)
	}
	for i := range 15 {
		add(fmt.Sprintf(`protocol = ["tcp", "udp"], source-address = "192.0.2.%d/28", destination-address = ["203.0.113.0/24", "203.0.113.%d except"]`, 16*i, i), `["count customers", "discard"]`)
	}
	add(`source-prefix-list = "admins", protocol = "tcp", destination-port = ["ssh", 830]`, `"accept"`)
	add(`protocol = "tcp", destination-port = ["ssh", "telnet", 830]`, `["log", "discard"]`)
	add(`protocol = "udp", destination-port = ["snmp", "tftp", "syslog"]`, `["log", "discard"]`)
	add(`protocol = ["ospf", "rsvp", "pim", "vrrp"]`, `"discard"`)
	b.WriteString("[[hooks.f.term]]\nname = \"rest\"\nthen = \"accept\"\n")
	return b.String()
}

// traffic is packets that none of the fifty terms but the last matches.
func traffic(tb testing.TB) []hook.Packet {
	var list []hook.Packet
	for i := range uint16(64) {
		p := tcp(tb, packet.ACK, 443)
		p.Src[3], p.Src[0] = byte(i), 93
		p.Dst, _ = packet.AddrFrom(p.Dst.Netip(packet.IPv4))
		copy(p.Dst[:4], []byte{203, 0, 113, byte(i)})
		p.SrcPort = 30000 + 7*i
		q := p
		q.Proto, q.SrcPort, q.DstPort = packet.ProtoUDP, 443, 30000+7*i
		r := pkt(tb, packet.ProtoTCP, "2a00::1", "2001:db8:5::1")
		r.SrcPort, r.DstPort, r.TCPFlags = 30000+7*i, 443, packet.ACK|packet.PSH
		list = append(list, p, q, p, r)
	}
	return list
}

func TestFiftyTerms(t *testing.T) {
	inst := load(t, fiftyTerms())
	if n := len(inst.Ingress.(*input).actions); n != 50 {
		t.Errorf("%d terms", n)
	}
	for _, p := range traffic(t) {
		if got := inst.Ingress.(*input).match(&p, 0, new(addresses)); got != 1<<49 {
			t.Fatalf("terms %b match %+v; want the last only", got, p.Tuple)
		}
	}
}

// TestInspectAllocatesNothing pins the share that this hook has in P7.
func TestInspectAllocatesNothing(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	inst := load(t, fiftyTerms())
	packets := append(traffic(t), tcp(t, packet.SYN|packet.FIN, 80), laterFragment(udp(t, 1, 2)), udp(t, 9, 161))
	var f hook.Finding
	if n := testing.AllocsPerRun(100, func() {
		for i := range packets {
			f = hook.Finding{}
			inst.Ingress.Inspect(&packets[i], &f)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzInspect: of any packet that decodes, the compiled filter says what the naive one does.
func FuzzInspect(f *testing.F) {
	eth := "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02"
	f.Add([]byte(eth + "\x08\x00\x45\x00\x00\x28\x00\x00\x00\x00\x40\x06\x00\x00\x5d\x00\x00\x01\xcb\x00\x71\x01\x00\x50\x1f\x41\x00\x00\x00\x00\x00\x00\x00\x00\x50\x02\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte(eth + "\x08\x00\x45\xe0\x00\x1d\x00\x00\x1f\xff\x00\x11\x00\x00\x0a\x00\x00\x01\x0a\x00\x00\x02\x08\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte(eth + "\x86\xdd\x60\x00\x00\x00\x00\x08\x11\x40\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x35\x00\xa1\x00\x08\x00\x00"))
	body := fiftyTerms()
	inst := load(f, body)
	want := decodeTest(f, body)
	f.Fuzz(func(t *testing.T, frame []byte) {
		p := hook.Packet{Interface: wan0}
		if packet.Decode(frame, len(frame), &p.Headers) != packet.OK {
			return
		}
		v, found := inspect(inst.Ingress, p)
		wantV, wantFound := naive(want, &p)
		if v != wantV || found != wantFound {
			t.Errorf("%+v\ngot verdict %d and %+v, want %d and %+v", p, v, found, wantV, wantFound)
		}
	})
}

// BenchmarkInspect50Terms is packets of which the last of fifty terms matches.
func BenchmarkInspect50Terms(b *testing.B) {
	inst := load(b, fiftyTerms())
	packets := traffic(b)
	var f hook.Finding
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		inst.Ingress.Inspect(&packets[i%len(packets)], &f)
		i++
	}
}

// BenchmarkInspectNaive50Terms is what BenchmarkInspect50Terms would be if the terms were read one by one.
func BenchmarkInspectNaive50Terms(b *testing.B) {
	s := decodeTest(b, fiftyTerms())
	packets := traffic(b)
	i := 0
	for b.Loop() {
		naive(s, &packets[i%len(packets)])
		i++
	}
}

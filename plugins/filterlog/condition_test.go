package filterlog

import (
	"testing"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
)

// TestConditions has one term with one condition, and packets that match and that do not.
func TestConditions(t *testing.T) {
	type packets map[string]hook.Packet
	from := func(src, dst string) hook.Packet { return pkt(t, packet.ProtoUDP, src, dst) }
	length := func(n uint32) hook.Packet { return with(udp(t, 1, 2), func(p *hook.Packet) { p.IPLen = n }) }
	hops := func(n uint8) hook.Packet { return with(udp(t, 1, 2), func(p *hook.Packet) { p.TTL = n }) }
	class := func(n uint8) hook.Packet { return with(udp(t, 1, 2), func(p *hook.Packet) { p.DSCP = n }) }
	flags := func(n uint8) hook.Packet { return with(udp(t, 1, 2), func(p *hook.Packet) { p.IPFlags = n }) }
	for _, test := range []struct {
		from       string
		match, not packets
	}{
		{
			`source-address = "198.51.100.0/24"`,
			packets{"first": from("198.51.100.0", "10.0.0.1"), "last": from("198.51.100.255", "10.0.0.1")},
			packets{"outside": from("198.51.101.0", "10.0.0.1"), "destination": from("10.0.0.1", "198.51.100.1")},
		},
		{
			`destination-address = ["10.0.0.0/8", "2001:db8::/32"]`,
			packets{"v4": from("1.2.3.4", "10.255.0.1"), "v6": from("::1", "2001:db8::1")},
			packets{"source": from("10.0.0.1", "1.2.3.4"), "other v6": from("2001:db8::1", "::1")},
		},
		{
			`address = "10.0.0.0/8"`,
			packets{"source": from("10.0.0.1", "1.2.3.4"), "destination": from("1.2.3.4", "10.0.0.1")},
			packets{"neither": from("1.2.3.4", "4.3.2.1"), "same bytes in v6": from("a00:1::", "a00:2::")},
		},
		{ // the longest prefix decides, in whatever order
			`source-address = ["10.1.0.0/16 except", "10.0.0.0/8", "10.1.2.0/24", { prefix = "10.1.2.3", except = true }]`,
			packets{"/8": from("10.2.0.1", "1.1.1.1"), "/24": from("10.1.2.4", "1.1.1.1")},
			packets{"/16": from("10.1.3.1", "1.1.1.1"), "/32": from("10.1.2.3", "1.1.1.1"), "none": from("11.0.0.1", "1.1.1.1")},
		},
		{
			`address = ["0.0.0.0/0", "10.0.0.0/8 except"]`,
			packets{"one side": from("10.0.0.1", "1.2.3.4")},
			packets{"both sides excepted": from("10.0.0.1", "10.0.0.2"), "v6": from("::1", "::2")},
		},
		{
			`source-prefix-list = ["nets", "hosts except"]`,
			packets{"": from("10.0.0.1", "1.1.1.1"), "v6": from("2001:db8::1", "::1")},
			packets{"except": from("10.0.0.9", "1.1.1.1"), "outside": from("1.1.1.1", "10.0.0.1")},
		},
		{
			`destination-prefix-list = { name = "hosts" }`,
			packets{"": from("1.1.1.1", "10.0.0.9")}, packets{"": from("10.0.0.9", "1.1.1.1")},
		},
		{
			`prefix-list = "hosts"`,
			packets{"dst": from("1.1.1.1", "10.0.0.9"), "src": from("10.0.0.9", "1.1.1.1")}, packets{"": from("1.1.1.1", "1.1.1.2")},
		},
		{
			`protocol = ["tcp", 47, "50-51"]`,
			packets{"tcp": tcp(t, 0, 80), "gre": pkt(t, 47, "1.1.1.1", "1.1.1.2"), "ah in v6": pkt(t, 51, "::1", "::2"), "fragment": laterFragment(tcp(t, 0, 80))},
			packets{"udp": udp(t, 1, 2), "0": pkt(t, 0, "1.1.1.1", "1.1.1.2")},
		},
		{`next-header = "icmp6"`, packets{"": icmp(t, 58, 128, 0)}, packets{"": icmp(t, 1, 8, 0)}},
		{`payload-protocol = "udp"`, packets{"": udp(t, 1, 2)}, packets{"": tcp(t, 0, 2)}},
		{`protocol-except = ["tcp", "udp"]`, packets{"": icmp(t, 1, 8, 0)}, packets{"tcp": tcp(t, 0, 1), "udp": udp(t, 1, 2)}},
		{
			`destination-port = ["domain", "8000-8080", 443]`,
			packets{"name": udp(t, 9, 53), "low": tcp(t, 0, 8000), "high": tcp(t, 0, 8080), "sctp": with(tcp(t, 0, 443), func(p *hook.Packet) { p.Proto = packet.ProtoSCTP })},
			packets{
				"source": udp(t, 53, 9), "below": tcp(t, 0, 7999), "above": tcp(t, 0, 8081),
				"echo with sequence 53": icmp(t, 1, 8, 0), "later fragment": laterFragment(udp(t, 9, 53)),
			},
		},
		{`source-port = "ntp"`, packets{"": udp(t, 123, 9)}, packets{"": udp(t, 9, 123), "later fragment": laterFragment(udp(t, 123, 9))}},
		{
			`port = "http"`,
			packets{"source": tcp(t, 0, 80), "destination": udp(t, 80, 9)},
			packets{"neither": udp(t, 81, 79), "later fragment": laterFragment(tcp(t, 0, 80))},
		},
		{
			`destination-port-except = ["http", "1024-65535"]`,
			packets{"": tcp(t, 0, 79), "0": tcp(t, 0, 0)},
			packets{"": tcp(t, 0, 80), "range": tcp(t, 0, 65535), "no port": icmp(t, 1, 8, 0), "later fragment": laterFragment(tcp(t, 0, 79))},
		},
		{`source-port-except = 80`, packets{"": udp(t, 79, 80)}, packets{"": udp(t, 80, 79)}},
		{
			`port-except = 80`, packets{"": udp(t, 79, 81)},
			packets{"source": udp(t, 80, 81), "destination": udp(t, 79, 80), "later fragment": laterFragment(udp(t, 79, 81))},
		},
		{
			`tcp-flags = "syn & !ack"`,
			packets{"SYN": tcp(t, packet.SYN, 80), "SYN FIN": tcp(t, packet.SYN|packet.FIN, 80), "first fragment": firstFragment(tcp(t, packet.SYN, 80))},
			packets{"SYN ACK": tcp(t, packet.SYN|packet.ACK, 80), "none": tcp(t, 0, 80), "UDP": udp(t, 1, 2), "later fragment": laterFragment(tcp(t, packet.SYN, 80))},
		},
		{`tcp-flags = ["fin", "rst"]`, packets{"": tcp(t, packet.RST|packet.ACK, 80)}, packets{"": tcp(t, packet.SYN, 80)}},
		{`tcp-flags = "!syn"`, packets{"": tcp(t, 0, 80)}, packets{"SYN": tcp(t, packet.SYN, 80), "UDP": udp(t, 1, 2)}},
		{`tcp-flags = 0x12`, packets{"": tcp(t, packet.SYN|packet.ACK, 80)}, packets{"": tcp(t, packet.SYN, 80)}},
		{`tcp-initial = true`, packets{"": tcp(t, packet.SYN, 80)}, packets{"SYN ACK": tcp(t, packet.SYN|packet.ACK, 80), "UDP": udp(t, 1, 2)}},
		{
			`tcp-established = true`,
			packets{"ACK": tcp(t, packet.ACK, 80), "RST": tcp(t, packet.RST, 80)},
			packets{"SYN": tcp(t, packet.SYN, 80), "UDP": udp(t, 1, 2), "later fragment": laterFragment(tcp(t, packet.ACK, 80))},
		},
		{
			`is-fragment = true`,
			packets{"later": laterFragment(udp(t, 1, 2))}, packets{"first": firstFragment(udp(t, 1, 2)), "whole": udp(t, 1, 2)},
		},
		{
			`first-fragment = true`,
			packets{"first": firstFragment(udp(t, 1, 2))}, packets{"later": laterFragment(udp(t, 1, 2)), "whole": udp(t, 1, 2)},
		},
		{`fragment-offset = 185`, packets{"1480 bytes": laterFragment(udp(t, 1, 2))}, packets{"": udp(t, 1, 2)}},
		{`fragment-offset-except = 0`, packets{"": laterFragment(udp(t, 1, 2))}, packets{"": udp(t, 1, 2)}},
		{`fragment-flags = "dont-fragment"`, packets{"": flags(packet.DontFragment)}, packets{"": flags(packet.MoreFragments)}},
		{`fragment-flags = "may-fragment & !more-fragments"`, packets{"": flags(0)}, packets{"DF": flags(2), "MF": flags(1)}},
		{`fragment-flags = 0x6000`, packets{"": flags(3)}, packets{"DF": flags(2), "MF": flags(1)}},
		{
			`icmp-type = ["echo-request", 13]`,
			packets{"v4": icmp(t, 1, 8, 0), "v6": icmp(t, 58, 128, 0), "number": icmp(t, 1, 13, 0), "number, v6": icmp(t, 58, 13, 0)},
			packets{"reply": icmp(t, 1, 0, 0), "8 in v6": icmp(t, 58, 8, 0), "128 in v4": icmp(t, 1, 128, 0), "UDP": udp(t, 1, 2), "later fragment": laterFragment(icmp(t, 1, 8, 0))},
		},
		{`icmp-type = "neighbor-solicit"`, packets{"": icmp(t, 58, 135, 0)}, packets{"": icmp(t, 1, 135, 0)}},
		{`icmp-type-except = "echo-request"`, packets{"": icmp(t, 1, 0, 0), "8 in v6": icmp(t, 58, 8, 0)}, packets{"": icmp(t, 1, 8, 0), "UDP": udp(t, 1, 2)}},
		{
			`icmp-type = "unreachable", icmp-code = ["port-unreachable", "fragmentation-needed"]`,
			packets{"": icmp(t, 1, 3, 3), "4": icmp(t, 1, 3, 4)},
			packets{"other code": icmp(t, 1, 3, 1), "other type": icmp(t, 1, 11, 3), "v6": icmp(t, 58, 3, 3)},
		},
		{`icmp-type = "unreachable", icmp-code-except = 3`, packets{"": icmp(t, 1, 3, 2)}, packets{"": icmp(t, 1, 3, 3)}},
		{`dscp = ["ef", 10]`, packets{"ef": class(46), "10": class(10)}, packets{"": class(0)}},
		{`traffic-class = "cs6"`, packets{"": class(48)}, packets{"": class(49)}},
		{`dscp-except = "be"`, packets{"": class(1)}, packets{"": class(0)}},
		{`packet-length = ["100-200", 576]`, packets{"low": length(100), "high": length(200), "one": length(576)}, packets{"": length(99), "above": length(201)}},
		{`packet-length-except = "0-1500"`, packets{"": length(1501), "longest": length(65575)}, packets{"": length(1500)}},
		{`ttl = "0-5"`, packets{"": hops(0), "5": hops(5)}, packets{"": hops(6)}},
		{`hop-limit = 255`, packets{"": hops(255)}, packets{"": hops(254)}},
		{`ttl-except = 64`, packets{"": hops(63)}, packets{"": hops(64)}},
		{ // conditions are ANDed, values ORed
			`protocol = ["tcp", "udp"], destination-port = [53, 80], source-address = "198.51.100.1"`,
			packets{"udp": udp(t, 1, 53), "tcp": tcp(t, 0, 80)}, packets{"port": udp(t, 1, 54), "protocol": icmp(t, 1, 8, 0)},
		},
	} {
		t.Run(test.from, func(t *testing.T) {
			inst := load(t, `
prefix-lists = { nets = ["10.0.0.0/8", "2001:db8::/32"], hosts = "10.0.0.9" }
term = [{ name = "t", from = { `+test.from+` }, then = "accept" }]`)
			for name, p := range test.match {
				if v, f := inspect(inst.Ingress, p); v != hook.Pass || f.Found {
					t.Errorf("%s: does not match", name)
				}
			}
			for name, p := range test.not {
				if v, f := inspect(inst.Ingress, p); v != hook.Drop || f.Found {
					t.Errorf("%s: matches", name)
				}
			}
		})
	}
}

// TestAddressesOfOneFamilyNeverMatchTheOther pins what other firewalls get wrong: no entry for a family is not "any".
func TestAddressesOfOneFamilyNeverMatchTheOther(t *testing.T) {
	for _, key := range []string{"source-address", "destination-address", "address"} {
		v4 := load(t, `term = [{ name = "t", from = { `+key+` = "0.0.0.0/0" } }]`)
		v6 := load(t, `term = [{ name = "t", from = { `+key+` = "::/0" } }]`)
		for _, p := range []hook.Packet{
			pkt(t, packet.ProtoUDP, "2001:db8::1", "2001:db8::2"), pkt(t, packet.ProtoUDP, "::ffff:10.0.0.1", "::ffff:10.0.0.2"),
		} {
			if v, _ := inspect(v4.Ingress, p); v != hook.Drop {
				t.Errorf("%s: 0.0.0.0/0 matches IPv6", key)
			}
			if v, _ := inspect(v6.Ingress, p); v != hook.Pass {
				t.Errorf("%s: ::/0 does not match IPv6", key)
			}
		}
		p := udp(t, 1, 2)
		if v, _ := inspect(v6.Ingress, p); v != hook.Drop {
			t.Errorf("%s: ::/0 matches IPv4", key)
		}
	}
}

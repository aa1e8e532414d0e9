package screendrop

import (
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
)

func fragment(p hook.Packet, off uint16, data uint32, more bool) hook.Packet {
	p.Fragment, p.FragOff, p.DataLen = true, off, data
	p.HasHead, p.HasL4 = off == 0, off == 0
	if more {
		p.IPFlags = packet.MoreFragments
	}
	return p
}

func with(p hook.Packet, change func(*hook.Packet)) hook.Packet {
	change(&p)
	return p
}

// plain returns the packet with the mark that the decoder gives most, if it is one of those.
func plain(p hook.Packet) hook.Packet {
	p.Plain = p.Family == packet.IPv4 && (p.Proto == packet.ProtoTCP || p.Proto == packet.ProtoUDP) && p.HasL4 && !p.Fragment && p.Options == 0
	return p
}

// TestSignatures has each screen alone on, and packets on both sides of its condition. Whether a packet is marked as plain changes
// nothing.
func TestSignatures(t *testing.T) {
	option := func(o packet.Options) hook.Packet {
		return with(udp(t), func(p *hook.Packet) { p.Options = o })
	}
	self := func(p hook.Packet) hook.Packet {
		p.Src = p.Dst
		return p
	}
	type packets map[string]hook.Packet
	for _, test := range []struct {
		config, want string
		fires, quiet packets
	}{
		{
			`tcp.syn-fin = true`, "drop, drop: syn-fin",
			packets{"SYN FIN": tcp(t, packet.SYN|packet.FIN), "all": tcp(t, 0x3f)},
			packets{"SYN": tcp(t, packet.SYN), "FIN ACK": tcp(t, packet.FIN|packet.ACK)},
		},
		{
			`tcp.tcp-no-flag = true`, "drop, drop: tcp-no-flag",
			packets{"null": tcp(t, 0)},
			packets{"ACK": tcp(t, packet.ACK), "UDP": udp(t), "later fragment": fragment(tcp(t, 0), 1480, 100, false)},
		},
		{
			`tcp.fin-no-ack = true`, "drop, drop: fin-no-ack",
			packets{"FIN": tcp(t, packet.FIN), "xmas": tcp(t, packet.FIN|packet.PSH|packet.URG)},
			packets{"FIN ACK": tcp(t, packet.FIN|packet.ACK), "SYN": tcp(t, packet.SYN)},
		},
		{
			`tcp.land = true`, "drop, drop: land",
			packets{"SYN to itself": self(tcp(t, packet.SYN))},
			packets{"ACK to itself": self(tcp(t, packet.ACK)), "SYN": tcp(t, packet.SYN), "UDP to itself": self(udp(t))},
		},
		{
			`tcp.winnuke = true`, "pass, alarm: winnuke",
			packets{"URG to 139": with(tcp(t, packet.URG|packet.ACK), func(p *hook.Packet) { p.DstPort = 139 })},
			packets{
				"ACK to 139": with(tcp(t, packet.ACK), func(p *hook.Packet) { p.DstPort = 139 }),
				"URG to 80":  tcp(t, packet.URG|packet.ACK),
			},
		},
		{
			`tcp.syn-frag = true`, "drop, drop: syn-frag",
			packets{
				"SYN, more fragments":          fragment(tcp(t, packet.SYN), 0, 24, true),
				"first fragment without flags": with(fragment(tcp(t, 0), 0, 8, true), func(p *hook.Packet) { p.HasL4 = false }),
				"later fragment with flags":    fragment(tcp(t, 0), 8, 32, true),
			},
			packets{
				"SYN": tcp(t, packet.SYN), "ACK, more fragments": fragment(tcp(t, packet.ACK), 0, 24, true),
				"later fragment":                  fragment(tcp(t, packet.SYN), 24, 24, false),
				"ACK, up to the flags":            fragment(tcp(t, packet.ACK), 0, 16, true),
				"later fragment behind the flags": fragment(tcp(t, packet.SYN), 16, 8, true),
				"later fragment of UDP":           fragment(udp(t), 8, 8, true),
			},
		},
		{
			`icmp.ping-death = true`, "drop, drop: ping-death",
			packets{"ends at 65536": fragment(icmp(t), 65528, 8, false), "well beyond": fragment(icmp(t), 65120, 1000, false),
				"not the last": fragment(icmp(t), 65528, 8, true), "odd and not the last": fragment(icmp(t), 65120, 417, true)},
			packets{
				"ends at 65535": fragment(icmp(t), 65528, 7, false),
				"UDP":           fragment(udp(t), 65528, 100, false),
				"large, whole":  with(icmp(t), func(p *hook.Packet) { p.DataLen = 65515 }),
			},
		},
		{
			`icmp.fragment = true`, "drop, drop: icmp-fragment",
			packets{"first": fragment(icmp(t), 0, 1480, true), "last": fragment(icmp(t), 1480, 10, false)},
			packets{"whole": icmp(t), "UDP": fragment(udp(t), 0, 1480, true)},
		},
		{
			`icmp.large = true`, "drop, drop: icmp-large",
			packets{
				"1025":   with(icmp(t), func(p *hook.Packet) { p.IPLen = 1025 }),
				"ICMPv6": with(pkt(t, packet.ProtoICMPv6, "2001:db8::1", "2001:db8::2"), func(p *hook.Packet) { p.IPLen = 1400 }),
			},
			packets{
				"1024": with(icmp(t), func(p *hook.Packet) { p.IPLen = 1024 }),
				"UDP":  with(udp(t), func(p *hook.Packet) { p.IPLen = 1400 }),
			},
		},
		{
			`ip.block-frag = true`, "drop, drop: block-frag",
			packets{"first": fragment(udp(t), 0, 1480, true), "last": fragment(tcp(t, 0), 1480, 10, false)},
			packets{"whole": udp(t)},
		},
		{
			`ip.unknown-protocol = true`, "drop, drop: unknown-protocol",
			packets{"137": pkt(t, 137, "192.0.2.1", "192.0.2.2"), "255": pkt(t, 255, "192.0.2.1", "192.0.2.2")},
			packets{"136": pkt(t, 136, "192.0.2.1", "192.0.2.2"), "0": pkt(t, 0, "192.0.2.1", "192.0.2.2")},
		},
		{`ip.bad-option = true`, "drop, drop: bad-option", packets{"": option(packet.OptBad)}, packets{"": option(^packet.OptBad)}},
		{
			`ip.source-route-option = true`, "drop, drop: source-route-option",
			packets{"loose": option(packet.OptLooseSource), "strict": option(packet.OptStrictSource)},
			packets{"others": option(^(packet.OptLooseSource | packet.OptStrictSource))},
		},
		{
			`ip.loose-source-route-option = true`, "drop, drop: loose-source-route-option",
			packets{"": option(packet.OptLooseSource)}, packets{"": option(^packet.OptLooseSource)},
		},
		{
			`ip.strict-source-route-option = true`, "drop, drop: strict-source-route-option",
			packets{"": option(packet.OptStrictSource)}, packets{"": option(^packet.OptStrictSource)},
		},
		{
			`ip.record-route-option = true`, "drop, drop: record-route-option",
			packets{"": option(packet.OptRecordRoute)}, packets{"": option(^packet.OptRecordRoute)},
		},
		{
			`ip.timestamp-option = true`, "drop, drop: timestamp-option",
			packets{"": option(packet.OptTimestamp)}, packets{"": option(^packet.OptTimestamp)},
		},
		{
			`ip.security-option = true`, "drop, drop: security-option",
			packets{"": option(packet.OptSecurity)}, packets{"": option(^packet.OptSecurity)},
		},
		{
			`ip.stream-option = true`, "drop, drop: stream-option",
			packets{"": option(packet.OptStream)}, packets{"": option(^packet.OptStream)},
		},
	} {
		t.Run(test.config, func(t *testing.T) {
			inst := load(t, test.config)
			alarm := load(t, "alarm-without-drop = true\n"+test.config)
			for name, p := range test.fires {
				for range 3 { // every hit makes an event
					if got := seen(inst, p); got != test.want {
						t.Errorf("%s: got %q, want %q", name, got, test.want)
					}
				}
				if got := seen(inst, plain(p)); got != test.want {
					t.Errorf("%s, marked if it is plain: got %q, want %q", name, got, test.want)
				}
				if got, want := seen(alarm, p), strings.Replace(test.want, "drop, drop", "pass, alarm", 1); got != want {
					t.Errorf("%s with alarm-without-drop: got %q, want %q", name, got, want)
				}
				p.InZone = dmz
				if got := seen(inst, p); got != "pass" {
					t.Errorf("%s in a zone without screens: got %q", name, got)
				}
			}
			for name, p := range test.quiet {
				if got := seen(inst, p); got != "pass" {
					t.Errorf("%s: got %q, want it to pass", name, got)
				}
				if got := seen(inst, plain(p)); got != "pass" {
					t.Errorf("%s, marked if it is plain: got %q, want it to pass", name, got)
				}
			}
		})
	}
}

// TestOrder has all screens on: of those that could fire, the documented one does, and only that one.
func TestOrder(t *testing.T) {
	inst := load(t, allScreens)
	all := func(p *hook.Packet) { p.Options = 0xff }
	for _, test := range []struct {
		name, want string
		p          hook.Packet
	}{
		{"every option", "bad-option", with(udp(t), all)},
		{"every option but bad", "loose-source-route-option", with(udp(t), func(p *hook.Packet) { p.Options = ^packet.OptBad })},
		{"ping of death", "ping-death", fragment(icmp(t), 65528, 100, false)},
		{"large ICMP fragment", "icmp-fragment", with(fragment(icmp(t), 0, 1480, true), func(p *hook.Packet) { p.IPLen = 1500 })},
		{"SYN fragment", "syn-frag", fragment(tcp(t, packet.SYN|packet.FIN), 0, 24, true)},
		{"TCP fragment", "block-frag", fragment(tcp(t, 0), 0, 24, true)},
		{"SYN FIN to itself", "syn-fin", with(tcp(t, packet.SYN|packet.FIN), func(p *hook.Packet) { p.Src = p.Dst })},
		{"FIN without ACK to itself", "fin-no-ack", with(tcp(t, packet.FIN), func(p *hook.Packet) { p.Src = p.Dst })},
		{"unknown protocol in fragments", "unknown-protocol", fragment(pkt(t, 200, "192.0.2.1", "192.0.2.2"), 8, 8, false)},
	} {
		if got := seen(inst, test.p); got != "drop, drop: "+test.want {
			t.Errorf("%s: got %q, want %s", test.name, got, test.want)
		}
	}
}

// The tests that follow pin what other firewalls get wrong.

func TestLandNeedsTCPAndSYNAndNotEqualPorts(t *testing.T) {
	inst := load(t, "tcp.land = true")
	p := tcp(t, packet.SYN)
	p.Src = p.Dst
	p.SrcPort, p.DstPort = 1, 2
	if got := seen(inst, p); got != "drop, drop: land" {
		t.Errorf("different ports: got %q", got)
	}
	q := udp(t)
	q.Src, q.SrcPort = q.Dst, q.DstPort
	if got := seen(inst, q); got != "pass" {
		t.Errorf("UDP: got %q", got)
	}
}

func TestPingDeathUsesOffsetAndDataOfFragmentsOfICMPOnly(t *testing.T) {
	inst := load(t, "icmp.ping-death = true")
	p := fragment(icmp(t), 65528, 8, false)
	p.IPLen = 28 // nothing but offset and data length gives it away
	if got := seen(inst, p); got != "drop, drop: ping-death" {
		t.Errorf("got %q", got)
	}
	p.DataLen, p.IPLen = 7, 27 // the header does not count
	if got := seen(inst, p); got != "pass" {
		t.Errorf("up to byte 65535: got %q", got)
	}
	v6 := fragment(pkt(t, packet.ProtoICMPv6, "2001:db8::1", "2001:db8::2"), 65528, 8, false)
	if got := seen(inst, v6); got != "drop, drop: ping-death" {
		t.Errorf("ICMPv6: got %q", got)
	}
}

func TestSYNFragFiresOnAnyFragmentThatShowsItsSYN(t *testing.T) {
	inst := load(t, "tcp.syn-frag = true")
	if got := seen(inst, fragment(tcp(t, packet.SYN|packet.ACK), 0, 24, true)); got != "drop, drop: syn-frag" {
		t.Errorf("got %q", got)
	}
}

func TestSourceRouteNeedsItsOptionNotALongHeader(t *testing.T) {
	inst := load(t, "ip.source-route-option = true")
	p := udp(t)
	p.L4 = p.L3 + 60 // forty bytes of options, none of them a route
	p.Options = packet.OptRecordRoute | packet.OptTimestamp
	if got := seen(inst, p); got != "pass" {
		t.Errorf("got %q", got)
	}
}

func TestWinNukeForwardsAndShieldsNothing(t *testing.T) {
	inst := load(t, "tcp.winnuke = true\ntcp.syn-fin = true")
	p := tcp(t, packet.URG|packet.SYN|packet.FIN)
	p.DstPort = netbiosSession
	if got := seen(inst, p); got != "drop, drop: syn-fin" {
		t.Errorf("got %q", got)
	}
}

package answer

import (
	"bytes"
	"net"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/rtflow/pipelined/core/packet"
)

var (
	ours, theirs     = net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 2}
	client4, server4 = net.IP{192, 0, 2, 1}, net.IP{198, 51, 100, 1}
	client6, server6 = net.ParseIP("2001:db8::1"), net.ParseIP("2001:db8::2")
)

// build makes a frame with right lengths and checksums, and without padding.
func build(t testing.TB, parts ...gopacket.SerializableLayer) []byte {
	t.Helper()
	var network gopacket.NetworkLayer
	for i, part := range parts {
		switch l := part.(type) {
		case *layers.IPv4:
			l.Version, l.IHL, network = 4, 5, l
		case *layers.IPv6:
			l.Version, network = 6, l
		case *layers.TCP:
			if err := l.SetNetworkLayerForChecksum(network); err != nil {
				t.Fatal(err)
			}
		case *layers.UDP:
			if err := l.SetNetworkLayerForChecksum(network); err != nil {
				t.Fatal(err)
			}
		case *layers.ICMPv6:
			if err := l.SetNetworkLayerForChecksum(network); err != nil {
				t.Fatal(err)
			}
		case *layers.Ethernet, *layers.Dot1Q, gopacket.Payload, *layers.ICMPv4:
		default:
			t.Fatalf("layer %d: %T", i, part)
		}
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...); err != nil {
		t.Fatal(err)
	}
	size := 14
	for _, part := range parts {
		switch l := part.(type) {
		case *layers.Dot1Q:
			size += 4
		case *layers.IPv4:
			size += int(l.Length)
		case *layers.IPv6:
			size += 40 + int(l.Length)
		}
	}
	return b.Bytes()[:size]
}

func ethernet(from, to net.HardwareAddr, typ layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: from, DstMAC: to, EthernetType: typ}
}

// asked and answered are the Ethernet and IP headers of a packet and of its answer.
func asked4(proto layers.IPProtocol) []gopacket.SerializableLayer {
	return []gopacket.SerializableLayer{ethernet(ours, theirs, layers.EthernetTypeIPv4),
		&layers.IPv4{TTL: 60, Id: 77, Protocol: proto, SrcIP: client4, DstIP: server4}}
}

func answered4(proto layers.IPProtocol) []gopacket.SerializableLayer {
	return []gopacket.SerializableLayer{ethernet(theirs, ours, layers.EthernetTypeIPv4),
		&layers.IPv4{TTL: 64, Flags: layers.IPv4DontFragment, Protocol: proto, SrcIP: server4, DstIP: client4}}
}

func asked6(proto layers.IPProtocol) []gopacket.SerializableLayer {
	return []gopacket.SerializableLayer{ethernet(ours, theirs, layers.EthernetTypeIPv6),
		&layers.IPv6{HopLimit: 60, NextHeader: proto, SrcIP: client6, DstIP: server6}}
}

func answered6(proto layers.IPProtocol) []gopacket.SerializableLayer {
	return []gopacket.SerializableLayer{ethernet(theirs, ours, layers.EthernetTypeIPv6),
		&layers.IPv6{HopLimit: 64, NextHeader: proto, SrcIP: server6, DstIP: client6}}
}

// answer decodes a frame and answers it.
func answer(frame []byte, kind Kind) []byte {
	var h packet.Headers
	packet.Decode(frame, len(frame), &h)
	return Append(nil, frame, &h, kind)
}

func TestAnswers(t *testing.T) {
	udp := func(size int) []gopacket.SerializableLayer {
		return []gopacket.SerializableLayer{&layers.UDP{SrcPort: 1000, DstPort: 53}, gopacket.Payload(bytes.Repeat([]byte{7}, size))}
	}
	tagged := func(list []gopacket.SerializableLayer) []gopacket.SerializableLayer {
		eth := list[0].(*layers.Ethernet)
		inner := eth.EthernetType
		eth.EthernetType = layers.EthernetTypeQinQ
		return append([]gopacket.SerializableLayer{eth, &layers.Dot1Q{VLANIdentifier: 7, Type: layers.EthernetTypeDot1Q},
			&layers.Dot1Q{VLANIdentifier: 8, Priority: 3, Type: inner}}, list[1:]...)
	}
	unreachable4 := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(3, 13)}
	unreachable6 := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(1, 1)}
	small4, large4 := build(t, append(asked4(layers.IPProtocolUDP), udp(5)...)...), build(t, append(asked4(layers.IPProtocolUDP), udp(1400)...)...)
	small6, large6 := build(t, append(asked6(layers.IPProtocolUDP), udp(5)...)...), build(t, append(asked6(layers.IPProtocolUDP), udp(1400)...)...)
	echo := build(t, append(asked4(layers.IPProtocolICMPv4), &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: 3, Seq: 4})...)
	unused := gopacket.Payload{0, 0, 0, 0}
	port4 := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(3, 3)}
	port6 := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(1, 4)}
	syn4 := build(t, append(asked4(layers.IPProtocolTCP), &layers.TCP{SrcPort: 1000, DstPort: 80, SYN: true})...)
	syn6 := build(t, append(asked6(layers.IPProtocolTCP), &layers.TCP{SrcPort: 1000, DstPort: 80, SYN: true})...)
	for _, c := range []struct {
		name  string
		kind  Kind
		frame []byte
		want  []gopacket.SerializableLayer
	}{
		{"SYN", Closed, build(t, append(asked4(layers.IPProtocolTCP), &layers.TCP{SrcPort: 1000, DstPort: 80, Seq: 0xffffffff, SYN: true, Window: 100})...),
			append(answered4(layers.IPProtocolTCP), &layers.TCP{SrcPort: 80, DstPort: 1000, Ack: 0, RST: true, ACK: true})},
		{"SYN with data, padded", Closed, append(build(t, append(asked4(layers.IPProtocolTCP), &layers.TCP{SrcPort: 1000, DstPort: 80, Seq: 100, SYN: true}, gopacket.Payload("abc"))...), 0, 0, 0),
			append(answered4(layers.IPProtocolTCP), &layers.TCP{SrcPort: 80, DstPort: 1000, Ack: 104, RST: true, ACK: true})},
		{"ACK", Closed, build(t, append(asked6(layers.IPProtocolTCP), &layers.TCP{SrcPort: 1000, DstPort: 80, Seq: 100, Ack: 900, ACK: true, FIN: true})...),
			append(answered6(layers.IPProtocolTCP), &layers.TCP{SrcPort: 80, DstPort: 1000, Seq: 900, RST: true})},
		{"FIN", Closed, build(t, append(asked6(layers.IPProtocolTCP), &layers.TCP{SrcPort: 1000, DstPort: 80, Seq: 100, FIN: true})...),
			append(answered6(layers.IPProtocolTCP), &layers.TCP{SrcPort: 80, DstPort: 1000, Ack: 101, RST: true, ACK: true})},
		{"SYN behind tags", Closed, build(t, tagged(append(asked6(layers.IPProtocolTCP), &layers.TCP{SrcPort: 1000, DstPort: 80, Seq: 100, SYN: true}))...),
			tagged(append(answered6(layers.IPProtocolTCP), &layers.TCP{SrcPort: 80, DstPort: 1000, Ack: 101, RST: true, ACK: true}))},
		{"UDP", Prohibited, append(slices.Clone(small4), 0, 0, 0, 0), append(answered4(layers.IPProtocolICMPv4), unreachable4, gopacket.Payload(small4[14:]))},
		{"long UDP", Prohibited, large4, append(answered4(layers.IPProtocolICMPv4), unreachable4, gopacket.Payload(large4[14:14+548]))},
		{"UDP over IPv6", Prohibited, small6, append(answered6(layers.IPProtocolICMPv6), unreachable6, gopacket.Payload(slices.Concat(unused, small6[14:])))},
		{"long UDP over IPv6", Prohibited, large6, append(answered6(layers.IPProtocolICMPv6), unreachable6, gopacket.Payload(slices.Concat(unused, large6[14:14+1232])))},
		{"UDP, port", Closed, small4, append(answered4(layers.IPProtocolICMPv4), port4, gopacket.Payload(small4[14:]))},
		{"UDP, port, over IPv6", Closed, small6, append(answered6(layers.IPProtocolICMPv6), port6, gopacket.Payload(slices.Concat(unused, small6[14:])))},
		{"SYN, prohibited", Prohibited, syn4, append(answered4(layers.IPProtocolICMPv4), unreachable4, gopacket.Payload(syn4[14:]))},
		{"SYN, prohibited, over IPv6", Prohibited, syn6, append(answered6(layers.IPProtocolICMPv6), unreachable6, gopacket.Payload(slices.Concat(unused, syn6[14:])))},
		{"echo", Prohibited, echo, append(answered4(layers.IPProtocolICMPv4), unreachable4, gopacket.Payload(echo[14:]))},
		{"another protocol", Prohibited, build(t, append(asked4(89), gopacket.Payload("hello"))...),
			append(answered4(layers.IPProtocolICMPv4), unreachable4, gopacket.Payload(build(t, append(asked4(89), gopacket.Payload("hello"))...)[14:]))},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(build(t, c.want...), answer(c.frame, c.kind)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Nobody is answered where that could begin a storm, or reach somebody who has not asked.
func TestNotAnswered(t *testing.T) {
	with := func(change func(eth *layers.Ethernet, ip *layers.IPv4), l4 ...gopacket.SerializableLayer) []byte {
		proto := layers.IPProtocolUDP
		switch l4[0].(type) {
		case *layers.TCP:
			proto = layers.IPProtocolTCP
		case *layers.ICMPv4:
			proto = layers.IPProtocolICMPv4
		}
		list := asked4(proto)
		if change != nil {
			change(list[0].(*layers.Ethernet), list[1].(*layers.IPv4))
		}
		return build(t, append(list, l4...)...)
	}
	udp := &layers.UDP{SrcPort: 1000, DstPort: 53}
	to := func(ip net.IP) func(*layers.Ethernet, *layers.IPv4) {
		return func(_ *layers.Ethernet, h *layers.IPv4) { h.DstIP = ip }
	}
	from := func(ip net.IP) func(*layers.Ethernet, *layers.IPv4) {
		return func(_ *layers.Ethernet, h *layers.IPv4) { h.SrcIP = ip }
	}
	icmp := func(typ, code uint8) *layers.ICMPv4 {
		return &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(typ, code)}
	}
	multicast := asked6(layers.IPProtocolUDP)
	multicast[1].(*layers.IPv6).DstIP = net.ParseIP("ff02::1")
	unspecified := asked6(layers.IPProtocolUDP)
	unspecified[1].(*layers.IPv6).SrcIP = net.IPv6unspecified
	short := with(nil, &layers.TCP{SrcPort: 1, DstPort: 2, SYN: true})
	mpls := with(nil, udp)
	mpls = slices.Concat(mpls[:12], []byte{0x88, 0x47, 0, 0, 0x11, 64}, mpls[14:])
	for name, frame := range map[string][]byte{
		"RST":                   with(nil, &layers.TCP{SrcPort: 1, DstPort: 2, RST: true}),
		"RST, ACK":              with(nil, &layers.TCP{SrcPort: 1, DstPort: 2, RST: true, ACK: true}),
		"ICMP unreachable":      with(nil, icmp(3, 1)),
		"redirect":              with(nil, icmp(5, 1)),
		"time exceeded":         with(nil, icmp(11, 0)),
		"echo reply":            with(nil, icmp(0, 0)),
		"ICMPv6 error":          build(t, append(asked6(layers.IPProtocolICMPv6), &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(2, 0)}, gopacket.Payload{0, 0, 5, 0})...),
		"unknown ICMPv6 error":  build(t, append(asked6(layers.IPProtocolICMPv6), &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(100, 0)}, gopacket.Payload{0, 0, 0, 0})...),
		"broadcast":             with(func(e *layers.Ethernet, _ *layers.IPv4) { e.DstMAC = layers.EthernetBroadcast }, udp),
		"multicast by Ethernet": with(func(e *layers.Ethernet, _ *layers.IPv4) { e.DstMAC = net.HardwareAddr{1, 0, 0x5e, 0, 0, 1} }, udp),
		"from a group":          with(func(e *layers.Ethernet, _ *layers.IPv4) { e.SrcMAC = net.HardwareAddr{1, 0, 0x5e, 0, 0, 1} }, udp),
		"multicast":             with(to(net.IP{224, 0, 0, 1}), udp),
		"limited broadcast":     with(to(net.IP{255, 255, 255, 255}), udp),
		"from nobody":           with(from(net.IP{0, 0, 0, 0}), udp),
		"from loopback":         with(from(net.IP{127, 0, 0, 1}), udp),
		"from multicast":        with(from(net.IP{224, 0, 0, 1}), udp),
		"to itself":             with(from(server4), &layers.TCP{SrcPort: 1, DstPort: 2, SYN: true}),
		"IPv6 multicast":        build(t, append(multicast, udp)...),
		"from nobody by IPv6":   build(t, append(unspecified, udp)...),
		"later fragment":        with(func(_ *layers.Ethernet, h *layers.IPv4) { h.FragOffset = 10 }, udp),
		"fragment of TCP":       with(func(_ *layers.Ethernet, h *layers.IPv4) { h.Flags = layers.IPv4MoreFragments }, &layers.TCP{SrcPort: 1, DstPort: 2, SYN: true}, gopacket.Payload(make([]byte, 4))),
		"TCP cut off":           short[:14+20+8],
		"behind MPLS":           mpls,
		"ARP":                   append(slices.Concat(theirs, ours, []byte{8, 6}), make([]byte, 28)...),
		"empty":                 {},
	} {
		t.Run(name, func(t *testing.T) {
			for _, kind := range []Kind{Closed, Prohibited} {
				if got := answer(frame, kind); got != nil {
					t.Errorf("answered with %x", got)
				}
			}
		})
	}
}

// An answer is never answered, whatever comes, and nothing is allocated for it.
func FuzzAppend(f *testing.F) {
	f.Add(build(f, append(asked4(layers.IPProtocolTCP), &layers.TCP{SrcPort: 1000, DstPort: 80, SYN: true})...))
	f.Add(build(f, append(asked4(layers.IPProtocolUDP), &layers.UDP{SrcPort: 1000, DstPort: 80})...))
	f.Add(build(f, append(asked6(layers.IPProtocolUDP), &layers.UDP{SrcPort: 1000, DstPort: 80})...))
	f.Add(build(f, append(asked6(layers.IPProtocolTCP), &layers.TCP{SrcPort: 1000, DstPort: 80, ACK: true})...))
	room := make([]byte, 0, 4096)
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) > 4096 {
			return
		}
		var h packet.Headers
		packet.Decode(frame, len(frame), &h)
		for _, kind := range []Kind{Closed, Prohibited} {
			got := Append(room, frame, &h, kind)
			if len(got) == 0 {
				continue
			}
			if len(got) > int(h.L3)+MaxLength {
				t.Errorf("an answer of %d bytes", len(got))
			}
			var back packet.Headers
			if cause := packet.Decode(got, len(got), &back); cause != packet.OK || back.Src != h.Dst || back.Dst != h.Src {
				t.Fatalf("%v: %x", cause, got)
			}
			for _, kind := range []Kind{Closed, Prohibited} {
				if again := Append(nil, got, &back, kind); again != nil {
					t.Errorf("%x is answered with %x", got, again)
				}
			}
		}
	})
}

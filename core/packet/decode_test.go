package packet

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/internal/testing/race"
)

// headers4 and headers6 are what every frame of the builders has; change says what else.
func headers4(change func(*Headers)) *Headers {
	h := &Headers{L3: 14, TTL: 64, DSCP: 46}
	h.Src, h.Family = AddrFrom(src4)
	h.Dst, _ = AddrFrom(dst4)
	change(h)
	return h
}

func headers6(change func(*Headers)) *Headers {
	h := &Headers{L3: 14, TTL: 64, DSCP: 46}
	h.Src, h.Family = AddrFrom(src6)
	h.Dst, _ = AddrFrom(dst6)
	change(h)
	return h
}

func (h *Headers) sizes(proto uint8, ip, data int) *Headers {
	h.Proto, h.IPLen, h.DataLen = proto, uint32(ip), uint32(data)
	return h
}

func (h *Headers) l4(off, sport, dport uint16) *Headers {
	h.HasHead, h.HasL4, h.L4, h.SrcPort, h.DstPort = true, true, off, sport, dport
	return h
}

// head is l4 of a header of which only the first bytes are there.
func (h *Headers) head(sport, dport uint16) *Headers {
	h.HasHead, h.SrcPort, h.DstPort = true, sport, dport
	return h
}

func (h *Headers) fragment(id uint32, off uint16, flags uint8) *Headers {
	h.Fragment, h.FragID, h.FragOff, h.IPFlags = true, id, off, flags
	return h
}

func inner(family Family, proto uint8, sport, dport uint16) Tuple {
	t := Tuple{Proto: proto, Family: family, SrcPort: sport, DstPort: dport}
	if family == IPv4 {
		t.Src, _ = AddrFrom(src4)
		t.Dst, _ = AddrFrom(dst4)
	} else {
		t.Src, _ = AddrFrom(src6)
		t.Dst, _ = AddrFrom(dst6)
	}
	return t
}

type decodeCase struct {
	name  string
	link  Link
	frame []byte
	want  *Headers // nil if there is no IP header to judge the packet by
	cause Cause
}

// optionCase is TCP behind these IPv4 options.
func optionCase(name string, want Options, opts ...byte) decodeCase {
	size := (len(opts) + 3) &^ 3
	return decodeCase{name: "IPv4 option: " + name, frame: v4(ip4{proto: ProtoTCP, opts: opts}, tcp(ACK)),
		want: headers4(func(h *Headers) {
			h.sizes(ProtoTCP, 40+size, 20).l4(uint16(34+size), 1000, 80)
			h.TCPFlags, h.Options = ACK, want
		})}
}

// chainCase is UDP behind extension headers of that total size.
func chainCase(name string, want Options, size, next int, chain []byte) decodeCase {
	return decodeCase{name: "IPv6: " + name, frame: v6(next, chain), want: headers6(func(h *Headers) {
		h.sizes(ProtoUDP, 48+size, 8).l4(uint16(54+size), 1001, 53)
		h.Options = want
	})}
}

// quoteCase is an ICMP error and the tuple it names, nil if none.
func quoteCase(name string, family Family, typ int, quoted []byte, want *Tuple) decodeCase {
	change := func(h *Headers) {
		h.HasHead, h.HasL4, h.ICMPType, h.ICMPCode = true, true, uint8(typ), 1
		if want != nil {
			h.HasInner, h.Inner = true, *want
		}
	}
	size := 8 + len(quoted)
	if family == IPv4 {
		return decodeCase{name: "ICMP error: " + name, frame: v4(ip4{proto: ProtoICMP}, icmpError(typ, quoted)),
			want: headers4(func(h *Headers) { h.sizes(ProtoICMP, 20+size, size); change(h); h.L4 = 34 })}
	}
	return decodeCase{name: "ICMPv6 error: " + name, frame: v6(ProtoICMPv6, icmpError(typ, quoted)),
		want: headers6(func(h *Headers) { h.sizes(ProtoICMPv6, 40+size, size); change(h); h.L4 = 54 })}
}

// badChain is a chain of extension headers that is refused; proto is that of the header where reading stopped.
func badChain(name string, cause Cause, proto uint8, size, data int, frame []byte) decodeCase {
	return decodeCase{name: "IPv6: " + name, frame: frame, cause: cause,
		want: headers6(func(h *Headers) { h.sizes(proto, size, data); h.Options = OptBad })}
}

// badUDP is a UDP header that lies about its length.
func badUDP(name string, size int, frame []byte) decodeCase {
	return decodeCase{name: "UDP: " + name, frame: frame, cause: UDPShort,
		want: headers4(func(h *Headers) { h.sizes(ProtoUDP, size, size-20).l4(34, 1001, 53) })}
}

// stack returns n VLAN tags with the ids 1 to n.
func stack(n int) (tags [][2]int) {
	for id := range n {
		tags = append(tags, [2]int{etherVLAN, id + 1})
	}
	return tags
}

func decodeCases() []decodeCase {
	tcp4 := v4(ip4{proto: ProtoTCP}, tcp(SYN|ACK))
	tcpSyn := func(h *Headers) { h.sizes(ProtoTCP, 40, 20).l4(34, 1000, 80); h.TCPFlags = SYN }
	in4 := func(proto uint8, s, d uint16) *Tuple { t := inner(IPv4, proto, s, d); return &t }
	in6 := func(proto uint8, s, d uint16) *Tuple { t := inner(IPv6, proto, s, d); return &t }
	shift := func(h *Headers, by, vlan, innerVLAN uint16) *Headers {
		h.L3, h.L4, h.VLAN, h.InnerVLAN = h.L3+by, h.L4+by, vlan, innerVLAN
		return h
	}
	plain := ip4{proto: ProtoTCP}.with(tcp(SYN))
	dst := func(next int, payload []byte) []byte { return ext(next, nil, payload) }
	nine := udp()
	next := ProtoUDP
	for range maxExtensions + 1 {
		nine = dst(next, nine)
		next = ProtoDstOpts
	}

	cases := []decodeCase{
		{name: "TCP", frame: tcp4, want: headers4(func(h *Headers) { tcpSyn(h); h.TCPFlags |= ACK })},
		{name: "TCP with padding", frame: cat(tcp4, make([]byte, 6)), want: headers4(func(h *Headers) { tcpSyn(h); h.TCPFlags |= ACK })},
		{name: "TCP, reserved bits and ECN", frame: v4(ip4{proto: ProtoTCP}, tcp(0xc0|SYN)), want: headers4(tcpSyn)},
		{name: "TCP, dont fragment", frame: v4(ip4{proto: ProtoTCP, frag: 0x4000}, tcp(SYN)),
			want: headers4(func(h *Headers) { tcpSyn(h); h.IPFlags = DontFragment })},
		{name: "TCPv6", frame: v6(ProtoTCP, tcp(FIN, 1, 2)),
			want: headers6(func(h *Headers) { h.sizes(ProtoTCP, 62, 22).l4(54, 1000, 80); h.TCPFlags = FIN })},
		{name: "VLAN", frame: tagged(etherIPv4, plain, [2]int{etherVLAN, 0xe064}),
			want: shift(headers4(tcpSyn), 4, 100, 0)},
		{name: "priority tag", frame: tagged(etherIPv4, plain, [2]int{etherVLAN, 0xe000}),
			want: shift(headers4(tcpSyn), 4, 0, 0)},
		{name: "QinQ", frame: tagged(etherIPv4, plain, [2]int{etherQinQ, 200}, [2]int{etherVLAN, 100}),
			want: shift(headers4(tcpSyn), 8, 200, 100)},
		{name: "QinQ, old type", frame: tagged(etherIPv4, plain, [2]int{etherQinQ2, 200}, [2]int{etherVLAN, 100}),
			want: shift(headers4(tcpSyn), 8, 200, 100)},
		{name: "QinQ, 0x9200 and 0x9300", frame: tagged(etherIPv4, plain, [2]int{etherQinQ3, 200}, [2]int{etherQinQ4, 100}),
			want: shift(headers4(tcpSyn), 8, 200, 100)},
		{name: "eight tags", frame: tagged(etherIPv4, plain, stack(8)...), want: shift(headers4(tcpSyn), 32, 1, 2)},
		{name: "nine tags", frame: tagged(etherIPv4, plain, stack(9)...), cause: VLANDepth},
		{name: "ARP", frame: ether(0x0806, make([]byte, 28)), cause: NotIP},
		{name: "802.3", frame: ether(38, make([]byte, 38)), cause: NotIP},

		{name: "UDP", frame: v4(ip4{proto: ProtoUDP}, udp(1)), want: headers4(func(h *Headers) { h.sizes(ProtoUDP, 29, 9).l4(34, 1001, 53) })},
		{name: "UDP shorter than the packet", frame: v4(ip4{proto: ProtoUDP}, cat(udp(), []byte{1, 2})),
			want: headers4(func(h *Headers) { h.sizes(ProtoUDP, 30, 10).l4(34, 1001, 53) })},
		{name: "UDPv6", frame: v6(ProtoUDP, udp()), want: headers6(func(h *Headers) { h.sizes(ProtoUDP, 48, 8).l4(54, 1001, 53) })},
		{name: "SCTP", frame: v4(ip4{proto: ProtoSCTP}, sctp()), want: headers4(func(h *Headers) { h.sizes(ProtoSCTP, 32, 12).l4(34, 1002, 36412) })},
		{name: "UDP-Lite", frame: v4(ip4{proto: 136}, udp()), want: headers4(func(h *Headers) { h.sizes(136, 28, 8) })},
		{name: "GRE", frame: v4(ip4{proto: 47}, []byte{0, 0, 8, 0}), want: headers4(func(h *Headers) { h.sizes(47, 24, 4) })},
		{name: "ESP", frame: v4(ip4{proto: ProtoESP}, make([]byte, 16)), want: headers4(func(h *Headers) { h.sizes(ProtoESP, 36, 16) })},
		{name: "ESPv6", frame: v6(ProtoESP, make([]byte, 16)), want: headers6(func(h *Headers) { h.sizes(ProtoESP, 56, 16) })},
		{name: "AH in IPv4 stays AH", frame: v4(ip4{proto: ProtoAH}, ah(ProtoUDP, 6, udp())),
			want: headers4(func(h *Headers) { h.sizes(ProtoAH, 52, 32) })},
		{name: "nothing behind IPv4", frame: v4(ip4{proto: 253}, nil), want: headers4(func(h *Headers) { h.sizes(253, 20, 0) })},
		{name: "no next header", frame: v6(ProtoNoNext, nil), want: headers6(func(h *Headers) { h.sizes(ProtoNoNext, 40, 0) })},

		{name: "echo request", frame: v4(ip4{proto: ProtoICMP}, echo(8)),
			want: headers4(func(h *Headers) { h.sizes(ProtoICMP, 30, 10).l4(34, 7, 9); h.ICMPType = 8 })},
		{name: "echo reply", frame: v4(ip4{proto: ProtoICMP}, echo(0)),
			want: headers4(func(h *Headers) { h.sizes(ProtoICMP, 30, 10).l4(34, 7, 9) })},
		{name: "timestamp request", frame: v4(ip4{proto: ProtoICMP}, echo(13)),
			want: headers4(func(h *Headers) { h.sizes(ProtoICMP, 30, 10).l4(34, 0, 0); h.ICMPType = 13 })},
		{name: "echo request, v6", frame: v6(ProtoICMPv6, echo(128)),
			want: headers6(func(h *Headers) { h.sizes(ProtoICMPv6, 50, 10).l4(54, 7, 9); h.ICMPType = 128 })},
		{name: "echo reply, v6", frame: v6(ProtoICMPv6, echo(129)),
			want: headers6(func(h *Headers) { h.sizes(ProtoICMPv6, 50, 10).l4(54, 7, 9); h.ICMPType = 129 })},
		{name: "neighbour solicitation", frame: v6(ProtoICMPv6, icmp(135, 0, make([]byte, 20)...)),
			want: headers6(func(h *Headers) { h.sizes(ProtoICMPv6, 64, 24).l4(54, 0, 0); h.ICMPType = 135 })},
		{name: "ICMPv6 in IPv4", frame: v4(ip4{proto: ProtoICMPv6}, echo(128)), want: headers4(func(h *Headers) { h.sizes(ProtoICMPv6, 30, 10) })},
		{name: "ICMP in IPv6", frame: v6(ProtoICMP, echo(8)), want: headers6(func(h *Headers) { h.sizes(ProtoICMP, 50, 10) })},

		{name: "first fragment", frame: v4(ip4{proto: ProtoUDP, frag: 0x2000, id: 77}, set(udp(make([]byte, 16)...), 4, 0x10, 0)),
			want: headers4(func(h *Headers) { h.sizes(ProtoUDP, 44, 24).l4(34, 1001, 53).fragment(77, 0, MoreFragments) })},
		{name: "middle fragment", frame: v4(ip4{proto: ProtoUDP, frag: 0x2000 | 3, id: 77}, make([]byte, 16)),
			want: headers4(func(h *Headers) { h.sizes(ProtoUDP, 36, 16).fragment(77, 24, MoreFragments) })},
		{name: "last fragment", frame: v4(ip4{proto: ProtoTCP, frag: 0x1fff, id: 77}, make([]byte, 9)),
			want: headers4(func(h *Headers) { h.sizes(ProtoTCP, 29, 9).fragment(77, 65528, 0) })},
		{name: "ICMP fragment", frame: v4(ip4{proto: ProtoICMP, frag: 0x2000, id: 5}, icmp(8, 0, 0, 7, 0, 9)),
			want: headers4(func(h *Headers) {
				h.sizes(ProtoICMP, 28, 8).l4(34, 7, 9).fragment(5, 0, MoreFragments)
				h.ICMPType = 8
			})},
		{name: "fragment of odd size", frame: v4(ip4{proto: ProtoUDP, frag: 0x2000, id: 77}, set(udp(make([]byte, 9)...), 4, 0x10, 0)), cause: FragmentBounds,
			want: headers4(func(h *Headers) { h.sizes(ProtoUDP, 37, 17).l4(34, 1001, 53).fragment(77, 0, MoreFragments) })},
		{name: "later fragment of odd size", frame: v4(ip4{proto: ProtoICMP, frag: 0x2001, id: 77}, make([]byte, 17)), cause: FragmentBounds,
			want: headers4(func(h *Headers) { h.sizes(ProtoICMP, 37, 17).fragment(77, 8, MoreFragments) })},
		{name: "fragment that ends behind the ports", frame: v4(ip4{proto: ProtoTCP, frag: 0x2000, id: 77}, tcp(SYN)[:8]),
			want: headers4(func(h *Headers) { h.sizes(ProtoTCP, 28, 8).head(1000, 80).fragment(77, 0, MoreFragments) })},
		{name: "fragment that ends behind the flags", frame: v4(ip4{proto: ProtoTCP, frag: 0x2000, id: 77}, tcp(SYN)[:16]),
			want: headers4(func(h *Headers) {
				h.sizes(ProtoTCP, 36, 16).l4(34, 1000, 80).fragment(77, 0, MoreFragments)
				h.TCPFlags = SYN
			})},
		{name: "fragment of nothing", frame: v4(ip4{proto: ProtoTCP, frag: 0x2000, id: 77}, nil), cause: TCPShort,
			want: headers4(func(h *Headers) { h.sizes(ProtoTCP, 20, 0).fragment(77, 0, MoreFragments) })},
		{name: "first fragment, v6", frame: v6(ProtoFragment, frag6(ProtoUDP, 0, 1, set(udp(make([]byte, 16)...), 4, 0x10, 0))),
			want: headers6(func(h *Headers) {
				h.sizes(ProtoUDP, 72, 24).l4(62, 1001, 53).fragment(0xdeadbeef, 0, MoreFragments)
			})},
		{name: "last fragment, v6", frame: v6(ProtoFragment, frag6(ProtoUDP, 65528, 0, make([]byte, 7))),
			want: headers6(func(h *Headers) { h.sizes(ProtoUDP, 55, 7).fragment(0xdeadbeef, 65528, 0) })},
		{name: "later fragment of something that starts with a header, v6", frame: v6(ProtoFragment, frag6(ProtoDstOpts, 8, 0, make([]byte, 3))),
			want: headers6(func(h *Headers) { h.sizes(ProtoDstOpts, 51, 3).fragment(0xdeadbeef, 8, 0) })},
		{name: "atomic fragment", frame: v6(ProtoFragment, frag6(ProtoUDP, 0, 0, udp())),
			want: headers6(func(h *Headers) { h.sizes(ProtoUDP, 56, 8).l4(62, 1001, 53); h.FragID = 0xdeadbeef })},
		{name: "atomic fragment behind one that is not", frame: v6(ProtoFragment, frag6(ProtoFragment, 0, 1, frag6(ProtoUDP, 0, 0, udp()))),
			want: headers6(func(h *Headers) {
				h.sizes(ProtoUDP, 64, 8).l4(70, 1001, 53).fragment(0xdeadbeef, 0, MoreFragments)
				h.Options = OptBad
			})},
		{name: "fragment of odd size, v6", frame: v6(ProtoFragment, frag6(ProtoUDP, 8, 1, make([]byte, 9))), cause: FragmentBounds,
			want: headers6(func(h *Headers) { h.sizes(ProtoUDP, 57, 9).fragment(0xdeadbeef, 8, MoreFragments) })},
		{name: "first fragment of odd size, v6", frame: v6(ProtoFragment, frag6(ProtoTCP, 0, 1, tcp(SYN, 1))), cause: FragmentBounds,
			want: headers6(func(h *Headers) {
				h.sizes(ProtoTCP, 69, 21).l4(62, 1000, 80).fragment(0xdeadbeef, 0, MoreFragments)
				h.TCPFlags = SYN
			})},

		optionCase("record route", OptRecordRoute, 7, 7, 4, 0, 0, 0, 0),
		optionCase("timestamp", OptTimestamp, 68, 8, 5, 0, 0, 0, 0, 0),
		optionCase("security", OptSecurity, 130, 3, 0),
		optionCase("stream", OptStream, 136, 4, 0, 1),
		optionCase("loose source", OptLooseSource, 131, 7, 4, 1, 2, 3, 4),
		optionCase("strict source", OptStrictSource, 137, 7, 4, 1, 2, 3, 4),
		optionCase("router alert", 0, 148, 4, 0, 0),
		optionCase("several", OptStream|OptRecordRoute, 1, 136, 4, 0, 1, 7, 3, 4),
		optionCase("behind the end", 0, 0, 131, 7, 4),
		optionCase("behind a false end", OptLooseSource, 0x80, 2, 131, 3, 4),
		optionCase("behind a false no-op", OptLooseSource, 0x81, 3, 131, 131, 3, 4),
		optionCase("without a length", OptBad, 1, 1, 1, 7),
		optionCase("length 0", OptBad, 7, 0, 0, 0),
		optionCase("length 1", OptBad, 7, 1, 0, 0),
		optionCase("too long", OptBad, 7, 5, 0, 0),
		optionCase("good, then bad", OptBad|OptStream, 136, 4, 0, 1, 7, 9, 0, 0),

		chainCase("hop by hop", 0, 8, ProtoHopByHop, ext(ProtoUDP, []byte{5, 2, 0, 0, 1, 0}, udp())),
		chainCase("long destination options", 0, 24, ProtoDstOpts, ext(ProtoUDP, cat([]byte{30, 20}, make([]byte, 20)), udp())),
		chainCase("hop by hop, routing, destination", 0, 24, ProtoHopByHop, dst(ProtoRouting, ext(ProtoDstOpts, []byte{4, 0}, dst(ProtoUDP, udp())))),
		chainCase("routing type 0", OptLooseSource, 24, ProtoRouting, ext(ProtoUDP, make([]byte, 22), udp())),
		chainCase("hop by hop not first", OptBad, 16, ProtoDstOpts, dst(ProtoHopByHop, dst(ProtoUDP, udp()))),
		chainCase("option beyond its header", OptBad, 8, ProtoDstOpts, ext(ProtoUDP, []byte{5, 5, 0, 0, 0, 0}, udp())),
		chainCase("option cut off", OptBad, 8, ProtoHopByHop, ext(ProtoUDP, []byte{0, 0, 0, 0, 0, 5}, udp())),
		chainCase("AH", 0, 24, ProtoAH, ah(ProtoUDP, 6, udp())),
		chainCase("mobility, HIP, shim6", 0, 24, ProtoMobility, dst(ProtoHIP, dst(ProtoShim6, dst(ProtoUDP, udp())))),
		chainCase("eight", 0, 64, ProtoDstOpts, nine[8:]),
		badChain("nine", ExtensionChain, ProtoDstOpts, 120, 16, v6(ProtoDstOpts, nine)),
		badChain("extension beyond the packet", ExtensionLen, ProtoDstOpts, 56, 16, v6(ProtoDstOpts, set(dst(ProtoUDP, udp()), 1, 2))),
		badChain("extension of 7 bytes", ExtensionLen, ProtoDstOpts, 47, 7, v6(ProtoDstOpts, make([]byte, 7))),
		badChain("AH shorter than its header", ExtensionLen, ProtoAH, 56, 16, v6(ProtoAH, cat([]byte{ProtoUDP, 0}, make([]byte, 6), udp()))),
		{name: "IPv6: jumbogram", frame: set(v6(ProtoHopByHop, ext(ProtoTCP, []byte{0xc2, 4, 0, 1, 0, 0}, tcp(SYN))), 18, 0, 0),
			want: headers6(func(h *Headers) { h.sizes(ProtoTCP, 68, 20).l4(62, 1000, 80); h.TCPFlags = SYN })},
		{name: "IPv6: UDP jumbogram", frame: set(v6(ProtoHopByHop, ext(ProtoUDP, []byte{0xc2, 4, 0, 1, 0, 0}, udp(make([]byte, 12)...))), 18, 0, 0),
			want: headers6(func(h *Headers) { h.sizes(ProtoUDP, 68, 20).l4(62, 1001, 53) })},
		{name: "IPv6: no payload", frame: v6(ProtoTCP, nil), cause: TCPShort, want: headers6(func(h *Headers) { h.sizes(ProtoTCP, 40, 0) })},
		{name: "IPv6: no payload but padding", frame: cat(v6(ProtoTCP, nil), make([]byte, 6)), cause: TCPShort,
			want: headers6(func(h *Headers) { h.sizes(ProtoTCP, 40, 0) })},

		{name: "version 6 in an IPv4 frame", frame: ether(etherIPv4, ip6(ProtoUDP, udp())), cause: IPVersion},
		{name: "version 4 in an IPv6 frame", frame: ether(etherIPv6, ip4{proto: ProtoUDP}.with(udp(make([]byte, 20)...))), cause: IPVersion},
		{name: "header length 16", frame: set(tcp4, 14, 0x44), cause: IPHeaderLen,
			want: headers4(func(h *Headers) { h.sizes(ProtoTCP, 40, 0) })},
		{name: "header length beyond the packet", frame: set(tcp4, 14, 0x4f), cause: IPTotalLen,
			want: headers4(func(h *Headers) { h.sizes(ProtoTCP, 40, 0) })},
		{name: "total length below the header", frame: set(tcp4, 16, 0, 19), cause: IPTotalLen,
			want: headers4(func(h *Headers) { h.sizes(ProtoTCP, 19, 0) })},
		{name: "total length 0", frame: cat(set(v4(ip4{proto: ProtoTCP}, tcp(ACK)), 16, 0, 0), make([]byte, 3000)),
			want: headers4(func(h *Headers) { h.sizes(ProtoTCP, 3040, 3020).l4(34, 1000, 80); h.TCPFlags = ACK })},
		{name: "total length 0, UDP", frame: set(set(v4(ip4{proto: ProtoUDP}, udp(1, 2)), 16, 0, 0), 38, 0, 0),
			want: headers4(func(h *Headers) { h.sizes(ProtoUDP, 30, 10).l4(34, 1001, 53) })},
		{name: "total length beyond the frame", frame: set(tcp4, 16, 5, 160),
			want: headers4(func(h *Headers) { h.sizes(ProtoTCP, 1440, 1420).l4(34, 1000, 80); h.TCPFlags = SYN | ACK })},
		{name: "payload length beyond the frame", frame: set(set(v6(ProtoUDP, udp()), 18, 5, 0), 58, 5, 0),
			want: headers6(func(h *Headers) { h.sizes(ProtoUDP, 1320, 1280).l4(54, 1001, 53) })},
		{name: "frame cut behind the ports", frame: set(v4(ip4{proto: ProtoTCP}, tcp(SYN)[:6]), 16, 0, 40),
			want: headers4(func(h *Headers) { h.sizes(ProtoTCP, 40, 20).head(1000, 80) })},
		{name: "frame cut in the ports", frame: set(v4(ip4{proto: ProtoUDP}, udp()[:3]), 16, 0, 40), cause: Truncated,
			want: headers4(func(h *Headers) { h.sizes(ProtoUDP, 40, 20) })},
		{name: "frame cut behind the ICMP type", frame: set(v4(ip4{proto: ProtoICMP}, echo(8)[:5]), 16, 0, 40), cause: Truncated,
			want: headers4(func(h *Headers) { h.sizes(ProtoICMP, 40, 20); h.HasHead, h.ICMPType = true, 8 })},
		{name: "frame cut in the IPv4 options", frame: set(v4(ip4{proto: ProtoTCP, opts: []byte{131, 3, 4, 7, 7}}, nil)[:38], 16, 0, 60), cause: Truncated,
			want: headers4(func(h *Headers) { h.sizes(ProtoTCP, 60, 32); h.Options = OptLooseSource })},
		{name: "frame cut in an extension header", frame: set(v6(ProtoDstOpts, make([]byte, 7)), 18, 0, 40), cause: Truncated,
			want: headers6(func(h *Headers) { h.sizes(ProtoDstOpts, 80, 40) })},
		{name: "TCP data offset 4", frame: set(tcp4, 46, 4<<4), cause: TCPShort,
			want: headers4(func(h *Headers) { tcpSyn(h); h.TCPFlags |= ACK })},
		{name: "TCP data offset beyond the packet", frame: set(tcp4, 46, 6<<4), cause: TCPShort,
			want: headers4(func(h *Headers) { tcpSyn(h); h.TCPFlags |= ACK })},
		{name: "TCP cut by the packet's length", frame: set(tcp4, 16, 0, 39), cause: TCPShort,
			want: headers4(func(h *Headers) { h.sizes(ProtoTCP, 39, 19).l4(34, 1000, 80); h.TCPFlags = SYN | ACK })},
		{name: "TCP of ports", frame: set(tcp4, 16, 0, 24), cause: TCPShort,
			want: headers4(func(h *Headers) { h.sizes(ProtoTCP, 24, 4).head(1000, 80) })},
		badUDP("length 7", 28, set(v4(ip4{proto: ProtoUDP}, udp()), 38, 0, 7)),
		badUDP("length 0", 28, set(v4(ip4{proto: ProtoUDP}, udp()), 38, 0, 0)),
		badUDP("length beyond the packet", 28, set(v4(ip4{proto: ProtoUDP}, udp()), 38, 0, 9)),
		{name: "UDP of 7 bytes", frame: v4(ip4{proto: ProtoUDP}, udp()[:7]), cause: UDPShort,
			want: headers4(func(h *Headers) { h.sizes(ProtoUDP, 27, 7).head(1001, 53) })},
		{name: "SCTP of 11 bytes", frame: v4(ip4{proto: ProtoSCTP}, sctp()[:11]), cause: SCTPShort,
			want: headers4(func(h *Headers) { h.sizes(ProtoSCTP, 31, 11).head(1002, 36412) })},
		{name: "ICMP of 7 bytes", frame: v4(ip4{proto: ProtoICMP}, echo(8)[:7]), cause: ICMPShort,
			want: headers4(func(h *Headers) { h.sizes(ProtoICMP, 27, 7); h.HasHead, h.ICMPType = true, 8 })},
		{name: "ICMP of 3 bytes", frame: v4(ip4{proto: ProtoICMP}, echo(8)[:3]), cause: ICMPShort,
			want: headers4(func(h *Headers) { h.sizes(ProtoICMP, 23, 3) })},
		{name: "ICMPv6 of 4 bytes", frame: v6(ProtoICMPv6, icmp(1, 0)), cause: ICMPShort,
			want: headers6(func(h *Headers) { h.sizes(ProtoICMPv6, 44, 4); h.HasHead, h.ICMPType = true, 1 })},

		quoteCase("TCP", IPv4, 3, ip4{proto: ProtoTCP}.with(tcp(SYN))[:28], in4(ProtoTCP, 1000, 80)),
		quoteCase("UDP with options", IPv4, 11, ip4{proto: ProtoUDP, opts: []byte{148, 4, 0, 0}}.with(udp()), in4(ProtoUDP, 1001, 53)),
		quoteCase("echo request", IPv4, 3, ip4{proto: ProtoICMP}.with(echo(8)), in4(ProtoICMP, 7, 9)),
		quoteCase("echo reply", IPv4, 3, ip4{proto: ProtoICMP}.with(echo(0)), in4(ProtoICMP, 7, 9)),
		quoteCase("another error", IPv4, 3, ip4{proto: ProtoICMP}.with(icmpError(3, nil)), in4(ProtoICMP, 0, 0)),
		quoteCase("ESP", IPv4, 12, ip4{proto: ProtoESP}.with(nil), in4(ProtoESP, 0, 0)),
		quoteCase("first fragment", IPv4, 4, ip4{proto: ProtoUDP, frag: 0x2000}.with(udp()), in4(ProtoUDP, 1001, 53)),
		quoteCase("later fragment", IPv4, 5, ip4{proto: ProtoUDP, frag: 1}.with(udp()), nil),
		quoteCase("header cut off", IPv4, 3, ip4{proto: ProtoUDP}.with(nil)[:19], nil),
		quoteCase("options cut off", IPv4, 3, ip4{proto: ProtoUDP, opts: make([]byte, 8)}.with(nil)[:24], nil),
		quoteCase("header length 16", IPv4, 3, set(ip4{proto: ProtoUDP}.with(udp()), 0, 0x44), nil),
		quoteCase("ports cut off", IPv4, 3, ip4{proto: ProtoUDP}.with(udp()[:3]), nil),
		quoteCase("echo cut off", IPv4, 3, ip4{proto: ProtoICMP}.with(echo(8)[:7]), nil),
		quoteCase("nothing", IPv4, 3, nil, nil),
		quoteCase("IPv6 in an ICMP error", IPv4, 3, ip6(ProtoUDP, udp()), nil),
		quoteCase("TCP", IPv6, 1, ip6(ProtoTCP, tcp(SYN)), in6(ProtoTCP, 1000, 80)),
		quoteCase("echo request", IPv6, 3, ip6(ProtoICMPv6, echo(128)), in6(ProtoICMPv6, 7, 9)),
		quoteCase("echo reply", IPv6, 3, ip6(ProtoICMPv6, echo(129)), in6(ProtoICMPv6, 7, 9)),
		quoteCase("extensions", IPv6, 2, ip6(ProtoHopByHop, dst(ProtoAH, ah(ProtoFragment, 6, frag6(ProtoUDP, 0, 1, udp())))), in6(ProtoUDP, 1001, 53)),
		quoteCase("later fragment", IPv6, 4, ip6(ProtoFragment, frag6(ProtoUDP, 8, 0, udp())), nil),
		quoteCase("extension cut off", IPv6, 1, ip6(ProtoDstOpts, make([]byte, 7)), nil),
		quoteCase("extension beyond its end", IPv6, 1, ip6(ProtoDstOpts, set(dst(ProtoUDP, udp()), 1, 9)), nil),
		quoteCase("too many extensions", IPv6, 1, ip6(ProtoDstOpts, nine), nil),
		quoteCase("header cut off", IPv6, 1, ip6(ProtoUDP, nil)[:39], nil),
		quoteCase("IPv4 in an ICMPv6 error", IPv6, 1, ip4{proto: ProtoUDP}.with(udp()), nil),
	}
	return append(cases, linkCases()...)
}

// dirty is what a reused Headers may hold.
var dirty = Headers{Tuple: Tuple{SrcPort: 1, DstPort: 2, Proto: 3}, Options: OptBad, Fragment: true, HasL4: true,
	HasInner: true, Inner: Tuple{SrcPort: 9}, FragID: 4, ICMPType: 5, VLAN: 6}

func TestDecode(t *testing.T) {
	for _, tc := range decodeCases() {
		t.Run(tc.name, func(t *testing.T) {
			before := slices.Clone(tc.frame)
			h := dirty
			if cause := DecodeLink(tc.link, tc.frame, len(tc.frame), &h); cause != tc.cause {
				t.Fatalf("cause %v, want %v", cause, tc.cause)
			}
			if !bytes.Equal(before, tc.frame) {
				t.Error("the frame was written to")
			}
			if tc.want == nil {
				if h.Family != 0 {
					t.Errorf("family %d", h.Family)
				}
				return
			}
			if !h.HasInner {
				h.Inner = Tuple{} // not valid
			}
			checkPlain(t, tc.cause, tc.frame, &h)
			h.Plain = false
			h.TCPSeq, h.TCPNext, h.TCPAck, h.InnerSeq = 0, 0, 0, 0 // TestTCPNumbers
			if diff := cmp.Diff(*tc.want, h); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// checkPlain checks that a packet is plain if it is like most, and that it is then read as any other would be.
func checkPlain(t *testing.T, cause Cause, frame []byte, h *Headers) {
	t.Helper()
	header, captured, decode := uint16(ipv4Header), tcpHeader, decodeAny
	if h.Family == IPv6 {
		header, decode = ipv6Header, decodeAnyIPv6
		if h.Proto == ProtoUDP {
			captured = udpHeader
		}
	}
	plain := cause == OK && (h.Proto == ProtoTCP || h.Proto == ProtoUDP) && h.HasL4 && !h.Fragment &&
		h.L4 == h.L3+header && len(frame) >= int(h.L4)+captured && !lengthless(frame[h.L3:])
	if h.Plain != plain {
		t.Errorf("plain is %v, want %v: % x", h.Plain, plain, frame)
	}
	if plain {
		any := Headers{VLAN: h.VLAN, InnerVLAN: h.InnerVLAN, L3: h.L3}
		packet := frame[h.L3:]
		any.Plain = decode(packet, len(packet), &any) == OK
		if diff := cmp.Diff(any, *h); diff != "" {
			t.Errorf("% x: %s", frame, diff)
		}
	}
}

// TestCut takes every frame short, as a capture with a short snap length has it and as a mirror does that cuts frames: what
// is still read says the same as the whole frame, and as much is read of both.
func TestCut(t *testing.T) {
	for _, tc := range decodeCases() {
		if tc.want == nil || tc.cause != OK {
			continue
		}
		for n := range len(tc.frame) {
			snapped, mirrored := dirty, dirty
			frame := slices.Clip(tc.frame[:n])
			cause := DecodeLink(tc.link, frame, len(tc.frame), &snapped)
			if cause != OK && cause != Truncated {
				t.Errorf("%s: %d of %d bytes: %v", tc.name, n, len(tc.frame), cause)
			}
			checkSubset(t, tc.name, tc.want, &snapped)
			if tc.want.IPLen != 0 && lengthless(tc.frame[tc.want.L3:]) {
				continue // as long as the frame
			}
			if DecodeLink(tc.link, frame, n, &mirrored); mirrored != snapped {
				t.Errorf("%s: %d of %d bytes: %s", tc.name, n, len(tc.frame), cmp.Diff(snapped, mirrored))
			}
		}
	}
}

// checkSubset checks that what was read of a part of a frame is what was read of the whole.
func checkSubset(t *testing.T, name string, whole, part *Headers) {
	t.Helper()
	want := *whole
	want.TCPSeq, want.TCPNext, want.TCPAck, want.InnerSeq = part.TCPSeq, part.TCPNext, part.TCPAck, part.InnerSeq
	want.Plain = part.Plain
	if part.Family == 0 {
		want.Tuple, want.IPLen, want.DSCP, want.TTL, want.IPFlags, want.L3 = Tuple{}, 0, 0, 0, 0, part.L3
		want.Fragment, want.FragID, want.FragOff, want.DataLen, want.Options = false, 0, 0, 0, 0
		want.VLAN, want.InnerVLAN = part.VLAN, part.InnerVLAN
	}
	if part.Proto != want.Proto { // an extension header was cut off
		want.Proto, want.DataLen, want.Fragment, want.FragID, want.FragOff, want.IPFlags = part.Proto, part.DataLen, part.Fragment, part.FragID, part.FragOff, part.IPFlags
	}
	want.Options &= part.Options
	if !part.HasHead {
		want.HasHead, want.SrcPort, want.DstPort, want.ICMPType, want.ICMPCode = false, 0, 0, 0, 0
	}
	if !part.HasL4 {
		want.HasL4, want.L4, want.TCPFlags = false, 0, 0
		if IsICMP(part.Proto) {
			want.SrcPort, want.DstPort = 0, 0
		}
	}
	if !part.HasInner { // the quoted packet was cut off
		want.HasInner, want.Inner = false, part.Inner
	}
	if diff := cmp.Diff(want, *part); diff != "" {
		t.Errorf("%s: %s", name, diff)
	}
}

// TestSnapLength holds how much of a frame must be captured for its packet to be carried, and for its flags to be known.
func TestSnapLength(t *testing.T) {
	for _, tc := range []struct {
		name         string
		frame        []byte
		carried, all int
	}{
		{"TCP", v4(ip4{proto: ProtoTCP}, tcp(SYN)), 38, 48},
		{"TCPv6", v6(ProtoTCP, tcp(SYN)), 58, 68},
		{"UDP", v4(ip4{proto: ProtoUDP}, udp()), 38, 42},
		{"SCTP", v4(ip4{proto: ProtoSCTP}, sctp()), 38, 46},
		{"ICMP", v4(ip4{proto: ProtoICMP}, echo(8)), 42, 42},
		{"ESP", v4(ip4{proto: ProtoESP}, make([]byte, 20)), 34, len(v4(ip4{proto: ProtoESP}, make([]byte, 20))) + 1},
		{"later fragment", v4(ip4{proto: ProtoTCP, frag: 9}, tcp(SYN)), 34, 55},
	} {
		carried, all := 0, 0
		for n := len(tc.frame); n >= 0; n-- {
			var h Headers
			cause := Decode(tc.frame[:n], len(tc.frame), &h)
			if cause != OK && carried == 0 {
				carried = n + 1
			}
			if !h.HasL4 && all == 0 {
				all = n + 1
			}
		}
		if carried != tc.carried || all != tc.all {
			t.Errorf("%s: carried from %d bytes on, known from %d; want %d, %d", tc.name, carried, all, tc.carried, tc.all)
		}
	}
}

// TestLiesSurviveSnap: a header that contradicts itself is not excused by the snap length.
func TestLiesSurviveSnap(t *testing.T) {
	tcp4 := v4(ip4{proto: ProtoTCP}, tcp(SYN, make([]byte, 100)...))
	udp4 := v4(ip4{proto: ProtoUDP}, udp(make([]byte, 100)...))
	for _, tc := range []struct {
		frame []byte
		want  Cause
	}{
		{set(tcp4, 14, 0x44), IPHeaderLen},
		{set(tcp4, 16, 0, 12), IPTotalLen},
		{set(tcp4, 46, 4<<4), TCPShort},
		{set(udp4, 38, 0, 7), UDPShort},
		{set(udp4, 38, 0, 200), UDPShort},
	} {
		var h Headers
		if cause := Decode(slices.Clip(tc.frame[:60]), len(tc.frame), &h); cause != tc.want {
			t.Errorf("% x: %v, want %v", tc.frame[:60], cause, tc.want)
		}
	}
}

// TestVLANKnownWhenRefused holds what Decode says of VLAN on anything but OK.
func TestVLANKnownWhenRefused(t *testing.T) {
	var h Headers
	frame := tagged(etherIPv4, []byte{0x45}, [2]int{etherQinQ, 200}, [2]int{etherVLAN, 100})
	if cause := Decode(frame, len(frame), &h); cause != IPShort || h.VLAN != 200 || h.InnerVLAN != 100 {
		t.Errorf("%v, VLAN %d, inner %d", cause, h.VLAN, h.InnerVLAN)
	}
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	cases := decodeCases()
	var h Headers
	if n := testing.AllocsPerRun(10, func() {
		for i := range cases {
			DecodeLink(cases[i].link, cases[i].frame, len(cases[i].frame), &h)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestTCPNumbers reads sequence and acknowledgement numbers, and the number behind the segment: that of the next one.
func TestTCPNumbers(t *testing.T) {
	segment := func(flags, data int) []byte {
		b := tcp(flags, make([]byte, data)...)
		binary.BigEndian.PutUint32(b[4:], 0xfffffff0)
		binary.BigEndian.PutUint32(b[8:], 0x01020304)
		return b
	}
	ip := ip4{proto: ProtoTCP}
	fragment := ip4{proto: ProtoTCP, frag: 0x2000}
	for _, tc := range []struct {
		name  string
		frame []byte
		next  uint32
	}{
		{"ACK", v4(ip, segment(ACK, 0)), 0xfffffff0},
		{"data", v4(ip, segment(ACK, 100)), 0x54},
		{"SYN", v4(ip, segment(SYN, 0)), 0xfffffff1},
		{"FIN with data", v4(ip, segment(FIN|ACK, 3)), 0xfffffff4},
		{"SYN and FIN", v4(ip, segment(SYN|FIN, 0)), 0xfffffff2},
		{"padding is no data", cat(v4(ip, segment(ACK, 0)), make([]byte, 6)), 0xfffffff0},
		{"cut behind the flags", set(v4(ip, segment(ACK, 0)[:14]), 16, 0, 50), 0xfffffffa},
		{"first fragment", v4(fragment, segment(ACK, 20)), 4},
		{"IPv6", v6(ProtoTCP, segment(ACK, 1)), 0xfffffff1},
	} {
		var h Headers
		if cause := Decode(tc.frame, len(tc.frame), &h); cause != OK {
			t.Errorf("%s: refused for %v", tc.name, cause)
		}
		if h.TCPSeq != 0xfffffff0 || h.TCPAck != 0x01020304 || h.TCPNext != tc.next {
			t.Errorf("%s: %#x, next %#x, ack %#x", tc.name, h.TCPSeq, h.TCPNext, h.TCPAck)
		}
	}
	for _, n := range []int{7, 8} {
		var h Headers
		quoted := ip.with(segment(SYN, 0))[:20+n]
		frame := quoteCase("TCP", IPv4, 3, quoted, nil).frame
		Decode(frame, len(frame), &h)
		if want := uint32(0xfffffff0); h.HasInner && (h.InnerSeq == want) != (n == 8) {
			t.Errorf("quoted with %d bytes: %#x", n, h.InnerSeq)
		}
	}
}

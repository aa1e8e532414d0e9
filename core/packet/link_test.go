package packet

import "testing"

// linkCases are frames of every link type, and of link layers that Ethernet carries.
func linkCases() []decodeCase {
	plain, plain6 := ip4{proto: ProtoTCP}.with(tcp(SYN)), ip6(ProtoUDP, udp())
	odd := cat([]byte{0x20, 1, 2, 3}, plain)
	four := func(l3, vlan, inner uint16) *Headers {
		return headers4(func(h *Headers) {
			h.sizes(ProtoTCP, 40, 20).l4(l3+20, 1000, 80)
			h.L3, h.TCPFlags, h.VLAN, h.InnerVLAN = l3, SYN, vlan, inner
		})
	}
	six := func(l3, vlan, inner uint16) *Headers {
		return headers6(func(h *Headers) {
			h.sizes(ProtoUDP, 48, 8).l4(l3+40, 1001, 53)
			h.L3, h.VLAN, h.InnerVLAN = l3, vlan, inner
		})
	}
	pppoe := func(code byte, protocol int, payload []byte) []byte {
		return cat([]byte{0x11, code, 0, 7}, be16(len(payload)+2), be16(protocol), payload)
	}
	label := func(bottom byte) []byte { return []byte{0, 6, 0x40 | bottom, 64} }
	labels := func(n int) (b []byte) {
		for i := range n {
			bottom := byte(0)
			if i == n-1 {
				bottom = 1
			}
			b = append(b, label(bottom)...)
		}
		return b
	}
	sll := func(direction, hardware, protocol int, payload []byte) []byte {
		return cat(be16(direction), be16(hardware), be16(6), make([]byte, 8), be16(protocol), payload)
	}
	sll2 := func(direction byte, hardware, protocol int, payload []byte) []byte {
		return cat(be16(protocol), be16(0), make([]byte, 4), be16(hardware), []byte{direction, 6}, make([]byte, 8), payload)
	}
	vlan := func(id, typ int, payload []byte) []byte { return cat(be16(id), be16(typ), payload) }
	le := func(size, typ byte, rest ...byte) []byte { return cat([]byte{size, 0, typ, 0}, rest) }
	be := func(size, typ byte, rest ...byte) []byte { return cat([]byte{0, size, 0, typ}, rest) }
	hardwareHeader := make([]byte, 4)

	return []decodeCase{
		{name: "PPPoE", frame: ether(etherPPPoE, pppoe(0, pppIPv4, plain)), want: four(22, 0, 0)},
		{name: "PPPoE, v6", frame: ether(etherPPPoE, pppoe(0, pppIPv6, plain6)), want: six(22, 0, 0)},
		{name: "PPPoE in a VLAN", frame: tagged(etherPPPoE, pppoe(0, pppIPv4, plain), [2]int{etherQinQ, 5}, [2]int{etherVLAN, 7}), want: four(30, 5, 7)},
		{name: "PPPoE, LCP", frame: ether(etherPPPoE, pppoe(0, 0xc021, plain)), cause: NotIP},
		{name: "PPPoE, discovery", frame: ether(0x8863, pppoe(9, pppIPv4, plain)), cause: NotIP},
		{name: "PPPoE, code", frame: ether(etherPPPoE, pppoe(0xa7, pppIPv4, plain)), cause: NotIP},
		{name: "PPPoE cut off", frame: ether(etherPPPoE, []byte{0x11, 0, 0, 7, 0}), cause: LinkShort},
		{name: "MPLS", frame: ether(etherMPLS, cat(label(1), plain)), want: four(18, 0, 0)},
		{name: "MPLS, v6", frame: ether(etherMPLSUp, cat(labels(3), plain6)), want: six(26, 0, 0)},
		{name: "MPLS in a VLAN", frame: tagged(etherMPLS, cat(label(1), plain), [2]int{etherVLAN, 7}), want: four(22, 7, 0)},
		{name: "sixteen labels", frame: ether(etherMPLS, cat(labels(16), plain)), want: four(78, 0, 0)},
		{name: "seventeen labels", frame: ether(etherMPLS, cat(labels(17), plain)), cause: MPLSDepth},
		{name: "MPLS, not IP", frame: ether(etherMPLS, cat(label(1), odd)), cause: NotIP},
		{name: "MPLS, no end", frame: ether(etherMPLS, label(0)), cause: LinkShort},
		{name: "MPLS, nothing behind", frame: ether(etherMPLS, label(1)), cause: IPShort},

		{name: "raw", link: LinkRaw, frame: plain, want: four(0, 0, 0)},
		{name: "raw, v6", link: LinkRaw, frame: plain6, want: six(0, 0, 0)},
		{name: "raw, neither", link: LinkRaw, frame: odd, cause: NotIP},
		{name: "raw, nothing", link: LinkRaw, cause: IPShort},
		{name: "cooked", link: LinkSLL, frame: sll(0, 1, etherIPv4, plain), want: four(16, 0, 0)},
		{name: "cooked, outgoing", link: LinkSLL, frame: sll(4, 1, etherIPv6, plain6), want: six(16, 0, 0)},
		{name: "cooked, VLAN", link: LinkSLL, frame: sll(0, 1, etherVLAN, vlan(9, etherIPv4, plain)), want: four(20, 9, 0)},
		{name: "cooked, tunnel", link: LinkSLL, frame: sll(0, 65534, etherIPv4, plain), want: four(16, 0, 0)},
		{name: "cooked, netlink", link: LinkSLL, frame: sll(0, arpNetlink, etherIPv4, plain), cause: NotIP},
		{name: "cooked, 802.2", link: LinkSLL, frame: sll(0, 1, 4, plain), cause: NotIP},
		{name: "cooked, cut off", link: LinkSLL, frame: sll(0, 1, etherIPv4, nil)[:15], cause: LinkShort},
		{name: "cooked v2", link: LinkSLL2, frame: sll2(0, 1, etherIPv4, plain), want: four(20, 0, 0)},
		{name: "cooked v2, outgoing", link: LinkSLL2, frame: sll2(4, 1, etherIPv6, plain6), want: six(20, 0, 0)},
		{name: "cooked v2, PPPoE", link: LinkSLL2, frame: sll2(0, 1, etherPPPoE, pppoe(0, pppIPv4, plain)), want: four(28, 0, 0)},
		{name: "cooked v2, netlink", link: LinkSLL2, frame: sll2(0, arpNetlink, etherIPv4, plain), cause: NotIP},
		{name: "cooked v2, cut off", link: LinkSLL2, frame: sll2(0, 1, etherIPv4, nil)[:19], cause: LinkShort},
		{name: "loopback", link: LinkNull, frame: cat([]byte{2, 0, 0, 0}, plain), want: four(4, 0, 0)},
		{name: "loopback, network order", link: LinkNull, frame: cat([]byte{0, 0, 0, 2}, plain), want: four(4, 0, 0)},
		{name: "loopback, v6 of macOS", link: LinkNull, frame: cat([]byte{30, 0, 0, 0}, plain6), want: six(4, 0, 0)},
		{name: "loopback, v6 of OpenBSD", link: LinkNull, frame: cat([]byte{0, 0, 0, 24}, plain6), want: six(4, 0, 0)},
		{name: "loopback, AppleTalk", link: LinkNull, frame: cat([]byte{16, 0, 0, 0}, plain), cause: NotIP},
		{name: "loopback, cut off", link: LinkNull, frame: []byte{2, 0, 0}, cause: LinkShort},
		{name: "PPP", link: LinkPPP, frame: cat(be16(pppIPv4), plain), want: four(2, 0, 0)},
		{name: "PPP, one byte", link: LinkPPP, frame: cat([]byte{pppIPv4}, plain), want: four(1, 0, 0)},
		{name: "PPP, HDLC", link: LinkPPP, frame: cat(be16(pppAllStation), be16(pppIPv6), plain6), want: six(4, 0, 0)},
		{name: "PPP, MPLS", link: LinkPPP, frame: cat(be16(pppMPLS), label(1), plain), want: four(6, 0, 0)},
		{name: "PPP, LCP", link: LinkPPP, frame: cat(be16(pppAllStation), be16(0xc021), plain), cause: NotIP},
		{name: "Cisco HDLC", link: LinkPPP, frame: cat(be16(ciscoUnicast), be16(etherIPv4), plain), want: four(4, 0, 0)},
		{name: "Cisco HDLC, SLARP", link: LinkPPP, frame: cat(be16(ciscoMulti), be16(0x8035), plain), cause: NotIP},
		{name: "PPP, cut off", link: LinkPPP, frame: []byte{0}, cause: LinkShort},
		{name: "PPPoE without Ethernet", link: LinkPPPoE, frame: pppoe(0, pppIPv6, plain6), want: six(8, 0, 0)},
		{name: "nflog", link: LinkNFLOG, frame: cat([]byte{2, 0, 0, 5}, le(8, 1, hardwareHeader...), le(5, 10, 'x', 0, 0, 0), le(44, nflogPayload), plain),
			want: four(24, 0, 0)},
		{name: "nflog of a big-endian host", link: LinkNFLOG, frame: cat([]byte{10, 0, 0, 5}, be(8, 1, hardwareHeader...), be(52, nflogPayload), plain6),
			want: six(16, 0, 0)},
		{name: "nflog without a packet", link: LinkNFLOG, frame: cat([]byte{2, 0, 0, 5}, le(8, 1, hardwareHeader...)), cause: NotIP},
		{name: "nflog, attribute of 3 bytes", link: LinkNFLOG, frame: cat([]byte{2, 0, 0, 5}, le(3, 1), le(44, nflogPayload), plain), cause: NotIP},
		{name: "nflog, cut off", link: LinkNFLOG, frame: []byte{2, 0, 0}, cause: LinkShort},
	}
}

// TestLinkNames holds that every link type has a name.
func TestLinkNames(t *testing.T) {
	seen := map[string]Link{}
	for l := range NumLinks + 1 {
		name := l.String()
		if other, twice := seen[name]; name == "" || twice || (name == "unknown") != (l == NumLinks) {
			t.Errorf("link type %d is called %q, as %d", l, name, other)
		}
		seen[name] = l
	}
}

package packet

import (
	"net/netip"
	"testing"
)

func TestAddr(t *testing.T) {
	for _, s := range []string{"0.0.0.0", "192.0.2.1", "::", "2001:db8::1", "::ffff:192.0.2.1"} {
		ip := netip.MustParseAddr(s)
		a, f := AddrFrom(ip)
		if want := IPv6; ip.Is4() != (f == IPv4) || !ip.Is4() && f != want {
			t.Errorf("%s: family %d", s, f)
		}
		if back := a.Netip(f); back != ip {
			t.Errorf("%s came back as %s", s, back)
		}
	}
}

func TestReverse(t *testing.T) {
	tcp := inner(IPv4, ProtoTCP, 1, 2)
	if r := tcp.Reverse(); r.Src != tcp.Dst || r.Dst != tcp.Src || r.SrcPort != 2 || r.DstPort != 1 || r.Reverse() != tcp {
		t.Errorf("TCP: %+v", r)
	}
	for _, proto := range []uint8{ProtoICMP, ProtoICMPv6} {
		echo := inner(IPv6, proto, 7, 9)
		if r := echo.Reverse(); r.Src != echo.Dst || r.SrcPort != 7 || r.DstPort != 9 || r.Reverse() != echo {
			t.Errorf("protocol %d: %+v", proto, r)
		}
	}
}

func TestICMPKinds(t *testing.T) {
	for _, tc := range []struct {
		proto, typ          uint8
		request, reply, err bool
	}{
		{ProtoICMP, 0, false, true, false}, {ProtoICMP, 3, false, false, true}, {ProtoICMP, 4, false, false, true},
		{ProtoICMP, 5, false, false, true}, {ProtoICMP, 8, true, false, false}, {ProtoICMP, 11, false, false, true},
		{ProtoICMP, 12, false, false, true}, {ProtoICMP, 13, false, false, false}, {ProtoICMP, 128, false, false, false},
		{ProtoICMPv6, 1, false, false, true}, {ProtoICMPv6, 4, false, false, true}, {ProtoICMPv6, 8, false, false, false},
		{ProtoICMPv6, 128, true, false, false}, {ProtoICMPv6, 129, false, true, false}, {ProtoICMPv6, 135, false, false, false},
		{ProtoTCP, 8, false, false, false},
	} {
		h := Headers{Tuple: Tuple{Proto: tc.proto}, ICMPType: tc.typ, HasL4: true}
		if h.EchoRequest() != tc.request || h.EchoReply() != tc.reply || h.ICMPError() != tc.err || h.Echo() != (tc.request || tc.reply) {
			t.Errorf("protocol %d type %d: request %v, reply %v, error %v", tc.proto, tc.typ, h.EchoRequest(), h.EchoReply(), h.ICMPError())
		}
		h.HasL4 = false
		if h.Echo() || h.ICMPError() {
			t.Errorf("protocol %d type %d: without its header", tc.proto, tc.typ)
		}
	}
}

func TestCauseNames(t *testing.T) {
	seen := map[string]Cause{}
	for c := range NumCauses {
		s := c.String()
		if other, ok := seen[s]; ok || s == "" || s == "unknown" {
			t.Errorf("cause %d is %q, as is %d", c, s, other)
		}
		seen[s] = c
	}
	if s := NumCauses.String(); s != "unknown" {
		t.Errorf("no cause is %q", s)
	}
}

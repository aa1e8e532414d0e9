package packet

import "testing"

// FuzzDecode decodes any bytes as every link type, right before memory that may not be read.
func FuzzDecode(f *testing.F) {
	for _, tc := range decodeCases() {
		f.Add(tc.frame, uint16(0), uint8(tc.link))
		f.Add(tc.frame[:len(tc.frame)*2/3], uint16(len(tc.frame)-len(tc.frame)*2/3), uint8(tc.link))
	}
	g := newGuarded(f)
	f.Fuzz(func(t *testing.T, frame []byte, cut uint16, link uint8) {
		frame = g.end(frame[:min(len(frame), len(g))])
		checkInvariants(t, Link(link)%NumLinks, frame, len(frame)+int(cut))
	})
}

// checkInvariants decodes a frame and checks what holds of every frame.
func checkInvariants(t *testing.T, link Link, frame []byte, wire int) {
	t.Helper()
	h, again := dirty, Headers{}
	cause := DecodeLink(link, frame, wire, &h)
	if DecodeLink(link, frame, wire, &again) != cause || again != h {
		t.Fatalf("%v % x: what Headers held before shows", link, frame)
	}
	switch {
	case cause >= NumCauses || cause.String() == "unknown":
		t.Fatalf("cause %d", cause)
	case h.Family == 0:
		if cause == OK || h.HasHead || h.Src != (Addr{}) || h.Dst != (Addr{}) {
			t.Fatalf("%v % x: %v without an IP header: %+v", link, frame, cause, h)
		}
		return
	}
	if link != LinkNFLOG { // of which the packet may be shorter than the frame
		checkPlain(t, cause, frame, &h)
	}
	end := int(h.L3) + int(h.IPLen)
	data := end - int(h.DataLen)
	if l4 := int(h.L4); h.HasL4 && (l4 < int(h.L3)+ipv4Header || l4+8 > min(end, len(frame))) {
		t.Fatalf("%v % x: transport header at %d of %d bytes", link, frame, h.L4, len(frame))
	}
	switch {
	case h.Family != IPv4 && h.Family != IPv6:
		t.Fatalf("% x: family %d", frame, h.Family)
	case int(h.L3)+ipv4Header > len(frame):
		t.Fatalf("% x: IP header at %d of %d bytes", frame, h.L3, len(frame))
	case cause == Truncated && wire == len(frame) && end <= wire && link != LinkNFLOG: // whose attribute may be too short
		t.Fatalf("% x: %v, but everything is there", frame, cause)
	case cause == OK && (data > len(frame) || data < int(h.L3)+ipv4Header):
		t.Fatalf("% x: data from %d on, headers captured up to %d", frame, data, len(frame))
	case cause == OK && h.HasL4 && int(h.L4) != data:
		t.Fatalf("% x: transport header at %d, data at %d", frame, h.L4, data)
	case h.HasL4 && !h.HasHead, h.HasHead && h.FragOff != 0:
		t.Fatalf("% x: head %v, transport header %v, fragment at %d", frame, h.HasHead, h.HasL4, h.FragOff)
	case !h.HasHead && (h.SrcPort != 0 || h.DstPort != 0 || h.ICMPType != 0 || h.ICMPCode != 0), !h.HasL4 && (h.TCPFlags != 0 || h.HasInner):
		t.Fatalf("% x: values of a header that is not there", frame)
	case h.HasInner && (!h.ICMPError() || h.Inner.Family != h.Family):
		t.Fatalf("% x: a quoted packet of family %d", frame, h.Inner.Family)
	case h.FragOff != 0 && !h.Fragment && cause != IPHeaderLen && cause != IPTotalLen, h.Fragment && h.FragOff == 0 && h.IPFlags&MoreFragments == 0 && h.Family == IPv4:
		t.Fatalf("% x: fragment %v, offset %d, flags %d", frame, h.Fragment, h.FragOff, h.IPFlags)
	case h.Family == IPv4 && (isPadded(h.Src) || isPadded(h.Dst)):
		t.Fatalf("% x: bytes behind an IPv4 address", frame)
	}
}

func isPadded(a Addr) bool { return [12]byte(a[4:]) != [12]byte{} }

package packet

import "testing"

// FuzzDecode decodes any bytes right before memory that may not be read.
func FuzzDecode(f *testing.F) {
	for _, tc := range decodeCases() {
		f.Add(tc.frame, uint16(0))
		f.Add(tc.frame[:len(tc.frame)*2/3], uint16(len(tc.frame)-len(tc.frame)*2/3))
	}
	g := newGuarded(f)
	f.Fuzz(func(t *testing.T, frame []byte, cut uint16) {
		frame = g.end(frame[:min(len(frame), len(g))])
		checkInvariants(t, frame, len(frame)+int(cut))
	})
}

// checkInvariants decodes a frame and checks what holds of every frame.
func checkInvariants(t *testing.T, frame []byte, wire int) {
	t.Helper()
	h, again := dirty, Headers{}
	cause := Decode(frame, wire, &h)
	if Decode(frame, wire, &again) != cause || again != h {
		t.Fatalf("% x: what Headers held before shows", frame)
	}
	switch {
	case cause == Truncated && wire == len(frame):
		t.Fatalf("% x: %v, but everything was captured", frame, cause)
	case cause >= NumCauses || cause.String() == "unknown":
		t.Fatalf("cause %d", cause)
	case cause != OK:
		return
	}
	end := int(h.L3) + int(h.IPLen)
	data := end - int(h.DataLen)
	switch {
	case h.Family != IPv4 && h.Family != IPv6:
		t.Fatalf("% x: family %d", frame, h.Family)
	case end > wire:
		t.Fatalf("% x: the packet ends at %d, the frame at %d", frame, end, wire)
	case data > len(frame) || data < int(h.L3)+ipv4Header:
		t.Fatalf("% x: data from %d on, headers captured up to %d", frame, data, len(frame))
	case h.HasL4 && int(h.L4) != data:
		t.Fatalf("% x: transport header at %d, data at %d", frame, h.L4, data)
	case h.HasL4 && int(h.L4)+8 > min(end, len(frame)):
		t.Fatalf("% x: transport header at %d of %d bytes", frame, h.L4, len(frame))
	case h.HasL4 && h.FragOff != 0:
		t.Fatalf("% x: a later fragment has a transport header", frame)
	case !h.HasL4 && (h.SrcPort != 0 || h.DstPort != 0 || h.TCPFlags != 0 || h.ICMPType != 0 || h.HasInner):
		t.Fatalf("% x: values of a header that is not there", frame)
	case h.HasInner && (!h.ICMPError() || h.Inner.Family != h.Family):
		t.Fatalf("% x: a quoted packet of family %d", frame, h.Inner.Family)
	case h.FragOff != 0 && !h.Fragment, h.Fragment && h.FragOff == 0 && h.IPFlags&MoreFragments == 0:
		t.Fatalf("% x: fragment %v, offset %d, flags %d", frame, h.Fragment, h.FragOff, h.IPFlags)
	case h.Family == IPv4 && (isPadded(h.Src) || isPadded(h.Dst)):
		t.Fatalf("% x: bytes behind an IPv4 address", frame)
	}
}

func isPadded(a Addr) bool { return [12]byte(a[4:]) != [12]byte{} }

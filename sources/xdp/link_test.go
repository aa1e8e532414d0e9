package xdp

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/testing/nettest"
	"github.com/rtflow/pipelined/xsk"
)

// linkFrames are IPv4 and IPv6 packets behind the headers that Ethernet may carry, and behind some that are not looked
// through.
func linkFrames() (frames [][]byte) {
	datagram := nettest.UDP{}.Frame(make([]byte, 20))
	put := func(b ...byte) {
		frames = append(frames, append(append(append([]byte{}, datagram[:12]...), b...), datagram[14:]...))
	}
	put(0x08, 0)
	for _, tag := range []uint16{0x8100, 0x88a8, 0x9100, 0x9200, 0x9300, 0x9400} {
		var tags []byte
		for n := range 10 {
			tags = append(binary.BigEndian.AppendUint16(tags, tag), 0, byte(n+1))
			put(append(slices.Clip(tags), 0x08, 0)...)
			put(append(slices.Clip(tags), 0x08, 6)...)
			put(append(slices.Clip(tags), 0x88, 0x64, 0x11, 0, 0, 1, 0, 50, 0, 0x21)...)
			put(append(slices.Clip(tags), 0x88, 0x47, 0, 0, 1, 64)...)
		}
	}
	for _, code := range []byte{0, 1, 0xa7} {
		for _, protocol := range [][]byte{{0, 0x21}, {0, 0x57}, {0x21}, {0x57}, {0xc0, 0x21}, {0x80, 0x21}, {2, 0x81, 0, 0, 1, 64}, {2, 0x83, 0, 0, 1, 64}} {
			put(append([]byte{0x88, 0x64, 0x11, code, 0, 1, 0, 50}, protocol...)...)
		}
	}
	put(0x88, 0x63, 0x11, 9, 0, 0, 0, 0)
	for _, typ := range []byte{0x47, 0x48} {
		for n := range 18 {
			labels := append([]byte{0x88, typ}, make([]byte, 4*n)...)
			put(append(labels, 0, 0, 1, 64)...)
			put(append(labels, 0, 0, 1, 64, 0, 0, 0, 0)...)
		}
	}
	return frames
}

// TestLinkLayersAsDecoded holds that the XDP program takes from the kernel what the decoder finds an IP header in, and
// nothing else.
func TestLinkLayersAsDecoded(t *testing.T) {
	sender, tap := cable(t, 1)
	s := open(t, tap, Config{Device: xsk.Config{Frames: 1024}})
	wire := sender.Wire("wire")
	q := s.Queues()[0]
	var b packet.Batch
	taken, left := 0, 0
	for i, frame := range linkFrames() {
		var h packet.Headers
		// A version that disagrees with the type in front of it is for the decoder to refuse.
		cause := packet.Decode(frame, len(frame), &h)
		wire.Send(frame)
		if cause != packet.OK && cause != packet.IPVersion {
			left++
			continue
		}
		taken++
		if receiveAny(t, q, &b); b.N != 1 {
			t.Fatalf("frame %d (% x): %d received", i, frame, b.N)
		}
		if got := packet.DecodeLink(b.Frames[0].Link, b.Frames[0].Data, b.Frames[0].Wire, new(packet.Headers)); got != cause {
			t.Fatalf("frame %d: decoded as %v, want %v", i, got, cause)
		}
		q.Release()
	}
	if taken == 0 || left == 0 {
		t.Fatalf("%d taken, %d left", taken, left)
	}
	if err := q.Receive(t.Context(), &b, 5*time.Millisecond); err != nil || b.N != 0 {
		t.Errorf("%d frames more than were decoded, %v", b.N, err)
	}
	q.Release()
}

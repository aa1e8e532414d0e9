package packet

import (
	"encoding/binary"
	"testing"
)

// TestMerge counts packets that the kernel has merged.
func TestMerge(t *testing.T) {
	tcp := func(data, offset int) []byte { // an IPv4 TCP segment, cut behind its header
		p := make([]byte, 20+offset)
		p[0], p[8], p[9] = 0x45, 64, ProtoTCP
		binary.BigEndian.PutUint16(p[2:], uint16(20+offset+data))
		p[20+12] = byte(offset / 4 << 4)
		return p
	}
	udp := func(data int) []byte {
		p := make([]byte, 28)
		p[0], p[8], p[9] = 0x45, 64, ProtoUDP
		binary.BigEndian.PutUint16(p[2:], uint16(28+data))
		binary.BigEndian.PutUint16(p[24:], uint16(8+data))
		return p
	}
	for _, c := range []struct {
		name           string
		packet         []byte
		wire           int
		segment        uint16
		packets, bytes uint64
		tunnel         bool // the segments are of the other protocol
	}{
		{"not merged", tcp(1448, 32), 1500, 0, 1, 1500, false},
		{"ten and a half", tcp(10*1448+724, 32), 52 + 10*1448 + 724, 1448, 11, 11*52 + 10*1448 + 724, false},
		{"to the byte", tcp(3*1448, 32), 52 + 3*1448, 1448, 3, 3*52 + 3*1448, false},
		{"one segment", tcp(1448, 20), 40 + 1448, 1448, 1, 40 + 1448, false},
		{"no data", tcp(0, 20), 40, 1448, 1, 40, false},
		{"datagrams", udp(4 * 1000), 28 + 4*1000, 1000, 4, 4*28 + 4*1000, false},
		{"of one byte", tcp(65000, 20), 65040, 1, 65000, 65000 * 41, false},
		{"in a tunnel", udp(10 * 1400), 28 + 10*1400, 1400, 1, 28 + 10*1400, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var h Headers
			if cause := DecodeLink(LinkRaw, c.packet, c.wire, &h); cause != OK {
				t.Fatal(cause)
			}
			proto := c.packet[9]
			if c.tunnel {
				proto ^= ProtoTCP ^ ProtoUDP
			}
			h.Merge(&Frame{Data: c.packet, SegmentSize: c.segment, SegmentProto: proto})
			if packets, bytes := h.Size(); packets != c.packets || bytes != c.bytes {
				t.Errorf("%d packets of %d bytes, want %d of %d", packets, bytes, c.packets, c.bytes)
			}
		})
	}
}

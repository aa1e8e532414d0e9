package worker

import (
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/rtflow/pipelined/core/packet"
)

// fragment6 returns a fragment of an IPv6 datagram that begins at a multiple of eight bytes.
func fragment6(t *testing.T, next uint8, off uint16, more bool, data []byte) []byte {
	header := []byte{next, 0, byte(off >> 8), byte(off), 0, 0, 0, 7}
	if more {
		header[3] |= 1
	}
	return frame(t, ip6("2001:db8:1::1", "2001:db8:2::1", layers.IPProtocolIPv6Fragment), gopacket.Payload(append(header, data...)))
}

// TestNextHeaderOfFragments: the first fragment of an IPv6 datagram says what is in it, and the others belong to its session
// whatever they say (RFC 8200 section 4.5). Of IPv4 the protocol tells datagrams apart (RFC 791).
func TestNextHeaderOfFragments(t *testing.T) {
	datagram := append([]byte{0x9c, 0x40, 0, 53, 0, 48, 0, 0}, make([]byte, 24)...) // 32 bytes of 48
	options := append([]byte{packet.ProtoUDP, 0, 1, 4, 0, 0, 0, 0}, datagram...)
	first4, second4 := fragmentFrames(t, client, 40000, server, 53, 77)
	for _, c := range []struct {
		name          string
		first, second []byte
		orphans       uint64
	}{
		{"the same", fragment6(t, packet.ProtoUDP, 0, true, datagram), fragment6(t, packet.ProtoUDP, 32, false, make([]byte, 16)), 0},
		{"another", fragment6(t, packet.ProtoUDP, 0, true, datagram), fragment6(t, packet.ProtoTCP, 32, false, make([]byte, 16)), 0},
		{"one that is not known", fragment6(t, packet.ProtoUDP, 0, true, datagram), fragment6(t, 200, 32, false, make([]byte, 16)), 0},
		{"that of destination options", fragment6(t, packet.ProtoDstOpts, 0, true, options), fragment6(t, packet.ProtoDstOpts, 40, false, make([]byte, 16)), 0},
		{"that behind destination options", fragment6(t, packet.ProtoDstOpts, 0, true, options), fragment6(t, packet.ProtoUDP, 40, false, make([]byte, 16)), 0},
		{"IPv4", first4, second4, 0},
		{"IPv4, another protocol", first4, patch(second4, 23, packet.ProtoTCP), 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.batch(timed{0, c.first, ""}, timed{0, c.second, ""})
			r.run()
			if got := r.Counts(); got.Orphans != c.orphans || got.Passed != 2 {
				t.Errorf("%d orphans, want %d; %d passed", got.Orphans, c.orphans, got.Passed)
			}
			all := expireAll(r)
			if len(all) != 1 || all[0].ClientPackets != 2-c.orphans || all[0].Client.DstPort != 53 || all[0].Client.Proto != packet.ProtoUDP {
				t.Errorf("%+v", all)
			}
		})
	}
}

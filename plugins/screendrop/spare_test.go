package screendrop

import (
	"testing"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
)

// TestSpares has all screens on: those for TCP see beginnings and ends, and that for floods every datagram.
func TestSpares(t *testing.T) {
	const noFlood = `
tcp  = { syn-flood = true, port-scan = true, syn-fin = true, tcp-no-flag = true, land = true, winnuke = true }
udp  = { port-scan = true, udp-sweep = true }
icmp = { flood = true, large = true }
ip   = { bad-option = true, tear-drop = true }
`
	for _, test := range []struct {
		name, screens string
		p             hook.Packet
		zone          uint16
		want          bool
	}{
		{"TCP", allScreens, tcp(t, packet.ACK), untrust, true},
		{"UDP", allScreens, udp(t), untrust, false},
		{"UDP of another zone", allScreens, udp(t), dmz, true},
		{"UDP, without a limit", noFlood, udp(t), untrust, true},
		{"ICMP", noFlood, icmp(t), untrust, false},
	} {
		test.p.InZone = test.zone
		s := load(t, test.screens).Ingress.(hook.Sparing)
		if got := s.Spares(&test.p); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
	// What is spared passes, whatever it carries.
	s := load(t, allScreens)
	for _, flags := range []uint8{packet.ACK, packet.ACK | packet.PSH} {
		for _, port := range []uint16{80, 139, 445} {
			p := tcp(t, flags)
			p.DstPort, p.IPLen, p.TTL = port, 1500, 2
			if got := seen(s, p); got != "pass" {
				t.Errorf("flags %#x to port %d: %s", flags, port, got)
			}
		}
	}
}

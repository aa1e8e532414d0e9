package screendrop

import (
	"testing"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
)

// repeat says of n packets how many passed, how many made an event, and how many were dropped without one.
func repeat(t *testing.T, inst hook.Instance, p hook.Packet, n int) (passed, events, silent int, event string) {
	t.Helper()
	for i := range n {
		switch got := seen(inst, p); got {
		case "pass":
			if events > 0 && silent > 0 {
				t.Fatalf("packet %d passed after the threshold", i+1)
			}
			passed++
		case "drop":
			silent++
		default:
			events++
			event = got
		}
	}
	return passed, events, silent, event
}

// TestFloods: packets 1 to n of a second pass, n+1 fires, the rest is dropped silently; the next second begins anew.
func TestFloods(t *testing.T) {
	for _, test := range []struct {
		config, want string
		p            hook.Packet
	}{
		{"tcp.syn-flood = { source-threshold = 20, attack-threshold = false }", "drop, drop: syn-flood-source", tcp(t, packet.SYN)},
		{"tcp.syn-flood = { destination-threshold = 20, attack-threshold = false }", "drop, drop: syn-flood-destination", tcp(t, packet.SYN)},
		{"udp.flood.threshold = 20", "drop, drop: udp-flood", udp(t)},
		{"icmp.flood.threshold = 20", "drop, drop: icmp-flood", icmp(t)},
		{"icmp.flood.threshold = 20", "drop, drop: icmp-flood", fragment(icmp(t), 1480, 20, false)},
		{"udp.flood.threshold = 20", "drop, drop: udp-flood", fragment(udp(t), 1480, 20, false)},
		{"udp.flood.threshold = 20", "drop, drop: udp-flood", pkt(t, packet.ProtoUDP, "2001:db8::1", "2001:db8::2")},
	} {
		t.Run(test.config, func(t *testing.T) {
			inst := load(t, test.config)
			for range 3 {
				passed, events, silent, event := repeat(t, inst, test.p, 50)
				if passed != 20 || events != 1 || silent != 29 || event != test.want {
					t.Fatalf("%d passed, %d events (%s), %d dropped silently; want 20, 1 (%s), 29", passed, events, event, silent, test.want)
				}
				test.p.Time += second
			}
		})
	}
}

// TestAttackThresholdNeverDrops: the defence it starts in Junos answers SYNs and loses none.
func TestAttackThresholdNeverDrops(t *testing.T) {
	inst := load(t, "tcp.syn-flood = { attack-threshold = 20 }")
	p := tcp(t, packet.SYN)
	alarms := 0
	for range 2 {
		for i := range 100 {
			switch got := seen(inst, p); {
			case got == "pass, alarm: syn-flood" && i == 20:
				alarms++
			case got != "pass":
				t.Fatalf("SYN %d: got %q", i+1, got)
			}
		}
		p.Time += second
	}
	if alarms != 2 {
		t.Errorf("%d alarms in two seconds, want 2", alarms)
	}
}

func TestAttackThresholdIsPerAddressAndPort(t *testing.T) {
	inst := load(t, "tcp.syn-flood = { attack-threshold = 20 }")
	p := tcp(t, packet.SYN)
	for i := range 1000 {
		p.DstPort = uint16(i % 50)
		if got := seen(inst, p); got != "pass" {
			t.Fatalf("SYN %d: got %q", i+1, got)
		}
	}
}

// TestFloodsArePerDestinationNotPerZone: the same number of packets to many destinations of one zone is no flood.
func TestFloodsArePerDestinationNotPerZone(t *testing.T) {
	for _, test := range []struct {
		config string
		p      hook.Packet
	}{
		{"udp.flood.threshold = 20", udp(t)},
		{"icmp.flood.threshold = 20", icmp(t)},
		{"tcp.syn-flood = { destination-threshold = 20, source-threshold = false, attack-threshold = false }", tcp(t, packet.SYN)},
	} {
		inst := load(t, test.config)
		for i := range uint32(2000) {
			host(&test.p.Dst, test.p.Family, i%100)
			if got := seen(inst, test.p); got != "pass" {
				t.Fatalf("%s: packet %d: got %q", test.config, i+1, got)
			}
		}
		host(&test.p.Dst, test.p.Family, 7)
		if got := seen(inst, test.p); got == "pass" {
			t.Fatalf("%s: packet 21 to one destination passed", test.config)
		}
	}
}

// TestUDPFloodIsPerPort, and the other floods are not.
func TestUDPFloodIsPerPort(t *testing.T) {
	inst := load(t, "udp.flood.threshold = 20")
	p := udp(t)
	for i := range 1000 {
		p.DstPort = uint16(i % 50)
		if got := seen(inst, p); got != "pass" {
			t.Fatalf("packet %d: got %q", i+1, got)
		}
	}
}

// TestSYNThresholdsAreIndependent: every threshold of syn-flood counts its own key, not one number for all.
func TestSYNThresholdsAreIndependent(t *testing.T) {
	const config = "tcp.syn-flood = { source-threshold = 30, destination-threshold = 20, attack-threshold = 10 }"
	inst := load(t, config)
	p := tcp(t, packet.SYN)
	for i := range uint32(31) { // one source, many destinations and ports
		host(&p.Dst, p.Family, i)
		want := "pass"
		if i == 30 {
			want = "drop, drop: syn-flood-source"
		}
		if got := seen(inst, p); got != want {
			t.Fatalf("source: SYN %d: got %q, want %q", i+1, got, want)
		}
	}
	inst, p = load(t, config), tcp(t, packet.SYN)
	for i := range uint32(21) { // many sources and ports, one destination
		host(&p.Src, p.Family, i)
		p.DstPort++
		want := "pass"
		if i == 20 {
			want = "drop, drop: syn-flood-destination"
		}
		if got := seen(inst, p); got != want {
			t.Fatalf("destination: SYN %d: got %q, want %q", i+1, got, want)
		}
	}
}

func TestOnlySYNWithoutACKCounts(t *testing.T) {
	inst := load(t, "tcp.syn-flood = { source-threshold = 4, destination-threshold = 4, attack-threshold = 4 }\ntcp.port-scan = true\ntcp.tcp-sweep = true")
	for _, flags := range []uint8{packet.SYN | packet.ACK, packet.ACK, packet.RST, packet.FIN | packet.ACK} {
		p := tcp(t, flags)
		for i := range uint32(100) {
			p.DstPort++
			host(&p.Dst, p.Family, i)
			if got := seen(inst, p); got != "pass" {
				t.Fatalf("flags %#x, packet %d: got %q", flags, i+1, got)
			}
		}
	}
}

// TestZonesCountApart: two zones bound to the same screens do not add up.
func TestZonesCountApart(t *testing.T) {
	inst := loadTable(t, "[hooks.s]\nplugin = \"screendrop\"\nzones = [\"untrust\", \"dmz\"]\nudp.flood.threshold = 20", "s")
	p := udp(t)
	for i := range 40 {
		p.InZone = uint16(untrust + i%2)
		if got := seen(inst, p); got != "pass" {
			t.Fatalf("packet %d: got %q", i+1, got)
		}
	}
}

// TestFamiliesCountApart: 10.0.0.1 and a00:1:: have the same bytes.
func TestFamiliesCountApart(t *testing.T) {
	inst := load(t, "udp.flood.threshold = 1")
	if got := seen(inst, pkt(t, packet.ProtoUDP, "192.0.2.1", "10.0.0.1")); got != "pass" {
		t.Fatal(got)
	}
	if got := seen(inst, pkt(t, packet.ProtoUDP, "2001:db8::1", "a00:1::")); got != "pass" {
		t.Fatal(got)
	}
}

// TestIPv6KeysAreWholeAddresses: destinations that differ in any one byte are different.
func TestIPv6KeysAreWholeAddresses(t *testing.T) {
	inst := load(t, "udp.flood.threshold = 1")
	p := pkt(t, packet.ProtoUDP, "2001:db8::1", "2001:db8::2")
	for i := range p.Dst {
		p.Dst[i] ^= 0x40
		if got := seen(inst, p); got != "pass" {
			t.Fatalf("byte %d: got %q", i, got)
		}
	}
}

func TestAlarmWithoutDropReportsOncePerSecond(t *testing.T) {
	inst := load(t, "alarm-without-drop = true\nudp.flood.threshold = 20")
	p := udp(t)
	for i := range 50 {
		want := "pass"
		if i == 20 {
			want = "pass, alarm: udp-flood"
		}
		if got := seen(inst, p); got != want {
			t.Fatalf("packet %d: got %q, want %q", i+1, got, want)
		}
	}
}

func TestCounters(t *testing.T) {
	inst := load(t, "udp.flood.threshold = 20\ntcp.syn-fin = true")
	p := udp(t)
	for i := range 50 {
		p.Worker = i % 2
		seen(inst, p)
	}
	seen(inst, tcp(t, packet.SYN|packet.FIN))
	got := inst.Counters()
	if len(got) != 2 || got[0] != (hook.Counter{Name: "udp-flood", Packets: 30, Bytes: 1800}) ||
		got[1] != (hook.Counter{Name: "syn-fin", Packets: 1, Bytes: 60}) {
		t.Errorf("got %+v", got)
	}
}

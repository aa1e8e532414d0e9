package screendrop

import (
	"testing"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
)

const microsecond = int64(1000)

// scans are the five screens of this kind, with a packet and how to send it to another target.
func scans(t *testing.T) []scanCase {
	port := func(p *hook.Packet, n uint32) { p.DstPort = uint16(1000 + n) }
	dst := func(p *hook.Packet, n uint32) { host(&p.Dst, p.Family, n) }
	v6 := pkt(t, packet.ProtoICMPv6, "2001:db8::1", "2001:db8::2")
	v6.ICMPType = packet.ICMPv6EchoRequest
	return []scanCase{
		{"tcp.port-scan", "port-scan", tcp(t, packet.SYN), port},
		{"tcp.tcp-sweep", "tcp-sweep", tcp(t, packet.SYN), dst},
		{"udp.port-scan", "udp-port-scan", udp(t), port},
		{"udp.udp-sweep", "udp-sweep", udp(t), dst},
		{"icmp.ip-sweep", "ip-sweep", icmp(t), dst},
		{"icmp.ip-sweep", "ip-sweep", v6, dst},
	}
}

type scanCase struct {
	key, screen string
	p           hook.Packet
	to          func(*hook.Packet, uint32)
}

// TestTenTargetsWithinTheInterval: the threshold is a time, the number of targets is ten. The tenth fires, what follows
// is dropped until the interval ends, wherever it goes.
func TestTenTargetsWithinTheInterval(t *testing.T) {
	for _, c := range scans(t) {
		t.Run(c.screen, func(t *testing.T) {
			inst := load(t, c.key+" = { threshold = \"5ms\" }")
			p := c.p
			for n := range uint32(9) {
				for range 3 { // packets to a known target are none the more a scan
					c.to(&p, n)
					if got := seen(inst, p); got != "pass" {
						t.Fatalf("target %d: got %q", n+1, got)
					}
				}
				p.Time += 500 * microsecond
			}
			c.to(&p, 9)
			if got, want := seen(inst, p), "drop, drop: "+c.screen; got != want {
				t.Fatalf("tenth target: got %q, want %q", got, want)
			}
			p.Time = start + 5000*microsecond - 1
			for n := range uint32(20) {
				c.to(&p, n)
				if got := seen(inst, p); got != "drop" {
					t.Fatalf("in the rest of the interval: got %q", got)
				}
			}
			p.Time = start + 5000*microsecond
			for n := range uint32(9) {
				c.to(&p, 50+n)
				if got := seen(inst, p); got != "pass" {
					t.Fatalf("in the next interval, target %d: got %q", n+1, got)
				}
			}
		})
	}
}

// TestTargetsSpreadOverTime: ten targets, but never ten within one interval.
func TestTargetsSpreadOverTime(t *testing.T) {
	for _, c := range scans(t) {
		inst := load(t, c.key+" = true")
		for n := range uint32(1000) {
			c.to(&c.p, n)
			if got := seen(inst, c.p); got != "pass" {
				t.Fatalf("%s: target %d: got %q", c.screen, n+1, got)
			}
			c.p.Time += 600 * microsecond // nine in 5 ms
		}
	}
}

// TestManySourcesAreNoScan: the key is the source.
func TestManySourcesAreNoScan(t *testing.T) {
	for _, c := range scans(t) {
		inst := load(t, c.key+" = true")
		for n := range uint32(1000) {
			c.to(&c.p, n)
			host(&c.p.Src, c.p.Family, n/9)
			if got := seen(inst, c.p); got != "pass" {
				t.Fatalf("%s: packet %d: got %q", c.screen, n+1, got)
			}
		}
	}
}

// TestOneEventPerSecondAndSource: a scan that goes on fires in every interval and is reported once a second.
func TestOneEventPerSecondAndSource(t *testing.T) {
	for _, c := range scans(t) {
		inst := load(t, c.key+" = true")
		events := 0
		for n := range uint32(30000) {
			c.to(&c.p, n)
			if seen(inst, c.p) == "drop, drop: "+c.screen {
				events++
			}
			c.p.Time += second / 10000
		}
		if events != 3 {
			t.Errorf("%s: %d events in three seconds", c.screen, events)
		}
	}
}

// TestIPSweepIsICMPOnly: other protocols to ten hosts are not an address sweep.
func TestIPSweepIsICMPOnly(t *testing.T) {
	inst := load(t, "icmp.ip-sweep = true")
	for _, p := range []hook.Packet{tcp(t, packet.SYN), udp(t), pkt(t, 47, "203.0.113.9", "10.0.0.1")} {
		for n := range uint32(100) {
			host(&p.Dst, p.Family, n)
			if got := seen(inst, p); got != "pass" {
				t.Fatalf("protocol %d, host %d: got %q", p.Proto, n+1, got)
			}
		}
	}
}

// TestPortScanThresholdIsATime, not a number of ports or packets.
func TestPortScanThresholdIsATime(t *testing.T) {
	for interval, want := range map[string]bool{"1ms": false, "1s": true} {
		inst := load(t, "tcp.port-scan.threshold = \""+interval+"\"")
		p, fired := tcp(t, packet.SYN), false
		for n := range uint16(10) {
			p.DstPort = n
			fired = fired || seen(inst, p) != "pass"
			p.Time += 900 * microsecond
		}
		if fired != want {
			t.Errorf("ten ports in 8.1 ms with a threshold of %s: fired is %v", interval, fired)
		}
	}
}

// TestIPSweepCountsEchoRequests: answers, errors and neighbour discovery to ten hosts are not a sweep.
func TestIPSweepCountsEchoRequests(t *testing.T) {
	inst := load(t, "icmp.ip-sweep = true")
	for typ := range 256 {
		for _, p := range []hook.Packet{icmp(t), pkt(t, packet.ProtoICMPv6, "fe80::1", "ff02::1:ff00:0")} {
			p.ICMPType = uint8(typ)
			fired := false
			for n := range uint32(distinct) {
				host(&p.Dst, p.Family, n)
				fired = seen(inst, p) != "pass"
			}
			if fired != p.EchoRequest() {
				t.Errorf("family %d, type %d: fired is %v", p.Family, typ, fired)
			}
			p.Time += second
		}
	}
}

// TestScansOfUDPJudgeBeginnings: packets that are not the first of their flow are not looked at.
func TestScansOfUDPJudgeBeginnings(t *testing.T) {
	inst := load(t, "udp.port-scan = true\nudp.udp-sweep = true")
	p := udp(t)
	for n := range uint32(100) {
		host(&p.Dst, p.Family, n)
		p.DstPort++
		var f hook.Finding
		if v := inst.Ingress.Inspect(&p, &f); v != hook.Pass || f.Found {
			t.Fatalf("verdict %d, %+v", v, f)
		}
	}
	if load(t, "tcp.port-scan = true\nudp.flood = true").Session != nil {
		t.Error("called for first packets without a screen that judges them")
	}
	p.InZone = dmz
	for n := range uint32(100) {
		host(&p.Dst, p.Family, n)
		if got := seen(inst, p); got != "pass" {
			t.Fatalf("in another zone: %s", got)
		}
	}
}

// TestLaterFragmentsScanNoPorts: they have none.
func TestLaterFragmentsScanNoPorts(t *testing.T) {
	inst := load(t, "udp.port-scan = true\ntcp.port-scan = true")
	for n := range uint16(100) {
		for _, p := range []hook.Packet{fragment(udp(t), 1480, 8, false), fragment(tcp(t, packet.SYN), 1480, 8, false)} {
			p.DstPort = n
			if got := seen(inst, p); got != "pass" {
				t.Fatalf("got %q", got)
			}
		}
	}
}

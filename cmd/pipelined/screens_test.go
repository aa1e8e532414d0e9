package main

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

// rawIP is a capture of IPv4 packets, one each microsecond.
func rawIP(packets [][]byte) string {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 0xa1b2c3d4)
	b = append(b, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 101, 0, 0, 0)
	for i, p := range packets {
		for _, v := range []int{1_790_000_000, i, len(p), len(p)} {
			b = le.AppendUint32(b, uint32(v))
		}
		b = append(b, p...)
	}
	return string(b)
}

// rawUDP is a UDP packet without data between the last bytes of 10.0.0.0 and 8.8.8.0.
func rawUDP(out bool, inside, port, outside byte) []byte {
	p := []byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, inside, 8, 8, 8, outside, 0x9c, port, 0, 53, 0, 8, 0, 0}
	if !out {
		copy(p[12:], []byte{8, 8, 8, outside, 10, 0, 0, inside, 0, 53, 0x9c, port})
	}
	return p
}

// TestReadAnswersAreNoScan: a server answers one client at many ports, and many clients. Without the questions, such
// packets are a port scan and a sweep, if they come from a port of no service.
func TestReadAnswersAreNoScan(t *testing.T) {
	const text = `
[pipeline]
hooks = ["screens"]
[zones.trust]
prefixes = ["10.0.0.0/8"]
[zones.untrust]
prefixes = ["0.0.0.0/0"]
[hooks.screens]
plugin = "screendrop"
zones  = ["untrust"]
udp    = { port-scan = true, udp-sweep = true }
`
	var questions, answers, scan [][]byte
	for n := range byte(12) {
		questions = append(questions, rawUDP(true, 1, n, 8), rawUDP(true, 2+n, 0, 9))
		answers = append(answers, rawUDP(false, 1, n, 8), rawUDP(false, 2+n, 0, 9))
	}
	for _, p := range answers {
		p = slices.Clone(p)
		p[20], p[21] = 0xc3, 0x50
		scan = append(scan, p)
	}
	for _, tc := range []struct {
		name, more  string
		packets     [][]byte
		scan, sweep int
	}{
		{"answers", "", append(questions, answers...), 0, 0},
		{"scan and sweep", "", scan, 1, 1},
		{"without drop", "alarm-without-drop = true", scan, 1, 1},
	} {
		config := writeFile(t, "screens.toml", text+tc.more)
		out := mustRun(t, "read", "-c", config, "-f", "rfc3164", writeFile(t, "dns.pcap", rawIP(tc.packets)))
		if n := strings.Count(out, "UDP port scan!"); n != tc.scan {
			t.Errorf("%s: %d port scans, want %d\n%s", tc.name, n, tc.scan, out)
		}
		if n := strings.Count(out, "UDP sweep!"); n != tc.sweep {
			t.Errorf("%s: %d sweeps, want %d\n%s", tc.name, n, tc.sweep, out)
		}
	}
}

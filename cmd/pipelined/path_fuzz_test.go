package main

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"testing"

	"github.com/rtflow/pipelined/core/metrics"
)

// fuzzConfig has every hook, and timeouts and rates so small that sessions end and events are limited within few packets.
const fuzzConfig = `
[pipeline]
hooks = ["screens", "edge", "policies"]
[sessions]
max = 4096
[zones.trust]
prefixes = ["10.0.0.0/8", "2001:db8:1::/48"]
[zones.untrust]
prefixes = ["0.0.0.0/0", "::/0"]
[hooks.screens]
plugin = "screendrop"
zones  = ["untrust"]
tcp    = { syn-flood = { source-threshold = 3 }, port-scan = true, tcp-sweep = true, syn-fin = true, tcp-no-flag = true, land = true, syn-frag = true }
udp    = { flood = { threshold = 3 }, port-scan = true, udp-sweep = true }
icmp   = { ip-sweep = true, ping-death = true, large = true }
ip     = { tear-drop = true, bad-option = true, unknown-protocol = true }
[hooks.edge]
plugin = "filterlog"
[[hooks.edge.term]]
name = "telnet"
from = { protocol = "tcp", destination-port = ["telnet"] }
then = ["discard", "log"]
[[hooks.edge.term]]
name = "rest"
then = "accept"
[hooks.policies]
plugin = "policydeny"
[[hooks.policies.policy]]
name = "out"
from = "trust"
to   = "untrust"
then = "permit"
`

// fuzzLinks are the link types that captures of the fuzzer have.
var fuzzLinks = []byte{1, 101, 113, 0, 9, 51, 239}

// fuzzCapture makes a capture of packets that stand one after the other in data: two bytes for the length, one for how much
// of the packet was not captured, one for the time since the packet before in units of 20 ms.
func fuzzCapture(link uint8, data []byte) string {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 0xa1b2c3d4)
	b = append(b, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, fuzzLinks[int(link)%len(fuzzLinks)], 0, 0, 0)
	ms := uint64(1_790_000_000_000)
	for len(data) >= 4 {
		n := min(int(binary.BigEndian.Uint16(data)), len(data)-4)
		ms += 20 * uint64(data[3])
		for _, v := range []int{int(ms / 1000), int(ms % 1000 * 1000), n, n + int(data[2])} {
			b = le.AppendUint32(b, uint32(v))
		}
		b = append(b, data[4:4+n]...)
		data = data[4+n:]
	}
	return string(b)
}

// fuzzSeed returns the packets of a little-endian pcap, none longer than most, as fuzzCapture takes them.
func fuzzSeed(f *testing.F, path string, most int) (data []byte) {
	b, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	for b = b[24:]; len(b) >= 16; {
		n := int(binary.LittleEndian.Uint32(b[8:]))
		p := b[16 : 16+n]
		if len(p) > most {
			p = p[:most]
		}
		data = append(binary.BigEndian.AppendUint16(data, uint16(len(p))), byte(min(n-len(p), 255)), 5)
		data = append(data, p...)
		b = b[16+n:]
	}
	return data
}

// FuzzRead carries packets from a capture to lines with every hook on. The lines are the same each time, and those that the
// frames of the same events give; every packet and every event is accounted for.
func FuzzRead(f *testing.F) {
	for link, path := range []string{"testdata/captures/http.pcap", "testdata/captures/raw-ip.pcap", "testdata/captures/sll.pcap"} {
		for _, most := range []int{1 << 16, 60, 40} {
			f.Add(uint8(link), fuzzSeed(f, path, most))
		}
	}
	var scan []byte
	for n := range byte(20) {
		scan = append(scan, append([]byte{0, 28, 0, 0}, rawUDP(n%2 == 0, n, n, 9)...)...)
	}
	f.Add(uint8(1), scan)
	f.Fuzz(func(t *testing.T, link uint8, data []byte) {
		config := writeFile(t, "pipeline.toml", fuzzConfig)
		capture := writeFile(t, "in.pcap", fuzzCapture(link, data))
		ledger := writeFile(t, "ledger.json", "")
		lines := mustRun(t, "read", "-c", config, "-f", "rfc5424", "--ledger", ledger, capture)
		if again := mustRun(t, "read", "-c", config, "-f", "rfc5424", capture); again != lines {
			t.Errorf("the same capture gives\n%s\nand then\n%s", lines, again)
		}
		frames := writeFile(t, "events.frames", mustRun(t, "read", "-c", config, "-f", "frames", capture))
		if lines != "" {
			if got := mustRun(t, "read", "-c", config, "-f", "rfc5424", frames); got != lines {
				t.Errorf("the capture gives\n%s\nits frames\n%s", lines, got)
			}
		}
		text, err := os.ReadFile(ledger)
		if err != nil {
			t.Fatal(err)
		}
		var led metrics.Ledger
		if err := json.Unmarshal(text, &led); err != nil {
			t.Fatal(err)
		}
		p := led.Packets
		if led.Unaccounted != 0 || p.Received != p.Forwarded+p.Dropped+p.Passed+p.Refused {
			t.Errorf("unaccounted %d; %+v", led.Unaccounted, p)
		}
	})
}

package e2e

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// TestP3SYNFlood floods the tap with SYNs that nobody answers, as fast as the kernel makes them, beside sessions that are
// answered: every one of these is closed in the log, and the flood makes a bounded number of lines per second.
func TestP3SYNFlood(t *testing.T) {
	n := newNetwork(t)
	flooder := nettest.NewHost(t)
	nettest.Cable(flooder, "eth0", n.tap, "tap1", 1)
	const rate, burst, honest = 50, 100, 40
	d := startWith(n, strings.NewReplacer(
		`sources = ["tap"]`, `sources = ["tap", "flood"]`,
		"[sources.tap]", "[sources.flood]\nplugin = \"xdp\"\ninterface = \"tap1\"\ntake_traffic = true\n[sources.tap]",
		"[sessions]", "[admission.unanswered]\nrate = 50\nburst = 100\n[sessions]\ntcp_initial_timeout = \"2s\"",
	).Replace(config), "")
	n.serve()

	ctx, cancel := context.WithCancel(t.Context())
	sent := make(chan uint64, 1)
	begun := time.Now()
	go func() {
		k, err := flooder.Flood(ctx, nettest.Flood{Device: "eth0", Frame: synFrame(t), KeepPayload: true, Flows: 1 << 16, Count: 1 << 62, For: time.Minute})
		if err != nil {
			t.Error(err)
		}
		sent <- k
	}()
	for range honest {
		n.get(n.client, serverIP)
	}
	const flooded, closed = `source-address="10.9.1.77"`, "RT_FLOW_SESSION_CLOSE"
	eventually(t, "the close records of the honest sessions", func() bool {
		return count(d.events(), closed, `source-address="`+clientIP+`"`, `destination-port="80"`) >= honest
	})
	cancel()
	packets, took := <-sent, time.Since(begun)
	// What was held back is refused for good when the flood's sessions end.
	eventually(t, "a loss line that says how many were limited", func() bool {
		return count(d.events(), "LOSS", "reason=rate_limited", "session-open=") > 0
	})
	d.stop()
	lines := count(d.events(), flooded)
	if most := burst + int(rate*(time.Since(begun).Seconds()+1)); lines > most || lines == 0 {
		t.Errorf("%d lines of the flood in %v, want at most %d", lines, took, most)
	}
	if got := count(d.events(), closed, `source-address="`+clientIP+`"`, `destination-port="80"`); got != honest {
		t.Errorf("%d close records of %d honest sessions", got, honest)
	}
	t.Logf("%d SYNs in %v, %.0f a second; %d lines of them", packets, took, float64(packets)/took.Seconds(), lines)
}

// synFrame is a SYN to the server from an address that answers nothing.
func synFrame(t testing.TB) []byte {
	t.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: net.IPv4(10, 9, 1, 77), DstIP: net.ParseIP(serverIP)}
	tcp := &layers.TCP{SrcPort: 1, DstPort: 80, SYN: true, Window: 1000}
	b := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true},
		&layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4},
		ip, tcp, gopacket.Payload(make([]byte, 10)))
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

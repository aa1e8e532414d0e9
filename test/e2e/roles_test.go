package e2e

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/rtflow/pipelined/internal/testing/nettest"
)

const rolesConfig = `
[node]
name = "tap-2"
[pipeline]
sources = ["questions", "answers"]
hooks   = ["policies"]
sinks   = ["events"]
[zones.clients]
prefixes = ["10.9.1.0/24"]
[zones.servers]
prefixes = ["10.9.2.0/24"]
[sources.questions]
plugin    = "xdp"
interface = "tap0"
frames    = 16384
[sources.answers]
plugin    = "xdp"
interface = "tap1"
frames    = 16384
[hooks.policies]
plugin = "policydeny"
[[hooks.policies.policy]]
name = "ask"
from = "clients"
to   = "servers"
then = "permit"
[sinks.events]
plugin = "file"
path   = "DIR/events.log"
[service]
metrics = "127.0.0.1:9464"
drain   = "5s"
`

// TestRolesOnTwoInterfaces taps the two directions of a line on an interface and a worker each, while TCP connections follow each
// other as fast as the kernel sends them: whichever worker is first, the client is the client, the policy that permits only what
// clients ask denies nothing, and every connection has its two records.
func TestRolesOnTwoInterfaces(t *testing.T) {
	nettest.Require(t)
	// Of a batch at most 64 frames are on one cable, of which the driver holds 256. The receive rings hold all frames of the test.
	const connections, batch, port = 2048, 16, 10000
	n := &network{t: t, client: nettest.NewHost(t), server: nettest.NewHost(t), tap: nettest.NewHost(t)}
	nettest.Cable(n.client, "eth0", n.tap, "tap0", 1)
	nettest.Cable(n.server, "eth0", n.tap, "tap1", 1)
	d := startWith(n, rolesConfig, "")

	line := line{network: n, client: n.client.Wire("eth0"), server: n.server.Wire("eth0")}
	var all [][]segment
	for i := range connections {
		all = append(all, line.connection(layers.TCPPort(port+i)))
	}
	for b := range slices.Chunk(all, batch) {
		line.carry(b)
	}

	const create, closed = "RT_FLOW_SESSION_CREATE", "RT_FLOW_SESSION_CLOSE"
	eventually(t, "every connection is closed", func() bool { return count(d.events(), closed) >= connections })
	s := d.status()
	for name, source := range s.Sources {
		if len(source.Sockets) != 1 || source.Sockets[0].RxDropped+source.Sockets[0].RxRingFull != 0 {
			t.Errorf("source %s: %+v, want one worker that loses nothing", name, source.Sockets)
		}
	}
	if p := s.Ledger.Packets; p.Received != 6*connections || p.Passed != p.Received {
		t.Errorf("received %d packets, passed %d, dropped %d; sent %d", p.Received, p.Passed, p.Dropped, 6*connections)
	}
	if denied, made := s.Ledger.Events["policy-deny"].Offered, s.Ledger.Sessions.Created; denied != 0 || made != connections {
		t.Errorf("%d denials, %d sessions of %d connections", denied, made, connections)
	}
	d.stop()

	records := make(map[string]int) // by type and the client's port; only of what is as it was sent
	for l := range strings.Lines(d.events()) {
		if strings.Contains(l, "RT_FLOW_SESSION_DENY") {
			t.Errorf("a denial: %s", l)
		}
		kind := create
		if strings.Contains(l, closed) {
			kind = closed
		}
		_, rest, _ := strings.Cut(l, ` source-port="`)
		from, _, _ := strings.Cut(rest, `"`)
		want := []string{
			kind, `source-address="` + clientIP + `"`, `destination-address="` + serverIP + `"`, `destination-port="80"`,
			`source-zone-name="clients"`, `destination-zone-name="servers"`, `policy-name="ask"`,
		}
		if kind == closed {
			want = append(want, `reason="TCP FIN"`, `packets-from-client="4"`, `packets-from-server="2"`)
		}
		if count(l, want...) == 0 {
			t.Errorf("want %q in %s", want, l)
			continue
		}
		records[kind+from]++
	}
	for i := range connections {
		for _, kind := range []string{create, closed} {
			if got := records[fmt.Sprint(kind, port+i)]; got != 1 {
				t.Errorf("port %d: %d records %s, want 1", port+i, got, kind)
			}
		}
		if t.Failed() {
			break
		}
	}
}

// line is what is tapped: frames of the client on one cable, frames of the server on the other.
type line struct {
	*network
	client, server         *nettest.Wire
	fromClient, fromServer uint64 // frames sent
}

// segment is one frame of a connection.
type segment struct {
	frame      []byte
	fromServer bool
}

// connection returns a TCP connection from a port of the client: the handshake, and FINs from both ends.
func (l *line) connection(port layers.TCPPort) (c []segment) {
	const client, server = 1000, 5000 // initial sequence numbers
	for _, s := range []struct {
		fromServer bool
		tcp        layers.TCP
	}{
		{false, layers.TCP{SYN: true, Seq: client}},
		{true, layers.TCP{SYN: true, ACK: true, Seq: server, Ack: client + 1}},
		{false, layers.TCP{ACK: true, Seq: client + 1, Ack: server + 1}},
		{false, layers.TCP{FIN: true, ACK: true, Seq: client + 1, Ack: server + 1}},
		{true, layers.TCP{FIN: true, ACK: true, Seq: server + 1, Ack: client + 2}},
		{false, layers.TCP{ACK: true, Seq: client + 2, Ack: server + 2}},
	} {
		ether := layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4}
		ip := layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: net.ParseIP(clientIP), DstIP: net.ParseIP(serverIP)}
		s.tcp.SrcPort, s.tcp.DstPort, s.tcp.Window = port, 80, 1000
		if s.fromServer {
			ether.SrcMAC, ether.DstMAC = ether.DstMAC, ether.SrcMAC
			ip.SrcIP, ip.DstIP = ip.DstIP, ip.SrcIP
			s.tcp.SrcPort, s.tcp.DstPort = 80, port
		}
		l.must(s.tcp.SetNetworkLayerForChecksum(&ip))
		b := gopacket.NewSerializeBuffer()
		l.must(gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, &ether, &ip, &s.tcp))
		c = append(c, segment{b.Bytes(), s.fromServer})
	}
	return c
}

// carry sends connections side by side, each segment 0.1 ms after the one before it or a little later, and returns when the
// drivers of the tap have taken every frame.
func (l *line) carry(connections [][]segment) {
	l.t.Helper()
	const apart = 100 * time.Microsecond
	begun := make([]time.Time, len(connections)) // when the last segment was sent
	for left := len(connections); left > 0; {
		left = 0
		for i, c := range connections {
			if len(c) == 0 {
				continue
			}
			left++
			if time.Since(begun[i]) < apart {
				continue
			}
			if begun[i] = time.Now(); c[0].fromServer {
				l.server.Send(c[0].frame)
				l.fromServer++
			} else {
				l.client.Send(c[0].frame)
				l.fromClient++
			}
			connections[i] = c[1:]
		}
	}
	taken := func(h *nettest.Host) uint64 { return h.Link("eth0").Attrs().Statistics.TxPackets }
	for deadline := time.Now().Add(30 * time.Second); taken(l.network.client) < l.fromClient || taken(l.network.server) < l.fromServer; {
		if time.Now().After(deadline) {
			l.t.Fatalf("sent %d and %d frames, taken %d and %d",
				l.fromClient, l.fromServer, taken(l.network.client), taken(l.network.server))
		}
	}
}

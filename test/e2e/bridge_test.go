package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// bridged is a client and a server, and between them the host of the daemon, with lan0 and wan0. Without the daemon nothing
// crosses. Its attacker is on the server's side.
func bridged(t *testing.T) *network {
	t.Helper()
	nettest.Require(t)
	nettest.RequireCommands(t, "ethtool", "ping")
	n := &network{t: t, tap: nettest.NewHost(t), bpffs: nettest.BPFFS(t)}
	n.connect("lan0", "wan0", []string{clientIP + "/16", clientIP6 + "/32"}, []string{serverIP + "/16", serverIP6 + "/32"})
	return n
}

// connect makes a client and a server with addresses, and connects them with two interfaces of the host of the daemon.
func (n *network) connect(lan, wan string, client, server []string) {
	n.t.Helper()
	n.client, n.server = nettest.NewHost(n.t), nettest.NewHost(n.t)
	n.attacker = n.server
	// With several queues a host may send a flow by another of them when it thinks that nothing is on its way.
	nettest.Cable(n.client, "eth0", n.tap, lan, 1)
	nettest.Cable(n.server, "eth0", n.tap, wan, 1)
	for h, addresses := range map[*nettest.Host][]string{n.client: client, n.server: server} {
		// A veth leaves checksums, and the cutting of large packets, to whoever needs them: there is nobody on a real cable.
		h.Run("ethtool", "-K", "eth0", "tx", "off", "gso", "off", "tso", "off", "gro", "off")
		// Without a program a veth hands what arrives to the queue of the sending CPU, and a sender that moves to another one is
		// overtaken by itself. With one it has a queue of its own, like a card.
		h.AcceptFlood("eth0")
		for _, a := range addresses {
			h.Address("eth0", a)
		}
	}
}

// setMTU sets the MTU of all interfaces.
func (n *network) setMTU(mtu int) {
	for _, h := range []*nettest.Host{n.client, n.server} {
		h.SetMTU("eth0", mtu)
	}
	for _, name := range []string{"lan0", "wan0"} {
		n.tap.SetMTU(name, mtu)
	}
}

const bridgeConfig = `
[node]
name = "bridge-1"
[pipeline]
sources = ["lan", "wan"]
hooks   = ["policies"]
sinks   = ["events"]
[zones.inside]
interfaces = ["lan0"]
[zones.outside]
interfaces = ["wan0"]
[sources.lan]
plugin    = "xdp"
interface = "lan0"
mode      = "bridge"
peer      = "wan"
frames    = 1024
bpffs     = "BPFFS"
[sources.wan]
plugin    = "xdp"
interface = "wan0"
mode      = "bridge"
peer      = "lan"
frames    = 1024
bpffs     = "BPFFS"
[hooks.policies]
plugin = "policydeny"
[[hooks.policies.policy]]
name        = "no-telnet"
from        = "inside"
to          = "outside"
application = ["junos-telnet", "junos-ntp"]
then        = "reject"
[[hooks.policies.policy]]
name = "out"
from = "inside"
to   = "outside"
then = "permit"
[sinks.events]
plugin = "file"
path   = "DIR/events.log"
[service]
metrics = "127.0.0.1:9464"
drain   = "5s"
`

// sniffer is a packet socket on eth0 of a host. It sees what the host sends as well.
type sniffer struct {
	n  *network
	fd int
	// frames by direction of the capture and flow, in order.
	sent, received map[string][][]byte
}

func (n *network) sniff(h *nettest.Host) *sniffer {
	n.t.Helper()
	s := &sniffer{n: n, sent: make(map[string][][]byte), received: make(map[string][][]byte)}
	h.Do(func() {
		device, err := net.InterfaceByName("eth0")
		n.must(err)
		all := uint16(unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8) // network byte order
		s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		n.must(err)
		n.t.Cleanup(func() { _ = unix.Close(s.fd) })
		n.must(unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 256<<20))
		n.must(unix.Bind(s.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: device.Index}))
	})
	return s
}

// read reads what has been captured since the last call.
func (s *sniffer) read() {
	s.n.t.Helper()
	buf := make([]byte, 1<<16)
	for {
		k, from, err := unix.Recvfrom(s.fd, buf, unix.MSG_DONTWAIT)
		if err == unix.EAGAIN {
			return
		}
		s.n.must(err)
		frame := slices.Clone(buf[:k])
		var h packet.Headers
		packet.Decode(frame, k, &h)
		if h.Proto == packet.ProtoICMPv6 && (h.ICMPType == 143 || h.ICMPType == 133) || h.Options != 0 {
			continue // reports of listeners, which no policy permits, and router solicitations: a host sends them when it likes
		}
		flow := fmt.Sprint(h.Tuple)
		if from.(*unix.SockaddrLinklayer).Pkttype == unix.PACKET_OUTGOING {
			s.sent[flow] = append(s.sent[flow], frame)
		} else {
			s.received[flow] = append(s.received[flow], frame)
		}
	}
}

// differences says which flows differ, and where they begin to.
func differences(a, b map[string][][]byte) (list []string) {
	for flow, frames := range a {
		others := b[flow]
		i := 0
		for i < min(len(frames), len(others)) && bytes.Equal(frames[i], others[i]) {
			i++
		}
		if i < max(len(frames), len(others)) {
			list = append(list, fmt.Sprintf("%s: %d and %d frames, the first %d are the same", flow, len(frames), len(others), i))
		}
	}
	for flow, frames := range b {
		if len(a[flow]) == 0 {
			list = append(list, fmt.Sprintf("%s: 0 and %d frames", flow, len(frames)))
		}
	}
	return list
}

// refusedBy tries to connect to the server, or to send it a datagram, and returns the error.
func (n *network) refusedBy(protocol, address string, port int) (err error) {
	n.client.Do(func() {
		var conn net.Conn
		conn, err = net.DialTimeout(protocol, net.JoinHostPort(address, fmt.Sprint(port)), 20*time.Second)
		if err != nil {
			return
		}
		defer conn.Close()
		n.must(conn.SetDeadline(time.Now().Add(20 * time.Second)))
		if _, err = conn.Write([]byte("hello")); err == nil {
			_, err = conn.Read(make([]byte, 16))
		}
	})
	return err
}

func TestBridge(t *testing.T) {
	nettest.RequireCommands(t, "iperf3", "ss", "ip")
	n := bridged(t)
	n.setMTU(9000)
	n.serve()
	// Without the daemon nothing crosses.
	if out, err := runIn(n.client, "ping", "-c", "1", "-W", "1", serverIP); err == nil {
		t.Fatalf("a ping has crossed:\n%s", out)
	}
	// It waits for an answer of ARP, which is asked for some seconds. Neither may fall between the two binds below.
	n.client.Run("ip", "neighbour", "flush", "dev", "eth0", "nud", "incomplete")
	d := startWith(n, bridgeConfig, "")

	eventually(t, "nothing is asked for", func() bool {
		out, err := runIn(n.client, "ip", "neighbour", "show", "dev", "eth0", "nud", "incomplete")
		n.must(err)
		return out == ""
	})
	// What is permitted crosses unchanged and in order, ARP and neighbour discovery with it.
	client, server := n.sniff(n.client), n.sniff(n.server)
	for _, address := range []string{serverIP, serverIP6} {
		n.ping(address, 5)
		n.get(n.client, address)
		n.echo(address)
	}
	iperf := exec.Command("iperf3", "--server", "--one-off")
	n.server.Start(iperf)
	eventually(t, "iperf3 listens", func() bool {
		out, err := runIn(n.server, "ss", "--no-header", "--listening", "--tcp", "--numeric", "sport = :5201")
		n.must(err)
		return out != ""
	})
	n.client.Run("iperf3", "--client", serverIP, "--bytes", "16M")
	n.must(iperf.Wait())
	var differ []string
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("flows that differ: %q", differ)
		}
	})
	eventually(t, "the same frames on both sides", func() bool {
		client.read()
		server.read()
		differ = append(differences(client.sent, server.received), differences(server.sent, client.received)...)
		return len(differ) == 0
	})
	frames, jumbo := 0, 0
	for _, flow := range client.sent {
		frames += len(flow)
		for _, frame := range flow {
			if len(frame) > 8000 {
				jumbo++
			}
		}
	}
	t.Logf("%d frames of %d flows of the client have crossed unchanged, %d of them jumbo frames", frames, len(client.sent), jumbo)
	if frames < 600 || jumbo < 100 {
		t.Errorf("only %d frames of the client, %d of them jumbo frames", frames, jumbo)
	}

	// What is rejected is answered, by a reset or an ICMP error, and does not cross.
	for _, address := range []string{serverIP, serverIP6} {
		if err := n.refusedBy("tcp", address, 23); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("telnet to %s: %v", address, err)
		}
	}
	for _, address := range []string{serverIP, serverIP6} {
		if err := n.refusedBy("udp", address, 123); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("a rejected datagram to %s: %v", address, err)
		}
	}
	// A closed port is answered by the server.
	if err := n.refusedBy("tcp", serverIP, 81); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("a closed port: %v", err)
	}
	// What is denied gets no answer.
	n.server.Do(func() {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(clientIP, "80"), time.Second)
		if e, ok := errors.AsType[net.Error](err); !ok || !e.Timeout() {
			t.Errorf("denied, and got %v, %v", conn, err)
		}
	})
	client.read()
	server.read()
	for _, s := range []*sniffer{client, server} {
		for flow, frames := range s.received {
			var h packet.Headers
			packet.Decode(frames[0], len(frames[0]), &h)
			denied := h.DstPort == 23 || h.DstPort == 123 || s == client && h.DstPort == 80
			if denied && (h.Proto == packet.ProtoTCP || h.Proto == packet.ProtoUDP) {
				t.Errorf("%s: a denied packet has crossed", flow)
			}
		}
	}

	st := d.status()
	p := &st.Ledger.Packets
	if p.Forwarded < uint64(frames) || p.Passed != 0 || p.NotSent != 0 || p.Dropped < 5 || p.NotIP == 0 {
		t.Errorf("%+v", p)
	}
	// The hosts send on when they like, so the two are compared in one snapshot, and once they are at rest.
	var sent, handed uint64
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the sockets have sent %d frames of %d", sent, handed)
		}
	})
	eventually(t, "the sockets have sent what was forwarded and answered", func() bool {
		metrics := d.fetch("/metrics")
		sent = sum(t, metrics, "pipelined_source_total", `counter="sent"`)
		handed = sum(t, metrics, "pipelined_packets_total", `outcome="forwarded"`) + sum(t, metrics, "pipelined_source_total", `counter="answers"`)
		handed -= sum(t, metrics, "pipelined_source_total", `counter="carried"`) // no socket has sent them
		return sent == handed && handed >= p.Forwarded-p.Offloaded
	})
	events := d.events()
	for _, want := range [][]string{
		{"RT_FLOW_SESSION_CREATE", `policy-name="out"`, `source-zone-name="inside"`, `destination-zone-name="outside"`},
		{"RT_FLOW_SESSION_DENY", `policy-name="no-telnet"`}, {"RT_FLOW_SESSION_DENY", `policy-name="default-deny"`, `source-zone-name="outside"`},
	} {
		if count(events, want...) == 0 {
			t.Errorf("no line with %q in:\n%s", want, events)
		}
	}
	// Without on_failure nothing crosses when the daemon has ended, and the programs see to that.
	d.stop()
	if out, err := runIn(n.client, "ping", "-c", "1", "-W", "1", serverIP); err == nil {
		t.Errorf("a ping has crossed:\n%s", out)
	}
	if out := n.command("bypass", "status"); !strings.Contains(out, "closed") || strings.Contains(out, "reads") {
		t.Errorf("bypass status:\n%s", out)
	}
	n.detach()
}

// command runs pipelined on the host of the daemon with the BPF file system of the network, and returns what it printed.
func (n *network) command(args ...string) string {
	n.t.Helper()
	return n.tap.Run(program, append(args, "--bpffs", n.bpffs)...)
}

// detach takes off what the daemon has left, and looks that all of it is gone, also from other interfaces than the first pair.
func (n *network) detach(others ...string) {
	n.t.Helper()
	n.command("detach")
	for _, name := range append(others, "lan0", "wan0") {
		link := n.tap.Link(name).Attrs()
		if link.Xdp != nil && link.Xdp.Attached || link.Promisc != 0 {
			n.t.Errorf("%s is left with a program (%+v) or promiscuous (%d)", name, link.Xdp, link.Promisc)
		}
	}
	left, err := os.ReadDir(filepath.Join(n.bpffs, "pipelined"))
	n.must(err)
	if len(left) > 0 {
		n.t.Errorf("pins are left: %v", left)
	}
}

// sum adds up the samples of a metric that have a label.
func sum(t *testing.T, metrics, name, label string) (total uint64) {
	t.Helper()
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, name+"{") && strings.Contains(line, label) {
			var v float64
			if _, err := fmt.Sscan(line[strings.LastIndexByte(strings.TrimSpace(line), ' '):], &v); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			total += uint64(v)
		}
	}
	return total
}

// A connection goes on through another daemon, which has not seen its beginning; between the two nothing crosses, however the
// first has ended.
func TestBridgeRestarted(t *testing.T) {
	n := bridged(t)
	var l net.Listener
	n.server.Do(func() {
		var err error
		l, err = net.Listen("tcp", ":80")
		n.must(err)
	})
	accepted, ended := make(chan net.Conn, 1), make(chan struct{})
	go func() {
		defer close(ended)
		defer close(accepted)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		accepted <- conn
		_, _ = io.Copy(conn, conn) // until it is closed
	}()
	t.Cleanup(func() {
		_ = l.Close()
		if conn := <-accepted; conn != nil {
			_ = conn.Close()
		}
		<-ended
	})

	// Nothing is pinned: the programs go with the process.
	unpinned := strings.ReplaceAll(bridgeConfig, "BPFFS", "")
	d := startWith(n, unpinned, "")
	var conn net.Conn
	n.client.Do(func() {
		var err error
		conn, err = net.DialTimeout("tcp", net.JoinHostPort(serverIP, "80"), 20*time.Second)
		n.must(err)
	})
	defer conn.Close()
	n.must(conn.SetDeadline(time.Now().Add(60 * time.Second)))
	talk := func(text string) {
		t.Helper()
		_, err := conn.Write([]byte(text))
		n.must(err)
		got := make([]byte, len(text))
		_, err = io.ReadFull(conn, got)
		n.must(err)
		if string(got) != text {
			t.Fatalf("got %q, want %q", got, text)
		}
	}
	talk("before")
	d.signal(syscall.SIGKILL)
	_ = d.wait()
	eventually(t, "the programs are gone", func() bool {
		for _, name := range []string{"lan0", "wan0"} {
			if x := n.tap.Link(name).Attrs().Xdp; x != nil && x.Attached {
				return false
			}
		}
		return true
	})
	if out, err := runIn(n.client, "ping", "-c", "1", "-W", "1", serverIP); err == nil {
		t.Errorf("a ping has crossed:\n%s", out)
	}
	d = startWith(n, unpinned, "")
	talk("after")
	eventually(t, "a session that was joined", func() bool { return d.status().Ledger.Sessions.Active > 0 })

	// What cannot leave is counted, and the connection goes on when it can.
	n.tap.SetDown("wan0")
	eventually(t, "the interface is down", func() bool { return d.status().Sources["wan"].Condition == "down" })
	_, err := conn.Write([]byte("again"))
	n.must(err)
	eventually(t, "packets that were not sent", func() bool { return d.status().Ledger.Packets.NotSent > 0 })
	n.tap.SetUp("wan0")
	_, err = io.ReadFull(conn, make([]byte, len("again")))
	n.must(err)
	d.stop()
}

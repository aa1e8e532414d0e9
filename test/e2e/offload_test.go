package e2e

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/metrics"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

const tapOffloadConfig = `
[pipeline]
sources = ["tap"]
hooks   = ["policies"]
sinks   = ["json"]
[zones.inside]
prefixes = ["10.9.1.0/24", "fd00:9:1::/48"]
[zones.servers]
prefixes = ["10.9.2.0/24", "fd00:9:2::/48"]
[sources.tap]
plugin    = "xdp"
interface = "tap0"
offload   = true
[hooks.policies]
plugin = "policydeny"
[[hooks.policies.policy]]
name = "in-to-servers"
from = "inside"
to   = "servers"
then = "permit"
[sessions]
udp_timeout = "2s"
[sinks.json]
plugin = "file"
path   = "DIR/events.json"
format = "json"
[service]
metrics = "127.0.0.1:9464"
drain   = "5s"
`

// wire makes a host hand whole packets to its cable, as it would to a real one, and takes care of those that come.
func (n *network) wire(h *nettest.Host) {
	n.t.Helper()
	h.Run("ethtool", "-K", "eth0", "tx", "off", "gso", "off", "tso", "off", "gro", "off")
}

// counted are the sessions of the test, by the port of the server and the family of the addresses.
var counted = []struct {
	protocol string
	port     int
	ipv6     bool
}{{"tcp", 5201, false}, {"tcp", 5201, true}, {"udp", 7, false}, {"udp", 7, true}}

// countPackets makes the kernels of client and server count the packets of each session that arrive: on their way out they may be larger.
func (n *network) countPackets() {
	n.t.Helper()
	for h, end := range map[*nettest.Host]string{n.client: "sport", n.server: "dport"} {
		var rules strings.Builder
		rules.WriteString("table inet count {\nchain in {\ntype filter hook input priority 0;\n")
		for i, s := range counted {
			family := "ipv4"
			if s.ipv6 {
				family = "ipv6"
			}
			fmt.Fprintf(&rules, "meta nfproto %s %s %s %d counter comment \"%d\"\n", family, s.protocol, end, s.port, i)
		}
		rules.WriteString("}\n}\n")
		h.Do(func() {
			cmd := exec.Command("nft", "-f", "-")
			cmd.Stdin = strings.NewReader(rules.String())
			if out, err := cmd.CombinedOutput(); err != nil {
				n.t.Fatalf("nft: %v\n%s", err, out)
			}
		})
	}
}

// packetCounts returns what the kernel of a host has counted, of each session.
func (n *network) packetCounts(h *nettest.Host) []traffic {
	n.t.Helper()
	var list struct {
		Nftables []struct {
			Rule *struct {
				Comment string
				Expr    []struct{ Counter *struct{ Packets, Bytes int } }
			}
		}
	}
	n.must(json.Unmarshal([]byte(h.Run("nft", "-j", "list", "table", "inet", "count")), &list))
	counts := make([]traffic, len(counted))
	for _, e := range list.Nftables {
		if e.Rule == nil {
			continue
		}
		i, err := strconv.Atoi(e.Rule.Comment)
		n.must(err)
		for _, x := range e.Rule.Expr {
			if c := x.Counter; c != nil {
				counts[i] = traffic{c.Packets, c.Bytes}
			}
		}
	}
	return counts
}

// exchange sends datagrams to the echo server, over one socket, and waits for each answer.
func (n *network) exchange(address string, count int) {
	n.t.Helper()
	n.client.Do(func() {
		conn, err := net.Dial("udp", net.JoinHostPort(address, "7"))
		n.must(err)
		defer conn.Close()
		for i := range count {
			n.must(conn.SetDeadline(time.Now().Add(20 * time.Second)))
			_, err = conn.Write(make([]byte, 1+i%1000))
			n.must(err)
			_, err = conn.Read(make([]byte, 1000))
			n.must(err)
		}
	})
}

// pace runs iperf3 from the client to the server and back, over one connection each, at a pace that nothing on the way loses a packet at.
func (n *network) pace(address string, more ...string) {
	n.t.Helper()
	iperf := exec.Command("iperf3", "--server", "--one-off")
	n.server.Start(iperf)
	eventually(n.t, "the server listens", func() bool {
		out, err := runIn(n.server, "ss", "-Hltn", "sport = :5201")
		n.must(err)
		return out != ""
	})
	n.client.Run("iperf3", append([]string{"--client", address, "--bytes", "6M", "--bitrate", "300M"}, more...)...)
	n.must(iperf.Wait())
}

// sameCounts compares the sessions that were told of with what the kernels of client and server have counted.
func (d *daemon) sameCounts() {
	d.t.Helper()
	sums := make([][2]traffic, len(counted))
	for _, r := range d.records(ended) {
		for i, s := range counted {
			protocol := map[string]string{"tcp": "6", "udp": "17"}[s.protocol]
			if r.Destination.Port != s.port || r.Network.Number != protocol || strings.Contains(r.Source.IP, ":") != s.ipv6 {
				continue
			}
			for which, end := range []recordEnd{r.Source, r.Destination} {
				sums[i][which].packets += end.Packets
				sums[i][which].bytes += end.Bytes
			}
		}
	}
	for which, h := range []*nettest.Host{d.net.server, d.net.client} {
		for i, c := range d.net.packetCounts(h) {
			if c.packets == 0 || sums[i][which] != c {
				d.t.Errorf("%+v from the %s: the records say %+v, the kernel %+v", counted[i], [...]string{"client", "server"}[which], sums[i][which], c)
			}
		}
	}
}

// TestOffloadOfTap has the XDP program count what a tap sees of sessions: their records are exact to the packet.
func TestOffloadOfTap(t *testing.T) {
	nettest.RequireCommands(t, "iperf3", "ss", "nft", "ethtool")
	n := newNetwork(t)
	n.wire(n.client)
	n.wire(n.server)
	n.serve()
	n.countPackets()
	d := startWith(n, tapOffloadConfig, "")
	for _, address := range []string{serverIP, serverIP6} {
		n.pace(address)
		n.pace(address, "--reverse")
		n.exchange(address, 300)
	}
	// Two connections of each iperf3, which has one beside the transfer, and one exchange.
	eventually(t, "every session is closed", func() bool { return len(d.records(ended)) >= 10 })
	s := d.status()
	p := s.Ledger.Packets
	if p.Offloaded < p.Received/10 {
		t.Errorf("%d packets of %d were offloaded", p.Offloaded, p.Received)
	}
	for _, socket := range s.Sources["tap"].Sockets {
		if socket.RxDropped+socket.RxRingFull > 0 {
			t.Errorf("packets were lost: %+v", socket)
		}
	}
	d.sameCounts()
	d.stop()
}

const bridgeOffloadConfig = `
[pipeline]
sources = ["lan", "wan"]
hooks   = ["policies"]
sinks   = ["json"]
[zones.inside]
interfaces = ["lan0"]
[zones.outside]
interfaces = ["wan0"]
[sources.lan]
plugin    = "xdp"
interface = "lan0"
mode      = "bridge"
peer      = "wan"
bpffs     = ""
[sources.wan]
plugin    = "xdp"
interface = "wan0"
mode      = "bridge"
peer      = "lan"
bpffs     = ""
[hooks.policies]
plugin = "policydeny"
[[hooks.policies.policy]]
name = "out"
from = "inside"
to   = "outside"
then = "permit"
[sessions]
udp_timeout = "2s"
[sinks.json]
plugin = "file"
path   = "DIR/events.json"
format = "json"
[service]
metrics = "127.0.0.1:9464"
drain   = "5s"
`

// TestOffloadOfBridge has the XDP programs of a bridge send packets of sessions to the other side: they cross unchanged and in order, and the
// records are exact.
func TestOffloadOfBridge(t *testing.T) {
	nettest.RequireCommands(t, "iperf3", "ss", "nft")
	n := bridged(t)
	n.serve()
	n.countPackets()
	d := startWith(n, bridgeOffloadConfig, "")
	client, server := n.sniff(n.client), n.sniff(n.server)
	for _, address := range []string{serverIP, serverIP6} {
		n.pace(address)
		n.pace(address, "--reverse")
		n.exchange(address, 300)
	}
	var differ []string
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("flows that differ: %q", differ)
		}
	})
	eventually(t, "every session is closed", func() bool { return len(d.records(ended)) >= 10 })
	eventually(t, "the same frames on both sides", func() bool {
		client.read()
		server.read()
		differ = append(differences(client.sent, server.received), differences(server.sent, client.received)...)
		return len(differ) == 0
	})
	if p := d.status().Ledger.Packets; p.Offloaded < p.Received/10 {
		t.Errorf("%d packets of %d were offloaded", p.Offloaded, p.Received)
	}
	d.sameCounts()
	d.stop()
}

// TestRematchOfBridge withdraws the policy that permits an offloaded session of a bridge: nothing of it crosses any more, and its record says
// that it was ended by the policy.
func TestRematchOfBridge(t *testing.T) {
	n := bridged(t)
	n.serve()
	d := startWith(n, bridgeOffloadConfig, "")
	var conn net.Conn
	n.client.Do(func() {
		var err error
		conn, err = net.Dial("udp", serverIP+":7")
		n.must(err)
	})
	defer conn.Close()
	exchange := func(patience time.Duration) error {
		n.must(conn.SetDeadline(time.Now().Add(patience)))
		if _, err := conn.Write([]byte("hello")); err != nil {
			return err
		}
		_, err := conn.Read(make([]byte, 16))
		return err
	}
	eventually(t, "the session is offloaded", func() bool {
		for range 100 {
			n.must(exchange(20 * time.Second))
		}
		return d.status().Ledger.Packets.Offloaded > 100
	})
	path := filepath.Join(d.dir, "pipeline.toml")
	text, err := os.ReadFile(path)
	n.must(err)
	reload := func(then string, number int) {
		t.Helper()
		changed := strings.Replace(string(text), `then = "permit"`, fmt.Sprintf("then = %q", then), 1)
		changed = strings.Replace(changed, "[sessions]", "[sessions]\nrematch = true", 1)
		n.must(os.WriteFile(path, []byte(changed), 0o644))
		d.signal(syscall.SIGHUP)
		eventually(t, "the other configuration runs", func() bool { return d.status().Configuration.Number == number })
	}
	stream := newStream(t, n.client, n.server, clientIP, serverIP, 7)
	stream.flows("a datagram each millisecond")
	reload("deny", 2)
	stream.stops("an offloaded session of which no packet is permitted")
	stream.mu.Lock()
	last := stream.since
	stream.mu.Unlock()
	taken := regexp.MustCompile(`time=(\S+) .*the configuration is taken over`).FindStringSubmatch(d.stderr.String())
	if taken == nil {
		t.Fatal("no time in the log")
	}
	at, err := time.Parse(time.RFC3339, taken[1])
	n.must(err)
	t.Logf("the last datagram crossed %v after the daemon said that the policy is withdrawn", last.Sub(at).Round(time.Millisecond))
	eventually(t, "nothing crosses any more", func() bool { return exchange(100*time.Millisecond) != nil })
	eventually(t, "the session is ended by the policy", func() bool {
		return slices.ContainsFunc(d.records(ended), func(r record) bool { return r.Event.Reason == "policy delete" })
	})
	if exchange(100*time.Millisecond) == nil {
		t.Error("a packet crosses after the end of its session")
	}
	reload("permit", 3)
	n.must(exchange(20 * time.Second))
	d.stop()
}

// between sends datagrams with tags from client to server and back, a number of each of some flows, and holds that each crosses unchanged.
func (n *network) between(client, server *nettest.Wire, flows, rounds, size int, tags ...uint16) {
	n.t.Helper()
	ends := [2]netip.Addr{netip.MustParseAddr(clientIP), netip.MustParseAddr(serverIP)}
	cross := func(from, to *nettest.Wire, u nettest.UDP, number int) {
		n.t.Helper()
		payload := binary.BigEndian.AppendUint32(make([]byte, 0, size), uint32(number))
		frame := u.Frame(append(payload, bytes.Repeat([]byte{byte(number)}, size-len(payload))...))
		from.Send(frame)
		if len(u.VLANs) > 0 { // the outer tag is not in what a packet socket is given
			frame = slices.Concat(frame[:12], frame[16:])
		}
		for deadline := time.Now().Add(20 * time.Second); ; {
			if got := to.Receive(1000); bytes.Equal(got, frame) { // the hosts have other things to say, too
				return
			}
			if time.Now().After(deadline) {
				n.t.Fatalf("a frame of %d bytes has not crossed", len(frame))
			}
		}
	}
	for round := range rounds {
		for flow := range flows {
			u := nettest.UDP{VLANs: tags, Source: ends[0], Dest: ends[1], SourcePort: uint16(20000 + flow), DestinationPort: 5353}
			cross(client, server, u, round)
			u.Source, u.Dest, u.SourcePort, u.DestinationPort = u.Dest, u.Source, u.DestinationPort, u.SourcePort
			cross(server, client, u, round)
		}
	}
}

// TestOffloadFull offloads sessions behind two VLAN tags, of which the table has room for some: frames of all cross with their tags, and the records of
// all are exact.
func TestOffloadFull(t *testing.T) {
	const sessions, room = 20, 16
	n := bridged(t)
	d := startWith(n, strings.ReplaceAll(bridgeOffloadConfig, "bpffs     = \"\"\n", fmt.Sprintf("bpffs     = \"\"\noffload_flows = %d\n", room)), "")
	client, server := n.client.Wire("eth0"), n.server.Wire("eth0")
	packets := 0
	send := func(rounds int) {
		n.between(client, server, sessions, rounds, 100, 10, 20)
		packets += rounds
	}
	eventually(t, "as many sessions are offloaded as there is room for", func() bool {
		send(10)
		return sum(t, d.fetch("/metrics"), "pipelined_source_total", `counter="flows_full"`) > 0 && d.status().Ledger.Packets.Offloaded > 100
	})
	before := d.status().Ledger.Packets
	send(10)
	var after metrics.Packets
	eventually(t, "every packet is counted", func() bool {
		after = d.status().Ledger.Packets
		return after.Forwarded-before.Forwarded >= 2*10*sessions
	})
	if carried := after.Offloaded - before.Offloaded; carried == 0 || carried > 2*10*room {
		t.Errorf("%d packets were offloaded, of flows for %d", carried, 2*room)
	}
	sums := make(map[int][2]traffic)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%d packets in each direction of each session; the records say %+v", packets, sums)
		}
	})
	eventually(t, "the records of all sessions say what was sent", func() bool {
		clear(sums)
		for _, r := range d.records(ended) { // on a busy machine a session may end early, and go on as another
			s := sums[r.Source.Port]
			for which, end := range []recordEnd{r.Source, r.Destination} {
				s[which].packets += end.Packets
				s[which].bytes += end.Bytes
			}
			sums[r.Source.Port] = s
		}
		want := traffic{packets, packets * (100 + 28)}
		for port := 20000; port < 20000+sessions; port++ {
			if sums[port] != [2]traffic{want, want} {
				return false
			}
		}
		return true
	})
	d.stop()
}

// TestOffloadJumboFailOpen kills the daemon of a bridge of jumbo frames that are offloaded: they cross before, unread, and after.
func TestOffloadJumboFailOpen(t *testing.T) {
	n := bridged(t)
	n.setMTU(9000)
	d := startWith(n, openConfig, "")
	client, server := n.client.Wire("eth0"), n.server.Wire("eth0")
	eventually(t, "a session is offloaded", func() bool {
		n.between(client, server, 1, 10, 8900)
		return d.status().Ledger.Packets.Offloaded > 20
	})
	d.signal(syscall.SIGKILL)
	_ = d.wait() // it was killed
	n.between(client, server, 1, 10, 8900)
	out := n.command("bypass", "status")
	for _, past := range regexp.MustCompile(`open +off +([0-9]+)`).FindAllStringSubmatch(out, -1) {
		if frames, err := strconv.Atoi(past[1]); err != nil || frames < 10 {
			t.Errorf("10 frames went past in each direction, and maybe some of the hosts' own:\n%s", out)
		}
	}
	n.detach()
}

// TestOffloadEndsWithReload gives a tap a filter that counts, while a session is offloaded: from then on every packet comes up, and is counted.
func TestOffloadEndsWithReload(t *testing.T) {
	nettest.RequireCommands(t, "ethtool")
	n := newNetwork(t)
	n.wire(n.client)
	n.wire(n.server)
	n.serve()
	d := startWith(n, tapOffloadConfig, "")
	var conn net.Conn
	n.client.Do(func() {
		var err error
		conn, err = net.Dial("udp", serverIP+":7")
		n.must(err)
	})
	defer conn.Close()
	exchange := func(count int) {
		t.Helper()
		for range count {
			n.must(conn.SetDeadline(time.Now().Add(20 * time.Second)))
			_, err := conn.Write([]byte("hello"))
			n.must(err)
			_, err = conn.Read(make([]byte, 16))
			n.must(err)
		}
	}
	offloaded := func() uint64 { return d.status().Ledger.Packets.Offloaded }
	eventually(t, "the session is offloaded", func() bool { exchange(100); return offloaded() > 100 })

	path := filepath.Join(d.dir, "pipeline.toml")
	text, err := os.ReadFile(path)
	n.must(err)
	changed := strings.Replace(string(text), `["policies"]`, `["edge", "policies"]`, 1) + `
[hooks.edge]
plugin = "filterlog"
[[hooks.edge.term]]
name = "echo"
from = { protocol = "udp", port = 7 }
then = ["count echoes", "accept"]
[[hooks.edge.term]]
name = "rest"
`
	n.must(os.WriteFile(path, []byte(changed), 0o644))
	d.signal(syscall.SIGHUP)
	eventually(t, "the other configuration runs", func() bool { return d.status().Configuration.Number == 2 })
	before := offloaded()
	exchange(300)
	eventually(t, "every packet is counted by the filter", func() bool {
		return sum(t, d.fetch("/metrics"), "pipelined_hook_packets_total", `counter="echoes"`) == 600
	})
	if now := offloaded(); now != before {
		t.Errorf("%d packets were offloaded by rules that count them", now-before)
	}
	d.stop()
}

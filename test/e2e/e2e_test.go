package e2e

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// TestTraffic taps ordinary traffic and attacks: the events are those of the traffic, and every frame that the segment
// sent to the tap is in the ledger.
func TestTraffic(t *testing.T) {
	n := newNetwork(t)
	n.serve()
	before := n.mirrored()
	d := start(n, "")
	atStart := n.mirrored()

	for range 5 {
		n.get(n.client, serverIP)
	}
	n.get(n.client, serverIP6)
	n.get(n.attacker, serverIP)
	for range 3 {
		n.echo(serverIP)
	}
	n.echo(serverIP6)
	n.ping(serverIP, 4)
	n.ping(serverIP6, 3)
	n.attacker.Do(func() { // to a port that a filter discards, and to one that no policy permits
		for _, port := range []string{"23", "8080"} {
			if conn, err := net.DialTimeout("tcp", net.JoinHostPort(serverIP, port), time.Second); err == nil {
				_ = conn.Close()
				t.Errorf("the server listens on %s", port)
			}
		}
	})
	n.overThresholds()

	want := func(what string, number int, words ...string) {
		t.Helper()
		eventually(t, what, func() bool { return count(d.events(), words...) >= number })
		if got := count(d.events(), words...); got != number {
			t.Errorf("%s: %d lines, want %d", what, got, number)
		}
	}
	create, closed := "RT_FLOW_SESSION_CREATE", "RT_FLOW_SESSION_CLOSE"
	want("HTTP sessions of the client", 5, create, `source-address="`+clientIP+`"`, `destination-port="80"`, `policy-name="in-to-servers"`)
	want("HTTP session over IPv6", 1, create, clientIP6, `destination-port="80"`)
	want("HTTP session from outside", 1, create, attackerIP, `policy-name="web"`, `source-zone-name="outside"`, `destination-zone-name="servers"`)
	want("HTTP closes with FIN", 7, closed, `destination-port="80"`, `reason="TCP FIN"`)
	want("UDP sessions", 3, create, serverIP, `destination-port="7"`, `protocol-id="17"`)
	want("UDP timeouts", 3, closed, serverIP, `destination-port="7"`, `reason="idle Timeout"`, `packets-from-client="1"`, `packets-from-server="1"`)
	want("pings", 4, closed, `service-name="icmp"`, `reason="response received"`)
	want("pings over IPv6", 3, closed, `service-name="icmpv6"`, `reason="response received"`)
	want("filtered telnet", 1, "PFE_FW_SYSLOG_IP", "D tcp "+attackerIP+" "+serverIP, " 23 ")
	want("denied port", 1, "RT_FLOW_SESSION_DENY", attackerIP, `destination-port="8080"`, `policy-name="default-deny"`)
	want("port scan", 1, "RT_SCREEN_TCP", `attack-name="TCP port scan!"`)
	want("UDP flood", 1, "RT_SCREEN_UDP", `attack-name="UDP flood!"`)

	d.waitState("WATCHDOG=1")
	if got := d.fetch("/healthz"); got != "ok\n" {
		t.Errorf("/healthz: %q", got)
	}
	for _, metric := range []string{"pipelined_packets_total", "pipelined_events_total", "pipelined_sink_records_total", "pipelined_source_total"} {
		if !strings.Contains(d.fetch("/metrics"), metric+"{") {
			t.Errorf("/metrics has no %s", metric)
		}
	}
	if kib := d.residentKiB(); kib > 64<<10 {
		t.Errorf("%d KiB resident, want at most 64 MiB", kib)
	}
	balance(t, n, d, before, atStart)
	if strings.Contains(d.stderr.String(), "level=ERROR") {
		t.Errorf("the daemon logged errors:\n%s", d.stderr.String())
	}
	d.stop()
	if n.xdpAttached() {
		t.Error("an XDP program is left on the interface")
	}
	if got, want := count(readFile(t, filepath.Join(d.dir, "events.json")), "{"), count(d.events(), "<"); got != want {
		t.Errorf("%d JSON objects, %d lines", got, want)
	}
}

// overThresholds sends a flood and a scan from outside that are one of each, wherever a second of the clock begins.
func (n *network) overThresholds() {
	n.t.Helper()
	const threshold = 100 // of the flood, in packets per second
	wire := n.attacker.Wire("eth0")
	flood := nettest.UDP{Source: netip.MustParseAddr(attackerIP), Dest: netip.MustParseAddr(serverIP), DestinationPort: 5000}.Frame([]byte("flood"))
	for range 2*threshold + 1 { // in one of two seconds it goes over the threshold, and not in both
		wire.Send(flood)
	}
	scan := synFrame(n.t)
	copy(scan[26:30], net.ParseIP("10.9.3.9").To4()) // who has sent nothing before: the interval begins with the scan
	seal(scan)
	for port := range byte(30) {
		copy(scan[36:38], []byte{12, port})
		wire.Send(scan)
	}
}

// balance holds the ledger against the kernel's counters, once nothing is on its way.
func balance(t *testing.T, n *network, d *daemon, before, atStart uint64) {
	t.Helper()
	eventually(t, "the ledger agrees with the segment", func() bool {
		sent := n.mirrored()
		s := d.status()
		k := s.Sources["tap"].Kernel
		seen := k.Redirected + k.PassNotIP + k.PassPort + k.PassNoSocket
		var received, lost uint64
		for _, q := range s.Sources["tap"].Sockets {
			received += q.Received
			lost += q.RxDropped + q.RxRingFull
		}
		// Frames sent before the program was attached are not its own.
		return sent == n.mirrored() && seen >= sent-atStart && seen <= sent-before &&
			k.Redirected == received+lost && received == s.Ledger.Packets.Received && s.Ledger.Unaccounted == 0
	})
}

// TestKill ends the daemon with SIGKILL under load: nothing stays attached, and the interface works.
func TestKill(t *testing.T) {
	n := newNetwork(t)
	n.tap.Address("tap0", "10.9.4.2/16")
	d := start(n, "")
	if !n.xdpAttached() {
		t.Fatal("no XDP program on the interface while the daemon runs")
	}
	load(t, n, func() { d.signal(syscall.SIGKILL) })
	if err := d.wait(); err == nil {
		t.Error("killed, and no error")
	}
	eventually(t, "the XDP program is gone", func() bool { return !n.xdpAttached() })
	n.ping("10.9.4.2", 2)
	start(n, "").stop()
}

// load floods the segment with UDP packets of many flows while it runs during, which is called once packets arrive.
func load(t *testing.T, n *network, during func()) {
	t.Helper()
	wire := n.attacker.Wire("eth0")
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	ended := make(chan struct{})
	from := n.mirrored()
	go func() {
		defer close(ended)
		for port := uint16(1); ctx.Err() == nil; port++ {
			frame := nettest.UDP{
				Source: netip.MustParseAddr(attackerIP), Dest: netip.MustParseAddr(serverIP), SourcePort: port,
			}.Frame([]byte("flood"))
			_ = wire.TrySend(frame) // a full queue only slows the flood down
		}
	}()
	defer func() { cancel(); <-ended }()
	eventually(t, "the flood arrives", func() bool { return n.mirrored() > from+1000 })
	during()
}

// TestStopWhileBusy stops the daemon under a flood: it drains, ends well, and its ledger balances.
func TestStopWhileBusy(t *testing.T) {
	n := newNetwork(t)
	d := start(n, "")
	load(t, n, func() {
		eventually(t, "packets arrive", func() bool { return d.status().Ledger.Packets.Received > 1000 })
		d.signal(syscall.SIGTERM)
		d.waitState("STOPPING=1")
	})
	d.ended()
}

// TestInterfaceVanishes deletes the interface, makes it again, and takes it down and up: the daemon goes on.
func TestInterfaceVanishes(t *testing.T) {
	n := newNetwork(t)
	n.serve()
	d := start(n, "")
	n.get(n.client, serverIP)
	eventually(t, "the first session", func() bool { return count(d.events(), "SESSION_CREATE") == 1 })

	n.tap.Delete("tap0")
	eventually(t, "the source waits", func() bool { return d.status().Sources["tap"].Condition == "waiting for interface" })
	n.plug("tap", n.tap, "tap0")
	eventually(t, "the source is up", func() bool { return d.status().Sources["tap"].Condition == "up" })
	eventually(t, "a session after the interface came back", func() bool {
		n.get(n.client, serverIP)
		return count(d.events(), "SESSION_CREATE") >= 2
	})

	n.tap.SetDown("tap0")
	eventually(t, "the source is down", func() bool { return d.status().Sources["tap"].Condition == "down" })
	n.tap.SetUp("tap0")
	eventually(t, "the source is up", func() bool { return d.status().Sources["tap"].Condition == "up" })
	// The segment's own port may be a moment behind.
	eventually(t, "a session after down and up", func() bool {
		n.get(n.client, serverIP)
		return count(d.events(), "SESSION_CREATE") >= 3
	})
	before := count(d.events(), "SESSION_CREATE")

	n.tap.SetMTU("tap0", 1400)
	eventually(t, "a session after the MTU changed", func() bool {
		n.get(n.client, serverIP)
		return count(d.events(), "SESSION_CREATE") > before
	})
	d.stop()
}

// TestFullDisk fills the disk of one of two sinks: the other gets everything meanwhile, and when there is room the first
// gets what waited.
func TestFullDisk(t *testing.T) {
	n := newNetwork(t)
	n.serve()
	small := t.TempDir()
	n.must(syscall.Mount("tmpfs", small, "tmpfs", 0, "mode=0755,size=256k"))
	t.Cleanup(func() { _ = syscall.Unmount(small, syscall.MNT_DETACH) })
	ballast := filepath.Join(small, "ballast")
	n.must(os.WriteFile(ballast, make([]byte, 200<<10), 0o600))
	d := start(n, small)
	const sessions = 60
	for range sessions {
		n.get(n.client, serverIP)
	}
	eventually(t, "the other sink has every session", func() bool { return count(d.events(), "SESSION_CLOSE") == sessions })
	eventually(t, "the sink reports the full disk", func() bool {
		return strings.Contains(d.status().Sinks["json"].LastError, "no space left on device")
	})
	n.must(os.Remove(ballast))
	want := count(d.events(), "<")
	eventually(t, "the sink has caught up", func() bool {
		return d.status().Sinks["json"].InFlight == 0 && count(readFile(t, filepath.Join(small, "events.json")), "{") >= want
	})
	if got := count(readFile(t, filepath.Join(small, "events.json")), `"session_`); got < 2*sessions {
		t.Errorf("%d session records in the file, want at least %d", got, 2*sessions)
	}
	d.stop()
}

// TestDeadDestination starts with a sink whose folder does not exist.
func TestDeadDestination(t *testing.T) {
	n := newNetwork(t)
	n.serve()
	missing := filepath.Join(t.TempDir(), "later")
	d := start(n, missing)
	n.get(n.client, serverIP)
	eventually(t, "the other sink has the session", func() bool { return count(d.events(), "SESSION_CREATE") == 1 })
	eventually(t, "the dead sink says so", func() bool { return d.status().Sinks["json"].LastError != "" })
	n.must(os.Mkdir(missing, 0o755))
	eventually(t, "the sink has caught up", func() bool {
		b, err := os.ReadFile(filepath.Join(missing, "events.json"))
		return err == nil && count(string(b), "{") >= 1
	})
	d.stop()
}

// TestProgramAttached starts where another XDP program is: it refuses, and the other program stays.
func TestProgramAttached(t *testing.T) {
	n := newNetwork(t)
	first := start(n, "")
	second := filepath.Join(first.dir, "pipeline.toml")
	out, err := runIn(n.tap, program, "run", "--config", second)
	if err == nil || !strings.Contains(out, "another XDP program is attached: program id ") {
		t.Errorf("a second daemon on the same interface: %v\n%s", err, out)
	}
	if !n.xdpAttached() {
		t.Error("the first daemon's program is gone")
	}
	first.stop()
}

// asNobody runs a command as nobody with the three capabilities that the systemd unit gives it, and no other.
var asNobody = func() []string {
	const three = "-all,+net_admin,+net_raw,+bpf"
	return []string{
		"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--inh-caps=" + three, "--ambient-caps=" + three,
		"--bounding-set=" + three,
	}
}()

// TestCapabilities runs the daemon as nobody.
func TestCapabilities(t *testing.T) {
	n := newNetwork(t)
	n.serve()
	d := start(n, "", asNobody...)
	n.get(n.client, serverIP)
	eventually(t, "the session", func() bool { return count(d.events(), "SESSION_CREATE") == 1 })
	if c := d.status().Sources["tap"].Condition; c != "up" {
		t.Errorf("the source is %s", c)
	}
	d.stop()
}

// TestReopen renames the file and sends SIGHUP: what follows goes to a new file, and no record is lost or doubled.
func TestReopen(t *testing.T) {
	n := newNetwork(t)
	n.serve()
	d := start(n, "")
	n.get(n.client, serverIP)
	eventually(t, "the session", func() bool { return count(d.events(), "SESSION_CREATE") == 1 })
	path := filepath.Join(d.dir, "events.log")
	n.must(os.Rename(path, path+".1"))
	d.signal(syscall.SIGHUP)
	eventually(t, "the new file", func() bool { _, err := os.Stat(path); return err == nil })
	n.get(n.client, serverIP)
	eventually(t, "the session in the new file", func() bool { return count(d.events(), "SESSION_CREATE") == 1 })
	both := func() string { return readFile(t, path+".1") + d.events() }
	eventually(t, "both sessions are closed", func() bool { return count(both(), "SESSION_CLOSE") >= 2 })
	d.stop()
	for _, kind := range []string{"SESSION_CREATE", "SESSION_CLOSE"} {
		if got := count(both(), kind); got != 2 {
			t.Errorf("%d records %s in both files, want 2", got, kind)
		}
	}
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

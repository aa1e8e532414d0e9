package e2e

import (
	"bytes"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rtflow/pipelined/internal/testing/logbuffer"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// initialised runs init in a host's namespace, checks what it writes there, and returns the file and what was said.
func initialised(t *testing.T, h *nettest.Host) (path, said string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "pipeline.toml")
	cmd := exec.Command(program, "init", path)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	h.Do(func() {
		if err := cmd.Run(); err != nil {
			t.Fatalf("init: %v\n%s", err, errs.String())
		}
	})
	for _, args := range [][]string{{"check"}, {"check", "--for", "run"}} {
		if out := h.Run("sh", "-c", program+" "+strings.Join(args, " ")+" --config "+path+" 2>&1"); strings.Contains(out, "warning") || !strings.Contains(out, "\nok") {
			t.Errorf("%v\n%s", args, out)
		}
	}
	return path, errs.String()
}

// running is a daemon that prints its events.
type running struct {
	t         *testing.T
	cmd       *exec.Cmd
	out, errs logbuffer.Buffer
}

// runFile runs a configuration as it is.
func runFile(t *testing.T, h *nettest.Host, path string) *running {
	t.Helper()
	r := &running{t: t, cmd: exec.Command(program, "run", "--config", path)}
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.errs
	h.Start(r.cmd)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the daemon printed\n%s\nand said\n%s", r.out.String(), r.errs.String())
		}
	})
	eventually(t, "the daemon runs", func() bool { return strings.Contains(r.errs.String(), "msg=running") })
	return r
}

// prints waits until a line has these parts.
func (r *running) prints(parts ...string) {
	r.t.Helper()
	eventually(r.t, "a line with "+strings.Join(parts, ", "), func() bool { return count(r.out.String(), parts...) > 0 })
}

func (r *running) stop() {
	r.t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		r.t.Fatal(err)
	}
	if err := r.cmd.Wait(); err != nil || !strings.Contains(r.errs.String(), "\n0 unaccounted for\n") {
		r.t.Errorf("%v\n%s", err, r.errs.String())
	}
}

// TestInitRouter has init look at a router, does what it says, and runs what it has written.
func TestInitRouter(t *testing.T) {
	r := nettest.NewRouter(t)
	nettest.RequireCommands(t, "curl")
	f := &firewall{network: &network{t: t, client: r.LAN, server: r.WAN, attacker: r.WAN, tap: r.Host}, Router: r}
	r.Route("0.0.0.0/0", nettest.WANHost)
	f.serveHTTP(f.WAN)

	state := func() string { // IPv6 addresses settle by themselves
		return r.Run("nft", "list", "ruleset") + r.Run("ip", "-4", "-oneline", "address") + r.Run("ip", "-4", "route")
	}
	before := state()
	_, said := initialised(t, r.Host)
	if after := state(); after != before {
		t.Errorf("it has changed\n%s\nto\n%s", before, after)
	}
	done := 0
	for line := range strings.Lines(said) {
		if command, is := strings.CutPrefix(strings.TrimSpace(line), "sudo nft "); is {
			r.Run("sh", "-c", "nft "+command)
			done++
		}
	}
	if done != 3 || !strings.Contains(said, "no rule switches it on") || !strings.Contains(said, "wan0: 198.51.100.1/24, fd20:3::1/64, veth, default route, zone wan") {
		t.Fatalf("%d commands in\n%s", done, said)
	}
	r.Rules(`table inet filter { chain forward { type filter hook forward priority 0; tcp dport 23 log prefix "DROP:no-telnet " group 5 drop; }; }`)
	path, said := initialised(t, r.Host)
	if !strings.Contains(said, "rules log to NFLOG groups 5") || strings.Contains(said, "nft add") {
		t.Fatalf("it says\n%s", said)
	}
	listening := subscribers(t, r.Host)
	d := runFile(t, r.Host, path)
	eventually(t, "it listens", func() bool { return subscribers(t, r.Host) > listening })
	eventually(t, "a session has the name of its rule", func() bool { // the rule of one may come too late on a slow machine
		f.curl(r.LAN, "http://["+nettest.WANHost6+"]/")
		return count(d.out.String(), " open ", "["+nettest.WANHost6+"]:80", " forward lan>wan") > 0
	})
	f.syn(r.LAN, nettest.WANHost, 23)
	f.synFIN()
	d.prints(" close ", "["+nettest.WANHost6+"]:80", " FIN ", "/10kB forward")
	d.prints(" deny ", nettest.WANHost+":23", " no-telnet lan>wan")
	d.prints(" alarm ", "SYN and FIN")
	d.stop()
}

// TestInitHosts has init look at a host and at one with a mirror port, and runs what it has written.
func TestInitHosts(t *testing.T) {
	nettest.Require(t)
	nettest.RequireCommands(t, "curl")
	host, peer := nettest.NewHost(t), nettest.NewHost(t)
	f := &firewall{network: &network{t: t, client: host, server: peer, attacker: peer, tap: host}}
	if path, said := initialised(t, host); !strings.Contains(said, "no network") {
		t.Errorf("%s: without an interface it says\n%s", path, said)
	}
	const name = `e"\${X}#ü`
	nettest.Cable(host, name, peer, "eth0", 1)
	host.Address(name, "10.44.0.1/24")
	peer.Address("eth0", "10.44.0.2/24")
	peer.Address("eth0", "192.0.2.80/32")
	host.Route("0.0.0.0/0", "10.44.0.2")
	f.serveHTTP(peer)

	path, said := initialised(t, host)
	if !strings.Contains(said, "a host") {
		t.Errorf("of a host it says\n%s", said)
	}
	d := runFile(t, host, path)
	f.curl(host, "http://10.44.0.2/")
	f.curl(host, "http://192.0.2.80/")
	d.prints(" open ", "10.44.0.2:80", "host>near")
	d.prints(" open ", "192.0.2.80:80", "host>outside")
	d.prints(" close ", "192.0.2.80:80", " FIN ")
	d.stop()

	mirror := nettest.NewHost(t)
	nettest.Cable(mirror, "mirror0", peer, "span0", 1)
	path, said = initialised(t, mirror)
	if !strings.Contains(said, "a mirror port") {
		t.Errorf("of a mirror port it says\n%s", said)
	}
	d = runFile(t, mirror, path)
	inside, outside := netip.MustParseAddr("10.3.0.5"), netip.MustParseAddr("198.51.100.9")
	span := peer.Wire("span0")
	span.Send(nettest.UDP{Source: inside, Dest: outside, SourcePort: 40000, DestinationPort: 53}.Frame(nil))
	span.Send(nettest.UDP{Source: outside, Dest: inside, SourcePort: 53, DestinationPort: 40000}.Frame(nil))
	d.prints(" open ", "10.3.0.5:40000 > 198.51.100.9:53", "inside>outside")
	d.stop()
}

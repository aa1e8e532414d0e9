package e2e

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// reread gives the daemon another configuration by SIGHUP, and fails the test if it is not taken over.
func (d *daemon) reread(text string) {
	d.t.Helper()
	d.net.must(os.WriteFile(filepath.Join(d.dir, "pipeline.toml"), []byte(strings.ReplaceAll(text, "DIR/", d.dir+"/")), 0o644))
	number := d.status().Configuration.Number
	d.signal(syscall.SIGHUP)
	d.waitState("READY=1")
	if c := d.status().Configuration; c.Number != number+1 || c.Refused != "" {
		d.t.Fatalf("after a reload: %+v\n%s", c, d.stderr.String())
	}
}

// TestReloadTap gives a tap that carries a session in the kernel more buffers, takes it away, and adds another one: the session's record has
// every packet, the program is gone from the first interface, and is on the other.
func TestReloadTap(t *testing.T) {
	n := newNetwork(t)
	n.serve()
	nettest.Cable(n.hub, "spare", n.tap, "tap1", 1) // nothing is sent there yet
	d := startWith(n, tapOffloadConfig, "")
	var conn net.Conn
	n.client.Do(func() {
		var err error
		conn, err = net.Dial("udp", net.JoinHostPort(serverIP, "7"))
		n.must(err)
	})
	defer conn.Close()
	echoes := 0
	untilCarried := func() { // a session is not carried in its first moments
		t.Helper()
		first, atStart := d.status().Ledger.Packets, n.mirrored()
		answer := make([]byte, 16)
		eventually(t, "the program carries the session", func() bool {
			for range 10 {
				n.must(conn.SetDeadline(time.Now().Add(20 * time.Second)))
				_, err := conn.Write([]byte("hello"))
				n.must(err)
				_, err = conn.Read(answer)
				n.must(err)
				echoes++
			}
			return d.status().Ledger.Packets.Offloaded >= first.Offloaded+100
		})
		eventually(t, "every packet is counted", func() bool {
			sent := n.mirrored()
			st := d.status()
			k, p := st.Sources["tap"].Kernel, st.Ledger.Packets
			carried := p.Offloaded - first.Offloaded
			return sent == n.mirrored() && k.Redirected+k.PassNotIP+k.PassPort+k.PassNoSocket+carried >= sent-atStart && p.Received-first.Received >= sent-atStart-k.PassNotIP
		})
	}
	untilCarried()
	d.reread(strings.Replace(tapOffloadConfig, "offload   = true", "offload   = true\nframes = 8192", 1))
	if !n.xdpAttached() {
		t.Error("there is no XDP program on the interface of the source that was opened again")
	}
	untilCarried()
	before := d.status()
	d.reread(strings.NewReplacer(`sources = ["tap"]`, `sources = ["other"]`, "[sources.tap]", "[sources.other]", "tap0", "tap1").Replace(tapOffloadConfig))
	if n.xdpAttached() {
		t.Error("there is an XDP program on the interface of the source that was taken away")
	}
	after := d.status()
	if p := after.Ledger.Packets; p.Received < before.Ledger.Packets.Received || p.Offloaded < before.Ledger.Packets.Offloaded || after.Ledger.Unaccounted != 0 {
		t.Errorf("packets %+v, before %+v", p, before.Ledger.Packets)
	}
	if _, ok := after.Sources["tap"]; ok || len(after.Sources) != 1 {
		t.Errorf("sources %v", after.Sources)
	}
	var ends []record
	eventually(t, "the session ends", func() bool { ends = d.of(conn, ended); return len(ends) > 0 })
	if f := ends[0].flow(t); len(ends) != 1 || f.fromClient.packets != echoes || f.replies.packets != echoes {
		t.Errorf("%d ends: %+v, want %d packets from each", len(ends), f, echoes)
	}
	// What comes by the other interface is read.
	n.join("spare")
	began := len(d.records(opened))
	n.echo(serverIP)
	eventually(t, "a session by the other tap", func() bool { return len(d.records(opened)) > began })
	d.stop()
}

// TestReloadRouter begins with a router's packets alone and adds what its kernel tells, and takes away one after the other, while a connection
// lasts: what stays is not touched, and sessions whose ends nobody will tell are told as lost.
func TestReloadRouter(t *testing.T) {
	f := newFirewall(t)
	const tables = `
[zones]
lan.interfaces = ["lan0"]
wan.interfaces = ["wan0"]
dmz.interfaces = ["dmz0"]
[sources]
sessions = { plugin = "conntrack" }
rules    = { plugin = "nflog", groups = [5, 6] }
packets  = { plugin = "afpacket", interfaces = ["lan0"], workers = 2 }
[sinks]
json = { plugin = "file", path = "DIR/events.json", format = "json" }
[service]
metrics = "127.0.0.1:9464"
drain   = "2s"
`
	with := func(sources string) string {
		return "[pipeline]\nsources = [" + sources + "]\nsinks = [\"json\"]\n" + tables
	}
	d := startWith(f.network, with(`"packets"`), "")
	first := f.talk(nil)
	port := func(conn net.Conn) int { return conn.LocalAddr().(*net.TCPAddr).Port }
	of := func(conn net.Conn, action string) (n int) {
		for _, r := range d.records(action) {
			if r.Source.Port == port(conn) {
				n++
			}
		}
		return n
	}
	eventually(t, "the first connection is told of", func() bool { return of(first, opened) == 1 })

	d.reread(with(`"packets", "rules"`))
	f.LAN.Do(func() {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(nettest.WANHost, "23"), 20*time.Second)
		if err == nil {
			_ = conn.Close()
			t.Error("telnet is not rejected")
		}
	})
	eventually(t, "the rule's denial", func() bool {
		for _, r := range d.records(denied) {
			if r.Rule.Name == "no-telnet" {
				return true
			}
		}
		return false
	})

	f.talk(first)
	d.reread(with(`"rules", "sessions", "packets"`)) // packets' own sessions are not told any more
	second := f.talk(nil)
	eventually(t, "conntrack tells of the second connection, by its rule", func() bool {
		for _, r := range d.records(opened) {
			if r.Source.Port == port(second) && r.Rule.Name == "web-out" {
				return true
			}
		}
		return false
	})
	if n := of(second, opened); n != 1 {
		t.Errorf("the second connection began %d times", n)
	}

	d.reread(with(`"rules", "sessions"`))
	f.talk(second)
	third := f.talk(nil)
	eventually(t, "the third connection is told of", func() bool { return of(third, opened) == 1 })
	f.must(third.Close())
	if st := d.status(); len(st.Sources) != 2 || st.Ledger.Packets.Received == 0 {
		t.Errorf("sources %v, packets %+v", st.Sources, st.Ledger.Packets)
	}
	d.balances()

	d.reread(with(`"packets"`))
	eventually(t, "ends are told as lost", func() bool {
		for _, r := range d.records(lost) {
			if r.Event.Reason == "abandoned" && r.Pipelined.Lost["session-close"] > 0 {
				return true
			}
		}
		return false
	})
	fourth := f.talk(nil)
	eventually(t, "packets tell of the fourth connection", func() bool { return of(fourth, opened) == 1 })
	d.stop()
}

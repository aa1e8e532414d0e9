package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// TestReopenRouter changes the options of each of a router's sources while connections last: one more interface, one more group of rules, room
// for other numbers of sessions. Each connection has one beginning and one end, and nothing is told as lost.
func TestReopenRouter(t *testing.T) {
	f := newFirewall(t)
	with := func(sessions, rules, packets string) string {
		return fmt.Sprintf(`
[pipeline]
sources = ["sessions", "rules", "packets"]
sinks   = ["json"]
[zones]
lan.interfaces = ["lan0"]
wan.interfaces = ["wan0"]
dmz.interfaces = ["dmz0"]
[sources]
sessions = { plugin = "conntrack"%s }
rules    = { plugin = "nflog", groups = [%s] }
packets  = { plugin = "afpacket", interfaces = [%s], direction = "in", workers = 2 }
[sinks]
json = { plugin = "file", path = "DIR/events.json", format = "json" }
[service]
metrics = "127.0.0.1:9464"
drain   = "2s"
`, sessions, rules, packets)
	}
	const lan, both = `"lan0"`, `"lan0", "wan0"`
	d := startWith(f.network, with("", "6", lan), "")
	telnet := func() (told int) {
		f.refused(f.LAN, nettest.WANHost, "23")
		for _, r := range d.records(denied) {
			if r.Rule.Name == "no-telnet" {
				told++
			}
		}
		return told
	}
	lives := f.talk(nil)
	eventually(t, "the connection is told of", func() bool { return len(d.of(lives, opened)) == 1 })
	stop := make(chan struct{})
	var talking sync.WaitGroup
	talking.Go(func() { // all the time
		var conn net.Conn
		var err error
		f.LAN.Do(func() { conn, err = net.DialTimeout("tcp", net.JoinHostPort(nettest.WANHost, "80"), 20*time.Second) })
		for answer := make([]byte, 1<<15); err == nil; _, err = conn.Read(answer) {
			select {
			case <-stop:
				_ = conn.Close()
				return
			default:
				_, err = conn.Write([]byte("HEAD / HTTP/1.1\r\nHost: www\r\n\r\n"))
			}
		}
		t.Error(err)
	})

	d.reread(with("", "6", both))
	before := d.status()
	eventually(t, "packets come in by both interfaces", func() bool {
		zones := d.status().Ledger.Packets.ByZone
		return zones["wan"] > 10 && zones["lan"] > before.Ledger.Packets.ByZone["lan"]+10
	})
	if n := telnet(); n != 0 {
		t.Errorf("telnet is told of by a group that is not read: %d", n)
	}
	d.reread(with("", "5, 6", both))
	eventually(t, "telnet is told of", func() bool { return telnet() > 0 })
	d.reread(with(", max = 4096", "5, 6", both))
	f.talk(lives)
	begun := f.talk(nil)
	eventually(t, "a connection is told of, with its rule", func() bool { list := d.of(begun, opened); return len(list) == 1 && list[0].Rule.Name == "web-out" })
	close(stop)
	talking.Wait()

	f.must(os.WriteFile(filepath.Join(d.dir, "pipeline.toml"), []byte(strings.ReplaceAll(with(", max = 4096", "5, 6", `"lan0", "lan9"`), "DIR/", d.dir+"/")), 0o644))
	d.signal(syscall.SIGHUP)
	d.waitState("READY=1")
	if c := d.status().Configuration; c.Number != 4 || !strings.Contains(c.Refused, `there is no interface "lan9"`) {
		t.Errorf("an interface that does not exist: %+v", c)
	}

	for _, conn := range []net.Conn{lives, begun} {
		f.must(conn.Close())
		eventually(t, "its end", func() bool { return len(d.of(conn, ended)) > 0 })
		if o, e := d.of(conn, opened), d.of(conn, ended); len(o) != 1 || len(e) != 1 {
			t.Errorf("a connection has %d beginnings and %d ends", len(o), len(e))
		}
	}
	d.balances()
	if list := d.records(lost); len(list) != 0 {
		t.Errorf("lost: %+v", list)
	}
	for _, name := range []string{"packets", "rules", "sessions"} {
		if n := count(d.stderr.String(), "is open as it is configured now", "source="+name+" gap="); n != 1 {
			t.Errorf("source %s was opened again %d times:\n%s", name, n, d.stderr.String())
		}
	}
	d.stop()
}

package e2e

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/rtflow/pipelined/internal/testing/nettest"
)

const overrunConfig = `
[pipeline]
sources = ["sessions"]
sinks   = ["json"]
[zones]
lan.interfaces = ["lan0"]
wan.interfaces = ["wan0"]
[sources]
sessions = { plugin = "conntrack", buffer = "64KiB" }
[sinks]
json = { plugin = "file", path = "DIR/events.json", format = "json" }
[service]
metrics = "127.0.0.1:9464"
drain   = "5s"
`

// trackedRules make the kernel track connections.
const trackedRules = `
table inet filter {
	chain forward {
		type filter hook forward priority filter;
		ct state new accept
	}
}
`

// TestRouterOverrun stops the daemon while more sessions begin than its socket can hold, and some end: the ledger and a loss record
// say that something was lost, what has ended meanwhile is closed once, what lives on is not told again, and nothing is held
// for ever.
func TestRouterOverrun(t *testing.T) {
	const (
		each        = 50
		flood       = 50_000
		ends, lives = 10, 11 // numbers of servers: their sessions end during the overrun, and behind it
	)
	r := nettest.NewRouter(t)
	for name, value := range map[string]string{"nf_conntrack_acct": "1", "nf_conntrack_udp_timeout": "600", "nf_conntrack_udp_timeout_stream": "600"} {
		r.Set("netfilter/"+name, value)
	}
	r.Rules(trackedRules)
	g := newGenerator(t, r)
	d := startWith(&network{t: t, tap: r.Host}, overrunConfig, "")
	for _, server := range []uint32{ends, lives} {
		g.sent = server * loadPorts
		for range each {
			g.open(true)
			g.await(0)
		}
	}
	with := func(action string, server uint32) (n int) {
		for _, one := range d.records(action) {
			if one.Destination.IP == fmt.Sprintf("198.18.0.%d", server) {
				n++
			}
		}
		return n
	}
	eventually(t, "the sessions are told of", func() bool { return with(opened, ends) == each && with(opened, lives) == each })

	for _, one := range d.records(opened) {
		if from, to := one.Observer.Ingress.Zone, one.Observer.Egress.Zone; one.Source.IP == loadClient && (from != "lan" || to != "wan") {
			t.Errorf("a session from %q to %q", from, to)
		}
	}

	d.signal(syscall.SIGSTOP)
	eventually(t, "the daemon is stopped", func() bool { return stopped(t, d.cmd.Process.Pid) })
	g.sent = 20 * loadPorts
	for range min(flood, tableSize(t)-1000) {
		g.open(false)
	}
	r.Run("conntrack", "--delete", "--orig-dst", fmt.Sprintf("198.18.0.%d", ends))
	if _, dropped := g.sockets(); dropped == 0 {
		t.Fatal("the kernel has dropped nothing: the test does not show what it is for")
	}
	d.signal(syscall.SIGCONT)

	eventually(t, "what has ended is closed", func() bool { return with(ended, ends) == each })
	eventually(t, "a record says that events were lost", func() bool {
		for _, one := range d.records(lost) {
			if one.Event.Reason == "unread" && one.Pipelined.Lost["total"] > 0 {
				return true
			}
		}
		return false
	})
	if d.status().Ledger.Unread == 0 {
		t.Error("the ledger says that nothing was lost")
	}
	active := func() int { return d.status().Sources["sessions"].Sessions }
	// Requests for the status are sessions, too: a few come and go.
	eventually(t, "the daemon knows the sessions of the table", func() bool {
		var table int
		_, err := fmt.Sscan(r.Run("conntrack", "--count"), &table)
		d.net.must(err)
		return table-active() < 5 && active()-table < 5
	})
	if n := with(ended, lives); n != 0 {
		t.Errorf("%d sessions that live are closed", n)
	}
	if kib := d.residentKiB(); kib > 128<<10 {
		t.Errorf("%d KiB resident, want at most 128 MiB", kib)
	}
	g.flush()
	eventually(t, "no session is left", func() bool { g.flush(); return active() < 5 })
	eventually(t, "what lived on is closed", func() bool { return with(ended, lives) == each })
	d.stop()
	for _, server := range []uint32{ends, lives} {
		if begun, over := with(opened, server), with(ended, server); begun != each || over != each {
			t.Errorf("server %d: %d records of the beginning, %d of the end; want %d each", server, begun, over, each)
		}
	}
}

// tableSize returns how many connections the kernel tracks at most.
func tableSize(t *testing.T) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(readFile(t, "/proc/sys/net/netfilter/nf_conntrack_max"), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// stopped reports whether a process has been stopped by a signal.
func stopped(t *testing.T, pid int) bool {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return strings.HasPrefix(rest, "T")
}

// TestRouterKilled kills the daemon while a connection lives: the next daemon does not tell of its beginning, and tells its end
// once, with everything that the connection has carried.
func TestRouterKilled(t *testing.T) {
	f := newFirewall(t)
	l := f.listen()
	first := startWith(f.network, routerConfig, "")
	conn := f.talk(nil)
	var key string
	eventually(t, "the connection is told of", func() bool {
		for _, r := range first.records(opened) {
			key = r.flow(t).key()
		}
		return key != ""
	})
	first.signal(syscall.SIGKILL)
	if first.wait() == nil {
		t.Error("killed, and no error")
	}
	f.talk(conn) // nobody is there to see it

	second := startWith(f.network, routerConfig, "")
	f.curl(f.LAN, "http://"+nettest.WANHost+"/")
	eventually(t, "another connection is told of", func() bool { return len(second.records(ended)) == 1 })
	f.must(conn.Close())
	eventually(t, "the end of the connection is told", func() bool { return len(second.records(ended)) >= 2 })
	f.tap.Run("conntrack", "--flush")
	eventually(t, "the table is empty", func() bool { return len(l.ofType("DESTROY")) == len(l.ofType("NEW")) })
	second.stop()
	if n := len(second.records(opened)); n != 1 {
		t.Errorf("%d beginnings after the restart, want that of the second connection alone", n)
	}
	closes, kernel := second.byKey(second.records(ended)), l.ofType("DESTROY")
	sameKeys(t, "ended", closes, kernel)
	end := closes[key]
	if got, want := end.flow(t), kernel[key]; got.fromClient != want.fromClient || got.replies != want.replies || got.translated != want.translated {
		t.Errorf("the record says %+v, the kernel %+v", got, want)
	}
}

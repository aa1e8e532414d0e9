package e2e

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/internal/testing/nettest"
)

const insideConfig = `
[pipeline]
sources = ["live"]
sinks   = ["json"]
[zones.lan]
interfaces = ["lan0"]
prefixes   = ["10.20.1.0/24", "fd20:1::/64"]
[zones.wan]
prefixes = ["0.0.0.0/0", "::/0"]
[zones.dmz]
prefixes = ["10.20.2.0/24", "fd20:2::/64"]
[sources.live]
plugin     = "afpacket"
interfaces = ["lan0"]
nat        = "conntrack"
[sessions]
icmp_timeout = "2s"
udp_timeout  = "2s"
[sinks.json]
plugin = "file"
path   = "DIR/events.json"
format = "json"
[service]
metrics = "127.0.0.1:9464"
drain   = "5s"
`

// TestRouterInside looks at the inside interface of a router and compares with the router's own connection tracking: the sessions are
// the same, and so are their translations, for which it asks. Their counts are, too, but for merged packets: the kernel counts each as
// one, afpacket as those that it stands for. What the rules refuse is a session for afpacket alone, and so is each echo of a ping.
func TestRouterInside(t *testing.T) {
	f := newFirewall(t)
	l := f.listen()
	d := startWith(f.network, insideConfig, "")
	made := f.traffic()
	f.attempts()

	inside := func(one flow) bool {
		return !icmp(one) && (strings.HasPrefix(one.client, nettest.LANHost+" ") || strings.HasPrefix(one.client, nettest.LANHost6+" "))
	}
	refused := func(one flow) bool {
		_, port, _ := strings.Cut(one.server, " ")
		return port == "23" || port == "25" || port == "123"
	}
	accepted := func() map[string]record {
		return d.byKey(slices.DeleteFunc(d.records(ended), func(r record) bool { one := r.flow(t); return !inside(one) || refused(one) }))
	}
	sessions := made["web-out"] + made["to-dmz"] + made["dns-out"]
	eventually(t, "every session is closed", func() bool { return len(accepted()) >= sessions })
	f.tap.Run("conntrack", "--flush")
	eventually(t, "the table is empty", func() bool {
		n := len(l.ofType("NEW"))
		return n >= sessions && len(l.ofType("DESTROY")) == n
	})
	want := l.ofType("NEW") // conntrack(8), too, tells of a session some time after it began
	maps.DeleteFunc(want, func(_ string, one flow) bool { return !inside(one) })
	d.stop()

	got := accepted()
	sameKeys(t, "sessions of afpacket", got, want)
	merged := 0
	for key, kernel := range l.ofType("DESTROY") {
		r, ok := got[key]
		if !ok {
			continue
		}
		headers := 52 // of every packet of a TCP connection but the first, with the timestamps that Linux sends
		if strings.HasPrefix(kernel.client, nettest.LANHost6) {
			headers = 72
		}
		ours := r.flow(t)
		if reset := kernel.state == "CLOSE"; ours.translated != kernel.translated && !(reset && ours.translated == "") { // it may be over before the answer
			t.Errorf("%s: afpacket has been told of the translation %q, want %q", key, ours.translated, kernel.translated)
		}
		for _, c := range []struct {
			from         string
			ours, theirs traffic
		}{{"client", ours.fromClient, kernel.fromClient}, {"server", ours.replies, kernel.replies}} {
			more := c.ours.packets - c.theirs.packets
			merged += more
			if more < 0 || c.ours.bytes-c.theirs.bytes != more*headers {
				t.Errorf("%s, from the %s: afpacket has counted %+v, the kernel %+v", key, c.from, c.ours, c.theirs)
			}
		}
	}
	if merged == 0 {
		t.Error("the kernel has merged no packet: the test does not show what it is for")
	}
	echoes, denials := 0, 0
	for _, r := range d.records(opened) {
		switch one := r.flow(t); {
		case icmp(one) && r.Source.Port != 0: // else it belongs to neighbour discovery
			echoes++
		case refused(one):
			denials++
		}
	}
	if echoes != 6 || denials != 4 {
		t.Errorf("%d echoes of two pings, %d refused sessions, want 6 and 4", echoes, denials)
	}
}

func icmp(f flow) bool { return f.protocol == 1 || f.protocol == 58 }

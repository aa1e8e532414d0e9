package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// record is what the tests look at of a record of the sink "json".
type record struct {
	Event struct {
		Action, Reason string
		Sequence       uint64
	}
	Source, Destination recordEnd
	Network             struct {
		Number string `json:"iana_number"`
	}
	Rule     struct{ Name string }
	Observer struct {
		Ingress, Egress struct{ Zone string }
	}
	Pipelined struct {
		Lost map[string]uint64
	}
}

type recordEnd struct {
	IP             string
	Port           int
	Packets, Bytes int
	NAT            *struct {
		IP   string
		Port int
	}
}

// translated returns the end behind a translation, as a flow has it.
func (e *recordEnd) translated(ports bool) string {
	ip, port := e.IP, e.Port
	if e.NAT != nil {
		ip, port = e.NAT.IP, e.NAT.Port
	}
	if !ports {
		return ip
	}
	return fmt.Sprint(ip, " ", port)
}

// flow returns the flow that a record is about.
func (r *record) flow(t *testing.T) (f flow) {
	t.Helper()
	if _, err := fmt.Sscan(r.Network.Number, &f.protocol); err != nil {
		t.Fatalf("protocol %q: %v", r.Network.Number, err)
	}
	f.client, f.server = fmt.Sprint(r.Source.IP, " ", r.Source.Port), fmt.Sprint(r.Destination.IP, " ", r.Destination.Port)
	if icmp(f) {
		f.server = r.Destination.IP
	}
	if r.Source.NAT != nil || r.Destination.NAT != nil {
		f.translated = r.Source.translated(true) + " " + r.Destination.translated(!icmp(f))
	}
	f.fromClient, f.replies = traffic{r.Source.Packets, r.Source.Bytes}, traffic{r.Destination.Packets, r.Destination.Bytes}
	return f
}

// records returns what the sink "json" has written of those actions, in order; of every action if there are none.
func (d *daemon) records(actions ...string) (list []record) {
	d.t.Helper()
	text, err := os.ReadFile(filepath.Join(d.dir, "events.json"))
	if err != nil && !os.IsNotExist(err) {
		d.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasSuffix(line, "\n") {
			break // it is being written
		}
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			d.t.Fatalf("%v: %s", err, line)
		}
		if len(actions) == 0 || slices.Contains(actions, r.Event.Action) {
			list = append(list, r)
		}
	}
	return list
}

// The actions of records.
const (
	opened, ended, denied, lost = "flow_started", "flow_close", "flow_deny", "events_lost"
)

// byKey returns records by the keys of their flows, and complains of two with one key.
func (d *daemon) byKey(list []record) map[string]record {
	d.t.Helper()
	found := make(map[string]record)
	for _, r := range list {
		key := r.flow(d.t).key()
		if _, twice := found[key]; twice {
			d.t.Errorf("two records %s of %s", r.Event.Action, key)
		}
		found[key] = r
	}
	return found
}

// sameKeys complains of keys that are in one of the maps only.
func sameKeys[A, B any](t *testing.T, what string, got map[string]A, want map[string]B) {
	t.Helper()
	for key := range want {
		if _, ok := got[key]; !ok {
			t.Errorf("%s: nothing of %s", what, key)
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			t.Errorf("%s: %s is too much", what, key)
		}
	}
}

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
// the same. Their counts are, too, but for merged packets: the kernel counts each as one, afpacket as those that it stands for. What
// the rules refuse is a session for afpacket alone, and so is each echo of a ping.
func TestRouterInside(t *testing.T) {
	f := newFirewall(t)
	l := f.listen()
	d := startWith(f.network, insideConfig, "")
	f.traffic()
	f.attempts()

	inside := func(one flow) bool {
		return !icmp(one) && (strings.HasPrefix(one.client, nettest.LANHost+" ") || strings.HasPrefix(one.client, nettest.LANHost6+" "))
	}
	refused := func(one flow) bool {
		_, port, _ := strings.Cut(one.server, " ")
		return port == "23" || port == "25" || port == "123"
	}
	want := l.ofType("NEW")
	maps.DeleteFunc(want, func(_ string, one flow) bool { return !inside(one) })
	accepted := func() map[string]record {
		return d.byKey(slices.DeleteFunc(d.records(ended), func(r record) bool { one := r.flow(t); return !inside(one) || refused(one) }))
	}
	eventually(t, "every session is closed", func() bool { return len(accepted()) >= len(want) })
	f.tap.Run("conntrack", "--flush")
	eventually(t, "the table is empty", func() bool { return len(l.ofType("DESTROY")) == len(l.ofType("NEW")) })
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

package e2e

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/internal/testing/nettest"
)

const routerConfig = `
[pipeline]
sources = ["sessions", "rules", "packets"]
hooks   = ["screens"]
sinks   = ["json"]
[zones]
lan.interfaces = ["lan0"]
wan.interfaces = ["wan0"]
dmz.interfaces = ["dmz0"]
[sources]
sessions = { plugin = "conntrack" }
rules    = { plugin = "nflog", groups = [5, 6] }
packets  = { plugin = "afpacket", interfaces = ["lan0", "wan0", "dmz0"] }
[hooks]
screens = { plugin = "screendrop", zones = ["wan"], tcp = { syn-fin = true } }
[sinks]
json = { plugin = "file", path = "DIR/events.json", format = "json" }
[service]
metrics = "127.0.0.1:9464"
drain   = "5s"
`

// TestRouter asks conntrack(8) what a router has done with real traffic, and the counters of its rules what they refused: every
// session is told with its translation, its packets and bytes, its zones by route, and the rule that let it through; and every packet
// that was refused is one record with its rule. The daemon has no capability but the two that its sources need.
func TestRouter(t *testing.T) {
	f := newFirewall(t)
	l := f.listen()
	const two = "-all,+net_admin,+net_raw"
	d := startWith(f.network, routerConfig, "", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
		"--no-new-privs", "--inh-caps="+two, "--ambient-caps="+two, "--bounding-set="+two)
	accepted, refused := f.traffic(), f.attempts()
	tcp := func(flows map[string]flow) (n int) {
		for _, one := range flows {
			if one.protocol == 6 {
				n++
			}
		}
		return n
	}
	eventually(t, "connections are closed when they end", func() bool {
		n := 0
		for _, r := range d.records(ended) {
			if r.flow(t).protocol == 6 {
				n++
			}
		}
		return n == tcp(l.ofType("NEW"))
	})
	f.tap.Run("conntrack", "--flush")
	eventually(t, "every session is closed", func() bool {
		kernel := l.ofType("DESTROY")
		return len(kernel) == len(l.ofType("NEW")) && len(d.records(ended)) == len(kernel)
	})
	d.stop()

	opens, closes, kernel := d.byKey(d.records(opened)), d.byKey(d.records(ended)), l.ofType("DESTROY")
	sameKeys(t, "begun", opens, l.ofType("NEW"))
	sameKeys(t, "ended", closes, kernel)
	rules := make(map[string]int)
	for key, want := range kernel {
		open, end := opens[key], closes[key]
		got := end.flow(t)
		if got.translated != want.translated || got.fromClient != want.fromClient || got.replies != want.replies {
			t.Errorf("%s: the record says %+v, the kernel %+v", key, got, want)
		}
		if got := open.flow(t); got.translated != want.translated {
			t.Errorf("%s begins with translation %q, want %q", key, got.translated, want.translated)
		}
		if reason := closeReason(want); end.Event.Reason != reason {
			t.Errorf("%s, %s, is closed for %q, want %q", key, want.state, end.Event.Reason, reason)
		}
		for _, r := range []record{open, end} {
			if from, to := zoneOf(want.client), zoneOf(serverOf(want)); r.Observer.Ingress.Zone != from || r.Observer.Egress.Zone != to {
				t.Errorf("%s: %s from %q to %q, want %q and %q", key, r.Event.Action, r.Observer.Ingress.Zone, r.Observer.Egress.Zone, from, to)
			}
		}
		if open.Rule.Name != end.Rule.Name {
			t.Errorf("%s: rule %q at the beginning, %q at the end", key, open.Rule.Name, end.Rule.Name)
		}
		rules[end.Rule.Name]++
	}
	if !maps.Equal(rules, accepted) {
		t.Errorf("sessions by rule: %v, want %v", rules, accepted)
	}

	denials := make(map[string]int)
	for key, r := range d.byKey(d.records(denied)) {
		denials[r.Rule.Name]++
		one := r.flow(t)
		if from, to := zoneOf(one.client), zoneOf(one.server); r.Observer.Ingress.Zone != from || r.Observer.Egress.Zone != to {
			t.Errorf("denied %s: from %q to %q, want %q and %q", key, r.Observer.Ingress.Zone, r.Observer.Egress.Zone, from, to)
		}
		if _, accepted := kernel[key]; accepted {
			t.Errorf("%s is denied, and a session", key)
		}
	}
	if !maps.Equal(denials, refused) {
		t.Errorf("denials by rule: %v, want %v", denials, refused)
	}
	for counter, n := range map[string]int{"no-telnet": refused["no-telnet"], "no-ntp": refused["no-ntp"], "from-wan": refused["fwd-web"], "rest": refused["rest"]} {
		if out := f.tap.Run("nft", "list", "counter", "inet", "filter", counter); !strings.Contains(out, fmt.Sprintf("packets %d ", n)) {
			t.Errorf("counter %s: want %d packets\n%s", counter, n, out)
		}
	}
	if others := len(d.records()) - len(opens) - len(closes) - len(d.records(denied)); others != 0 {
		t.Errorf("%d records of another kind", others)
	}
}

// serverOf returns the server behind the translations.
func serverOf(f flow) string {
	if f.translated == "" {
		return f.server
	}
	return strings.Fields(f.translated)[2]
}

// zoneOf returns the zone that an address belongs to by the router's routes.
func zoneOf(end string) string {
	for zone, hosts := range map[string][2]string{
		"lan": {nettest.LANHost, nettest.LANHost6}, "wan": {nettest.WANHost, nettest.WANHost6}, "dmz": {nettest.DMZHost, nettest.DMZHost6},
	} {
		for _, host := range hosts {
			if address, _, _ := strings.Cut(end, " "); address == host {
				return zone
			}
		}
	}
	return "none"
}

// closeReason returns why a session has ended that the kernel has forgotten in this state, since it was told to.
func closeReason(f flow) string {
	switch f.state {
	case "TIME_WAIT":
		return "TCP FIN"
	case "CLOSE":
		return "TCP RST"
	default:
		return "unset"
	}
}

// TestRouterZones leaves the log of the rules out: the router's routes alone tell the zones of a session, behind every translation.
func TestRouterZones(t *testing.T) {
	f := newFirewall(t)
	d := startWith(f.network, strings.Replace(routerConfig, `["sessions", "rules", "packets"]`, `["sessions"]`, 1), "")
	f.curl(f.LAN, "http://"+nettest.WANHost+"/")
	f.curl(f.LAN, "http://["+nettest.WANHost6+"]/")
	f.curl(f.LAN, "http://"+nettest.DMZHost+"/")
	f.curl(f.WAN, "http://"+nettest.WANRouter+":8080/")
	eventually(t, "the connections are closed", func() bool { return len(d.records(ended)) == 4 })
	d.stop()
	for _, r := range d.records(opened, ended) {
		one := r.flow(t)
		if from, to := zoneOf(one.client), zoneOf(serverOf(one)); r.Observer.Ingress.Zone != from || r.Observer.Egress.Zone != to {
			t.Errorf("%s %s: from %q to %q, want %q and %q", r.Event.Action, one.key(), r.Observer.Ingress.Zone, r.Observer.Egress.Zone, from, to)
		}
		if r.Rule.Name != "" {
			t.Errorf("%s has the rule %q, which nobody has told", one.key(), r.Rule.Name)
		}
	}
}

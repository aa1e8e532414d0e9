package plan

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/source"
)

func TestWiring(t *testing.T) {
	const zones = "[zones.lan]\ninterfaces = ['lan0', 'wan0.5', 'lo']\n"
	const lo = "7:33: warning: zones.lan.interfaces[2]: lo carries what this host sends to itself, and nothing of the network"
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"all is read", "[pipeline]\nsources = ['a', 'b']\n[sources]\na = { plugin = 'tap', interface = 'lan0' }\n" +
			"b = { plugin = 'tap', interface = 'wan0' }\n" + zones, []string{lo}},
		{"one is not read", "[pipeline]\nsources = ['a']\n\n[sources]\na = { plugin = 'tap', interface = 'lan0' }\n" + zones, []string{
			"7:23: warning: zones.lan.interfaces[1]: no source in pipeline.sources reads wan0.5: no packet comes in there", lo}},
		{"a capture may have any", "[pipeline]\nsources = ['a']\n\n[sources]\na = { plugin = 'pcap' }\n" + zones, []string{lo}},
		{"read twice", "[pipeline]\nsources = ['a', 'b']\n[sources]\na = { plugin = 'tap', interface = 'lo' }\n" +
			"b = { plugin = 'tap', interface = 'lo' }\n", []string{
			"4:23: warning: sources.a.interface: lo carries what this host sends to itself, and nothing of the network",
			"5:23: warning: sources.b.interface: lo carries what this host sends to itself, and nothing of the network",
			"5:23: sources.b.interface: lo is read by sources.a already: every packet would be seen twice"}},
		{"a list with one twice", "[pipeline]\nsources = ['a']\n[sources]\na = { plugin = 'tap', interfaces = ['lan0', 'lan0'] }\n", nil},
		{"two judges", "[pipeline]\nhooks = ['a', 'c', 'b']\n[hooks]\na = { plugin = 'judge' }\nb = { plugin = 'judge' }\nc = { plugin = 'look' }\n", []string{
			"5:1: warning: hooks.b: hooks.a decides about sessions already: of a session that both permit, the log and the timeout are those that this one says"}},
		{"one judge chained", "[pipeline]\nhooks = ['c', 'b']\n[hooks]\na = { plugin = 'judge' }\nb = { plugin = 'judge' }\nc = { plugin = 'look' }\n", []string{
			"4:1: warning: hooks.a: this hook is defined but not in pipeline.hooks: it does nothing"}},
		{"no packets", "[pipeline]\nsources = ['a']\nhooks = ['c']\n[sources]\na = { plugin = 'events' }\n[hooks]\nc = { plugin = 'look' }\n", []string{
			"7:1: warning: hooks.c: no source in pipeline.sources reads packets: this hook has nothing to judge"}},
		{"packets, too", "[pipeline]\nsources = ['a', 'b']\nhooks = ['c']\n[sources]\na = { plugin = 'events' }\nb = { plugin = 'tap', interface = 'lan0' }\n" +
			"[hooks]\nc = { plugin = 'look' }\n", nil},
		{"sessions told twice", "[pipeline]\nsources = ['a', 'b', 'c']\n[sources]\na = { plugin = 'events', sessions = true }\nb = { plugin = 'events' }\n" +
			"c = { plugin = 'events', sessions = true }\nd = { plugin = 'events', sessions = true }\n", []string{
			"6:1: sources.c: sources.a tells of the sessions of this host already: every session would be told twice",
			"7:1: warning: sources.d: this source is defined but not in pipeline.sources: it does nothing"}},
		{"sessions of packets, too", "[pipeline]\nsources = ['b', 'a']\n[sources]\na = { plugin = 'events', sessions = true }\nb = { plugin = 'tap', interface = 'lan0' }\n" +
			"[sessions]\nlog = true\n", []string{
			"7:1: warning: sessions.log: sources.a tells of sessions: those that packets make are told beside them, each a second time"}},
		{"sessions of packets alone", "[pipeline]\nsources = ['a', 'b']\n[sources]\na = { plugin = 'events' }\nb = { plugin = 'tap', interface = 'lan0' }\n" +
			"[sessions]\nlog = true\n", nil},
		{"no packets to make sessions", "[pipeline]\nsources = ['a']\n[sources]\na = { plugin = 'events', sessions = true }\n[sessions]\nlog = true\n", nil},
		{"one reader", "[pipeline]\nsources = ['a', 'b']\n[sources]\na = { plugin = 'events', reads = ['group 5', 'group 5'] }\n" +
			"b = { plugin = 'events', reads = ['group 6', 'group 5'] }\nc = { plugin = 'events', reads = ['group 6'] }\n", []string{
			"5:46: sources.b.reads[1]: sources.a reads group 5 already: it has one reader",
			"6:1: warning: sources.c: this source is defined but not in pipeline.sources: it does nothing"}},
		{"empty zones", "[pipeline]\nsources = ['a']\n[sources]\na = { plugin = 'events', zone = 'named' }\nb = { plugin = 'events', zone = 'other' }\n" +
			"[zones.named]\n[zones.other]\n", []string{
			"5:1: warning: sources.b: this source is defined but not in pipeline.sources: it does nothing",
			"7:8: warning: zones.other: neither interfaces nor prefixes: no packet belongs to this zone"}},
		{"empty zone without sources", "[zones.z]\n", []string{
			"1:8: warning: zones.z: neither interfaces nor prefixes: no packet belongs to this zone"}},
		{"zones by address", "[pipeline]\nsources = ['a']\nzones_by_route = false\n[sources]\na = { plugin = 'events', sessions = true, zone = 'named' }\n" +
			"[zones]\nlan = { interfaces = ['lan0'] }\ndmz = { prefixes = ['10.0.0.0/8'] }\nwan = { interfaces = ['wan0'] }\nnamed = { interfaces = ['g0'] }\n", []string{
			"3:1: warning: pipeline.zones_by_route: sources.a tells of addresses and of no interfaces: without routes, its sessions are in none of the zones that have no prefixes: lan, wan"}},
		{"zones by route", "[pipeline]\nsources = ['a']\n[sources]\na = { plugin = 'events', sessions = true }\n[zones]\nlan = { interfaces = ['lan0'] }\n", nil},
		{"zones of packets", "[pipeline]\nsources = ['a']\nzones_by_route = false\n[sources]\na = { plugin = 'tap', interface = 'lan0' }\n[zones]\nlan = { interfaces = ['lan0'] }\n", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, got := planned(c.text, Options{})
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestEgressByPrefix tells hooks whether prefixes alone tell the zone that a packet goes to.
func TestEgressByPrefix(t *testing.T) {
	for _, c := range []struct {
		name    string
		sources []Source
		want    bool
	}{
		{"none", nil, false},
		{"capture", []Source{{Configured: source.Configured{Interfaces: []string{"lan0"}}}}, true},
		{"mirror port", []Source{{Configured: source.Configured{Interfaces: []string{"lan0"}, Live: true, Incoming: true}}}, true},
		{"one interface", []Source{{Configured: source.Configured{Interfaces: []string{"lan0"}, Live: true}}}, false},
		{"all interfaces", []Source{{Configured: source.Configured{Interfaces: []string{"lan0", "wan0"}, Live: true, Incoming: true}}}, true},
		{"several interfaces, both directions", []Source{{Configured: source.Configured{Interfaces: []string{"lan0", "wan0"}, Live: true}}}, false},
	} {
		p := Plan{Sources: c.sources, File: new(config.File), Live: len(c.sources) > 0 && c.sources[0].Live}
		if env := p.HookEnv(1, nil); env.EgressByPrefix != c.want || env.ZonesByRoute {
			t.Errorf("%s: %v, by route %v", c.name, env.EgressByPrefix, env.ZonesByRoute)
		}
		p.File.Pipeline.ZonesByRoute = true // which a capture has none of
		if env := p.HookEnv(1, nil); env.EgressByPrefix != (c.want && !p.Live) || env.ZonesByRoute != p.Live {
			t.Errorf("%s, with routes: %v, by route %v", c.name, env.EgressByPrefix, env.ZonesByRoute)
		}
	}
}

// otherNames is a host with the interfaces wan0, also called uplink, and wan0.7, also called partner0.
func otherNames(name string) (index uint32, names []string, ok bool) {
	switch name {
	case "wan0", "uplink":
		return 5, []string{"wan0", "uplink"}, true
	case "wan0.7", "partner0":
		return 6, []string{"wan0.7", "partner0"}, true
	}
	return 0, nil, false
}

// TestOtherNames checks configurations that write several names of one interface.
func TestOtherNames(t *testing.T) {
	const tap = "[pipeline]\nsources = ['a']\n[sources]\na = { plugin = 'tap', interface = 'uplink' }\n"
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"zone and source", tap + "[zones.a]\ninterfaces = ['wan0', 'uplink']\n", nil},
		{"VLANs", tap + "[zones.a]\ninterfaces = ['wan0']\n[zones.b]\ninterfaces = ['uplink.7', 'uplink.8']\n", nil},
		{"VLAN device", "[pipeline]\nsources = ['a']\n[sources]\na = { plugin = 'tap', interface = 'partner0' }\n[zones.a]\ninterfaces = ['uplink.7']\n[zones.b]\ninterfaces = ['uplink']\n", []string{
			"8:15: warning: zones.b.interfaces[0]: no source in pipeline.sources reads uplink: no packet comes in there"}},
		{"two zones", tap + "[zones.a]\ninterfaces = ['wan0']\n[zones.b]\ninterfaces = ['uplink.8', 'uplink']\n", []string{
			"8:27: zones.b.interfaces[1]: uplink is another name of wan0, which already belongs to zone a"}},
		{"two zones, one VLAN", tap + "[zones.a]\ninterfaces = ['wan0.8']\n[zones.b]\ninterfaces = ['uplink.8']\n", []string{
			"8:15: zones.b.interfaces[0]: uplink.8 is another name of wan0.8, which already belongs to zone a"}},
		{"two zones, one VLAN device", tap + "[zones.a]\ninterfaces = ['wan0.7']\n[zones.b]\ninterfaces = ['partner0']\n", []string{
			"8:15: warning: zones.b.interfaces[0]: no source in pipeline.sources reads partner0: no packet comes in there",
			"8:15: zones.b.interfaces[0]: partner0 is another name of wan0.7, which already belongs to zone a"}},
		{"two zones, a VLAN device by a name of its parent", "[pipeline]\nsources = ['a']\n[sources]\na = { plugin = 'tap', interface = 'wan0.7' }\n" +
			"[zones.a]\ninterfaces = ['partner0']\n[zones.b]\ninterfaces = ['uplink.7']\n", []string{
			"8:15: zones.b.interfaces[0]: uplink.7 is another name of partner0, which already belongs to zone a"}},
		{"one name twice", tap + "[zones.a]\ninterfaces = ['wan0']\n[zones.b]\ninterfaces = ['wan0']\n", []string{
			"8:15: zones.b.interfaces[0]: interface wan0 already belongs to zone a"}},
		{"read twice", "[pipeline]\nsources = ['a', 'b']\n[sources]\na = { plugin = 'tap', interface = 'wan0' }\n" +
			"b = { plugin = 'tap', interface = 'uplink' }\n", []string{
			"5:23: sources.b.interface: uplink is read by sources.a already, as wan0: every packet would be seen twice"}},
		{"a capture knows no other names", "[pipeline]\nsources = ['a']\n[sources]\na = { plugin = 'pcap', interface = 'uplink' }\n" +
			"[zones.a]\ninterfaces = ['wan0']\n[zones.b]\ninterfaces = ['uplink']\n", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, got := planned(c.text, Options{LookupInterface: otherNames})
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestAbsent notes interfaces that a host does not have, each once, and optional ones apart.
func TestAbsent(t *testing.T) {
	const text = "[pipeline]\nsources = ['a', 'b']\n[sources]\na = { plugin = 'PLUGIN', interfaces = ['lan0', 'wan1', 'tun0'], optional = ['tun0'] }\nb = { plugin = 'PLUGIN', interface = 'eth9' }\n" +
		"c = { plugin = 'PLUGIN', interface = 'unused0' }\n[zones.x]\ninterfaces = ['lan0', 'wan0.5', 'wan1', 'lann', 'own.7', 'far0.7', 'tun0']\n"
	host := []string{"lo", "lan0", "wan0", "uplink", "own.7", "a0", "b0", "c0", "d0"}
	for plugin, want := range map[string][]string{
		"tap": {
			`p.toml:4:1: sources.a: this host has no interface "wan1", and a daemon does not start without it; did you mean "wan0"?`,
			`p.toml:5:1: sources.b: this host has no interface "eth9", and a daemon does not start without it`,
			`p.toml:7:8: zones.x: this host has no interface "lann"; did you mean "lan0"?`,
			`p.toml:7:8: zones.x: this host has no interface "far0.7"`,
		},
		"pcap": nil,
	} {
		p, _ := planned(strings.ReplaceAll(text, "PLUGIN", plugin), Options{})
		var wantOptional []string
		if want != nil {
			wantOptional = []string{`p.toml:4:1: sources.a: this host has no interface "tun0", and it is read when it appears`}
		}
		notes, optional := p.Absent(host)
		if diff := cmp.Diff(want, notes) + cmp.Diff(wantOptional, optional); diff != "" {
			t.Errorf("%s: %s", plugin, diff)
		}
		if notes, optional := p.Absent(nil); notes != nil || optional != nil {
			t.Errorf("%s: %q, %q", plugin, notes, optional)
		}
	}
}

// Two sources that send each other's frames name each other, are of one plugin and are both chained.
func TestPeers(t *testing.T) {
	const chained = "[pipeline]\nsources = ['a', 'b']\n[sources]\n"
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"a pair", chained + "a = { plugin = 'tap', interface = 'lan0', peer = 'b' }\nb = { plugin = 'tap', interface = 'wan0', peer = 'a' }\n", nil},
		{"two pairs", "[pipeline]\nsources = ['a', 'b', 'c', 'd']\n[sources]\na = { plugin = 'tap', interface = 'e0', peer = 'b' }\n" +
			"b = { plugin = 'tap', interface = 'e1', peer = 'a' }\nc = { plugin = 'tap', interface = 'e2', peer = 'd' }\nd = { plugin = 'tap', interface = 'e3', peer = 'c' }\n", nil},
		{"itself", chained + "a = { plugin = 'tap', interface = 'lan0', peer = 'a' }\nb = { plugin = 'tap', interface = 'wan0' }\n", []string{
			"4:43: sources.a.peer: a source cannot be its own peer: packets that come in on one interface leave by another"}},
		{"unknown", chained + "a = { plugin = 'tap', interface = 'lan0', peer = 'bb' }\nb = { plugin = 'tap', interface = 'wan0', peer = 'a' }\n", []string{
			`4:43: sources.a.peer: there is no source "bb"; there are b`, `5:43: sources.b.peer: the peer of sources.a is bb: each of a pair names the other`}},
		{"not chained", "[pipeline]\nsources = ['a']\n[sources]\na = { plugin = 'tap', interface = 'lan0', peer = 'b' }\nb = { plugin = 'tap', interface = 'wan0', peer = 'a' }\n", []string{
			"4:43: sources.a.peer: sources.b is not in pipeline.sources: packets would have no way out",
			"5:1: warning: sources.b: this source is defined but not in pipeline.sources: it does nothing"}},
		{"modes differ", chained + "a = { plugin = 'tap', interface = 'lan0', peer = 'b' }\nb = { plugin = 'tap', interface = 'wan0' }\n", []string{
			`4:43: sources.a.peer: sources.b does not send on what this source receives: it needs plugin = "tap", mode = "bridge" and peer = "a"`}},
		{"plugins differ", chained + "a = { plugin = 'tap', interface = 'lan0', peer = 'b' }\nb = { plugin = 'other', interface = 'wan0', peer = 'a' }\n", []string{
			`4:43: sources.a.peer: sources.b does not send on what this source receives: it needs plugin = "tap", mode = "bridge" and peer = "a"`,
			`5:45: sources.b.peer: sources.a does not send on what this source receives: it needs plugin = "other", mode = "bridge" and peer = "b"`}},
		{"not mutual", "[pipeline]\nsources = ['a', 'b', 'c']\n[sources]\na = { plugin = 'tap', interface = 'e0', peer = 'b' }\n" +
			"b = { plugin = 'tap', interface = 'e1', peer = 'c' }\nc = { plugin = 'tap', interface = 'e2', peer = 'b' }\n", []string{
			"4:41: sources.a.peer: the peer of sources.b is c: each of a pair names the other"}},
		{"one interface", chained + "a = { plugin = 'tap', interface = 'lan0', peer = 'b' }\nb = { plugin = 'tap', interface = 'lan0', peer = 'a' }\n", []string{
			"5:23: sources.b.interface: lan0 is read by sources.a already: every packet would be seen twice"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, got := planned(c.text, Options{})
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

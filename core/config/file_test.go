package config

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/sdk/event"
)

// ignoreUnexported leaves out what only reading needs.
var ignoreUnexported = cmpopts.IgnoreUnexported(replay.Options{})

// ring returns the options of a ring.
func ring(slots, telemetry, perKind int, overflow replay.Overflow) replay.Options {
	return replay.Options{Limits: replay.Limits{Slots: slots, Telemetry: telemetry, PerKind: perKind}, Overflow: overflow}
}

func TestDefaults(t *testing.T) {
	f, problems := Parse("", nil)
	wantProblems(t, problems)
	got := *f
	got.Files, got.parsed, got.misspelled, got.zones = nil, false, nil, nil
	rate := admission.Rate{PerSecond: 1000, Burst: 1024}
	want := File{
		Pipeline: Pipeline{ZonesByRoute: true},
		Service:  Service{Metrics: "127.0.0.1:9464", Drain: 5 * time.Second, PluginDir: DefaultPluginDir},
		Admission: admission.Options{Rates: [event.NumKinds]admission.Rate{
			event.PolicyDeny: rate, event.ScreenDrop: rate, event.FilterLog: rate,
		}, Unanswered: rate},
		Replay: ring(8192, 4096, 1024, replay.Refuse),
		Sessions: session.Options{
			Max: 262144, Adopt: 30 * time.Second, Separate: session.ByVLAN, Timeouts: session.Timeouts{
				TCPInitial: 20 * time.Second, TCP: 30 * time.Minute, TCPTimeWait: 150 * time.Second, Closed: 2 * time.Second,
				UDP: 60 * time.Second, ICMP: 60 * time.Second, OSPF: 60 * time.Second, Other: 30 * time.Minute,
			},
		},
	}
	if diff := gocmp.Diff(want, got, gocmp.AllowUnexported(File{}), ignoreUnexported); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestFull(t *testing.T) {
	f, problems := Parse("full.toml", testdata(t, "full.toml"))
	f.RequireRun(problems)
	wantProblems(t, problems)

	var chain []string
	for _, list := range [][]*Component{f.Pipeline.Sources, f.Pipeline.Hooks, f.Pipeline.Sinks, f.Sinks} {
		for _, c := range list {
			chain = append(chain, c.Name+" "+c.Plugin)
		}
	}
	wantChain := []string{"lan pcap", "screens screendrop", "edge-in filterlog", "siem syslog", "audit file", "audit file", "siem syslog"}
	if diff := gocmp.Diff(wantChain, chain); diff != "" {
		t.Errorf("chain (-want +got):\n%s", diff)
	}

	wantZones := []zone.Zone{
		{Name: "untrust", ID: 2, Interfaces: []string{"wan0", "wan0.100"}},
		{Name: "trust", ID: 1, Interfaces: []string{"lan0"}, Prefixes: []netip.Prefix{
			netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8:2::/48"),
			netip.MustParsePrefix("198.51.100.7/32"), netip.MustParsePrefix("2001:db8::1/128"),
		}},
	}
	if diff := gocmp.Diff(wantZones, f.Zones, gocmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("zones (-want +got):\n%s", diff)
	}

	for _, tt := range []struct {
		what      string
		got, want any
	}{
		{"node", f.Node, Node{Name: "edge-1"}},
		{"zones by route", f.Pipeline.ZonesByRoute, false},
		{"service", f.Service, Service{Metrics: "[::1]:9100", Drain: time.Minute, PluginDir: "/opt/plugins", RuntimeDir: "/run/other"}},
		{"policy-deny", f.Admission.Rates[event.PolicyDeny], admission.Rate{PerSecond: 500, Burst: 1024}},
		{"screen-drop", f.Admission.Rates[event.ScreenDrop], admission.Rate{PerSecond: 200, Burst: 10}},
		{"filter-log", f.Admission.Rates[event.FilterLog], admission.Rate{PerSecond: 500, Burst: 2048}},
		{"session-open", f.Admission.Rates[event.SessionOpen], admission.Rate{}},
		{"unanswered", f.Admission.Unanswered, admission.Rate{PerSecond: 0, Burst: 1024}},
		{"replay", f.Replay, ring(4096, 2048, 1024, replay.Evict)},
		{"audit's ring", f.Sinks[0].Replay, ring(4096, 2048, 1024, replay.Evict)},
		{"siem's ring", f.Sinks[1].Replay, ring(65536, 32768, 16384, replay.Evict)},
		{"audit's kinds", f.Sinks[0].Only, event.KindSet(0).With(event.SessionClose).With(event.PolicyDeny).With(event.Loss)},
		{"siem's kinds", f.Sinks[1].Only, event.AllKinds},
		{"sessions", f.Sessions, session.Options{
			Max: 65536, SynCheck: new(true), Adopt: time.Minute, Separate: session.ByZone, Timeouts: session.Timeouts{
				TCPInitial: 30 * time.Second, TCP: time.Hour, TCPTimeWait: 2 * time.Minute, Closed: time.Second,
				UDP: 45 * time.Second, ICMP: 10 * time.Second, OSPF: 50 * time.Second, Other: 720 * time.Hour,
			},
		}},
	} {
		if diff := gocmp.Diff(tt.want, tt.got, ignoreUnexported); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.what, diff)
		}
	}
}

func TestZonesByRoute(t *testing.T) {
	for text, want := range map[string]bool{"": true, "[pipeline]": true, "[pipeline]\nzones_by_route = true": true, "[pipeline]\nzones_by_route = false": false} {
		f, problems := Parse("", []byte(text))
		wantProblems(t, problems)
		if f.Pipeline.ZonesByRoute != want {
			t.Errorf("%q: %v", text, f.Pipeline.ZonesByRoute)
		}
	}
	_, problems := Parse("p.toml", []byte("[pipeline]\nzones_by_route = 'yes'\nzones_by_routes = true\n"))
	wantProblems(t, problems,
		`2:1: pipeline.zones_by_route: must be true or false, not the string "yes"`,
		`3:1: pipeline.zones_by_routes: unknown key; did you mean "zones_by_route"?`)
}

func TestOverflowString(t *testing.T) {
	for _, want := range []replay.Overflow{replay.Refuse, replay.Evict} {
		var got replay.Overflow
		if err := got.UnmarshalText([]byte(want.String())); err != nil || got != want {
			t.Errorf("%v reads as %v, %v", want, got, err)
		}
	}
}

// P2 holds for every ring that a sink can ask for.
func TestSinkReplay(t *testing.T) {
	for _, tt := range []struct {
		general, own string
		want         replay.Options
	}{
		{"", "{}", ring(8192, 4096, 1024, replay.Refuse)},
		{"", `{ overflow = "evict" }`, ring(8192, 4096, 1024, replay.Evict)},
		{`overflow = "evict"`, `{ overflow = "refuse" }`, ring(8192, 4096, 1024, replay.Refuse)},
		{"", "{ slots = 65536 }", ring(65536, 32768, 8192, replay.Refuse)},
		{"", "{ slots = 65536, telemetry = 49152 }", ring(65536, 49152, 12288, replay.Refuse)},
		{"", "{ telemetry = 1 }", ring(8192, 1, 1, replay.Refuse)},
		{"", "{ per_kind = 4096 }", ring(8192, 4096, 4096, replay.Refuse)},
		{"slots = 1024", "{}", ring(1024, 512, 128, replay.Refuse)},
		{"slots = 1024\ntelemetry = 1000", "{ slots = 2048 }", ring(2048, 2000, 500, replay.Refuse)},
		{"per_kind = 4096", "{ slots = 64 }", ring(64, 32, 32, replay.Refuse)},
		{"telemetry = 8191\nper_kind = 1", "{ slots = 64 }", ring(64, 63, 1, replay.Refuse)},
	} {
		text := "[replay]\n" + tt.general + "\n[sinks.a]\nplugin = 'p'\nreplay = " + tt.own + "\n[pipeline]\nsinks = 'a'"
		f, problems := Parse("", []byte(text))
		wantProblems(t, problems)
		if diff := gocmp.Diff(tt.want, f.Sinks[0].Replay, ignoreUnexported); diff != "" {
			t.Errorf("%q with %s (-want +got):\n%s", tt.general, tt.own, diff)
		}
	}
}

func TestZoneIDs(t *testing.T) {
	f, problems := Parse("", []byte("[zones.b]\ninterfaces = 'b'\n[zones.a]\ninterfaces = 'a'"))
	wantProblems(t, problems)
	if f.Zones[0].ID != 1 || f.Zones[0].Name != "b" || f.Zones[1].ID != 2 {
		t.Errorf("zones %+v", f.Zones)
	}
}

func TestWarnings(t *testing.T) {
	f, problems := Parse("", []byte("[sources.a]\nplugin = 'p'\n[sinks.b]\nplugin = 'p'\n[sinks.c]\nplugin = 'p'\n[pipeline]\nsinks = 'b'\n[zones.z]"))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	wantProblems(t, problems,
		"1:10: warning: sources.a: this source is defined but not in pipeline.sources: it does nothing",
		"5:8: warning: sinks.c: this sink is defined but not in pipeline.sinks: it does nothing",
	)
	f.RequireRun(problems)
	if problems.Err() == nil {
		t.Error("the daemon would run without a source")
	}
}

func TestRequireRun(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"empty file", "", []string{
			" pipeline.sinks: the daemon needs at least one sink",
			" pipeline.sources: the daemon needs at least one source",
		}},
		{"empty table", "[pipeline]\nsinks = []", []string{
			"1:2: pipeline.sources: the daemon needs at least one source",
			"2:1: pipeline.sinks: the daemon needs at least one sink",
		}},
		{"mistakes of their own", "[pipeline]\nsinks = 'a'\nsources = 3", []string{
			`2:1: pipeline.sinks[0]: there is no sink "a"; there are no sinks here`,
			"3:1: pipeline.sources: must be a string, not 3",
		}},
		{"syntax error", "[pipeline", []string{"1:9: expected '.' or ']' to end table name, but got end of file instead"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, problems := Parse("", []byte(tt.text))
			f.RequireRun(problems)
			wantProblems(t, problems, tt.want...)
		})
	}
}

func TestOneMistake(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"byte order mark", "\ufeffx = 1", []string{"1:1: x: unknown key; the tables are: admission, hooks, node, pipeline, replay, service, sessions, sinks, sources, test, zones"}},
		{"not UTF-8", "# ü\n#ü\xff", []string{"2:3: not UTF-8"}},
		{"not UTF-8 after a replacement character", "#\ufffd\xff", []string{"1:3: not UTF-8"}},
		{"UTF-16", "\xff\xfe[\x00", []string{"1:1: not UTF-8"}},
		{"NUL", "\x00", []string{"1:1: files cannot contain NULL bytes; probably using UTF-16; TOML files must be UTF-8"}},
		{"too deep", "[node]\na = " + strings.Repeat("[", 99), []string{"2:35: tables and arrays are nested more than 32 levels deep"}},
		{"too long", strings.Repeat("a", 600) + " = 1", []string{"1:1: the path of this key is longer than 512 bytes"}},
		{"single table is an array", "[[node]]", []string{"1:3: node: must be a table, not an array"}},
		{"drain", "[service]\ndrain = '-1s'", []string{"2:1: service.drain: must be 0s to 10m, not -1s"}},
		{"port", "[service]\nmetrics = 'localhost:http'", []string{`2:1: service.metrics: the port must be 0 to 65535, not "http"`}},
		{"no metrics", "[service]\nmetrics = ''", nil},
		{"scoped address", "[zones.a]\nprefixes = ['fe80::1%eth0']", []string{
			`2:13: zones.a.prefixes[0]: "fe80::1%eth0" names an interface, which no packet does: leave out %eth0`,
		}},
		{"mapped address", "[zones.a]\nprefixes = '::ffff:192.0.2.1'", []string{
			`2:1: zones.a.prefixes: "::ffff:192.0.2.1" is IPv4 written as IPv6: write 192.0.2.1`,
		}},
		{"slots and telemetry", "[replay]\nslots = 64\ntelemetry = 64\nper_kind = 99999999", []string{
			"3:1: replay.telemetry: must be 1 to 63, not 64: less than slots (64), the rest is kept for sessions",
			"4:1: replay.per_kind: must be 1 to 4194304 (telemetry), not 99999999",
		}},
		{"per_kind", "[replay]\nper_kind = 4097", []string{"2:1: replay.per_kind: must be 1 to 4096 (telemetry), not 4097"}},
		{"slots too many", "[replay]\nslots = 8388608", []string{"2:1: replay.slots: must be 64 to 4194304, not 8388608"}},
		{"slots between", "[replay]\nslots = 5000", []string{"2:1: replay.slots: must be a power of two, not 5000: 4096 or 8192"}},
		{"node's name", "[node]\nname = 1979-05-27", []string{"2:1: node.name: must be a string, not a date or time"}},
		{"long values", "[node]\nname = '" + strings.Repeat("ü", 99) + "'", []string{
			`2:1: node.name: must be 1 to 255 visible ASCII characters, not "` + strings.Repeat("ü", 20) + `…"`,
		}},
		{"kinds of a wrong type", "[pipeline]\nsinks = 'a'\n[sinks.a]\nplugin = 'p'\nonly = [1, 'loss']", []string{
			"5:9: sinks.a.only[0]: must be a string, not 1",
		}},
		{"family is no table", "sinks = 1", []string{"1:1: sinks: must be a table, not 1"}},
		{"empty name", "[zones.'']\ninterfaces = 'a'", []string{
			`1:8: zones."": a name has 1 to 63 of these: letters, digits, '-', '_' and '.'`,
		}},
		{"slots of a wrong type", "[replay]\nslots = 'x'\ntelemetry = 8192", []string{"2:1: replay.slots: must be an integer, not the string \"x\""}},
		{"same name as another family", "[hooks.a]\nplugin = 'p'\n[sinks.a]\nplugin = 'p'\n[pipeline]\nhooks = 'a'\nsinks = 'a'", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, problems := Parse("", []byte(tt.text))
			wantProblems(t, problems, tt.want...)
		})
	}
}

// TestSyntaxKeepsSecrets has mistakes of syntax in values: the message has the place and what was expected, and nothing of a value whose key
// names a secret, nor of a string.
func TestSyntaxKeepsSecrets(t *testing.T) {
	for text, want := range map[string]string{
		"[sinks.a]\ntoken = hunter2\n":                     "p.toml:2:9: expected value but found something else instead",
		"[sinks.a]\ntoken = \"hunter2\"hunter2\n":          "p.toml:2:18: expected a top-level item to end with a newline, comment, or EOF, but got something else instead",
		"[sinks.a]\npassword hunter2\n":                    "p.toml:2:10: expected '.' or '=', but got something else instead",
		"[sinks.a.auth]\nsecret = 1979-hunter2\n":          "p.toml:2:",
		"[sinks.a]\nurl = \"https://u:hunter2\\u12zz\"\n":  "p.toml:2:8: expected four hexadecimal digits after '\\u', but got something else instead",
		"[sinks.a]\nheaders = { authorization = hunter2 }": "p.toml:2:",
		"[sinks.a]\ntokens = [\n\"a\", hunter2]":           "p.toml:3:6: expected value but found something else instead",
		"[sinks.a]\nkeep = seven\n":                        "p.toml:2:8: expected value but found \"seven\" instead",
		"[sinks.a]\nkeep 7\n":                              "p.toml:2:6: expected '.' or '=', but got '7' instead",
	} {
		_, problems := Parse("p.toml", []byte(text))
		err := problems.Err()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "12zz") {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestPluginDirectories(t *testing.T) {
	for text, want := range map[string]string{
		`plugin_dir = ""`:                                  "",
		`plugin_dir = "plugins"`:                           "absolute",
		`runtime_dir = "/run/x"`:                           "",
		`runtime_dir = "run"`:                              "absolute",
		`runtime_dir = "/tmp/x"`:                           "swept",
		`runtime_dir = "/var/../tmp"`:                      "swept",
		`runtime_dir = "/tmpfs"`:                           "",
		`runtime_dir = "/` + strings.Repeat("x", 60) + `"`: "57 bytes",
	} {
		_, problems := Parse("x.toml", []byte("[service]\n"+text))
		err := problems.Err()
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

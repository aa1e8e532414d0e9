package plan

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/keypath"
	"github.com/rtflow/pipelined/sdk"
)

// fakes is a registry with live sources "tap" and "other", a capture "pcap", a source "events", a hook "judge" that decides about sessions,
// a hook "look" that does not, and a sink "fake".
func fakes() *Registry {
	read := func(live bool) func(sdk.Config, source.Env) source.Configured {
		return func(cfg sdk.Config, _ source.Env) source.Configured {
			var o struct {
				Interface  string   `toml:"interface"`
				Interfaces []string `toml:"interfaces"`
				Optional   []string `toml:"optional"`
				Peer       string   `toml:"peer"`
			}
			cfg.Decode(&o)
			if o.Interfaces == nil {
				o.Interfaces = []string{o.Interface}
			}
			return source.Configured{Interfaces: o.Interfaces, Optional: o.Optional, Live: live, Peer: o.Peer}
		}
	}
	return &Registry{
		Sources: map[string]source.Plugin{
			"tap": {Configure: read(true)}, "other": {Configure: read(true)}, "pcap": {Configure: read(false)},
			"events": {Configure: func(cfg sdk.Config, env source.Env) source.Configured {
				var o struct {
					Sessions bool     `toml:"sessions"`
					Reads    []string `toml:"reads"`
					Zone     string   `toml:"zone"`
				}
				cfg.Decode(&o)
				if o.Zone != "" {
					if _, err := env.Zone(o.Zone); err != nil {
						cfg.Errorf("zone", "%v", err)
					}
				}
				c := source.Configured{Live: true, Events: true, Sessions: o.Sessions}
				for i, what := range o.Reads {
					c.Exclusive = append(c.Exclusive, source.Exclusive{Key: keypath.Element("reads", i), What: what})
				}
				return c
			}},
		},
		Hooks: map[string]hook.Plugin{
			"judge": {Configure: func(sdk.Config, hook.Env) hook.Instance {
				return hook.Instance{Session: permitAll{}, Permits: true, Holds: []hook.Held{{N: 2, One: "policy", Many: "policies"}}}
			}},
			"look": {Configure: func(sdk.Config, hook.Env) hook.Instance { return hook.Instance{Session: permitAll{}} }},
		},
		Sinks: map[string]sdk.SinkPlugin{
			"fake": {Configure: func(cfg sdk.Config, _ sdk.Env) sdk.Sink {
				var o struct {
					Path string `toml:"path"`
				}
				cfg.Decode(&o)
				return fakeSink{o.Path}
			}},
		},
	}
}

// permitAll permits every session.
type permitAll struct{}

func (permitAll) Decide(*hook.Packet, *hook.Permit, *hook.Finding) hook.Verdict { return hook.Pass }

func (permitAll) Denied(*hook.Packet, *hook.Finding) {}

// fakeSink is the only one of its destination.
type fakeSink struct{ path string }

func (fakeSink) Run(context.Context, sdk.Stream) error { return nil }

func (s fakeSink) Exclusive() string { return s.path }

// planned plans a configuration, and returns its problems without the name of its file.
func planned(text string, o Options) (p *Plan, found []string) {
	o.Registry = fakes()
	file, problems := config.Parse("p.toml", []byte(text))
	p = New(file, problems, o)
	for _, problem := range problems.All() {
		found = append(found, strings.TrimPrefix(problem.String(), "p.toml:"))
	}
	return p, found
}

const twoSinks = `
[pipeline]
sources = ["in"]
sinks   = ["good", "other"]
[replay]
slots     = 128
telemetry = 96
per_kind  = 96
[sources.in]
plugin    = "tap"
interface = "eth0"
[sinks.good]
plugin = "fake"
[sinks.other]
plugin = "fake"
`

func TestMistakes(t *testing.T) {
	capture := strings.Replace(twoSinks, `"tap"`, `"pcap"`, 1)
	for _, c := range []struct{ name, text, want string }{
		{"plugin", strings.Replace(twoSinks, `"tap"`, `"tp"`, 1), `10:1: sources.in.plugin: there is no source plugin "tp"; did you mean "tap"?`},
		{"not chained", twoSinks + "[hooks.x]\nplugin = \"lok\"\n", "16:8: warning: hooks.x: this hook is defined but not in pipeline.hooks: it does nothing\n" +
			`17:1: hooks.x.plugin: there is no hook plugin "lok"; did you mean "look"?`},
		{"two captures", strings.Replace(capture, `["in"]`, `["in", "too"]`, 1) + "[sources.too]\nplugin = \"pcap\"\n",
			`16:10: sources.too: a capture has a clock of its own: chain one capture, or live sources`},
		{"one destination", strings.ReplaceAll(twoSinks, `"fake"`, "\"fake\"\npath = \"file /a\""),
			`15:8: sinks.other: this is the destination of sinks.good already: file /a`},
		{"two destinations", strings.Replace(twoSinks, `"fake"`, "\"fake\"\npath = \"file /a\"", 1) + "path = \"file /b\"\n", ""},
	} {
		if _, found := planned(c.text, Options{}); strings.Join(found, "\n") != c.want {
			t.Errorf("%s: got %q, want %q", c.name, found, c.want)
		}
	}
}

func TestDescribe(t *testing.T) {
	p, _ := planned(twoSinks+"only = [\"policy-deny\"]\n[zones.trust]\ninterfaces = [\"eth0\"]\nprefixes = [\"10.0.0.0/8\"]\n", Options{Hostname: "host"})
	var b strings.Builder
	if err := p.Describe(&b); err != nil {
		t.Fatal(err)
	}
	const want = `node    host
zone    trust        eth0, 10.0.0.0/8
source  in           tap eth0  live: packets that come in, and those that leave
limit   policy-deny  1000/s per zone, burst 1024
limit   screen-drop  1000/s per zone, burst 1024
limit   filter-log   1000/s per zone, burst 1024
limit   unanswered   1000/s per zone, burst 1024
sink    good         fake  128 records in flight (96 telemetry, 96 of a kind), refuse; every kind
sink    other        fake  128 records in flight (96 telemetry, 96 of a kind), refuse; policy-deny
ok: 1 source, 0 hooks, 1 zone, 2 sinks
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

// The summary adds up what the chained hooks hold.
func TestSummary(t *testing.T) {
	p, found := planned("[pipeline]\nsources = 'a'\nhooks = ['a', 'c', 'b']\n[hooks]\na = { plugin = 'judge' }\n"+
		"b = { plugin = 'judge' }\nc = { plugin = 'look' }\n[sources]\na = { plugin = 'tap', interface = 'lan0' }\n[zones.z]\nprefixes = '10.0.0.0/8'\n", Options{})
	if got, want := p.summary(), "1 source, 3 hooks, 4 policies, 1 zone, 0 sinks"; got != want || len(found) != 1 {
		t.Errorf("%s, want %s (%q)", got, want, found)
	}
}

// TestLogsSessions pins which source tells of sessions: the firewall's own, where it is chained, unless the configuration says
// otherwise.
func TestLogsSessions(t *testing.T) {
	const both = `
[pipeline]
sources = ["in", "wire"]
sinks   = ["good"]
[sources.in]
plugin   = "events"
sessions = true
[sources.wire]
plugin    = "tap"
interface = "eth0"
[sinks.good]
plugin = "fake"
`
	for text, want := range map[string]bool{
		twoSinks: true, both: false, both + "[sessions]\nlog = true\n": true, twoSinks + "[sessions]\nlog = false\n": false,
	} {
		p, _ := planned(text, Options{})
		if got := p.LogsSessions(); got != want {
			t.Errorf("logs sessions: %v, want %v, with%s", got, want, text)
		}
	}
}

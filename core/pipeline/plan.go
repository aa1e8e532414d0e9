package pipeline

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/core/spool"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/internal/spelling"
	"github.com/rtflow/pipelined/internal/statedir"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

// Options are what a plan needs beyond the configuration.
type Options struct {
	Registry *Registry
	Log      *slog.Logger // nil discards
	Hostname string       // of log lines, if the configuration names none
	// LookupInterface returns the kernel's index of the interface that has this name among its names, for the records, and all
	// its names. nil numbers interfaces by their place in the configuration, which needs no device.
	LookupInterface func(name string) (index uint32, names []string, ok bool)
	// FollowHost makes a live pipeline follow the interfaces of the kernel, and its routes where the configuration says so.
	FollowHost bool
	// ZoneIDs are the ids that zones have in the pipeline whose configuration the plan's is to follow; see [Pipeline.ZoneIDs].
	ZoneIDs map[string]uint16
	// Changes are the keys of [service] that the caller itself changes when another configuration is taken over.
	Changes []string
	applied func() // of tests: called when interfaces and routes have been read
	// State is where runs keep what they hand to each other; nil: nowhere.
	State *statedir.Dir
	// Boot names the time since the kernel was started; empty: it is asked for.
	Boot string
	// ReceivedPackets returns how many packets the kernel has received by an interface; nil: nobody knows.
	ReceivedPackets func(name string) (n uint64, ok bool)
	// Input and Output, if set, take the place of the configuration's sources and sinks, which are then left alone.
	Input  *Input
	Output *Output
	// CloseAtEnd ends the sessions that are left when a capture ends.
	CloseAtEnd bool
	// Observer, if set, sees what the hooks judge.
	Observer Observer
}

// Observer sees what the hooks of a pipeline judge. Its hooks stand on the packet path of every worker.
type Observer interface {
	Before() hook.Instance                           // before the first hook
	Hook(name string, h hook.Instance) hook.Instance // in the place of the hook of that name, judging as it does
	After() hook.Instance                            // behind the last hook
}

// Input is a source that does not come from the configuration.
type Input struct {
	Name string
	source.Configured
}

// Output is a sink that does not come from the configuration.
type Output struct {
	Name string
	New  func(env sdk.Env) sdk.Sink
}

// Plan is a pipeline that is configured and not running.
type Plan struct {
	file    *config.File
	options Options
	host    string
	zones   *zone.Table
	links   links
	apps    *application.Table
	sources []plannedSource
	sinks   []plannedSink
	named   map[string]bool // zones that chained sources name
	checked []namedHook     // every hook, chained or not, as it was checked; no worker calls it
	// checkedNames are what the ids of checked stand for.
	checkedNames *hook.NameBuilder
	live         bool
}

type plannedSource struct {
	name, plugin string
	source.Configured
}

type plannedSink struct {
	name, plugin string
	sink         sdk.Sink
	only         event.KindSet
	replay       replay.Options
	spool        *spool.Options // nil: none
}

// NewPlan reads the tables of all components, chained or not, and records every mistake in problems. The plan may be run only if
// problems holds no error.
func NewPlan(f *config.File, problems *config.Problems, o Options) *Plan {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &Plan{file: f, options: o, host: f.Node.Name, apps: application.Predefined(), named: make(map[string]bool)}
	if p.host == "" {
		p.host = o.Hostname
	}
	p.numberZones()
	p.planSources()
	p.planZones()
	p.checkZones(problems)
	if o.Input == nil {
		p.checkWiring()
		p.checkPeers()
	}
	if f.Complete("zones") { // otherwise hooks would miss zones that are there
		p.checkedNames = hook.NewNameBuilder()
		p.checked = p.hooks(f.Hooks, p.hookEnv(1, p.checkedNames))
		p.checkHooks(p.checked)
	} else if len(f.Hooks) > 0 {
		f.Hooks[0].Section.Warnf("", "hooks are checked when the tables of zones are right")
	}
	p.planSinks()
	if problems.Err() == nil { // otherwise the hooks may not be used
		p.checkTests()
	}
	return p
}

// warner returns a function that logs warnings about a component.
func (p *Plan) warner(kind, name string) func(string, ...any) {
	log := p.options.Log.With(kind, name)
	return func(msg string, args ...any) { log.Warn(msg, args...) } //nolint:sloglint // the component words it
}

func (p *Plan) planSources() {
	if in := p.options.Input; in != nil {
		p.sources = []plannedSource{{name: in.Name, Configured: in.Configured}}
		p.live = in.Live
		return
	}
	captures := 0
	for _, c := range p.file.Sources {
		plugin, ok := p.options.Registry.Sources[c.Plugin]
		if !ok {
			unknownPlugin(c, "source", slices.Sorted(maps.Keys(p.options.Registry.Sources)), "")
			continue
		}
		chained := slices.Contains(p.file.Pipeline.Sources, c)
		s := plugin.Configure(c.Section, source.Env{Warn: p.warner("source", c.Name), Zone: func(name string) (uint16, error) {
			p.named[name] = p.named[name] || chained
			return p.zoneID(name)
		}})
		if !chained {
			continue
		}
		p.sources = append(p.sources, plannedSource{name: c.Name, plugin: c.Plugin, Configured: s})
		if s.Live {
			p.live = true
		} else if captures++; captures > 1 || p.live {
			c.Section.Errorf("", "a capture has a clock of its own: chain one capture, or live sources")
		}
	}
	if p.live && captures > 0 {
		p.file.Pipeline.Sources[0].Section.Errorf("", "live sources and a capture cannot be chained together: they have different clocks")
	}
}

// logsSessions reports whether the sessions that packets make are told of. A source of events that tells of sessions does it
// better: it knows the firewall's own.
func (p *Plan) logsSessions() bool {
	if log := p.file.Sessions.Log; log != nil {
		return *log
	}
	return !slices.ContainsFunc(p.sources, func(s plannedSource) bool { return s.Sessions })
}

// hookEnv returns what hooks may know.
func (p *Plan) hookEnv(workers int, names *hook.NameBuilder) hook.Env {
	return hook.Env{
		Workers: workers, Zones: p.zones, Apps: p.apps, Names: names, Live: p.live, EgressByPrefix: p.egressByPrefix(),
		ZonesByRoute: p.zonesByRoute(),
	}
}

// zonesByRoute reports whether routes tell the zone of an address that is in no prefix of a zone.
func (p *Plan) zonesByRoute() bool { return p.live && p.file.Pipeline.ZonesByRoute }

// egressByPrefix reports whether prefixes alone tell the zone that a packet goes to: routes do not, and no source reads packets as
// they leave an interface.
func (p *Plan) egressByPrefix() bool {
	leaving := func(s plannedSource) bool { return s.Live && !s.Incoming }
	return len(p.sources) > 0 && !p.zonesByRoute() && !slices.ContainsFunc(p.sources, leaving)
}

// hooks builds hooks.
func (p *Plan) hooks(components []*config.Component, env hook.Env) (list []namedHook) {
	for _, c := range components {
		plugin, ok := p.options.Registry.Hooks[c.Plugin]
		if !ok {
			unknownPlugin(c, "hook", slices.Sorted(maps.Keys(p.options.Registry.Hooks)), "")
			continue
		}
		list = append(list, namedHook{c.Name, c.Plugin, plugin.Configure(c.Section, env)})
	}
	return list
}

type namedHook struct {
	name, plugin string
	hook.Instance
}

func (p *Plan) planSinks() {
	env := func(name string, r replay.Options) sdk.Env {
		return sdk.Env{Hostname: p.host, Window: r.Window(), Warn: p.warner("sink", name)}
	}
	if out := p.options.Output; out != nil {
		p.sinks = []plannedSink{{
			name: out.Name, sink: out.New(env(out.Name, p.file.Replay)), only: event.AllKinds, replay: p.file.Replay,
		}}
		return
	}
	planned := make(map[*config.Component]plannedSink)
	for _, c := range p.file.Sinks {
		plugin, ok := p.options.Registry.Sinks[c.Plugin]
		if !ok {
			elsewhere := ""
			if dir := p.file.Service.PluginDir; dir != "" {
				elsewhere = fmt.Sprintf("; nor is there an executable pipelined-sink-%s in %s (service.plugin_dir)", c.Plugin, dir)
			}
			unknownPlugin(c, "sink", slices.Sorted(maps.Keys(p.options.Registry.Sinks)), elsewhere)
			continue
		}
		planned[c] = plannedSink{
			name: c.Name, plugin: c.Plugin, sink: plugin.Configure(c.Section, env(c.Name, c.Replay)), only: c.Only, replay: c.Replay,
			spool: c.Spool,
		}
	}
	destinations, spools := make(map[string]string), make(map[string]string)
	for _, c := range p.file.Pipeline.Sinks {
		s, ok := planned[c]
		if !ok {
			continue
		}
		p.sinks = append(p.sinks, s)
		p.checkSpool(c, spools)
		if e, ok := s.sink.(sdk.Exclusive); ok && e.Exclusive() != "" {
			if other, taken := destinations[e.Exclusive()]; taken {
				c.Section.Errorf("", "this is the destination of sinks.%s already: %s", other, e.Exclusive())
			}
			destinations[e.Exclusive()] = c.Name
		}
	}
}

// unknownPlugin records that there is no such plugin, what there is, and where else was looked.
func unknownPlugin(c *config.Component, kind string, valid []string, elsewhere string) {
	if c.Plugin != "" { // else it is recorded already
		c.Section.Errorf("plugin", "%s%s", spelling.Unknown(kind+" plugin", c.Plugin, valid), elsewhere)
	}
}

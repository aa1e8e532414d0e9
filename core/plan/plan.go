package plan

import (
	"cmp"
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
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

// Options are what a plan needs beyond the configuration.
type Options struct {
	Registry *Registry
	Log      *slog.Logger // of the plan, and of the pipeline that runs it; nil discards
	Hostname string       // of log lines, if the configuration names none
	// LookupInterface returns the kernel's index of the interface that has this name among its names, for the records, and all
	// its names. nil numbers interfaces by their place in the configuration, which needs no device.
	LookupInterface func(name string) (index uint32, names []string, ok bool)
	// ZoneIDs are the ids that zones have in the pipeline whose configuration the plan's is to follow; nil: there is none.
	ZoneIDs map[string]uint16
	// Input and Output, if set, take the place of the configuration's sources and sinks, which are then left alone.
	Input  *Input
	Output *Output
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

// Plan is a pipeline that is configured and not running. Who reads it changes nothing in it.
type Plan struct {
	File     *config.File
	Log      *slog.Logger
	Hostname string // of this node, in log lines
	Zones    *zone.Table
	Apps     *application.Table
	Sources  []Source // of the chain
	Sinks    []Sink   // of the chain
	Live     bool     // a capture is not

	options Options
	links   links
	named   map[string]bool // zones that chained sources name
	checked []Hook          // every hook, chained or not, as it was checked; no worker calls it
	// checkedNames are what the ids of checked stand for.
	checkedNames *hook.NameBuilder
}

// Source is a source that is configured and not open.
type Source struct {
	Name, Plugin string
	source.Configured
}

// SourceName returns the name, also of what embeds a source.
func (s *Source) SourceName() string { return s.Name }

// Hook is a hook that was built for a number of workers.
type Hook struct {
	Name, Plugin string
	hook.Instance
}

// Sink is a sink that is configured and does not run.
type Sink struct {
	Name, Plugin string
	Sink         sdk.Sink
	Only         event.KindSet
	Replay       replay.Options
	Spool        *spool.Options // nil: none
}

// New reads the tables of all components, chained or not, and records every mistake in problems. The plan may be run only if
// problems holds no error.
func New(f *config.File, problems *config.Problems, o Options) *Plan {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &Plan{
		File: f, Log: o.Log, Hostname: cmp.Or(f.Node.Name, o.Hostname), Apps: application.Predefined(), options: o, named: make(map[string]bool),
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
		p.checked = p.Hooks(f.Hooks, p.HookEnv(1, p.checkedNames))
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

// ForgetChecked lets go of the hooks that were built to be checked. The plan explains nothing any more.
func (p *Plan) ForgetChecked() { p.checked = nil }

// warner returns a function that logs warnings about a component.
func (p *Plan) warner(kind, name string) func(string, ...any) {
	log := p.Log.With(kind, name)
	return func(msg string, args ...any) { log.Warn(msg, args...) } //nolint:sloglint // the component words it
}

// informer is warner for what is nothing wrong.
func (p *Plan) informer(kind, name string) func(string, ...any) {
	log := p.Log.With(kind, name)
	return func(msg string, args ...any) { log.Info(msg, args...) } //nolint:sloglint // the component words it
}

func (p *Plan) planSources() {
	if in := p.options.Input; in != nil {
		p.Sources = []Source{{Name: in.Name, Configured: in.Configured}}
		p.Live = in.Live
		return
	}
	captures := 0
	for _, c := range p.File.Sources {
		plugin, ok := p.options.Registry.Sources[c.Plugin]
		if !ok {
			unknownPlugin(c, "source", slices.Sorted(maps.Keys(p.options.Registry.Sources)), "")
			continue
		}
		chained := slices.Contains(p.File.Pipeline.Sources, c)
		s := plugin.Configure(c.Section, source.Env{Warn: p.warner("source", c.Name), Info: p.informer("source", c.Name), Zone: func(name string) (uint16, error) {
			p.named[name] = p.named[name] || chained
			return p.zoneID(name)
		}})
		if !chained {
			continue
		}
		p.Sources = append(p.Sources, Source{Name: c.Name, Plugin: c.Plugin, Configured: s})
		if s.Live {
			p.Live = true
		} else if captures++; captures > 1 || p.Live {
			c.Section.Errorf("", "a capture has a clock of its own: chain one capture, or live sources")
		}
	}
	if p.Live && captures > 0 {
		p.File.Pipeline.Sources[0].Section.Errorf("", "live sources and a capture cannot be chained together: they have different clocks")
	}
}

// LogsSessions reports whether the sessions that packets make are told of. A source of events that tells of sessions does it
// better: it knows the firewall's own.
func (p *Plan) LogsSessions() bool {
	if log := p.File.Sessions.Log; log != nil {
		return *log
	}
	return !slices.ContainsFunc(p.Sources, func(s Source) bool { return s.Sessions })
}

// HookEnv returns what hooks may know.
func (p *Plan) HookEnv(workers int, names *hook.NameBuilder) hook.Env {
	return hook.Env{
		Workers: workers, Zones: p.Zones, Apps: p.Apps, Names: names, Live: p.Live, EgressByPrefix: p.EgressByPrefix(),
		ZonesByRoute: p.ZonesByRoute(),
	}
}

// ZonesByRoute reports whether routes tell the zone of an address that is in no prefix of a zone.
func (p *Plan) ZonesByRoute() bool { return p.Live && p.File.Pipeline.ZonesByRoute }

// EgressByPrefix reports whether prefixes alone tell the zone that a packet goes to: routes do not, and no source reads packets as
// they leave an interface.
func (p *Plan) EgressByPrefix() bool {
	leaving := func(s Source) bool { return s.Live && !s.Incoming }
	return len(p.Sources) > 0 && !p.ZonesByRoute() && !slices.ContainsFunc(p.Sources, leaving)
}

// Hooks builds the hooks of components. A component of an unknown plugin is recorded and left out.
func (p *Plan) Hooks(components []*config.Component, env hook.Env) (list []Hook) {
	for _, c := range components {
		plugin, ok := p.options.Registry.Hooks[c.Plugin]
		if !ok {
			unknownPlugin(c, "hook", slices.Sorted(maps.Keys(p.options.Registry.Hooks)), "")
			continue
		}
		list = append(list, Hook{c.Name, c.Plugin, plugin.Configure(c.Section, env)})
	}
	return list
}

func (p *Plan) planSinks() {
	env := func(name string, r replay.Options) sdk.Env {
		return sdk.Env{Hostname: p.Hostname, Window: r.Window(), Warn: p.warner("sink", name)}
	}
	if out := p.options.Output; out != nil {
		p.Sinks = []Sink{{
			Name: out.Name, Sink: out.New(env(out.Name, p.File.Replay)), Only: event.AllKinds, Replay: p.File.Replay,
		}}
		return
	}
	planned := make(map[*config.Component]Sink)
	for _, c := range p.File.Sinks {
		plugin, ok := p.options.Registry.Sinks[c.Plugin]
		if !ok {
			elsewhere := ""
			if dir := p.File.Service.PluginDir; dir != "" {
				elsewhere = fmt.Sprintf("; nor is there an executable pipelined-sink-%s in %s (service.plugin_dir)", c.Plugin, dir)
			}
			unknownPlugin(c, "sink", slices.Sorted(maps.Keys(p.options.Registry.Sinks)), elsewhere)
			continue
		}
		planned[c] = Sink{
			Name: c.Name, Plugin: c.Plugin, Sink: plugin.Configure(c.Section, env(c.Name, c.Replay)), Only: c.Only, Replay: c.Replay,
			Spool: c.Spool,
		}
	}
	destinations, spools := make(map[string]string), make(map[string]string)
	for _, c := range p.File.Pipeline.Sinks {
		s, ok := planned[c]
		if !ok {
			continue
		}
		p.Sinks = append(p.Sinks, s)
		p.checkSpool(c, spools)
		if e, ok := s.Sink.(sdk.Exclusive); ok && e.Exclusive() != "" {
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

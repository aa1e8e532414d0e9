package pipeline

import (
	"slices"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/internal/keypath"
)

// loopback is the name of the interface that a host has for itself.
const loopback = "lo"

// checkWiring warns of mistakes that show in no single table: interfaces that several sources read, or none. It is for
// sources of the configuration.
func (p *Plan) checkWiring() {
	p.checkEvents()
	readers := make(map[uint32]reader)
	known := len(p.sources) > 0 && p.live && p.file.Complete("pipeline") && p.file.Complete("sources")
	for _, c := range p.file.Pipeline.Sources {
		i := slices.IndexFunc(p.sources, func(s plannedSource) bool { return s.name == c.Name })
		if i < 0 {
			known = false // of an unknown plugin, already recorded
			continue
		}
		known = known && len(p.sources[i].Interfaces) > 0
		for _, name := range p.sources[i].Interfaces {
			p.checkReader(c, name, readers)
		}
	}
	for _, z := range p.file.Zones {
		section := p.file.Zone(z.Name)
		for i, name := range z.Interfaces {
			key := keypath.Element("interfaces", i)
			parent, _ := zone.SplitVLAN(name)
			switch {
			case name == loopback:
				section.Warnf(key, "lo carries what this host sends to itself, and nothing of the network")
			case known && readers[p.zones.Index(name)].source == "" && readers[p.zones.Index(parent)].source == "":
				section.Warnf(key, "no source in pipeline.sources reads %s: no packet comes in there", name)
			}
		}
	}
}

// checkEvents warns of hooks, and of options for packets, where no source reads packets.
func (p *Plan) checkEvents() {
	if len(p.sources) == 0 || slices.ContainsFunc(p.sources, func(s plannedSource) bool { return !s.Events }) {
		return
	}
	for _, c := range p.file.Pipeline.Hooks {
		c.Section.Warnf("", "no source in pipeline.sources reads packets: this hook has nothing to judge")
	}
}

// reader is a source and the name that it has for an interface.
type reader struct{ source, name string }

// checkReader records that a source reads an interface. readers has them by the zone table's index.
func (p *Plan) checkReader(c *config.Component, name string, readers map[uint32]reader) {
	if !p.live || name == "" {
		return
	}
	key := ""
	if c.Section.Has("interface") {
		key = "interface"
	}
	index := p.zones.Index(name)
	if other := readers[index]; other == (reader{c.Name, name}) {
		return // the source finds what its own list has twice
	} else if other.source != "" {
		as := ""
		if other.name != name {
			as = ", as " + other.name
		}
		c.Section.Errorf(key, "%s is read by sources.%s already%s: every packet would be seen twice", name, other.source, as)
	}
	readers[index] = reader{c.Name, name}
	if name == loopback {
		c.Section.Warnf(key, "lo carries what this host sends to itself, and nothing of the network")
	}
}

// checkHooks warns of chained hooks that decide about the same sessions.
func (p *Plan) checkHooks(all []namedHook) {
	first := ""
	for _, c := range p.file.Pipeline.Hooks {
		i := slices.IndexFunc(all, func(h namedHook) bool { return h.name == c.Name })
		switch {
		case i < 0 || !all[i].Permits:
		case first == "":
			first = c.Name
		default:
			c.Section.Warnf("", "hooks.%s decides about sessions already: of a session that both permit, the log and the timeout are those that this one says",
				first)
		}
	}
}

package plan

import (
	"slices"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/internal/keypath"
	"github.com/rtflow/pipelined/internal/spelling"
)

// loopback is the name of the interface that a host has for itself.
const loopback = "lo"

// checkWiring warns of mistakes that show in no single table: interfaces that several sources read, or none. It is for
// sources of the configuration.
func (p *Plan) checkWiring() {
	p.checkEvents()
	p.checkShared()
	readers := make(map[uint32]reader)
	known := len(p.Sources) > 0 && p.Live && p.File.Complete("pipeline") && p.File.Complete("sources")
	for _, c := range p.File.Pipeline.Sources {
		i := slices.IndexFunc(p.Sources, func(s Source) bool { return s.Name == c.Name })
		if i < 0 {
			known = false // of an unknown plugin, already recorded
			continue
		}
		known = known && len(p.Sources[i].Interfaces) > 0
		for _, name := range p.Sources[i].Interfaces {
			p.checkReader(c, name, readers)
		}
	}
	for _, z := range p.File.Zones {
		section := p.File.Zone(z.Name)
		for i, name := range z.Interfaces {
			key := keypath.Element("interfaces", i)
			parent, _ := zone.SplitVLAN(name)
			switch {
			case name == loopback:
				section.Warnf(key, "lo carries what this host sends to itself, and nothing of the network")
			case known && readers[p.Zones.Index(name)].source == "" && readers[p.Zones.Index(parent)].source == "":
				section.Warnf(key, "no source in pipeline.sources reads %s: no packet comes in there", name)
			}
		}
	}
}

// checkEvents warns of hooks, and of options for packets, where no source reads packets.
func (p *Plan) checkEvents() {
	if len(p.Sources) == 0 || slices.ContainsFunc(p.Sources, func(s Source) bool { return !s.Events }) {
		return
	}
	for _, c := range p.File.Pipeline.Hooks {
		c.Section.Warnf("", "no source in pipeline.sources reads packets: this hook has nothing to judge")
	}
}

// checkShared records what two sources read of which one can be read once, or is to be.
func (p *Plan) checkShared() {
	sessions, packets := "", false // names of the sources
	owners := make(map[string]string)
	for _, c := range p.File.Pipeline.Sources {
		i := slices.IndexFunc(p.Sources, func(s Source) bool { return s.Name == c.Name })
		if i < 0 {
			continue // of an unknown plugin, already recorded
		}
		s := &p.Sources[i]
		packets = packets || !s.Events
		switch {
		case !s.Sessions:
		case sessions == "":
			sessions = c.Name
		default:
			c.Section.Errorf("", "sources.%s tells of the sessions of this host already: every session would be told twice", sessions)
		}
		for _, e := range s.Exclusive {
			owner, taken := owners[e.What]
			if !taken {
				owners[e.What] = c.Name
			} else if owner != c.Name { // the source finds what its own list has twice
				c.Section.Errorf(e.Key, "sources.%s reads %s already: it has one reader", owner, e.What)
			}
		}
	}
	if log := p.File.Sessions.Log; log != nil && *log && sessions != "" && packets {
		p.File.SessionsTable().Warnf("log", "sources.%s tells of sessions: those that packets make are told beside them, each a second time", sessions)
	}
}

// reader is a source and the name that it has for an interface.
type reader struct{ source, name string }

// checkReader records that a source reads an interface. readers has them by the zone table's index.
func (p *Plan) checkReader(c *config.Component, name string, readers map[uint32]reader) {
	if !p.Live || name == "" {
		return
	}
	key := ""
	if c.Section.Has("interface") {
		key = "interface"
	}
	index := p.Zones.Index(name)
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

// checkPeers records sources that send frames on and are no pair with the one that they name.
func (p *Plan) checkPeers() {
	for i := range p.Sources {
		s := &p.Sources[i]
		if s.Peer == "" {
			continue
		}
		c := p.File.Sources[slices.IndexFunc(p.File.Sources, func(c *config.Component) bool { return c.Name == s.Name })]
		if s.Peer == s.Name {
			c.Section.Errorf("peer", "a source cannot be its own peer: packets that come in on one interface leave by another")
			continue
		}
		at := slices.IndexFunc(p.File.Sources, func(c *config.Component) bool { return c.Name == s.Peer })
		if at < 0 {
			var others []string
			for _, o := range p.File.Sources {
				if o != c {
					others = append(others, o.Name)
				}
			}
			c.Section.Errorf("peer", "%s", spelling.Unknown("source", s.Peer, others))
			continue
		}
		if !slices.Contains(p.File.Pipeline.Sources, p.File.Sources[at]) {
			c.Section.Errorf("peer", "sources.%s is not in pipeline.sources: packets would have no way out", s.Peer)
			continue
		}
		peer := slices.IndexFunc(p.Sources, func(other Source) bool { return other.Name == s.Peer })
		switch {
		case peer < 0: // of an unknown plugin, already recorded
		case p.Sources[peer].Peer == "" || p.Sources[peer].Plugin != s.Plugin:
			c.Section.Errorf("peer", "sources.%s does not send on what this source receives: it needs plugin = %q, mode = \"bridge\" and peer = %q",
				s.Peer, s.Plugin, s.Name)
		case p.Sources[peer].Peer != s.Name:
			c.Section.Errorf("peer", "the peer of sources.%s is %s: each of a pair names the other", s.Peer, p.Sources[peer].Peer)
		}
	}
}

// checkHooks warns of chained hooks that decide about the same sessions.
func (p *Plan) checkHooks(all []Hook) {
	first := ""
	for _, c := range p.File.Pipeline.Hooks {
		i := slices.IndexFunc(all, func(h Hook) bool { return h.Name == c.Name })
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

// checkSpool records what is wrong with where the spool of a chained sink is to be. taken has the sinks by the path of their spools.
func (p *Plan) checkSpool(c *config.Component, taken map[string]string) {
	if c.Spool == nil {
		return
	}
	path := c.Spool.Path
	if path == "" {
		return // it is one of its own in the state directory
	}
	if other := taken[path]; other != "" {
		c.Section.Errorf("spool.path", "this is the spool of sinks.%s already: each has a directory of its own", other)
	}
	taken[path] = c.Name
}

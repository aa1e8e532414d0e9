package plan

import (
	"slices"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/explain"
	"github.com/rtflow/pipelined/internal/spelling"
)

// Explainer returns what explains the verdicts of the plan's chain. It opens nothing, and is not to be called after Open.
func (p *Plan) Explainer() *explain.Explainer {
	c := explain.Config{Zones: p.Zones, Apps: p.Apps, Sessions: p.File.Sessions, Unlogged: !p.LogsSessions()}
	for _, of := range p.File.Pipeline.Hooks {
		i := slices.IndexFunc(p.checked, func(h Hook) bool { return h.Name == of.Name })
		if i < 0 {
			continue // of an unknown plugin, already recorded
		}
		h := &p.checked[i]
		c.Hooks = append(c.Hooks, explain.Hook{Name: h.Name, Plugin: h.Plugin, Instance: h.Instance, Place: of.Section.PlaceOf})
	}
	c.Names = p.NamesOf(p.checkedNames)
	for _, s := range p.File.Pipeline.Sinks {
		c.Sinks = append(c.Sinks, explain.Sink{Name: s.Name, Only: s.Only})
	}
	for _, s := range p.Sources {
		if s.Rules {
			c.RulesOf = append(c.RulesOf, "sources."+s.Name)
		}
		if s.Sessions {
			c.SessionsOf = append(c.SessionsOf, "sources."+s.Name)
		}
		i := slices.IndexFunc(p.Sources, func(other Source) bool { return other.Name == s.Peer })
		if i < 0 {
			continue
		}
		if c.Peers == nil {
			c.Peers = make(map[uint32]uint32)
		}
		for _, name := range s.Interfaces {
			for _, peer := range p.Sources[i].Interfaces {
				c.Peers[p.Zones.Index(name)] = p.Zones.Index(peer)
			}
		}
	}
	if p.ZonesByRoute() {
		c.Notes = append(c.Notes, "routes of the kernel are not looked at: an address outside all prefixes of zones is of an unknown zone here")
	}
	return explain.New(c)
}

// checkTests looks for mistakes in the tests: names that the chain does not have. With a source that is not the configuration's the
// interfaces of its own sources are not known, and tests are not looked at.
func (p *Plan) checkTests() {
	if len(p.File.Tests) == 0 || p.options.Input != nil || !p.File.Complete("zones") {
		return
	}
	x := p.Explainer()
	for i := range p.File.Tests {
		t := &p.File.Tests[i]
		if t.Packet.Text == "" {
			continue // cannot be read, already recorded
		}
		if _, err := x.FrameOf(&t.Packet); err != nil {
			t.Section.Errorf("packet", "%v", err)
		}
	}
	known := newTestNames(x)
	zones := p.Zones.ZoneNames()
	for i := range p.File.Tests {
		t := &p.File.Tests[i]
		checkName(t.Section, "expect.zone", "zone", t.Expect.Zone, zones)
		checkName(t.Section, "expect.to_zone", "zone", t.Expect.ToZone, zones)
		checkName(t.Section, "expect.policy", "policy", t.Expect.Policy, known.policies)
		checkName(t.Section, "expect.filter", "filter", t.Expect.Filter, known.filters)
		terms := known.terms[t.Expect.Filter]
		if t.Expect.Filter == "" {
			terms = known.terms[""]
		}
		if t.Expect.Filter == "" || slices.Contains(known.filters, t.Expect.Filter) {
			checkName(t.Section, "expect.term", "term", t.Expect.Term, terms)
		}
	}
}

// testNames are the names of rules that tests may expect.
type testNames struct {
	policies, filters []string
	terms             map[string][]string // by filter, those of all under ""
}

func newTestNames(x *explain.Explainer) testNames {
	n := testNames{terms: make(map[string][]string)}
	hooks, rules := x.Rules()
	for i, name := range hooks {
		for _, r := range rules[i] {
			switch r.Sort {
			case "policy", "default":
				n.policies = append(n.policies, r.Name)
			case "term":
				if !slices.Contains(n.filters, name) {
					n.filters = append(n.filters, name)
				}
				n.terms[name] = append(n.terms[name], r.Name)
				n.terms[""] = append(n.terms[""], r.Name)
			}
		}
	}
	return n
}

// checkName records a name that is not one of the known ones; "" is not given.
func checkName(s *config.Section, key, what, name string, known []string) {
	if name != "" && !slices.Contains(known, name) {
		s.Errorf(key, "%s", spelling.Unknown(what, name, known))
	}
}

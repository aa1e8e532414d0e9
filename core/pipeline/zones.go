package pipeline

import (
	"github.com/rtflow/pipelined/core/kept"
	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/core/session"
)

// ZoneIDs returns the ids of all zones that there are and that there were, by name. Safe for concurrent use.
func (pl *Pipeline) ZoneIDs() map[string]uint16 { return pl.names.ZoneIDs() }

// renumbered returns the keys of zones that have another id than before, or that of another zone, in the order of the file.
func (pl *Pipeline) renumbered(next *plan.Plan) (keys []string) {
	ids := pl.ZoneIDs()
	names := make(map[uint16]string, len(ids))
	for name, id := range ids {
		names[id] = name
	}
	for _, z := range next.File.Zones {
		id, known := ids[z.Name]
		if name, taken := names[z.ID]; known && id != z.ID || taken && name != z.Name {
			keys = append(keys, next.File.Zone(z.Name).Path()+".id")
		}
	}
	return keys
}

// zoning says in which zones packets come; nil if that does not tell sessions apart.
func zoning(p *plan.Plan) *kept.Zoning {
	if p.File.Sessions.Separate != session.ByZone {
		return nil
	}
	z := &kept.Zoning{Zones: make(map[string]string), ByRoute: p.ZonesByRoute()}
	for _, of := range p.File.Zones {
		for _, name := range of.Interfaces {
			z.Zones[name] = of.Name
		}
		for _, prefix := range of.Prefixes {
			z.Zones[prefix.Masked().String()] = of.Name
		}
	}
	return z
}

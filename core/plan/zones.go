package plan

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/internal/keypath"
	"github.com/rtflow/pipelined/internal/spelling"
)

// planZones builds the zone table for the interfaces of the zones and of the sources.
func (p *Plan) planZones() {
	ids := make(map[string]uint32)
	know := func(name string) (names []string) {
		if p.options.LookupInterface == nil || !p.Live {
			return nil
		}
		id, names, ok := p.options.LookupInterface(name)
		if !ok {
			return nil
		}
		ids[name] = id
		for _, other := range names {
			ids[other] = id
		}
		return names
	}
	for _, z := range p.File.Zones {
		for _, name := range z.Interfaces {
			parent, _ := zone.SplitVLAN(name)
			names := know(parent)
			if name == parent {
				continue
			}
			know(name)
			// A VLAN's device is called after one name of its parent; the zone may have written another.
			for _, other := range names {
				device := other + strings.TrimPrefix(name, parent)
				know(device)
				if _, own := ids[name]; own {
					continue
				}
				if id, ok := ids[device]; ok {
					ids[name] = id
				}
			}
		}
	}
	var extra []string
	for _, s := range p.Sources {
		for _, name := range s.Interfaces {
			extra = append(extra, name)
			know(name)
		}
	}
	p.checkZoneInterfaces(ids)
	p.Zones, p.links = zone.New(p.File.Zones, extra, ids), links{extra, ids}
}

// links are the interfaces that a zone table is made with, see [zone.New].
type links struct {
	extra []string
	ids   map[string]uint32
}

// numberZones gives zones whose tables have no ids those that zones of their names have in the pipeline before, and others to those that
// are new: an id stands for one name as long as the daemon runs.
func (p *Plan) numberZones() {
	if len(p.options.ZoneIDs) == 0 || slices.ContainsFunc(p.File.Zones, func(z zone.Zone) bool { return p.File.Zone(z.Name).Has("id") }) {
		return
	}
	var last uint16
	for _, id := range p.options.ZoneIDs {
		last = max(last, id)
	}
	for i := range p.File.Zones {
		z := &p.File.Zones[i]
		id, known := p.options.ZoneIDs[z.Name]
		if !known && last == math.MaxUint16 {
			p.File.Zone(z.Name).Errorf("", "no id is left for one more zone: %d were given since the start: restart", last)
		} else if !known {
			last++
			id = last
		}
		z.ID = id
	}
}

// SameZones reports whether another configuration finds the same zones for the same interfaces.
func (p *Plan) SameZones(next *Plan) bool {
	a, b := slices.Sorted(slices.Values(p.links.extra)), slices.Sorted(slices.Values(next.links.extra))
	return reflect.DeepEqual(p.File.Zones, next.File.Zones) && p.ZonesByRoute() == next.ZonesByRoute() && slices.Equal(a, b)
}

// Follow makes the plan one that a pipeline changes to from another: names that stay have the ids that they have, see [zone.Table.Next]. The
// plan explains nothing any more.
func (p *Plan) Follow(before *Plan) {
	p.Apps = before.Apps
	if before.SameZones(p) {
		p.Zones = before.Zones
	} else {
		p.Zones = before.Zones.Next(p.File.Zones, p.links.extra, p.links.ids)
	}
	p.ForgetChecked()
}

// checkZones warns of zones that nothing is in. With a mistake, such as in the name of a plugin, too little is known of them.
func (p *Plan) checkZones(problems *config.Problems) {
	if problems.Err() != nil {
		return
	}
	var addressed []string // zones that sessions are in by address alone, and that have no addresses
	for _, z := range p.File.Zones {
		switch {
		case p.named[z.Name] || len(z.Prefixes) > 0:
		case len(z.Interfaces) == 0:
			p.File.Zone(z.Name).Warnf("", "neither interfaces nor prefixes: no packet belongs to this zone")
		default:
			addressed = append(addressed, z.Name)
		}
	}
	i := slices.IndexFunc(p.Sources, func(s Source) bool { return s.Sessions })
	if i < 0 || p.File.Pipeline.ZonesByRoute || len(addressed) == 0 {
		return
	}
	p.File.PipelineTable().Warnf("zones_by_route", "sources.%s tells of addresses and of no interfaces: without routes, its sessions are in none of the zones that have no prefixes: %s",
		p.Sources[i].Name, strings.Join(addressed, ", "))
}

// zoneID returns the id of a configured zone. Where tables of zones may be missing for a mistake, it knows every name.
func (p *Plan) zoneID(name string) (uint16, error) {
	var names []string
	for _, z := range p.File.Zones {
		if z.Name == name {
			return z.ID, nil
		}
		names = append(names, z.Name)
	}
	if !p.File.Complete("zones") {
		return zone.Unknown, nil
	}
	return zone.Unknown, fmt.Errorf("%s", spelling.Unknown("zone", name, names))
}

// checkZoneInterfaces records interfaces that two zones claim by different names. ids holds the kernel's index for names.
func (p *Plan) checkZoneInterfaces(ids map[string]uint32) {
	type logical struct {
		index uint32
		tag   uint16
	}
	type claim struct{ zone, name string }
	owners := make(map[logical]claim)
	for _, z := range p.File.Zones {
		for i, name := range z.Interfaces {
			var claimed []logical
			parent, tag := zone.SplitVLAN(name)
			if id, ok := ids[parent]; ok {
				claimed = append(claimed, logical{id, tag})
			}
			if id, ok := ids[name]; ok && name != parent { // an interface of that very name
				claimed = append(claimed, logical{id, 0})
			}
			for _, l := range claimed {
				owner, taken := owners[l]
				if !taken {
					owners[l] = claim{z.Name, name}
				} else if owner.zone != z.Name && owner.name != name { // the same name is recorded already
					p.File.Zone(z.Name).Errorf(keypath.Element("interfaces", i), "%s is another name of %s, which already belongs to zone %s",
						name, owner.name, owner.zone)
					break
				}
			}
		}
	}
}

// ZoneIDs returns the ids of the zones of the configuration.
func (p *Plan) ZoneIDs() (ids []uint16) {
	for _, z := range p.File.Zones {
		ids = append(ids, z.ID)
	}
	return ids
}

package zone

import (
	"iter"
	"net/netip"

	"github.com/gaissmai/bart"
)

// Link is an interface as the kernel has it at present.
type Link struct {
	Index uint32
	Names []string // all that it has
	// Former is a name that it had, for which the table knows an interface; "" for none. It counts while no other interface has
	// that name: an interface that is renamed stays what it was.
	Former string
	// Parent is, of a VLAN device, the kernel's index of the interface that it is a VLAN of, and Tag the VLAN.
	Parent uint32
	Tag    uint16
}

// logical is a zone and the id in records of a logical interface.
type logical struct {
	zone uint16
	id   uint32
}

// maxStack is how many VLAN devices may stand on top of each other.
const maxStack = 8

// SetLinks replaces what is known of the kernel's interfaces, for [Table.ByKernel]. Called by one goroutine at a time; readers do not
// wait for it.
func (t *Table) SetLinks(links []Link) {
	byIndex := make(map[uint32]*Link, len(links))
	port := make(map[uint32]uint32, len(links)) // from the kernel's index to that of ports
	taken := make(map[uint32]bool)              // indexes of ports that have an interface
	for i := range links {
		l := &links[i]
		byIndex[l.Index] = l
		for _, name := range l.Names {
			if p := t.index[name]; p != 0 {
				port[l.Index], taken[p] = p, true
				break
			}
		}
	}
	for i := range links {
		l := &links[i]
		p := t.index[l.Former]
		if p == 0 {
			p = t.kernel[l.Index]
		}
		if p != 0 && port[l.Index] == 0 && !taken[p] {
			port[l.Index], taken[p] = p, true
		}
	}
	found := make(map[uint32]logical, len(links))
	for i := range links {
		found[links[i].Index] = t.find(&links[i], port, byIndex)
	}
	t.links.Store(&found)
}

// find returns what the table knows of an interface: by its name, or as a VLAN of another. An interface that is in no zone and that no
// source reads has the kernel's index as its id, if no other interface has it.
func (t *Table) find(l *Link, port map[uint32]uint32, byIndex map[uint32]*Link) logical {
	for at, depth := l, 0; at != nil && depth < maxStack; at, depth = byIndex[at.Parent], depth+1 {
		if p := port[at.Index]; p != 0 {
			return logical{t.ports[p].zone, t.ports[p].id}
		}
		if at.Tag == 0 {
			break
		}
		if p := port[at.Parent]; p != 0 {
			zone, id := t.Logical(p, at.Tag)
			return logical{zone, id}
		}
	}
	if _, taken := t.names[l.Index]; taken || l.Index > maxParent {
		return logical{}
	}
	return logical{id: l.Index}
}

// ByKernel returns the zone of the interface that has this index in the kernel, and its id in records: [Unknown] and 0 for an interface
// that is not known. The id has a name if the interface is in a zone, or read by a source. Safe for concurrent use.
func (t *Table) ByKernel(index uint32) (zone uint16, id uint32) {
	if links := t.links.Load(); links != nil {
		l := (*links)[index]
		return l.zone, l.id
	}
	p := &t.ports[t.kernel[index]]
	return p.zone, p.id
}

// SetRoutes replaces the zones by route: a prefix, and the zone of the interface that its addresses are reached by, which may be
// [Unknown]. A prefix must come after those that contain it, and no prefix twice. Addresses in a configured prefix stay in its zone.
// SetRoutes returns how many prefixes it has kept: one that has the zone of the next shorter one tells nothing. Called by one
// goroutine at a time; readers do not wait for it.
func (t *Table) SetRoutes(routes iter.Seq2[netip.Prefix, uint16]) (kept int) {
	addresses := new(bart.Table[uint16])
	if t.prefixes != nil {
		addresses = t.prefixes.Clone()
	}
	for prefix, zone := range routes {
		if t.IsConfigured(prefix) {
			continue
		}
		if around, _ := addresses.LookupPrefix(prefix); around != zone {
			addresses.Insert(prefix, zone)
			kept++
		}
	}
	t.addresses.Store(addresses)
	return kept
}

// IsConfigured reports whether a configured prefix tells the zone of all addresses in p, whatever the routes are.
func (t *Table) IsConfigured(p netip.Prefix) bool {
	if t.prefixes == nil {
		return false
	}
	_, configured := t.prefixes.LookupPrefix(p)
	return configured
}

// Around returns the zone of those addresses in p that no longer prefix tells the zone of, and whether the table has kept p itself,
// so that a shorter prefix tells otherwise.
func (t *Table) Around(p netip.Prefix) (zone uint16, kept bool) {
	addresses := t.addresses.Load()
	if addresses == nil {
		return Unknown, false
	}
	longest, zone, ok := addresses.LookupPrefixLPM(p)
	return zone, ok && longest == p
}

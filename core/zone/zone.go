// Package zone resolves the security zones that a packet comes from and goes to, by interface, VLAN, prefix and route. It also
// reads the tables [zones.NAME] of the configuration.
//
// A [Table] is safe for concurrent use. It is what the configuration says, and does not change but for two parts that are replaced as
// a whole: the zones by route and the interfaces that the kernel has.
package zone

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/gaissmai/bart"

	"github.com/rtflow/pipelined/core/packet"
)

// Unknown is the zone id of a packet that no interface and no prefix claims.
const Unknown = 0

// Zone is one configured zone.
type Zone struct {
	ID         uint16
	Name       string
	Interfaces []string       // "lan0", or "wan0.100" for VLAN 100 on wan0
	Prefixes   []netip.Prefix // where no interface tells
}

// Table resolves zones and interfaces. It is safe for concurrent use; see [Table.SetRoutes] and [Table.SetLinks] for what changes.
type Table struct {
	zones    []Zone
	byName   map[string]uint16
	ports    []port // by interface index; 0 is the unknown interface
	names    map[uint32]string
	index    map[string]uint32
	kernel   map[uint32]uint32   // from the kernel's index to that of ports
	claimed  map[uint32]bool     // ids of the logical interfaces that zones name
	primary  []string            // names of the ports, by index, that they were added with
	former   int                 // ports of the table before, see Next; 1 or more
	prefixes *bart.Table[uint16] // nil if no zone has prefixes

	addresses atomic.Pointer[bart.Table[uint16]] // prefixes and, where none of them tells, zones by route; nil if there are neither
	links     atomic.Pointer[map[uint32]logical] // by the kernel's index; nil until the first SetLinks
}

// port is one physical interface.
type port struct {
	id     uint32 // as records carry it
	parent uint32 // of which the ids of its VLANs are made, see [LogicalID]
	zone   uint16
	vlans  []uint16 // zones by VLAN tag, up to the highest that a zone claims; Unknown = not claimed
}

// vlan returns the zone that claims a tag, Unknown if none does.
func (p *port) vlan(tag uint16) uint16 {
	if int(tag) < len(p.vlans) {
		return p.vlans[tag]
	}
	return Unknown
}

// claim gives the zone a tag that no other has claimed.
func (p *port) claim(tag, zone uint16) {
	if missing := int(tag) + 1 - len(p.vlans); missing > 0 {
		p.vlans = append(p.vlans, make([]uint16, missing)...)
	}
	if p.vlans[tag] == Unknown {
		p.vlans[tag] = zone
	}
}

// New builds the table. ids gives the kernel's interface index for the names of physical interfaces; a name it lacks (an
// interface of a capture) gets an id of its own. Names with the same index are names of one interface: what zones and extra
// say of one of them holds for all. extra names physical interfaces that sources read and no zone claims.
//
// The caller has validated the zones: ids and names are unique, an interface stands in one zone only.
func New(zones []Zone, extra []string, ids map[string]uint32) *Table {
	t := &Table{ports: make([]port, 1), primary: make([]string, 1), names: make(map[uint32]string), index: make(map[string]uint32)}
	t.build(zones, extra, ids)
	return t
}

// Next returns a table for the same interfaces and another configuration, with arguments as New has them. An interface that t knows by
// name has the index and the id that it has in t, and no id is another interface's. The new table knows nothing of the kernel yet, see
// [Table.SetLinks] and [Table.SetRoutes].
func (t *Table) Next(zones []Zone, extra []string, ids map[string]uint32) *Table {
	next := &Table{ports: make([]port, len(t.ports)), primary: slices.Clone(t.primary), names: maps.Clone(t.names), index: make(map[string]uint32)}
	for i := 1; i < len(t.ports); i++ {
		next.ports[i] = port{id: t.ports[i].id, parent: t.ports[i].parent}
		next.index[t.primary[i]] = uint32(i)
	}
	next.build(zones, extra, ids)
	// An interface that was renamed meanwhile has no index by its name. It is the same one as long as no other has that name.
	has := make(map[uint32]bool, len(next.kernel))
	for _, p := range next.kernel {
		has[p] = true
	}
	for id, p := range t.kernel {
		if _, taken := next.kernel[id]; !taken && !has[p] {
			next.kernel[id] = p
		}
	}
	return next
}

// build fills a table that has ports at most.
func (t *Table) build(zones []Zone, extra []string, ids map[string]uint32) {
	zones = slices.SortedFunc(slices.Values(zones), func(a, b Zone) int { return int(a.ID) - int(b.ID) })
	t.zones, t.former = zones, len(t.ports)
	t.byName, t.kernel, t.claimed = make(map[string]uint16), make(map[uint32]uint32), make(map[uint32]bool)
	for i, name := range t.primary[1:] {
		id, ok := ids[name]
		if _, taken := t.kernel[id]; ok && !taken {
			t.kernel[id] = uint32(i + 1)
		}
	}
	for _, name := range extra {
		t.port(name, ids)
	}
	var aliases []alias
	for _, z := range zones {
		t.byName[z.Name] = z.ID
		for _, name := range z.Interfaces {
			parent, tag := SplitVLAN(name)
			index := t.port(parent, ids)
			p := &t.ports[index]
			id := p.id
			if tag == 0 {
				p.zone = z.ID
			} else {
				id = LogicalID(p.parent, tag)
				p.claim(tag, z.ID)
				t.names[id] = name
			}
			if parent != name {
				aliases = append(aliases, alias{name: name, parent: index, port: port{id: id, zone: z.ID}})
			}
		}
		for _, pfx := range z.Prefixes {
			if t.prefixes == nil {
				t.prefixes = new(bart.Table[uint16])
			}
			t.prefixes.Insert(pfx.Masked(), z.ID)
		}
	}
	t.addresses.Store(t.prefixes)
	for _, a := range aliases { // after the ids of parents are settled
		t.alias(a, ids)
	}
	for i := range t.ports {
		p := &t.ports[i]
		if p.zone != Unknown {
			t.claimed[p.id] = true
		}
		for tag, zone := range p.vlans {
			if zone != Unknown {
				t.claimed[LogicalID(p.parent, uint16(tag))] = true
			}
		}
	}
	for name, id := range ids { // names that neither zones nor extra use
		if i, ok := t.kernel[id]; ok && t.index[name] == 0 {
			t.index[name] = i
		}
	}
}

// port returns the index of the physical interface of that name, which it adds if it is new.
func (t *Table) port(name string, ids map[string]uint32) uint32 {
	if i, ok := t.index[name]; ok {
		return i
	}
	i := uint32(len(t.ports))
	id, ok := ids[name]
	if ok {
		if same, known := t.kernel[id]; known {
			t.index[name] = same
			return same
		}
		t.kernel[id] = i
	}
	if _, taken := t.names[id]; !ok || taken || id > maxParent {
		id = t.freeID(i, ids)
	}
	t.ports, t.primary = append(t.ports, port{id: id, parent: id}), append(t.primary, name)
	t.index[name] = i
	t.names[id] = name
	return i
}

// alias is an interface that is called like a VLAN of another.
type alias struct {
	name   string
	parent uint32 // index of the interface that the name gives as its parent
	port   port
}

// alias adds the interface of that very name: a capture or the kernel may call an interface wan0.100, br-lan.1 or wan0.0, whose
// frames have no tag. It has the record's id that frames of the parent get, so that a name has one id.
func (t *Table) alias(a alias, ids map[string]uint32) {
	id, live := ids[a.name]
	i := t.index[a.name]
	if i == 0 && live {
		i = t.kernel[id]
	}
	if i == a.parent {
		i = 0 // another name of the parent looks like a VLAN of it
	}
	if i != 0 {
		if int(i) >= t.former { // else records carry it
			delete(t.names, t.ports[i].id)
		}
		if t.names[a.port.id] == "" {
			t.names[a.port.id] = a.name
		}
		t.ports[i].id, t.ports[i].zone = a.port.id, a.port.zone
		t.index[a.name] = i
		return
	}
	if t.index[a.name] != 0 {
		return
	}
	i = uint32(len(t.ports))
	t.index[a.name] = i
	if _, known := t.kernel[id]; live && !known {
		t.kernel[id] = i
	}
	t.ports, t.primary = append(t.ports, a.port), append(t.primary, a.name)
}

// maxParent is the largest interface id that leaves room for a VLAN tag above it, see [LogicalID]. The kernel counts
// interfaces up and gets there on hosts that make and remove very many; such an interface gets an id of the table's own.
const maxParent = 1<<16 - 1

// freeID returns the first id from that number on that neither the kernel nor the table has given to an interface.
func (t *Table) freeID(from uint32, ids map[string]uint32) uint32 {
	for id := from; ; id++ {
		if _, used := t.names[id]; !used && !containsID(ids, id) {
			return id
		}
	}
}

func containsID(ids map[string]uint32, id uint32) bool {
	for _, used := range ids {
		if used == id {
			return true
		}
	}
	return false
}

// SplitVLAN splits the name of a VLAN interface, "wan0.100", into parent and tag. The tag is 0 if name is that of a
// physical interface, or of its untagged frames: "wan0.0".
func SplitVLAN(name string) (parent string, tag uint16) {
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		if n, err := strconv.ParseUint(name[i+1:], 10, 16); err == nil && n < 4095 {
			return name[:i], uint16(n)
		}
	}
	return name, 0
}

// LogicalID returns the record's interface id for a VLAN of a physical interface: the tag above 16 bits of the parent's
// index.
func LogicalID(parent uint32, tag uint16) uint32 { return uint32(tag)<<16 | parent&0xffff }

// Index returns what [packet.Frame.Interface] must be for frames of the physical interface of that name, 0 if the table
// does not know it.
func (t *Table) Index(name string) uint32 { return t.index[name] }

// Logical returns the zone and the id of the logical interface for frames with that outer VLAN tag (0 = untagged) on the interface of that
// index: [Unknown] and 0 for an interface that the table does not know. A tag that no zone claims belongs to the physical interface; a
// packet that comes in on an interface that no zone claims belongs to the zone of its source address, see [Table.ByPrefix].
func (t *Table) Logical(index uint32, tag uint16) (zone uint16, id uint32) {
	if index < uint32(len(t.ports)) {
		p := &t.ports[index]
		zone, id = p.zone, p.id
		if of := p.vlan(tag); of != Unknown {
			zone, id = of, LogicalID(p.parent, tag)
		}
	}
	return zone, id
}

// HasZone reports whether a zone names the logical interface of that id.
func (t *Table) HasZone(id uint32) bool { return t.claimed[id] }

// ByPrefix returns the zone of the longest configured prefix that contains the address; if none does, that of its route.
func (t *Table) ByPrefix(a *packet.Addr, f packet.Family) uint16 {
	addresses := t.addresses.Load()
	if addresses == nil {
		return Unknown
	}
	z, _ := addresses.Lookup(a.Netip(f))
	return z
}

// Lookup returns the id of the zone of that name.
func (t *Table) Lookup(name string) (uint16, bool) {
	id, ok := t.byName[name]
	return id, ok
}

// InterfaceID returns the record's id of the logical interface of that name, false if no zone and no source names it.
func (t *Table) InterfaceID(name string) (uint32, bool) {
	if i, ok := t.index[name]; ok {
		return t.ports[i].id, true
	}
	parent, tag := SplitVLAN(name) // the parent may have other names
	p := &t.ports[t.index[parent]]
	if p.vlan(tag) == Unknown {
		return 0, false
	}
	return LogicalID(p.parent, tag), true
}

// Zones returns the configured zones, ordered by id. The caller must not change it.
func (t *Table) Zones() []Zone { return t.zones }

// ZoneNames returns the names of all zones, sorted.
func (t *Table) ZoneNames() []string {
	names := make([]string, 0, len(t.zones))
	for _, z := range t.zones {
		names = append(names, z.Name)
	}
	slices.Sort(names)
	return names
}

// InterfaceNames returns the names of all logical interfaces, sorted.
func (t *Table) InterfaceNames() []string {
	names := make([]string, 0, len(t.names))
	for _, n := range t.names {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// NameMaps returns the maps from id to name for records: zones and interfaces. They are copies.
func (t *Table) NameMaps() (zones map[uint16]string, interfaces map[uint32]string) {
	zones = make(map[uint16]string, len(t.zones))
	for _, z := range t.zones {
		zones[z.ID] = z.Name
	}
	interfaces = make(map[uint32]string, len(t.names))
	maps.Copy(interfaces, t.names)
	return zones, interfaces
}

// Name returns the zone's name, "zone N" if it has none.
func (t *Table) Name(id uint16) string {
	for i := range t.zones {
		if t.zones[i].ID == id {
			return t.zones[i].Name
		}
	}
	return fmt.Sprintf("zone %d", id)
}

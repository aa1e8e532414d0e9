package routes

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/zone"
)

// modelRoute is a route of the model.
type modelRoute struct {
	prefix netip.Prefix
	main   bool
	metric uint32
	device uint32 // 0: a black hole

}

// model has all routes, in the order in which they were added, and looks addresses up by walking through them.
type model struct {
	configured map[netip.Prefix]uint16
	zones      map[uint32]uint16 // of devices
	routes     []modelRoute
}

// zoneOf returns the zone of an address.
func (m *model) zoneOf(a netip.Addr) uint16 {
	longest, found := -1, uint16(zone.Unknown)
	for p, z := range m.configured {
		if p.Contains(a) && p.Bits() > longest {
			longest, found = p.Bits(), z
		}
	}
	if longest >= 0 {
		return found
	}
	for _, main := range []bool{false, true} {
		var best *modelRoute
		for i := range m.routes {
			r := &m.routes[i]
			if r.main == main && r.prefix.Contains(a) && (best == nil || r.prefix.Bits() > best.prefix.Bits() ||
				r.prefix.Bits() == best.prefix.Bits() && r.metric < best.metric) {
				best = r
			}
		}
		if best != nil {
			return m.zones[best.device]
		}
	}
	return zone.Unknown
}

// entries returns the routes as the follower reads them.
func (m *model) entries() (ipv4, ipv6 []entry) {
	for _, r := range m.routes {
		e := newEntry(r.prefix, m.zones[r.device], r.metric, r.main)
		if r.prefix.Addr().Is4() {
			ipv4 = append(ipv4, e)
		} else {
			ipv6 = append(ipv6, e)
		}
	}
	return ipv4, ipv6
}

// change adds, replaces or deletes a route, and returns what the kernel says of it.
func (m *model) change(r *rand.Rand) []byte {
	if len(m.routes) > 0 && r.IntN(100) < 45 {
		i := r.IntN(len(m.routes))
		gone := m.routes[i]
		m.routes = append(m.routes[:i], m.routes[i+1:]...)
		return routeMessage(unix.RTM_DELROUTE, gone)
	}
	added := modelRoute{prefix: randomPrefix(r), main: r.IntN(8) != 0, metric: uint32(r.IntN(3)), device: uint32(r.IntN(5))}
	for i := range m.routes {
		if old := &m.routes[i]; old.prefix == added.prefix && old.main == added.main && old.metric == added.metric {
			*old = added
			return routeMessage(unix.RTM_NEWROUTE, added)
		}
	}
	m.routes = append(m.routes, added)
	return routeMessage(unix.RTM_NEWROUTE, added)
}

// randomPrefix returns one in 10.0.0.0/24, or one in 2001:db8::/60 of up to 68 bits.
func randomPrefix(r *rand.Rand) netip.Prefix {
	if r.IntN(2) == 0 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(256))}), 24+r.IntN(9)).Masked()
	}
	return netip.PrefixFrom(probe6(r.IntN(256)), 60+r.IntN(9)).Masked()
}

// probe6 returns one of 256 addresses that differ in bits 60 to 67.
func probe6(i int) netip.Addr {
	a := [16]byte{0x20, 0x01, 0x0d, 0xb8}
	a[7], a[8] = byte(i>>4), byte(i<<4)
	return netip.AddrFrom16(a)
}

// routeMessage returns a datagram with a message about a route.
func routeMessage(kind uint16, r modelRoute) []byte {
	body := make([]byte, routeHeader)
	body[0], body[1], body[4], body[7] = unix.AF_INET, byte(r.prefix.Bits()), unix.RT_TABLE_LOCAL, unix.RTN_UNICAST
	if r.prefix.Addr().Is6() {
		body[0] = unix.AF_INET6
	}
	if r.main {
		body[4] = unix.RT_TABLE_MAIN
	}
	if r.device == 0 {
		body[7] = unix.RTN_BLACKHOLE
	} else {
		body = attribute(body, unix.RTA_OIF, r.device)
	}
	body = attribute(body, unix.RTA_PRIORITY, r.metric)
	address := r.prefix.Addr().AsSlice()
	body = binary.NativeEndian.AppendUint16(body, uint16(unix.SizeofRtAttr+len(address)))
	body = append(binary.NativeEndian.AppendUint16(body, unix.RTA_DST), address...)
	return datagramOf(kind, body)
}

// modelZones returns zones 1, 2 and 3, of which 3 has prefixes, and whose interfaces have the kernel's indexes 1 to 4: one is in no
// zone, and two in one.
func modelZones(configured map[netip.Prefix]uint16) *zone.Table {
	list := []zone.Zone{
		{ID: 1, Name: "a", Interfaces: []string{"a0", "a1"}}, {ID: 2, Name: "b", Interfaces: []string{"b0"}}, {ID: 3, Name: "c"},
	}
	for p := range configured {
		list[2].Prefixes = append(list[2].Prefixes, p)
	}
	t := zone.New(list, nil, nil)
	var links []zone.Link
	for i, name := range []string{"a0", "a1", "b0", "other0"} {
		links = append(links, zone.Link{Index: uint32(i + 1), Names: []string{name}})
	}
	t.SetLinks(links)
	return t
}

// TestModel changes routes at random. Whenever the follower has taken all changes that matter, the zones are those of the model; so
// what does not matter is left out rightly.
func TestModel(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 0))
		m := &model{zones: map[uint32]uint16{1: 1, 2: 1, 3: 2}}
		if seed%2 == 1 {
			m.configured = map[netip.Prefix]uint16{
				netip.MustParsePrefix("10.0.0.64/27"): 3, netip.MustParsePrefix("10.0.0.72/30"): 3, netip.MustParsePrefix("2001:db8:0:3::/64"): 3,
			}
		}
		f := &Follower{config: Config{Zones: modelZones(m.configured)}}
		f.apply(m.entries())
		matter, ignored, pending := 0, 0, false
		for step := range 300 {
			message := m.change(r)
			if f.matter(message) {
				pending = true
				matter++
			} else {
				ignored++
			}
			if pending && r.IntN(3) > 0 {
				continue // more changes are collected
			}
			if pending {
				f.apply(m.entries())
				pending = false
			}
			if problem := compare(f.config.Zones, m); problem != "" {
				t.Fatalf("seed %d, step %d: %s", seed, step, problem)
			}
		}
		if matter == 0 || ignored == 0 {
			t.Errorf("seed %d: %d changes matter, %d do not", seed, matter, ignored)
		}
	}
}

// compare returns how the zones of addresses differ from those of the model, "" if they do not.
func compare(zones *zone.Table, m *model) string {
	for i := range 256 {
		for _, a := range []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), probe6(i)} {
			addr, family := packet.AddrFrom(a)
			if got, want := zones.ByPrefix(&addr, family), m.zoneOf(a); got != want {
				return fmt.Sprintf("%s is in zone %d, not %d", a, got, want)
			}
		}
	}
	return ""
}

// TestContains compares the containment of entries with that of prefixes.
func TestContains(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 20000 {
		a, b := randomPrefix(r), randomPrefix(r)
		if r.IntN(10) == 0 {
			a = netip.PrefixFrom(a.Addr(), 0).Masked()
		}
		if a.Addr().Is4() != b.Addr().Is4() {
			continue
		}
		ea, eb := newEntry(a, 0, 0, true), newEntry(b, 0, 0, true)
		if got, want := ea.contains(&eb), a.Bits() <= b.Bits() && a.Contains(b.Addr()); got != want {
			t.Fatalf("%s contains %s: %v", a, b, got)
		}
		if got := ea.prefix(a.Addr().Is4()); got != a {
			t.Fatalf("%s is %s", a, got)
		}
	}
}

// TestKeepsLittle: prefixes that tell nothing that the next shorter one does not are not kept.
func TestKeepsLittle(t *testing.T) {
	m := &model{zones: map[uint32]uint16{1: 1, 2: 1, 3: 2}}
	m.routes = append(m.routes, modelRoute{prefix: netip.MustParsePrefix("0.0.0.0/0"), main: true, device: 1})
	for i := range 1000 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)
		m.routes = append(m.routes, modelRoute{prefix: p, main: true, device: 2})
	}
	m.routes[500].device = 3
	f := &Follower{config: Config{Zones: modelZones(nil)}}
	// The default route, one that leads elsewhere, and those of no zone: groups and the broadcast address.
	if zones, kept := f.apply(m.entries()); zones != 2 || kept != 4 {
		t.Errorf("%d zones, %d prefixes kept", zones, kept)
	}
}

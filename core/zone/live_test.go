package zone

import (
	"iter"
	"maps"
	"net/netip"
	"sync"
	"testing"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/testing/race"
)

// routed is a prefix and the zone that its route leads to.
type routed struct {
	prefix string
	zone   uint16
}

func routes(list ...routed) iter.Seq2[netip.Prefix, uint16] {
	return func(yield func(netip.Prefix, uint16) bool) {
		for _, r := range list {
			if !yield(netip.MustParsePrefix(r.prefix), r.zone) {
				return
			}
		}
	}
}

func (t *Table) zoneOf(address string) uint16 {
	a, f := addr(address)
	return t.ByPrefix(&a, f)
}

// TestRoutes: a prefix that the configuration has wins over routes, also over longer ones; what routes tell is replaced as a whole.
func TestRoutes(t *testing.T) {
	z := New([]Zone{
		{ID: 1, Name: "a", Prefixes: prefixes("10.1.0.0/16", "2001:db8:1::/48")}, {ID: 2, Name: "b"}, {ID: 3, Name: "c"},
	}, nil, nil)
	check := func(want map[string]uint16) {
		t.Helper()
		for address, zone := range want {
			if got := z.zoneOf(address); got != zone {
				t.Errorf("%s is in zone %d, not %d", address, got, zone)
			}
		}
	}
	before := map[string]uint16{"10.1.2.3": 1, "10.2.0.1": 0, "8.8.8.8": 0, "2001:db8:1::1": 1, "2001:db8::1": 0}
	check(before)
	kept := z.SetRoutes(routes(
		routed{"0.0.0.0/0", 2}, routed{"10.0.0.0/8", 3}, routed{"10.1.2.0/24", 2}, routed{"10.2.0.0/16", 3}, routed{"10.3.0.0/16", 0}, routed{"10.3.3.0/24", 3},
		routed{"2001:db8::/32", 3}, routed{"2001:db8:1:1::/64", 2}, routed{"2001:db8:2::/48", 3}, routed{"fe80::/10", 0}))
	check(map[string]uint16{
		"10.1.2.3": 1, "10.2.0.1": 3, "10.3.0.1": 0, "10.3.3.1": 3, "8.8.8.8": 2, "2001:db8:1:1::1": 1, "2001:db8:2::1": 3, "2001:db9::1": 0, "fe80::1": 0,
	})
	if kept != 5 {
		t.Errorf("kept %d prefixes", kept)
	}
	for prefix, want := range map[string]struct {
		zone             uint16
		kept, configured bool
	}{
		"0.0.0.0/0": {2, true, false}, "8.0.0.0/8": {2, false, false}, "10.3.0.0/16": {0, true, false}, "10.3.0.0/17": {0, false, false},
		"10.1.2.0/24": {1, false, true}, "10.1.0.0/16": {1, true, true}, "2002::/16": {0, false, false},
	} {
		p := netip.MustParsePrefix(prefix)
		zone, kept := z.Around(p)
		if configured := z.IsConfigured(p); zone != want.zone || kept != want.kept || configured != want.configured {
			t.Errorf("%s: zone %d, kept %v, configured %v; want %v", prefix, zone, kept, configured, want)
		}
	}
	if kept := z.SetRoutes(routes()); kept != 0 {
		t.Errorf("kept %d prefixes", kept)
	}
	check(before)
}

// TestLinks finds interfaces of the kernel by any of their names, as VLANs of others, and by the name that they had.
func TestLinks(t *testing.T) {
	z := New([]Zone{
		{ID: 1, Name: "lan", Interfaces: []string{"lan0"}}, {ID: 2, Name: "wan", Interfaces: []string{"uplink"}},
		{ID: 3, Name: "partner", Interfaces: []string{"uplink.100"}},
	}, []string{"mirror0"}, map[string]uint32{"lan0": 2, "wan0": 3, "uplink": 3})
	check := func(want map[uint32]routedID) {
		t.Helper()
		_, names := z.NameMaps()
		for index, w := range want {
			if zone, id := z.ByKernel(index); zone != w.zone || names[id] != w.name || id == 0 != w.none {
				t.Errorf("interface %d is in zone %d, its id is %d, %q; want %v", index, zone, id, names[id], w)
			}
		}
	}
	start := map[uint32]routedID{2: {1, "lan0", false}, 3: {2, "uplink", false}, 4: {0, "", true}, 5: {0, "", true}}
	check(start)
	z.SetLinks([]Link{
		{Index: 1, Names: []string{"lo"}},
		{Index: 2, Names: []string{"lan0"}},
		{Index: 3, Names: []string{"wan0", "uplink"}},
		{Index: 40, Names: []string{"partner0"}, Parent: 3, Tag: 100},
		{Index: 41, Names: []string{"wan0.200"}, Parent: 3, Tag: 200},
		{Index: 42, Names: []string{"inner"}, Parent: 40, Tag: 7},
		{Index: 43, Names: []string{"mirror0"}},
		{Index: 44, Names: []string{"other0"}},
		{Index: 45, Names: []string{"other.9"}, Parent: 44, Tag: 9},
		{Index: 46, Names: []string{"loop"}, Parent: 46, Tag: 9},
		{Index: 1 << 20, Names: []string{"many"}},
	})
	check(map[uint32]routedID{
		2: {1, "lan0", false}, 3: {2, "uplink", false}, 40: {3, "uplink.100", false}, 41: {2, "uplink", false}, 42: {3, "uplink.100", false},
		43: {0, "mirror0", false}, 44: {0, "", false}, 45: {0, "", false}, 46: {0, "", false}, 1 << 20: {0, "", true}, 99: {0, "", true},
	})
	z.SetLinks([]Link{{Index: 60, Names: []string{"lan9"}, Former: "lan0"}, {Index: 70, Names: []string{"uplink"}}})
	check(map[uint32]routedID{2: {0, "", true}, 3: {0, "", true}, 60: {1, "lan0", false}, 70: {2, "uplink", false}})
	z.SetLinks([]Link{{Index: 60, Names: []string{"lan9"}, Former: "lan0"}, {Index: 61, Names: []string{"lan0"}}})
	check(map[uint32]routedID{60: {0, "", false}, 61: {1, "lan0", false}})
}

// routedID is the zone of an interface and the name of its id; none if it has no id.
type routedID struct {
	zone uint16
	name string
	none bool
}

// TestReplacedWhileRead looks up addresses and interfaces while others replace them: each answer is from before or from after.
func TestReplacedWhileRead(t *testing.T) {
	z := New([]Zone{{ID: 1, Name: "a", Interfaces: []string{"a0"}}, {ID: 2, Name: "b"}}, nil, nil)
	z.SetRoutes(routes(routed{"10.0.0.0/8", 1}))
	z.SetLinks([]Link{{Index: 7, Names: []string{"a0"}}})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for range 5000 {
				if zone := z.zoneOf("10.1.1.1"); zone != 1 && zone != 2 {
					t.Errorf("zone %d", zone)
				}
				if zone, _ := z.ByKernel(7); zone != 1 {
					t.Errorf("zone %d", zone)
				}
			}
		})
	}
	for i := range 200 {
		z.SetRoutes(maps.All(map[netip.Prefix]uint16{netip.MustParsePrefix("10.0.0.0/8"): uint16(1 + i%2)}))
		z.SetLinks([]Link{{Index: 7, Names: []string{"a0"}}, {Index: uint32(100 + i), Names: []string{"other"}}})
	}
	readers.Wait()
}

func TestNoAllocationByRoute(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	z := site()
	z.SetRoutes(routes(routed{"10.0.0.0/8", 1}, routed{"2001:db9::/32", 1}))
	z.SetLinks([]Link{{Index: 7, Names: []string{"lan0"}}})
	a4, f4 := addr("10.9.9.9")
	a6, f6 := addr("2001:db9::1")
	if n := testing.AllocsPerRun(100, func() {
		z.ByPrefix(&a4, f4)
		z.ByPrefix(&a6, f6)
		ingress(z, 0, 0, &a6, packet.IPv6)
		z.ByKernel(7)
		z.ByKernel(8)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

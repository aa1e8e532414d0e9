package zone

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/testing/race"
)

func prefixes(s ...string) (out []netip.Prefix) {
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// site is a small network: trust and untrust by interface, partner by VLAN, dmz and guest by prefix.
func site() *Table {
	return New([]Zone{
		{ID: 1, Name: "trust", Interfaces: []string{"lan0"}},
		{ID: 2, Name: "untrust", Interfaces: []string{"wan0", "wan1"}, Prefixes: prefixes("0.0.0.0/0", "::/0")},
		{ID: 3, Name: "partner", Interfaces: []string{"wan0.100", "trunk0.7"}},
		{ID: 4, Name: "dmz", Prefixes: prefixes("192.0.2.0/24", "2001:db8:2::/48", "10.0.0.1/8")},
		{ID: 5, Name: "guest", Interfaces: []string{"trunk0.8"}, Prefixes: prefixes("192.0.2.128/25", "192.0.2.200/32", "2001:db8:2:1::/64")},
	}, []string{"tap0", "lan0"}, map[string]uint32{"lan0": 12, "wan0": 13, "wan1": 70_000, "tap0": 9})
}

func addr(s string) (packet.Addr, packet.Family) { return packet.AddrFrom(netip.MustParseAddr(s)) }

// ingress returns the zone and the logical interface that a packet comes from.
func ingress(t *Table, index uint32, tag uint16, src *packet.Addr, f packet.Family) (zone uint16, id uint32) {
	if zone, id = t.Logical(index, tag); zone == Unknown {
		zone = t.ByPrefix(src, f)
	}
	return zone, id
}

func TestIngress(t *testing.T) {
	z := site()
	const none = "interface of no name"
	// An index that leaves no room for a VLAN tag above it is replaced by one of the table's own.
	high, ok := z.InterfaceID("wan1")
	if !ok || high > 0xffff {
		t.Fatalf("the interface with index 70000 has id %d", high)
	}
	trunk, ok := z.InterfaceID("trunk0")
	if !ok {
		t.Fatal("the parent of a VLAN interface is not in the table")
	}
	for _, tc := range []struct {
		intf string
		tag  uint16
		src  string
		zone uint16
		id   uint32
	}{
		{"lan0", 0, "192.0.2.1", 1, 12}, // the interface counts before the prefix
		{"lan0", 5, "192.0.2.1", 1, 12}, // a tag that no zone claims
		{"wan0", 0, "8.8.8.8", 2, 13},
		{"wan0", 100, "192.0.2.1", 3, 100<<16 | 13},
		{"wan0", 101, "8.8.8.8", 2, 13},
		{"wan1", 100, "8.8.8.8", 2, high}, // VLAN 100 is claimed on another interface
		{"trunk0", 7, "8.8.8.8", 3, 7<<16 | trunk},
		{"trunk0", 8, "8.8.8.8", 5, 8<<16 | trunk},
		{"trunk0", 0, "192.0.2.1", 4, trunk}, // no zone claims the parent
		{"trunk0", 9, "192.0.2.129", 5, trunk},
		{"tap0", 0, "2001:db8:2::1", 4, 9}, // a source reads it, no zone claims it
		{none, 0, "192.0.2.1", 4, 0},
		{none, 100, "8.8.8.8", 2, 0},
	} {
		a, f := addr(tc.src)
		zone, id := ingress(z, z.Index(tc.intf), tc.tag, &a, f)
		if zone != tc.zone || id != tc.id {
			t.Errorf("%s tag %d from %s: zone %d, interface %#x; want %d, %#x", tc.intf, tc.tag, tc.src, zone, id, tc.zone, tc.id)
		}
	}
	a, f := addr("192.0.2.1")
	for _, index := range []uint32{1000, 1<<32 - 1} {
		if zone, id := ingress(z, index, 0, &a, f); zone != 4 || id != 0 {
			t.Errorf("index %d beyond the table: zone %d, interface %d", index, zone, id)
		}
	}
}

func TestByPrefix(t *testing.T) {
	z := site()
	for s, want := range map[string]uint16{
		"192.0.2.0": 4, "192.0.2.127": 4, "192.0.2.128": 5, "192.0.2.200": 5, "192.0.3.0": 2, "10.255.255.255": 4, // 10.0.0.1/8 is masked
		"11.0.0.0": 2, "0.0.0.0": 2, "255.255.255.255": 2,
		"2001:db8:2::": 4, "2001:db8:2:1::5": 5, "2001:db8:2:2::": 4, "2001:db8:3::": 2, "::": 2,
		"::ffff:192.0.2.1": 2, // a mapped address is an IPv6 address
	} {
		a, f := addr(s)
		if got := z.ByPrefix(&a, f); got != want {
			t.Errorf("%s: zone %d, want %d", s, got, want)
		}
	}
	noDefault := New([]Zone{{ID: 9, Name: "z", Prefixes: prefixes("10.0.0.0/8")}}, nil, nil)
	noPrefix := New([]Zone{{ID: 9, Name: "z", Interfaces: []string{"a"}}}, nil, nil)
	for _, s := range []string{"192.0.2.1", "::1", "a00::"} { // a00:: starts with the bytes of 10.0.0.0
		a, f := addr(s)
		if got := noDefault.ByPrefix(&a, f); got != Unknown {
			t.Errorf("%s: zone %d, want none", s, got)
		}
		if got := noPrefix.ByPrefix(&a, f); got != Unknown {
			t.Errorf("%s without prefixes: zone %d", s, got)
		}
	}
}

// TestLongestPrefix compares ByPrefix with a search through all prefixes.
func TestLongestPrefix(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	random := func(v6 bool) netip.Addr {
		b := make([]byte, 4)
		if v6 {
			b = make([]byte, 16)
		}
		for i := range b {
			b[i] = byte(rnd.IntN(3)) // few values, so that prefixes nest
		}
		a, _ := netip.AddrFromSlice(b)
		return a
	}
	zoneOf := map[netip.Prefix]uint16{}
	var zones []Zone
	for i := range 200 {
		ip := random(i%2 == 0)
		pfx := netip.PrefixFrom(ip, rnd.IntN(ip.BitLen()+1)).Masked()
		if _, taken := zoneOf[pfx]; taken {
			continue
		}
		id := uint16(len(zones) + 1)
		zoneOf[pfx] = id
		zones = append(zones, Zone{ID: id, Name: fmt.Sprint(id), Prefixes: []netip.Prefix{pfx}})
	}
	z := New(zones, nil, nil)
	for i := range 20_000 {
		ip := random(i%2 == 0)
		want, bits := uint16(Unknown), -1
		for pfx, id := range zoneOf {
			if pfx.Contains(ip) && pfx.Bits() > bits {
				want, bits = id, pfx.Bits()
			}
		}
		a, f := packet.AddrFrom(ip)
		if got := z.ByPrefix(&a, f); got != want {
			t.Fatalf("%s: zone %d, want %d", ip, got, want)
		}
	}
}

func TestSplitVLAN(t *testing.T) {
	for name, want := range map[string]struct {
		parent string
		tag    uint16
	}{
		"lan0": {"lan0", 0}, "wan0.100": {"wan0", 100}, "wan0.1": {"wan0", 1}, "wan0.4094": {"wan0", 4094},
		"wan0.4095": {"wan0.4095", 0}, "wan0.0": {"wan0", 0}, "wan0.": {"wan0.", 0}, ".5": {".5", 0}, "": {"", 0},
		"wan0.x": {"wan0.x", 0}, "wan0.-1": {"wan0.-1", 0}, "wan0.70000": {"wan0.70000", 0}, "a.b.9": {"a.b", 9},
		"wan0.+5": {"wan0.+5", 0},
	} {
		if parent, tag := SplitVLAN(name); parent != want.parent || tag != want.tag {
			t.Errorf("%q: %q, %d; want %q, %d", name, parent, tag, want.parent, want.tag)
		}
	}
}

func TestNames(t *testing.T) {
	z := site()
	if diff := cmp.Diff([]string{"dmz", "guest", "partner", "trust", "untrust"}, z.ZoneNames()); diff != "" {
		t.Error(diff)
	}
	interfaces := []string{"lan0", "tap0", "trunk0", "trunk0.7", "trunk0.8", "wan0", "wan0.100", "wan1"}
	if diff := cmp.Diff(interfaces, z.InterfaceNames()); diff != "" {
		t.Error(diff)
	}
	zones, names := z.NameMaps()
	if diff := cmp.Diff(map[uint16]string{1: "trust", 2: "untrust", 3: "partner", 4: "dmz", 5: "guest"}, zones); diff != "" {
		t.Error(diff)
	}
	for _, name := range interfaces {
		id, ok := z.InterfaceID(name)
		if !ok || names[id] != name {
			t.Errorf("%s: id %d (%v), whose name is %q", name, id, ok, names[id])
		}
	}
	if len(names) != len(interfaces) {
		t.Errorf("%d ids for %d interfaces", len(names), len(interfaces))
	}
	clear(zones)
	clear(names)
	if again, names := z.NameMaps(); len(again) != 5 || len(names) != len(interfaces) {
		t.Error("NameMaps gave away the table's own maps")
	}
	if id, ok := z.Lookup("dmz"); id != 4 || !ok {
		t.Errorf("dmz: %d, %v", id, ok)
	}
	if id, ok := z.Lookup("DMZ"); ok {
		t.Errorf("DMZ: %d", id)
	}
	if _, ok := z.InterfaceID("wan0.101"); ok {
		t.Error("wan0.101 is known")
	}
	if z.Name(4) != "dmz" || z.Name(0) != "zone 0" || z.Name(77) != "zone 77" {
		t.Errorf("names %q, %q, %q", z.Name(4), z.Name(0), z.Name(77))
	}
	if !slices.IsSortedFunc(z.Zones(), func(a, b Zone) int { return int(a.ID) - int(b.ID) }) || len(z.Zones()) != 5 {
		t.Errorf("zones %v", z.Zones())
	}
	if z.Index("none") != 0 || z.Index("lan0") == 0 || z.Index("wan0.100") == z.Index("wan0") {
		t.Error("Index confuses interfaces")
	}
}

// TestIDsAreUnique: an interface that the kernel does not know gets an id that no other has.
func TestIDsAreUnique(t *testing.T) {
	z := New([]Zone{{ID: 1, Name: "z", Interfaces: []string{"cap0", "cap0.5", "eth0", "cap1", "eth1"}}}, nil,
		map[string]uint32{"eth0": 1, "eth1": 4})
	seen := map[uint32]string{}
	for _, name := range []string{"cap0", "cap0.5", "cap1", "eth0", "eth1"} {
		a := packet.Addr{}
		parent, tag := SplitVLAN(name)
		_, id := ingress(z, z.Index(parent), tag, &a, packet.IPv4)
		if other, ok := seen[id]; ok || id == 0 {
			t.Errorf("%s has id %d, as has %q", name, id, other)
		}
		seen[id] = name
	}
	for name, want := range map[string]uint32{"eth0": 1, "eth1": 4} {
		if id, _ := z.InterfaceID(name); id != want {
			t.Errorf("%s: id %d, the kernel's is %d", name, id, want)
		}
	}
}

// TestOtherNames writes names of three live interfaces (wan0 = uplink, lan0 = office, and wan0.100 = partner0, a VLAN device) in
// zones and sources: whatever was written, frames get the zone by every name, and an interface has one id by all of them.
func TestOtherNames(t *testing.T) {
	ids := map[string]uint32{"wan0": 5, "uplink": 5, "lan0": 70_000, "office": 70_000, "wan0.100": 7, "partner0": 7, "uplink.100": 7}
	for _, wan := range []string{"wan0", "uplink", "wan0.0", "uplink.0"} {
		for _, lan := range []string{"lan0", "office"} {
			for _, vlan := range []string{"wan0.100", "uplink.100"} {
				for _, source := range []string{"wan0", "uplink", "lan0", "office", "wan0.100", "partner0"} {
					z := New([]Zone{
						{ID: 1, Name: "trust", Interfaces: []string{lan}},
						{ID: 2, Name: "untrust", Interfaces: []string{wan}},
						{ID: 3, Name: "partner", Interfaces: []string{vlan}},
					}, []string{source}, ids)
					lanID, _ := z.InterfaceID(lan)
					if lanID == 0 || lanID > maxParent {
						t.Fatalf("%s has id %d", lan, lanID)
					}
					for _, f := range []struct {
						name string
						tag  uint16
						zone uint16
						id   uint32
					}{
						{"lan0", 0, 1, lanID}, {"office", 0, 1, lanID}, {"lan0", 9, 1, lanID},
						{"wan0", 0, 2, 5}, {"uplink", 0, 2, 5}, {"uplink", 9, 2, 5},
						{"wan0", 100, 3, 100<<16 | 5}, {"uplink", 100, 3, 100<<16 | 5},
						{"wan0.100", 0, 3, 100<<16 | 5}, {"partner0", 0, 3, 100<<16 | 5},
					} {
						var a packet.Addr
						zone, id := ingress(z, z.Index(f.name), f.tag, &a, packet.IPv4)
						if zone != f.zone || id != f.id {
							t.Errorf("zones %s, %s, %s, source %s: %s tag %d is zone %d, interface %#x; want %d, %#x",
								lan, wan, vlan, source, f.name, f.tag, zone, id, f.zone, f.id)
						}
						if named, ok := z.InterfaceID(f.name); f.tag == 0 && (!ok || named != f.id) {
							t.Errorf("zones %s, %s, %s, source %s: %s has id %#x, want %#x", lan, wan, vlan, source, f.name, named, f.id)
						}
					}
					if id, ok := z.InterfaceID("uplink.200"); ok {
						t.Errorf("uplink.200 has id %#x", id)
					}
					if names := z.InterfaceNames(); len(names) != 3 {
						t.Errorf("zones %s, %s, %s, source %s: names %q for three interfaces", lan, wan, vlan, source, names)
					}
				}
			}
		}
	}
}

// TestOtherNameOfParent: a VLAN is known by every name of its parent, also where the kernel has no device for it.
func TestOtherNameOfParent(t *testing.T) {
	z := New([]Zone{{ID: 3, Name: "partner", Interfaces: []string{"wan0.100"}}}, nil, map[string]uint32{"wan0": 5, "uplink": 5})
	for name, want := range map[string]uint32{"wan0.100": 100<<16 | 5, "uplink.100": 100<<16 | 5, "uplink": 5, "uplink.7": 0, "other.100": 0} {
		if id, ok := z.InterfaceID(name); id != want || ok != (want != 0) {
			t.Errorf("%s: id %#x, %v; want %#x", name, id, ok, want)
		}
	}
}

// TestOtherNameLikeVLAN: an interface may have another name that looks like a VLAN of itself.
func TestOtherNameLikeVLAN(t *testing.T) {
	z := New([]Zone{
		{ID: 1, Name: "untrust", Interfaces: []string{"wan0"}}, {ID: 2, Name: "partner", Interfaces: []string{"wan0.100"}},
	}, []string{"wan0"}, map[string]uint32{"wan0": 5, "wan0.100": 5})
	var a packet.Addr
	for tag, want := range map[uint16]uint16{0: 1, 100: 2} {
		if zone, _ := ingress(z, z.Index("wan0"), tag, &a, packet.IPv4); zone != want {
			t.Errorf("tag %d: zone %d, want %d", tag, zone, want)
		}
	}
}

func TestEmptyTable(t *testing.T) {
	z := New(nil, nil, nil)
	a, f := addr("192.0.2.1")
	if zone, id := ingress(z, 0, 0, &a, f); zone != Unknown || id != 0 {
		t.Errorf("zone %d, interface %d", zone, id)
	}
}

// TestConcurrent reads one table from many goroutines, for the race detector.
func TestConcurrent(t *testing.T) {
	z := site()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			a, f := addr("192.0.2.129")
			for range 2000 {
				if zone, _ := ingress(z, z.Index("wan0"), 100, &a, f); zone != 3 {
					t.Errorf("zone %d", zone)
				}
				if zone := z.ByPrefix(&a, f); zone != 5 {
					t.Errorf("zone %d", zone)
				}
				z.NameMaps()
			}
		})
	}
	wg.Wait()
}

func TestNoAllocation(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	z := site()
	a4, f4 := addr("192.0.2.129")
	a6, f6 := addr("2001:db8:2:1::1")
	wan := z.Index("wan0")
	if n := testing.AllocsPerRun(100, func() {
		ingress(z, wan, 100, &a4, f4)
		ingress(z, 0, 0, &a6, f6)
		z.ByPrefix(&a4, f4)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkIngress(b *testing.B) {
	z := site()
	a4, f4 := addr("192.0.2.129")
	a6, f6 := addr("2001:db8:2:1::1")
	wan := z.Index("wan0")
	b.Run("interface", func(b *testing.B) {
		for b.Loop() {
			ingress(z, wan, 0, &a4, f4)
		}
	})
	b.Run("vlan", func(b *testing.B) {
		for b.Loop() {
			ingress(z, wan, 100, &a4, f4)
		}
	})
	b.Run("prefix4", func(b *testing.B) {
		for b.Loop() {
			ingress(z, 0, 0, &a4, f4)
		}
	})
	b.Run("prefix6", func(b *testing.B) {
		for b.Loop() {
			ingress(z, 0, 0, &a6, f6)
		}
	})
}

// BenchmarkIngressVLANs asks for VLANs of one interface at random.
func BenchmarkIngressVLANs(b *testing.B) {
	for _, n := range []int{2, 10, 100, 1000, 4000} {
		var zones []Zone
		for tag := range n {
			name := fmt.Sprintf("trunk0.%d", tag+1)
			zones = append(zones, Zone{ID: uint16(tag + 1), Name: name, Interfaces: []string{name}})
		}
		z := New(zones, nil, nil)
		a, f := addr("192.0.2.129")
		trunk := z.Index("trunk0")
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := uint32(1)
			for b.Loop() {
				r = r*1664525 + 1013904223
				tag := uint16(r>>16)%uint16(n) + 1
				if zone, _ := ingress(z, trunk, tag, &a, f); zone != tag {
					b.Fatalf("tag %d: zone %d", tag, zone)
				}
			}
		})
	}
}

// TestNameWithDot finds the interface of that very name, whose frames have no tag, beside the VLAN of that name.
func TestNameWithDot(t *testing.T) {
	z := New([]Zone{
		{ID: 1, Name: "dmz", Interfaces: []string{"eth0.100", "br-lan.1", "eth0.2.100", "eth0.2"}},
		{ID: 2, Name: "wan", Interfaces: []string{"wan0.0"}},
	}, []string{"eth0.100"}, map[string]uint32{"eth0": 5, "eth0.100": 6, "wan0": 7})
	a, f := addr("192.0.2.1")
	ids := make(map[uint32]string)
	for _, c := range []struct {
		intf string
		tag  uint16
		zone uint16
		name string
	}{
		{"eth0.100", 0, 1, "eth0.100"}, {"eth0", 100, 1, "eth0.100"}, {"eth0", 0, 0, "eth0"}, {"eth0.100", 9, 1, "eth0.100"},
		{"br-lan.1", 0, 1, "br-lan.1"}, {"br-lan", 1, 1, "br-lan.1"},
		{"eth0.2.100", 0, 1, "eth0.2.100"}, {"eth0.2", 100, 1, "eth0.2.100"}, {"eth0.2", 0, 1, "eth0.2"}, {"eth0", 2, 1, "eth0.2"},
		{"wan0", 0, 2, "wan0"}, {"wan0.0", 0, 2, "wan0"},
	} {
		zone, id := ingress(z, z.Index(c.intf), c.tag, &a, f)
		_, names := z.NameMaps()
		if zone != c.zone || names[id] != c.name {
			t.Errorf("%s tag %d: zone %d, interface %q; want %d, %q", c.intf, c.tag, zone, names[id], c.zone, c.name)
		}
		if other, ok := ids[id]; ok && other != c.name {
			t.Errorf("%s and %s have the same id", other, c.name)
		}
		ids[id] = c.name
		if got, ok := z.InterfaceID(c.name); !ok || got != id {
			t.Errorf("the id of %s is %#x, want %#x", c.name, got, id)
		}
	}
}

package zone

import (
	"math/rand/v2"
	"testing"

	"github.com/rtflow/pipelined/core/packet"
)

// TestNext follows one configuration with another, at random. Each table finds the zones that one made anew finds, a name has its index
// and its id for ever, and an id its name.
func TestNext(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	all := []string{"a0", "a0.5", "a1.5", "a1.7", "a1", "b0.0", "b0", "c0", "d0"}
	for range 300 {
		live := rng.IntN(2) == 0
		indexes, names, ids := make(map[string]uint32), make(map[uint32]string), make(map[string]uint32)
		var table *Table
		for step := range 6 {
			pool := all[:4+step]
			zones := []Zone{{ID: 1, Name: "one"}, {ID: 2, Name: "two"}, {ID: uint16(3 + step), Name: "new"}}
			kernel := make(map[string]uint32)
			var extra []string
			for i, name := range pool {
				if at := rng.IntN(5); at < len(zones) {
					zones[at].Interfaces = append(zones[at].Interfaces, name)
				}
				if parent, tag := SplitVLAN(name); parent == name && rng.IntN(3) == 0 {
					extra = append(extra, name)
				} else if live && tag == 0 && parent != name {
					continue // b0.0 is no device
				}
				if live {
					kernel[name] = uint32(10 + (i+step/3*2)%len(all)) // other devices have the numbers after a while
				}
			}
			zones[rng.IntN(3)].Prefixes = prefixes("10.0.0.0/8")
			anew := New(zones, extra, kernel)
			if table == nil {
				table = anew
			} else {
				table = table.Next(zones, extra, kernel)
			}
			source, family := addr("10.1.1.1")
			for _, name := range pool {
				index := table.Index(name)
				if anew.Index(name) == 0 {
					continue
				}
				if index == 0 || indexes[name] != 0 && indexes[name] != index {
					t.Fatalf("step %d: the index of %s is %d and was %d", step, name, index, indexes[name])
				}
				if parent, _ := SplitVLAN(name); parent == name {
					indexes[name] = index
				}
				for _, tag := range []uint16{0, 5, 7} {
					got, id := ingress(table, index, tag, &source, packet.Family(family))
					want, _ := ingress(anew, anew.Index(name), tag, &source, packet.Family(family))
					if got != want {
						t.Fatalf("step %d: %s with tag %d is in zone %d, made anew in %d\n%+v", step, name, tag, got, want, zones)
					}
					if names[id] != "" && table.names[id] != names[id] {
						t.Fatalf("step %d: id %d is %q and was %q", step, id, table.names[id], names[id])
					}
				}
				if id, ok := table.InterfaceID(name); ok {
					if parent, _ := SplitVLAN(name); parent == name && ids[name] != 0 && ids[name] != id {
						t.Fatalf("step %d: the id of %s is %d and was %d", step, name, id, ids[name])
					}
					ids[name] = id
				}
			}
			_, now := table.NameMaps()
			for id, name := range names {
				if now[id] != name {
					t.Fatalf("step %d: id %d was %q and is %q", step, id, name, now[id])
				}
			}
			names = now
		}
	}
}

// TestNextRenamed changes zones after an interface was renamed: it is in the zone of its former name still, until another has that name.
func TestNextRenamed(t *testing.T) {
	zones := []Zone{{ID: 1, Name: "wan", Interfaces: []string{"wan0"}}}
	z := New(zones, nil, map[string]uint32{"wan0": 5})
	z.SetLinks([]Link{{Index: 5, Names: []string{"uplink0"}, Former: "wan0"}})
	_, was := z.ByKernel(5)
	zones = append(zones, Zone{ID: 2, Name: "lan", Interfaces: []string{"lan0"}})
	next := z.Next(zones, nil, map[string]uint32{"uplink0": 5, "lan0": 6})
	lan := Link{Index: 6, Names: []string{"lan0"}}
	next.SetLinks([]Link{{Index: 5, Names: []string{"uplink0"}}, lan})
	if in, id := next.ByKernel(5); in != 1 || id != was {
		t.Errorf("the renamed interface is in zone %d, with id %d", in, id)
	}
	next.SetLinks([]Link{{Index: 5, Names: []string{"uplink0"}}, lan, {Index: 7, Names: []string{"wan0"}}})
	if in, _ := next.ByKernel(5); in != 0 {
		t.Errorf("the renamed interface is in zone %d, and another has its name", in)
	}
	if in, _ := next.ByKernel(7); in != 1 {
		t.Errorf("the new interface of that name is in zone %d", in)
	}
}

package zone

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"github.com/rtflow/pipelined/internal/keypath"
	"github.com/rtflow/pipelined/internal/spelling"
	"github.com/rtflow/pipelined/internal/table"
	"github.com/rtflow/pipelined/internal/values"
)

// options is the table [zones.NAME].
type options struct {
	ID         *int            `toml:"id"`         // nil: the zone's place in the file, if no zone has an id
	Interfaces []string        `toml:"interfaces"` // each in one zone only
	Prefixes   []values.Prefix `toml:"prefixes"`   // each in one zone only
}

// reader remembers what zones have claimed, and which zone it was.
type reader struct {
	ids        map[int]string
	interfaces map[string]string
	prefixes   map[netip.Prefix]string
}

// Read returns the zones that the tables describe, in their order, and records mistakes in them and between them.
func Read(tables []table.Section) []Zone {
	r := reader{make(map[int]string), make(map[string]string), make(map[netip.Prefix]string)}
	withID := 0
	for _, s := range tables {
		if s.Has("id") {
			withID++
		}
	}
	var zones []Zone
	for i, s := range tables {
		if withID == 0 && i == math.MaxUint16 {
			s.Errorf("", "there can be %d zones", math.MaxUint16)
			break
		}
		if s.Name() == "any" || s.Name() == "unknown" {
			s.Errorf("", "the name %s is taken: policies and metrics mean something else by it", s.Name())
		}
		z := r.read(s)
		switch {
		case withID == 0:
			z.ID = uint16(i + 1)
		case !s.Has("id"):
			s.Errorf("id", "missing: other zones have one, and either all have an id or none")
		}
		zones = append(zones, z)
	}
	r.checkDefaults(tables, zones)
	return zones
}

// checkDefaults warns of a zone for the rest of one family where the other has none.
func (r *reader) checkDefaults(tables []table.Section, zones []Zone) {
	v4, v6 := netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")
	for _, d := range []struct{ has, lacks netip.Prefix }{{v4, v6}, {v6, v4}} {
		owner, ok := r.prefixes[d.has]
		if _, both := r.prefixes[d.lacks]; !ok || both {
			continue
		}
		i := slices.IndexFunc(zones, func(z Zone) bool { return z.Name == owner })
		tables[i].Warnf("prefixes", "%s is here, and %s in no zone: no prefix has what is elsewhere in that family", d.has, d.lacks)
	}
}

func (r *reader) read(s table.Section) Zone {
	var o options
	s.Decode(&o)
	z := Zone{Name: s.Name()}
	if o.ID != nil && table.InRange(s, "id", *o.ID, 1, math.MaxUint16) {
		claim(s, "id", fmt.Sprintf("id %d", *o.ID), *o.ID, r.ids)
		z.ID = uint16(*o.ID)
	}
	for i, name := range o.Interfaces {
		key := keypath.Element("interfaces", i)
		if !isInterface(name) {
			s.Errorf(key, "%s is no name of an interface", spelling.Quote(name))
			continue
		}
		claim(s, key, "interface "+spelling.Shorten(name), name, r.interfaces)
		z.Interfaces = append(z.Interfaces, name)
	}
	for i, p := range o.Prefixes {
		if !p.IsValid() {
			continue // already recorded
		}
		claim(s, keypath.Element("prefixes", i), "prefix "+p.String(), p.Prefix, r.prefixes)
		z.Prefixes = append(z.Prefixes, p.Prefix)
	}
	return z
}

// isInterface reports whether something could have this name. Interfaces of captures may be called anything; the
// kernel's rule for its own is narrower.
func isInterface(name string) bool {
	return name != "" && !strings.ContainsFunc(name, unicode.IsSpace) && !strings.Contains(name, "/")
}

// claim records that a zone owns a thing, or that another zone already does.
func claim[K comparable](s table.Section, key, what string, thing K, owners map[K]string) {
	owner, taken := owners[thing]
	switch {
	case !taken:
		owners[thing] = s.Name()
	case owner == s.Name():
		s.Errorf(key, "%s is listed twice", what)
	default:
		s.Errorf(key, "%s already belongs to zone %s", what, keypath.Quote(owner))
	}
}

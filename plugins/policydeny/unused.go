package policydeny

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/rtflow/pipelined/internal/values"
)

// warnUnused warns of applications and addresses that no policy uses, neither by itself nor through a set.
func (c *compiler) warnUnused(o *options) {
	applications, addresses := make(uses), make(uses)
	for i := range o.Policies {
		p := &o.Policies[i]
		applications.add(p.Application, func(name string) ([]string, bool) {
			a, ok := o.Applications[name]
			return a.Members, ok
		})
		for _, words := range [][]string{p.Source, p.Destination} {
			addresses.add(words, func(name string) ([]string, bool) {
				members, ok := o.Addresses[name]
				return members, ok
			})
		}
	}
	warn := func(table string, names []string, used uses) {
		unused := slices.DeleteFunc(names, func(name string) bool { return used[name] })
		if len(unused) == 0 {
			return
		}
		const most = 10
		more := ""
		if len(unused) > most {
			unused, more = unused[:most], ", …"
		}
		c.cfg.Warnf(table, "no policy uses %s%s", strings.Join(unused, ", "), more)
	}
	warn("applications", slices.Sorted(maps.Keys(o.Applications)), applications)
	warn("addresses", slices.Sorted(maps.Keys(o.Addresses)), addresses)
}

// uses are names that something uses.
type uses map[string]bool

// add adds those of the words that name something defined, and what the sets among them hold.
func (u uses) add(words []string, members func(name string) (words []string, defined bool)) {
	for _, word := range words {
		if within, defined := members(word); defined && !u[word] {
			u[word] = true
			u.add(within, members)
		}
	}
}

// warnElsewhere warns of addresses in policies that no packet between the policy's zones has, by the zones' prefixes.
func (c *compiler) warnElsewhere(o *options) {
	w := elsewhere{c: c, addresses: o.Addresses, zones: make(map[string]*prefixSet), routed: make(map[string]bool)}
	for _, z := range c.env.Zones.Zones() {
		w.zones[z.Name] = newPrefixSet(z.Prefixes)
		w.routed[z.Name] = c.env.ZonesByRoute && len(z.Interfaces) > 0
	}
	for i := range o.Policies {
		p, key := &o.Policies[i], policyKey{i, ""}
		if !p.SourceExcluded && p.Then == thenPermit { // what is denied may be a source that does not belong there
			w.warn(p.From, p.Source, key.option("source"), "comes from")
		}
		if !p.DestinationExcluded && !slices.ContainsFunc(p.To, func(name string) bool { return w.routed[name] }) {
			w.warn(p.To, p.Destination, key.option("destination"), "goes to")
		}
	}
}

// warnNoPrefixes warns, once for each, of zones that policies name in "to" and that have no prefixes.
func (c *compiler) warnNoPrefixes(o *options) {
	without := make(map[string]bool)
	for _, z := range c.env.Zones.Zones() {
		without[z.Name] = len(z.Prefixes) == 0 && len(z.Interfaces) > 0
	}
	for i := range o.Policies {
		for j, name := range o.Policies[i].To {
			if without[name] && o.Policies[i].enabled() {
				without[name] = false
				c.cfg.Warnf(policyKey{i, ""}.option("to").element(j),
					"no packet goes to zone %s: prefixes tell the zone that a packet goes to, and it has none", name)
			}
		}
	}
}

// elsewhere looks for addresses outside of zones.
type elsewhere struct {
	c         *compiler
	addresses map[string][]string
	zones     map[string]*prefixSet
	routed    map[string]bool // zones that addresses outside of their prefixes can be in, by their routes
}

// warn warns of the words of a policy's list of addresses that have nothing in common with its zones. A zone without
// prefixes has what comes in on its interfaces, whatever its address.
func (w *elsewhere) warn(zones, words []string, key policyKey, verb string) {
	for _, name := range zones {
		if z := w.zones[name]; z == nil || len(z.prefixes) == 0 { // nil for "any"
			return
		}
	}
	for i, word := range words {
		within := func(name string) bool { return w.meets(w.zones[name], word) }
		if !slices.ContainsFunc(zones, within) {
			w.c.cfg.Warnf(key.element(i), "no address of %s is in the prefixes of %s: no packet %s there with one", word,
				strings.Join(zones, ", "), verb)
		}
	}
}

// meets reports whether an address that a word stands for is in the zone.
func (w *elsewhere) meets(z *prefixSet, word string) bool {
	switch word {
	case wordAny:
		return true
	case wordAnyIPv4:
		return z.overlaps(allIPv4())
	case wordAnyIPv6:
		return z.overlaps(allIPv6())
	}
	if members, named := w.addresses[word]; named {
		return slices.ContainsFunc(members, func(member string) bool { return w.meets(z, member) })
	}
	p, err := values.ParsePrefix(word)
	return err != nil || z.overlaps(p) // an error is recorded already
}

// prefixSet answers whether prefixes overlap, in time that does not depend on how many there are.
type prefixSet struct {
	prefixes map[netip.Prefix]bool
	addrs    []netip.Addr // of the prefixes, sorted
}

func newPrefixSet(list []netip.Prefix) *prefixSet {
	s := &prefixSet{prefixes: make(map[netip.Prefix]bool, len(list))}
	for _, p := range list {
		s.prefixes[p.Masked()] = true
		s.addrs = append(s.addrs, p.Masked().Addr())
	}
	slices.SortFunc(s.addrs, netip.Addr.Compare)
	return s
}

// overlaps reports whether an address of p is in the set.
func (s *prefixSet) overlaps(p netip.Prefix) bool {
	for bits := range p.Bits() + 1 {
		if around, err := p.Addr().Prefix(bits); err == nil && s.prefixes[around] {
			return true
		}
	}
	i, _ := slices.BinarySearchFunc(s.addrs, p.Masked().Addr(), netip.Addr.Compare)
	return i < len(s.addrs) && p.Contains(s.addrs[i])
}

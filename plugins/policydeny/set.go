package policydeny

import (
	"net/netip"
	"slices"

	"go4.org/netipx"
)

// families says which address families a set has addresses of.
type families uint8

const (
	hasIPv4 families = 1 << iota
	hasIPv6
)

func familyOf(a netip.Addr) families {
	if a.Is4() {
		return hasIPv4
	}
	return hasIPv6 // an IPv4-mapped address, too: on the wire it is an IPv6 packet
}

// set is a set of addresses as the configuration composes it: prefixes of its own and other sets. Sets are shared, not
// copied: thousands of sets that contain one large set hold its prefixes once.
type set struct {
	id       uint32 // unique within a book
	prefixes []netip.Prefix
	members  []*set
	families families
	size     int // number of prefixes, those of members included, each as often as it is reached

	flat *netipx.IPSet // set when ranges is first called
}

// add makes a prefix part of the set.
func (s *set) add(p netip.Prefix) {
	s.prefixes = append(s.prefixes, p)
	s.families |= familyOf(p.Addr())
	s.size++
}

// include makes all addresses of another set part of the set.
func (s *set) include(m *set) {
	s.members = append(s.members, m)
	s.families |= m.families
	s.size += m.size
}

// walk calls visit for the set and every set it contains, each once.
func (s *set) walk(visit func(*set)) {
	if len(s.members) == 0 {
		visit(s)
		return
	}
	seen := make(map[*set]bool)
	var descend func(*set)
	descend = func(s *set) {
		if seen[s] {
			return
		}
		seen[s] = true
		visit(s)
		for _, m := range s.members {
			descend(m)
		}
	}
	descend(s)
}

// ranges returns the addresses of the set as disjoint ranges.
func (s *set) ranges() *netipx.IPSet {
	if s.flat == nil {
		var b netipx.IPSetBuilder
		s.walk(func(part *set) {
			for _, p := range part.prefixes {
				b.AddPrefix(p)
			}
		})
		s.flat, _ = b.IPSet() // prefixes are valid
	}
	return s.flat
}

// side is what a policy wants of a packet's source or destination: an address of one of the sets, or, if excluded, one of
// none of them but of a family that they have addresses of.
type side struct {
	sets     []*set
	excluded bool
	families families // that the side has addresses of
}

// union returns the sets of a side as one set.
func union(sets []*set) *set {
	if len(sets) == 1 {
		return sets[0]
	}
	u := &set{}
	for _, s := range sets {
		u.include(s)
	}
	return u
}

// newSide returns the side with these sets. A family of which an exclusion leaves nothing is none of the side's.
func newSide(sets []*set, excluded bool) side {
	s := side{sets: sets, excluded: excluded}
	for _, set := range sets {
		s.families |= set.families
	}
	if excluded {
		listed := union(sets).ranges()
		if listed.ContainsPrefix(allIPv4()) {
			s.families &^= hasIPv4
		}
		if listed.ContainsPrefix(allIPv6()) {
			s.families &^= hasIPv6
		}
	}
	return s
}

func allIPv4() netip.Prefix { return netip.PrefixFrom(netip.IPv4Unspecified(), 0) }
func allIPv6() netip.Prefix { return netip.PrefixFrom(netip.IPv6Unspecified(), 0) }

// maxFlat is how many prefixes a side may have for covers to look at its addresses one by one.
const maxFlat = 1 << 16

// covers reports whether p has every address of the given families that q has. It says no where the sides are too large
// to tell.
func (p *side) covers(q *side, of families) bool {
	if of&^p.families != 0 {
		return false
	}
	if !p.excluded && len(p.sets) == 1 && p.sets[0].everything() {
		return true
	}
	if a, ok := p.prefix(); ok {
		if b, ok := q.prefix(); ok {
			return familyOf(b.Addr())&of == 0 || a.Bits() <= b.Bits() && a.Contains(b.Addr())
		}
	}
	mine, theirs := union(p.sets), union(q.sets)
	if mine.size > maxFlat || theirs.size > maxFlat {
		return false
	}
	switch {
	case !p.excluded && !q.excluded:
		return rangesWithin(theirs.ranges(), mine.ranges(), of)
	case p.excluded && q.excluded: // the complement of q lies in the complement of p if p lists no more than q
		return rangesWithin(mine.ranges(), theirs.ranges(), of)
	case p.excluded:
		return !overlap(theirs.ranges(), mine.ranges(), of)
	default:
		var b netipx.IPSetBuilder
		if of&hasIPv4 != 0 {
			b.AddPrefix(allIPv4())
		}
		if of&hasIPv6 != 0 {
			b.AddPrefix(allIPv6())
		}
		b.RemoveSet(theirs.ranges())
		rest, _ := b.IPSet()
		return rangesWithin(rest, mine.ranges(), of)
	}
}

// prefix returns the addresses of a side that is one prefix, as most are.
func (p *side) prefix() (all netip.Prefix, ok bool) {
	if p.excluded || len(p.sets) != 1 || len(p.sets[0].members) != 0 || len(p.sets[0].prefixes) != 1 {
		return all, false
	}
	return p.sets[0].prefixes[0], true
}

// everything reports whether the set is all addresses of both families, as "any" is.
func (s *set) everything() bool {
	return len(s.prefixes) == 2 && s.prefixes[0] == allIPv4() && s.prefixes[1] == allIPv6()
}

// whole reports whether the set is all addresses of its families, by itself.
func (s *set) whole() bool {
	return len(s.members) == 0 && len(s.prefixes) > 0 && !slices.ContainsFunc(s.prefixes, func(p netip.Prefix) bool { return p.Bits() > 0 })
}

// rangesWithin reports whether every address of the families in a is in b. Ranges of a set are disjoint and not adjacent,
// so that each must lie within one of b.
func rangesWithin(a, b *netipx.IPSet, of families) bool {
	for _, r := range a.Ranges() {
		if familyOf(r.From())&of != 0 && !b.ContainsRange(r) {
			return false
		}
	}
	return true
}

// overlap reports whether a and b have an address of the families in common.
func overlap(a, b *netipx.IPSet, of families) bool {
	for _, r := range a.Ranges() {
		if familyOf(r.From())&of != 0 && b.OverlapsRange(r) {
			return true
		}
	}
	return false
}

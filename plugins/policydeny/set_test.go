package policydeny

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/rtflow/pipelined/core/packet"
)

// randomPrefix draws from a small part of the address space, so that prefixes meet, touch and nest, and sometimes from its
// ends.
func randomPrefix(r *rand.Rand) netip.Prefix {
	var a netip.Addr
	if r.IntN(2) == 0 {
		a = netip.AddrFrom4([4]byte{pick[byte](r, 0, 10, 255), pick[byte](r, 0, 255), pick[byte](r, 0, 1, 255), byte(r.IntN(256))})
	} else {
		var b [16]byte
		b[0], b[7], b[8], b[15] = pick[byte](r, 0, 0x20, 255), pick[byte](r, 0, 1, 255), pick[byte](r, 0, 128, 255), byte(r.IntN(256))
		if b[0] == 255 {
			for i := range b {
				b[i] |= pick[byte](r, 255, 255, 254)
			}
		}
		a = netip.AddrFrom16(b)
	}
	bits := a.BitLen() - min(r.IntN(10), a.BitLen())
	if r.IntN(4) == 0 {
		bits = r.IntN(a.BitLen() + 1)
	}
	return netip.PrefixFrom(a, bits).Masked()
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// borders returns the prefix's ends and their neighbours, where mistakes are made.
func borders(p netip.Prefix) []netip.Addr {
	first := p.Addr()
	b := first.AsSlice()
	for i := p.Bits(); i < first.BitLen(); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	list := []netip.Addr{first, last}
	for _, a := range []netip.Addr{first.Prev(), last.Next()} {
		if a.IsValid() {
			list = append(list, a)
		}
	}
	return list
}

// randomConditions draws sets, some of them nested, and what conditions make of them.
func randomConditions(r *rand.Rand) (conditions []condition, probes []netip.Addr) {
	var sets []*set
	for i := range 1 + r.IntN(12) {
		s := &set{id: uint32(i)}
		for range r.IntN(8) {
			p := randomPrefix(r)
			s.add(p)
			probes = append(probes, borders(p)...)
		}
		for range r.IntN(3) {
			if len(sets) > 0 {
				s.include(sets[r.IntN(len(sets))])
			}
		}
		sets = append(sets, s)
		excluded := r.IntN(3) == 0
		conditions = append(conditions, condition{s, excluded, s.families})
	}
	return conditions, probes
}

func (s *set) contains(a netip.Addr) (in bool) {
	s.walk(func(part *set) {
		in = in || slices.ContainsFunc(part.prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
	})
	return in
}

// TestAddressLabels compares the labels of addresses with the conditions asked one by one.
func TestAddressLabels(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		conditions, probes := randomConditions(r)
		labels := newAddressLabels(conditions)
		scratch := make([]uint32, 0, labels.longest)
		for _, a := range probes {
			var want []uint32
			for label, c := range conditions {
				if in := c.set.contains(a); in && !c.excluded || !in && c.excluded && c.families&familyOf(a) != 0 {
					want = append(want, uint32(label))
				}
			}
			raw, family := packet.AddrFrom(a)
			got := slices.Sorted(slices.Values(labels.of(labels.ranges.find(&raw, family, labels.ranges.seek(&raw, family)), family, scratch)))
			if !slices.Equal(got, want) {
				t.Fatalf("%v has the labels %v, want %v", a, got, want)
			}
			if len(got) > labels.longest {
				t.Fatalf("%d labels, and room for %d", len(got), labels.longest)
			}
		}
	}
}

// TestCovers compares covers with every probe: what it says is certain.
func TestCovers(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	covered := 0
	for range 20000 {
		var probes []netip.Addr
		random := func() side {
			s := &set{}
			for range 1 + r.IntN(3) {
				p := randomPrefix(r)
				s.add(p)
				probes = append(probes, borders(p)...)
			}
			return newSide([]*set{s}, r.IntN(2) == 0)
		}
		p, q := random(), random()
		has := func(s *side, a netip.Addr) bool {
			return familyOf(a)&s.families != 0 && s.sets[0].contains(a) != s.excluded
		}
		of := pick(r, hasIPv4, hasIPv6, hasIPv4|hasIPv6) & q.families
		if of == 0 {
			continue
		}
		missed := slices.ContainsFunc(probes, func(a netip.Addr) bool { return familyOf(a)&of != 0 && has(&q, a) && !has(&p, a) })
		got := p.covers(&q, of)
		if got && missed {
			t.Fatalf("%+v covers %+v", p, q)
		}
		_, one := p.prefix()
		if _, both := q.prefix(); one && both && !got && !missed && of&^p.families == 0 {
			t.Fatalf("%+v does not cover %+v", p, q)
		}
		if got {
			covered++
		}
	}
	if covered < 100 {
		t.Errorf("only %d cases of one side covering the other", covered)
	}
}

func TestExcludeEverything(t *testing.T) {
	all := &set{}
	all.add(allIPv4())
	all.add(allIPv6())
	if s := newSide([]*set{all}, true); s.families != 0 {
		t.Errorf("families %b are left", s.families)
	}
	halves := &set{}
	halves.add(netip.MustParsePrefix("0.0.0.0/1"))
	halves.add(netip.MustParsePrefix("128.0.0.0/1"))
	halves.add(netip.MustParsePrefix("2001:db8::/32"))
	if s := newSide([]*set{halves}, true); s.families != hasIPv6 {
		t.Errorf("families %b are left, want IPv6", s.families)
	}
}

// TestSharedSets: a set that many sets contain is held once.
func TestSharedSets(t *testing.T) {
	shared := &set{}
	for i := range 1000 {
		shared.add(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32))
	}
	var conditions []condition
	for i := range 500 {
		s := &set{id: uint32(i)}
		s.include(shared)
		conditions = append(conditions, condition{set: s})
	}
	labels := newAddressLabels(conditions)
	const heads = 2 + 2 // of the row of addresses in no prefix, which has no labels, and of that of all others
	if want := heads + len(conditions); len(labels.pool) != want {
		t.Errorf("rows take %d words, want %d: one row for all addresses", len(labels.pool), want)
	}
}

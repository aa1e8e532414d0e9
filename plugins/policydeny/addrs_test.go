package policydeny

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/rtflow/pipelined/core/packet"
)

func (s *addrs) has(a netip.Addr) bool {
	raw, family := packet.AddrFrom(a)
	if family == packet.IPv4 {
		return s.has4(number4(&raw))
	}
	return s.has6(number6(&raw))
}

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

// TestAddrsAgainstPrefixes compares ranges with the prefixes they were made of.
func TestAddrsAgainstPrefixes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		var (
			prefixes []netip.Prefix
			parts    []addrs
			probes   []netip.Addr
			families [2]bool
		)
		for range 1 + r.IntN(30) {
			p := randomPrefix(r)
			prefixes, parts = append(prefixes, p), append(parts, fromPrefix(p))
			probes = append(probes, borders(p)...)
			families[p.Addr().BitLen()/128] = true
		}
		set := union(parts)
		rest := set.complement()
		for _, a := range probes {
			want := false
			for _, p := range prefixes {
				want = want || p.Contains(a)
			}
			if set.has(a) != want {
				t.Fatalf("%v in %v: %v", a, prefixes, !want)
			}
			if got := rest.has(a); got != (!want && families[a.BitLen()/128]) {
				t.Fatalf("%v in the complement of %v: %v", a, prefixes, got)
			}
		}
		wellFormed(t, &set)
		wellFormed(t, &rest)
	}
}

// wellFormed fails if ranges are not sorted, overlap or touch.
func wellFormed(t *testing.T, s *addrs) {
	t.Helper()
	for i, r := range s.v4 {
		if r.lo > r.hi || i > 0 && uint64(s.v4[i-1].hi)+1 >= uint64(r.lo) {
			t.Fatalf("IPv4 ranges %v", s.v4)
		}
	}
	for i, r := range s.v6 {
		if r.hi.less(r.lo) || i > 0 && !(s.v6[i-1].hi.less(r.lo) && s.v6[i-1].hi.next().less(r.lo)) {
			t.Fatalf("IPv6 ranges %v", s.v6)
		}
	}
}

func TestComplementOfAll(t *testing.T) {
	all := union([]addrs{anyIPv4(), anyIPv6()})
	if rest := all.complement(); !rest.empty() {
		t.Errorf("%v", rest)
	}
	var none addrs
	if rest := none.complement(); !rest.empty() {
		t.Errorf("the complement of nothing, within no family, is %v", rest)
	}
}

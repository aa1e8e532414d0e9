package policydeny

import (
	"cmp"
	"encoding/binary"
	"math"
	"net/netip"
	"slices"

	"github.com/rtflow/pipelined/core/packet"
)

// addrs is a set of addresses: for each family the ranges it holds, sorted, disjoint and not adjacent. The families are
// apart: a set of IPv4 prefixes holds no IPv6 address. Ranges rather than a prefix tree, because a policy's list is short
// as a rule and its first ranges then lie in one cache line.
type addrs struct {
	v4 []span4
	v6 []span6
}

// span4 is a range of IPv4 addresses, both ends included.
type span4 struct{ lo, hi uint32 }

// span6 is a range of IPv6 addresses, both ends included.
type span6 struct{ lo, hi addr6 }

// addr6 is an IPv6 address as a number.
type addr6 struct{ hi, lo uint64 }

func (a addr6) less(b addr6) bool { return a.hi < b.hi || a.hi == b.hi && a.lo < b.lo }

func (a addr6) compare(b addr6) int { return cmp.Or(cmp.Compare(a.hi, b.hi), cmp.Compare(a.lo, b.lo)) }

// next returns a + 1, prev returns a - 1, both modulo 2^128.
func (a addr6) next() addr6 {
	a.lo++
	if a.lo == 0 {
		a.hi++
	}
	return a
}

func (a addr6) prev() addr6 {
	if a.lo == 0 {
		a.hi--
	}
	a.lo--
	return a
}

func (a addr6) or(b addr6) addr6 { return addr6{a.hi | b.hi, a.lo | b.lo} }

// all6 is the last IPv6 address.
func all6() addr6 { return addr6{math.MaxUint64, math.MaxUint64} }

func number4(a *packet.Addr) uint32 { return binary.BigEndian.Uint32(a[:4]) }

func number6(a *packet.Addr) addr6 {
	return addr6{binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])}
}

// anyIPv4 returns the set of all IPv4 addresses.
func anyIPv4() addrs { return addrs{v4: []span4{{0, math.MaxUint32}}} }

// anyIPv6 returns the set of all IPv6 addresses.
func anyIPv6() addrs { return addrs{v6: []span6{{hi: all6()}}} }

// fromPrefix returns the set of the prefix's addresses. An IPv4-mapped prefix is IPv6, as its packets are.
func fromPrefix(p netip.Prefix) addrs {
	a, family := packet.AddrFrom(p.Addr())
	if family == packet.IPv4 {
		host := uint32(math.MaxUint32) // host bits; a shift by the full width gives 0
		host >>= p.Bits()
		lo := number4(&a) &^ host
		return addrs{v4: []span4{{lo, lo | host}}}
	}
	host := all6()
	if p.Bits() < 64 {
		host.hi >>= p.Bits()
	} else {
		host.hi = 0
		host.lo >>= p.Bits() - 64
	}
	lo := number6(&a)
	lo = addr6{lo.hi &^ host.hi, lo.lo &^ host.lo}
	return addrs{v6: []span6{{lo, lo.or(host)}}}
}

// empty reports whether the set holds no address.
func (s *addrs) empty() bool { return len(s.v4) == 0 && len(s.v6) == 0 }

// linear is up to how many ranges a walk beats a binary search.
const linear = 8

// has4 reports whether the set holds an IPv4 address.
func (s *addrs) has4(a uint32) bool {
	if len(s.v4) <= linear {
		for i := range s.v4 {
			if a <= s.v4[i].hi {
				return s.v4[i].lo <= a
			}
		}
		return false
	}
	lo, hi := 0, len(s.v4)
	for lo < hi { // the first range that does not end below a
		mid := int(uint(lo+hi) >> 1)
		if s.v4[mid].hi < a {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo < len(s.v4) && s.v4[lo].lo <= a
}

// has6 reports whether the set holds an IPv6 address.
func (s *addrs) has6(a addr6) bool {
	if len(s.v6) <= linear {
		for i := range s.v6 {
			if !s.v6[i].hi.less(a) {
				return !a.less(s.v6[i].lo)
			}
		}
		return false
	}
	lo, hi := 0, len(s.v6)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if s.v6[mid].hi.less(a) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo < len(s.v6) && !a.less(s.v6[lo].lo)
}

// union returns the set of the addresses of all parts.
func union(parts []addrs) addrs {
	var u addrs
	for _, p := range parts {
		u.v4 = append(u.v4, p.v4...)
		u.v6 = append(u.v6, p.v6...)
	}
	slices.SortFunc(u.v4, func(a, b span4) int { return cmp.Compare(a.lo, b.lo) })
	slices.SortFunc(u.v6, func(a, b span6) int { return a.lo.compare(b.lo) })
	return addrs{merge4(u.v4), merge6(u.v6)}
}

// merge4 joins ranges that overlap or touch. It sorts nothing and reuses s.
func merge4(s []span4) []span4 {
	out := s[:0]
	for _, r := range s {
		if n := len(out); n > 0 && (out[n-1].hi == math.MaxUint32 || r.lo <= out[n-1].hi+1) {
			out[n-1].hi = max(out[n-1].hi, r.hi)
			continue
		}
		out = append(out, r)
	}
	return slices.Clip(out)
}

// merge6 is merge4 for IPv6.
func merge6(s []span6) []span6 {
	out := s[:0]
	for _, r := range s {
		if n := len(out); n > 0 && (out[n-1].hi == all6() || !out[n-1].hi.next().less(r.lo)) {
			if out[n-1].hi.less(r.hi) {
				out[n-1].hi = r.hi
			}
			continue
		}
		out = append(out, r)
	}
	return slices.Clip(out)
}

// complement returns, within the families that s has addresses of, the addresses that s does not hold.
func (s *addrs) complement() addrs {
	var c addrs
	if n := len(s.v4); n > 0 {
		lo := uint32(0)
		for _, r := range s.v4 {
			if r.lo > lo {
				c.v4 = append(c.v4, span4{lo, r.lo - 1})
			}
			lo = r.hi + 1
		}
		if s.v4[n-1].hi != math.MaxUint32 {
			c.v4 = append(c.v4, span4{lo, math.MaxUint32})
		}
	}
	if n := len(s.v6); n > 0 {
		lo := addr6{}
		for _, r := range s.v6 {
			if lo.less(r.lo) {
				c.v6 = append(c.v6, span6{lo, r.lo.prev()})
			}
			lo = r.hi.next()
		}
		if s.v6[n-1].hi != all6() {
			c.v6 = append(c.v6, span6{lo, all6()})
		}
	}
	return c
}

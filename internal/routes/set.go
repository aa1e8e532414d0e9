package routes

import (
	"cmp"
	"encoding/binary"
	"iter"
	"net/netip"
	"slices"
)

// entry is a route, or one that stands for several. IPv4 addresses are in the upper half of hi. There may be millions of them
// while they are read.
type entry struct {
	hi, lo uint64
	metric uint32
	zone   uint16
	bits   uint8
	main   bool // of the table main, not of local, which is asked first
}

func newEntry(p netip.Prefix, zone uint16, metric uint32, main bool) entry {
	e := entry{metric: metric, zone: zone, bits: uint8(p.Bits()), main: main}
	if p.Addr().Is4() {
		a := p.Addr().As4()
		e.hi = uint64(binary.BigEndian.Uint32(a[:])) << 32
		return e
	}
	a := p.Addr().As16()
	e.hi, e.lo = binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])
	return e
}

func (e *entry) prefix(ipv4 bool) netip.Prefix {
	var a [16]byte
	binary.BigEndian.PutUint64(a[:8], e.hi)
	binary.BigEndian.PutUint64(a[8:], e.lo)
	if ipv4 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte(a[:4])), int(e.bits))
	}
	return netip.PrefixFrom(netip.AddrFrom16(a), int(e.bits))
}

func (e *entry) samePrefix(o *entry) bool { return e.hi == o.hi && e.lo == o.lo && e.bits == o.bits }

// contains reports whether the prefix contains all addresses of another one.
func (e *entry) contains(o *entry) bool {
	if e.bits > o.bits {
		return false
	}
	return (e.hi^o.hi)>>(64-min(uint(e.bits), 64)) == 0 && (e.bits <= 64 || (e.lo^o.lo)>>(128-uint(e.bits)) == 0)
}

// before orders entries: a prefix comes after those that contain it, and of several entries for one prefix the first counts.
func before(a, b entry) int {
	switch {
	case a.hi != b.hi:
		return cmp.Compare(a.hi, b.hi)
	case a.lo != b.lo:
		return cmp.Compare(a.lo, b.lo)
	case a.bits != b.bits:
		return cmp.Compare(a.bits, b.bits)
	case a.main != b.main:
		if b.main {
			return -1
		}
		return 1
	}
	return cmp.Compare(a.metric, b.metric)
}

// settle leaves the entries that count, in the order of before, and calls contested with each prefix that has entries with several
// zones. Of entries that are equal in all that before looks at, the first in the list counts.
func settle(list []entry, contested func(*entry)) []entry {
	slices.SortStableFunc(list, before)
	n := 0
	var local *entry // the last of the table local that is within no other of it
	for i := 0; i < len(list); {
		first := list[i]
		for i++; i < len(list) && list[i].samePrefix(&first); i++ {
			if list[i].zone != first.zone {
				contested(&first)
			}
		}
		switch within := local != nil && local.contains(&first); {
		case within && first.main:
			continue
		case !within && !first.main:
			local = &first
		}
		list[n] = first
		n++
	}
	return list[:n]
}

// prefixes iterates over settled entries.
func prefixes(ipv4, ipv6 []entry) iter.Seq2[netip.Prefix, uint16] {
	return func(yield func(netip.Prefix, uint16) bool) {
		for i := range ipv4 {
			if !yield(ipv4[i].prefix(true), ipv4[i].zone) {
				return
			}
		}
		for i := range ipv6 {
			if !yield(ipv6[i].prefix(false), ipv6[i].zone) {
				return
			}
		}
	}
}

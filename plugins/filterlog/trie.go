package filterlog

import (
	"math"
	"net/netip"

	"github.com/gaissmai/bart"

	"github.com/rtflow/pipelined/core/packet"
)

// trie gives for each address the terms that agree with it, as a row of bits. Of the prefixes in a term's list that
// contain the address, the longest decides; a list that has none, and so every list of the other family, does not match.
type trie struct {
	care     []uint64 // terms with a condition on the address
	prefixes bart.Fast[uint32]
	none     uint32 // row of addresses in no prefix
	bits     []uint64
	// first are the rows of the IPv4 addresses that begin with a byte, or several: most filters know few networks.
	first [256]uint32
}

// several stands for the addresses with one first byte of which not all have the same row.
const several = math.MaxUint32

// addressList is the address condition of one term.
type addressList struct {
	term int
	list []address
}

// newTrie builds the trie for address conditions. words is how many words a row has. It is nil if there are none.
func newTrie(words int, conditions []addressList) *trie {
	if len(conditions) == 0 {
		return nil
	}
	t := &trie{care: make([]uint64, words)}
	rows := newRows(words)
	none := rows.full()
	own := make([]bart.Table[bool], len(conditions)) // each term's prefixes: is it an exception?
	for i, c := range conditions {
		t.care[c.term/64] |= 1 << (c.term % 64)
		none[c.term/64] &^= 1 << (c.term % 64)
		for _, a := range c.list {
			except, _ := own[i].Get(a.prefix)
			own[i].Insert(a.prefix, except || a.except)
			t.prefixes.Insert(a.prefix, 0)
		}
	}
	t.none = rows.place(none)

	// An address whose longest prefix of all is p lies in exactly those prefixes of a term that contain p.
	var all []netip.Prefix
	for p := range t.prefixes.All() {
		all = append(all, p)
	}
	for _, p := range all {
		row := rows.full()
		for i, c := range conditions {
			if except, ok := own[i].LookupPrefix(p); !ok || except {
				row[c.term/64] &^= 1 << (c.term % 64)
			}
		}
		t.prefixes.Insert(p, rows.place(row))
	}
	t.bits = rows.bits
	for i := range t.first {
		t.first[i] = t.lookup(netip.AddrFrom4([4]byte{byte(i)}))
	}
	for _, p := range all {
		if p.Addr().Is4() && p.Bits() > 8 {
			t.first[p.Addr().As4()[0]] = several
		}
	}
	return t
}

// careOf returns word w of the terms with a condition on the address; t may be nil.
func (t *trie) careOf(w int) uint64 {
	if t == nil {
		return 0
	}
	return t.care[w]
}

// find returns where the row of an address begins.
func (t *trie) find(a *packet.Addr, f packet.Family) uint32 {
	if f == packet.IPv4 {
		if at := t.first[a[0]]; at != several {
			return at
		}
	}
	return t.lookup(a.Netip(f))
}

func (t *trie) lookup(ip netip.Addr) uint32 {
	if at, ok := t.prefixes.Lookup(ip); ok {
		return at
	}
	return t.none
}

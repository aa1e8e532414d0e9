package policydeny

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/hugepage"
	"github.com/rtflow/pipelined/internal/prefetch"
)

// addressRanges maps every address to a number. The addresses of each family are cut into ranges, of which only the first
// address is kept, and the range of an address is the last one that begins at or before it. It is immutable after finish.
type addressRanges struct {
	ipv4 searchTree[uint32]
	ipv6 searchTree[uint64] // by upper halves of addresses; a value with isHalf is the place in halves of those with this one

	halves   []half
	lower    []uint64 // lower halves where ranges begin, those of each half in order
	lowerTo  []uint32
	unsorted [2][]begin // of each family; nil after finish
}

// half is the part of addressRanges.lower for one upper half of addresses. Its first range begins at 0.
type half struct{ lo, hi uint32 }

const isHalf = 1 << 31

// begin is the beginning of a range.
type begin struct {
	addr   netip.Addr
	number uint32
}

// familyIndex is the place of a family in arrays of both.
func familyIndex(f packet.Family) int {
	if f == packet.IPv4 {
		return 0
	}
	return 1
}

// reserve makes room for so many ranges of each family.
func (r *addressRanges) reserve(ipv4, ipv6 int) {
	r.unsorted = [2][]begin{make([]begin, 0, ipv4), make([]begin, 0, ipv6)}
}

// add begins a range at an address, at or behind the last one that was added of its family; of several at one address the
// last stays. Addresses before the first range have number 0.
func (r *addressRanges) add(a netip.Addr, number uint32) {
	list := &r.unsorted[1]
	if a.Is4() {
		list = &r.unsorted[0]
	}
	if n := len(*list); n > 0 && (*list)[n-1].addr == a {
		*list = (*list)[:n-1]
	}
	last := uint32(0)
	if n := len(*list); n > 0 {
		last = (*list)[n-1].number
	}
	if number != last {
		*list = append(*list, begin{a, number})
	}
}

// finish makes find ready.
func (r *addressRanges) finish() {
	keys4, to4 := []uint32{0}, []uint32{0}
	for _, b := range r.unsorted[0] {
		a := b.addr.As4()
		keys4, to4 = put(keys4, to4, binary.BigEndian.Uint32(a[:]), b.number)
	}
	r.ipv4 = newSearchTree(keys4, to4)

	keys6, to6 := []uint64{0}, []uint32{0}
	list := r.unsorted[1]
	last := uint32(0) // number of the range before
	for len(list) > 0 {
		upper, _ := split(list[0].addr)
		n := 1
		for n < len(list) {
			if u, _ := split(list[n].addr); u != upper {
				break
			}
			n++
		}
		if _, lower := split(list[n-1].addr); lower == 0 { // the whole upper half is in one range
			keys6, to6 = put(keys6, to6, upper, list[0].number)
		} else {
			first := len(r.lower)
			r.lower, r.lowerTo = append(r.lower, 0), append(r.lowerTo, last)
			for _, b := range list[:n] {
				if _, lower := split(b.addr); lower == 0 {
					r.lowerTo[first] = b.number
				} else {
					r.lower, r.lowerTo = append(r.lower, lower), append(r.lowerTo, b.number)
				}
			}
			keys6, to6 = put(keys6, to6, upper, isHalf|uint32(len(r.halves)))
			r.halves = append(r.halves, half{uint32(first), uint32(len(r.lower))})
			if upper+1 != 0 {
				keys6, to6 = append(keys6, upper+1), append(to6, list[n-1].number)
			}
		}
		last, list = list[n-1].number, list[n:]
	}
	r.ipv6 = newSearchTree(keys6, to6)
	r.unsorted = [2][]begin{}
}

// put adds a key, or gives the last one another number if that is the same.
func put[K uint32 | uint64](keys []K, numbers []uint32, key K, number uint32) ([]K, []uint32) {
	if n := len(keys); keys[n-1] == key {
		numbers[n-1] = number
		return keys, numbers
	}
	return append(keys, key), append(numbers, number)
}

// split returns the halves of an IPv6 address.
func split(a netip.Addr) (upper, lower uint64) {
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
}

// key returns what an address is sought by.
func key(a *packet.Addr, f packet.Family) uint64 {
	if f == packet.IPv4 {
		return uint64(binary.BigEndian.Uint32(a[:4]))
	}
	return binary.BigEndian.Uint64(a[:8])
}

// len returns how many ranges there are, about.
func (r *addressRanges) len() int {
	return leafKeys*(len(r.ipv4.leaves)+2*len(r.ipv6.leaves)) + 2*len(r.lower)
}

// seekAll stores the place of each address, by its key, and has fetched what find will read there.
func (r *addressRanges) seekAll(f packet.Family, keys []uint64, places []uint32) {
	if f == packet.IPv4 {
		r.ipv4.seekAll(keys, places)
	} else {
		r.ipv6.seekAll(keys, places)
	}
}

// seek returns the place of an address, for find. It reads only what searches for all addresses read: whoever looks for two
// addresses seeks both before it finds one, so that it waits for memory once.
func (r *addressRanges) seek(a *packet.Addr, f packet.Family) int {
	if f == packet.IPv4 {
		return r.ipv4.seek(binary.BigEndian.Uint32(a[:4]))
	}
	return r.ipv6.seek(binary.BigEndian.Uint64(a[:8]))
}

// find returns the number of an address.
func (r *addressRanges) find(a *packet.Addr, f packet.Family, place int) uint32 {
	if f == packet.IPv4 {
		return r.ipv4.find(binary.BigEndian.Uint32(a[:4]), place)
	}
	n := r.ipv6.find(binary.BigEndian.Uint64(a[:8]), place)
	if n&isHalf == 0 {
		return n
	}
	h := r.halves[n&^isHalf]
	i, exact := slices.BinarySearch(r.lower[h.lo:h.hi], binary.BigEndian.Uint64(a[8:]))
	if !exact {
		i--
	}
	return r.lowerTo[int(h.lo)+i]
}

// searchTree maps ranges of keys to values. A range begins at a key and ends before the next; the first key is 0. Its nodes
// are one or two cache lines, and values lie beside their keys: a search among 100,000 IPv4 addresses reads five lines, of
// which all but the last are few and stay in the cache.
type searchTree[K uint32 | uint64] struct {
	levels [][]K // from the root; a level has the first key of each node or leaf of the next, nodeKeys to a node
	leaves []leaf[K]
}

// nodeKeys is how many keys a node has. The last node of a level is filled up with the largest key there is.
const nodeKeys = 16

// leaf is up to eight ranges. The last leaf is filled up with the largest key there is, and the value of the last range.
type leaf[K uint32 | uint64] struct {
	begins [leafKeys]K
	values [leafKeys]uint32
}

const leafKeys = 8

// newSearchTree returns the tree of sorted keys, each with the value beside it.
func newSearchTree[K uint32 | uint64](keys []K, values []uint32) searchTree[K] {
	t := searchTree[K]{leaves: hugepage.Make[leaf[K]]((len(keys) + leafKeys - 1) / leafKeys)}
	var firsts []K // keys of the leaves, then of the nodes of each level
	for i := range t.leaves {
		l := &t.leaves[i]
		n := copy(l.begins[:], keys[i*leafKeys:])
		copy(l.values[:], values[i*leafKeys:])
		for ; n < leafKeys; n++ {
			l.begins[n], l.values[n] = ^K(0), values[len(values)-1]
		}
		firsts = append(firsts, l.begins[0])
	}
	for len(firsts) > 1 {
		level := make([]K, (len(firsts)+nodeKeys-1)/nodeKeys*nodeKeys)
		for i := copy(level, firsts); i < len(level); i++ {
			level[i] = ^K(0)
		}
		t.levels = append(t.levels, level)
		firsts = nil
		for i := 0; i < len(level); i += nodeKeys {
			firsts = append(firsts, level[i])
		}
	}
	slices.Reverse(t.levels)
	return t
}

// seek returns which leaf the key is in.
func (t *searchTree[K]) seek(key K) int {
	at := 0
	for _, level := range t.levels {
		at = min(at, len(level)/nodeKeys-1) // the largest key is behind what nodes are filled up with
		node := (*[nodeKeys]K)(level[at*nodeKeys:])
		i := step(node[8], 0, 8, key)
		i = step(node[(i+4)&(nodeKeys-1)], i, 4, key)
		i = step(node[(i+2)&(nodeKeys-1)], i, 2, key)
		i = step(node[(i+1)&(nodeKeys-1)], i, 1, key)
		at = at*nodeKeys + i
	}
	return min(at, len(t.leaves)-1)
}

// seekAll stores which leaves the keys are in, as seek returns them, and has the leaves fetched. It goes down level by level:
// the searches do not wait for each other, so that a processor does several at once.
func (t *searchTree[K]) seekAll(keys []uint64, places []uint32) {
	clear(places)
	for _, level := range t.levels {
		last := len(level)/nodeKeys - 1
		for i := range places {
			key, at := K(keys[i]), min(int(places[i]), last)
			node := (*[nodeKeys]K)(level[at*nodeKeys:])
			n := step(node[8], 0, 8, key)
			n = step(node[(n+4)&(nodeKeys-1)], n, 4, key)
			n = step(node[(n+2)&(nodeKeys-1)], n, 2, key)
			n = step(node[(n+1)&(nodeKeys-1)], n, 1, key)
			places[i] = uint32(at*nodeKeys + n)
		}
	}
	last := uint32(len(t.leaves) - 1)
	for i := range places {
		places[i] = min(places[i], last)
	}
	prefetch.Elements(t.leaves, places)
}

// find returns the value of the range that the key is in.
func (t *searchTree[K]) find(key K, at int) uint32 {
	l := &t.leaves[at]
	i := step(l.begins[4], 0, 4, key)
	i = step(l.begins[(i+2)&(leafKeys-1)], i, 2, key)
	i = step(l.begins[(i+1)&(leafKeys-1)], i, 1, key)
	return l.values[i&(leafKeys-1)]
}

// step returns i + n if the key there is not greater, i otherwise. It is made without a branch, which a processor could not
// predict.
func step[K uint32 | uint64](there K, i, n int, key K) int {
	_, greater := bits.Sub64(uint64(key), uint64(there), 0)
	return i + n*int(1-greater)
}

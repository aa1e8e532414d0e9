package policydeny

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/rtflow/pipelined/core/packet"
)

// addressRanges maps every address to a number. The addresses of each family are cut into ranges, of which only the first
// address is kept, and the range of an address is the last one that begins at or before it. It is immutable after finish.
type addressRanges struct {
	ipv4 searchTree[uint32]
	ipv6 searchTree[uint64] // by the upper halves of addresses
	to4  []uint32           // numbers, by place in ipv4
	to6  []uint32           // the same by place in ipv6; with isHalf the place in halves of addresses that have this upper half

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
	keys4 := []uint32{0}
	r.to4 = []uint32{0}
	for _, b := range r.unsorted[0] {
		a := b.addr.As4()
		keys4, r.to4 = put(keys4, r.to4, binary.BigEndian.Uint32(a[:]), b.number)
	}
	r.ipv4 = newSearchTree(keys4)

	keys6 := []uint64{0}
	r.to6 = []uint32{0}
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
			keys6, r.to6 = put(keys6, r.to6, upper, list[0].number)
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
			keys6, r.to6 = put(keys6, r.to6, upper, isHalf|uint32(len(r.halves)))
			r.halves = append(r.halves, half{uint32(first), uint32(len(r.lower))})
			if upper+1 != 0 {
				keys6, r.to6 = append(keys6, upper+1), append(r.to6, list[n-1].number)
			}
		}
		last, list = list[n-1].number, list[n:]
	}
	r.ipv6 = newSearchTree(keys6)
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

// find returns the number of an address.
func (r *addressRanges) find(a *packet.Addr, f packet.Family) uint32 {
	if f == packet.IPv4 {
		return r.to4[r.ipv4.find(binary.BigEndian.Uint32(a[:4]))]
	}
	n := r.to6[r.ipv6.find(binary.BigEndian.Uint64(a[:8]))]
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

// searchTree finds the last key of a sorted list that is not greater than another. Its nodes are one or two cache lines of
// keys, so that a search among a million keys reads five of them. The first key is 0.
type searchTree[K uint32 | uint64] struct {
	levels [][]K // from the root to all keys; a level has the first key of each node of the next
	keys   int
}

// nodeKeys is how many keys a node has. The last node of a level is filled up with the largest key there is.
const nodeKeys = 16

func newSearchTree[K uint32 | uint64](keys []K) searchTree[K] {
	t := searchTree[K]{keys: len(keys)}
	for {
		level := make([]K, (len(keys)+nodeKeys-1)/nodeKeys*nodeKeys)
		for i := copy(level, keys); i < len(level); i++ {
			level[i] = ^K(0)
		}
		t.levels = append(t.levels, level)
		if len(level) == nodeKeys {
			slices.Reverse(t.levels)
			return t
		}
		keys = nil
		for i := 0; i < len(level); i += nodeKeys {
			keys = append(keys, level[i])
		}
	}
}

// find returns the place of the key.
func (t *searchTree[K]) find(key K) int {
	at := 0
	for _, level := range t.levels {
		at = min(at, len(level)/nodeKeys-1) // the largest key is behind what nodes are filled up with
		node := (*[nodeKeys]K)(level[at*nodeKeys:])
		i := step(node, 0, 8, key)
		i = step(node, i, 4, key)
		i = step(node, i, 2, key)
		i = step(node, i, 1, key)
		at = at*nodeKeys + i
	}
	return min(at, t.keys-1)
}

// step returns i + n if the key there is not greater, i otherwise. It is made without a branch, which a processor could not
// predict.
func step[K uint32 | uint64](node *[nodeKeys]K, i, n int, key K) int {
	_, greater := bits.Sub64(uint64(key), uint64(node[(i+n)&(nodeKeys-1)]), 0)
	return i + n*int(1-greater)
}

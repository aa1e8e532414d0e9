package policydeny

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"sort"

	"go4.org/netipx"

	"github.com/rtflow/pipelined/core/packet"
)

// condition is what a label of an address stands for: one of the set's addresses, or, if excluded, none of them but of
// one of the families.
type condition struct {
	set      *set
	excluded bool
	families families
}

// addressLabels gives the labels of an address: the numbers of the conditions that it meets. One search for the range that
// the address is in finds them, however many there are. It is immutable.
type addressLabels struct {
	ranges  addressRanges // to places in pool, or to a label and isLabel
	pool    []uint32      // rows
	usual   [2][]uint32   // of each family: the exclusions, met unless a row says otherwise, and what all addresses meet
	longest int           // number of labels that an address can have
}

// A row is what the addresses of some ranges have in common, as part of addressLabels.pool: how many labels they have, of
// how many exclusions they are, the labels in order, and the exclusions, which are conditions not met, in order. The row at 0
// is that of addresses in no prefix. One label without exclusions, which is what most addresses of a large rule base have,
// needs no row: ranges map to the label itself.

// isLabel marks a label that ranges map to. Labels and places in the pool are smaller.
const isLabel = 1 << 30

func (a *addressLabels) row(at uint32) (labels, except []uint32) {
	row := a.pool[at:]
	n, m := row[0], row[1]
	return row[2 : 2+n : 2+n], row[2+n : 2+n+m]
}

// newAddressLabels numbers the conditions by their place in the list.
func newAddressLabels(conditions []condition) *addressLabels {
	a := &addressLabels{pool: []uint32{0, 0}}
	// An atom is a set's own prefixes. An address is in an atom as a whole or not at all, so what a set of atoms means for
	// the conditions is found once and not for each prefix.
	// Most conditions are a prefix: room for one each is about what is needed.
	type placed struct {
		prefix netip.Prefix
		atom   int
	}
	atoms, means, all := make(map[*set]int, len(conditions)), make([]meaning, 0, len(conditions)), make([]placed, 0, len(conditions))
	for label, c := range conditions {
		if whole := !c.excluded && c.set.whole(); whole || c.excluded {
			for i, family := range [...]families{hasIPv4, hasIPv6} {
				if whole && c.set.families&family != 0 || c.excluded && c.families&family != 0 {
					a.usual[i] = append(a.usual[i], uint32(label))
				}
			}
			if whole {
				continue
			}
		}
		c.set.walk(func(part *set) {
			if len(part.prefixes) == 0 {
				return
			}
			atom, known := atoms[part]
			if !known {
				atom = len(means)
				atoms[part] = atom
				means = append(means, meaning{})
				all = slices.Grow(all, len(part.prefixes))
				for _, p := range part.prefixes {
					all = append(all, placed{p, atom})
				}
			}
			m := &means[atom]
			if c.excluded {
				m.except = append(m.except, uint32(label))
			} else {
				m.labels = append(m.labels, uint32(label))
			}
		})
	}

	// Outer prefixes come before those within them: a stack holds the prefixes around the present one.
	slices.SortFunc(all, func(x, y placed) int {
		return cmp.Or(x.prefix.Addr().Compare(y.prefix.Addr()), cmp.Compare(x.prefix.Bits(), y.prefix.Bits()), cmp.Compare(x.atom, y.atom))
	})
	ipv4 := sort.Search(len(all), func(i int) bool { return all[i].prefix.Addr().Is6() })
	a.ranges.reserve(2*ipv4, 2*(len(all)-ipv4)) // each prefix begins a range, and another one begins behind it
	type around struct {
		prefix netip.Prefix
		atoms  []int
		row    uint32
	}
	var stack []around
	leave := func() { // the innermost prefix ends
		last := stack[len(stack)-1].prefix
		stack = stack[:len(stack)-1]
		row := uint32(0)
		if len(stack) > 0 {
			row = stack[len(stack)-1].row
		}
		if next := netipx.PrefixLastIP(last).Next(); next.IsValid() {
			a.ranges.add(next, row)
		}
	}
	rows := rowMaker{labels: a, means: means, single: make([]uint32, len(means)), several: make(map[string]uint32)}
	for i := 0; i < len(all); {
		p := all[i].prefix
		for len(stack) > 0 && !stack[len(stack)-1].prefix.Contains(p.Addr()) {
			leave()
		}
		var in []int
		if len(stack) > 0 {
			in = slices.Clone(stack[len(stack)-1].atoms)
		}
		for ; i < len(all) && all[i].prefix == p; i++ {
			in = append(in, all[i].atom)
		}
		slices.Sort(in)
		in = slices.Compact(in)
		row := rows.place(in)
		stack = append(stack, around{p, in, row})
		a.ranges.add(p.Addr(), row)
	}
	for len(stack) > 0 {
		leave()
	}
	a.ranges.finish()
	a.longest += max(len(a.usual[0]), len(a.usual[1]))
	return a
}

// meaning is what an address in an atom has of the conditions: those it meets, and the exclusions it does not.
type meaning struct{ labels, except []uint32 }

// rowMaker makes each different row once.
type rowMaker struct {
	labels  *addressLabels
	means   []meaning         // by atom
	single  []uint32          // places of addresses in one atom, by atom; 0 = not made
	several map[string]uint32 // of those in more
	key     []byte
	all     meaning
}

// place returns what ranges of addresses that are in these atoms map to.
func (m *rowMaker) place(atoms []int) uint32 {
	if len(atoms) == 1 {
		at := &m.single[atoms[0]]
		if *at == 0 {
			*at = m.make(atoms)
		}
		return *at
	}
	m.key = m.key[:0]
	for _, a := range atoms {
		m.key = binary.NativeEndian.AppendUint32(m.key, uint32(a))
	}
	at, ok := m.several[string(m.key)]
	if !ok {
		at = m.make(atoms)
		m.several[string(m.key)] = at
	}
	return at
}

// make makes the row of addresses that are in these atoms, if they need one, and returns its place.
func (m *rowMaker) make(atoms []int) uint32 {
	m.all.labels, m.all.except = m.all.labels[:0], m.all.except[:0]
	for _, a := range atoms {
		m.all.labels = append(m.all.labels, m.means[a].labels...)
		m.all.except = append(m.all.except, m.means[a].except...)
	}
	labels, except := sortedOnce(m.all.labels), sortedOnce(m.all.except)
	l := m.labels
	l.longest = max(l.longest, len(labels))
	if len(labels) == 1 && len(except) == 0 {
		return isLabel | labels[0]
	}
	at := uint32(len(l.pool))
	l.pool = append(l.pool, uint32(len(labels)), uint32(len(except)))
	l.pool = append(append(l.pool, labels...), except...)
	return at
}

// sortedOnce sorts a list in place and returns it with each number once.
func sortedOnce(list []uint32) []uint32 {
	slices.Sort(list)
	return slices.Compact(list)
}

// of returns the labels of an address, which ranges map to at. scratch has room for a.longest of them, and the result may be
// part of it.
func (a *addressLabels) of(at uint32, f packet.Family, scratch []uint32) []uint32 {
	usual := a.usual[familyIndex(f)]
	if at&isLabel != 0 {
		return append(append(scratch[:0], usual...), at&^isLabel)
	}
	met, except := a.row(at)
	if len(usual) == 0 {
		return met
	}
	labels := append(scratch[:0], met...)
	for _, label := range usual {
		for len(except) > 0 && except[0] < label {
			except = except[1:]
		}
		if len(except) == 0 || except[0] != label {
			labels = append(labels, label)
		}
	}
	return labels
}

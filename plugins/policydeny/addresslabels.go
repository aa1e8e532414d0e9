package policydeny

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

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
	ranges   addressRanges // to places in pool
	pool     []uint32      // rows
	excluded [2][]uint32   // the exclusions of each family: met unless a row says otherwise
	longest  int           // number of labels that an address can have
}

// A row is what the addresses of some ranges have in common, as part of addressLabels.pool: how many labels they have, of
// how many exclusions they are, the labels in order, and the exclusions, which are conditions not met, in order. The row at 0
// is that of addresses in no prefix.

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
	atoms := make(map[*set]int)
	var means []meaning
	type placed struct {
		prefix netip.Prefix
		atom   int
	}
	var all []placed
	for label, c := range conditions {
		c.set.walk(func(part *set) {
			if len(part.prefixes) == 0 {
				return
			}
			atom, known := atoms[part]
			if !known {
				atom = len(means)
				atoms[part] = atom
				means = append(means, meaning{})
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
		if c.excluded && c.families&hasIPv4 != 0 {
			a.excluded[0] = append(a.excluded[0], uint32(label))
		}
		if c.excluded && c.families&hasIPv6 != 0 {
			a.excluded[1] = append(a.excluded[1], uint32(label))
		}
	}

	// Outer prefixes come before those within them: a stack holds the prefixes around the present one.
	slices.SortFunc(all, func(x, y placed) int {
		return cmp.Or(x.prefix.Addr().Compare(y.prefix.Addr()), cmp.Compare(x.prefix.Bits(), y.prefix.Bits()), cmp.Compare(x.atom, y.atom))
	})
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
	rows := rowMaker{labels: a, means: means, seen: make(map[string]uint32)}
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
	a.longest += max(len(a.excluded[0]), len(a.excluded[1]))
	return a
}

// meaning is what an address in an atom has of the conditions: those it meets, and the exclusions it does not.
type meaning struct{ labels, except []uint32 }

// rowMaker makes each different row once.
type rowMaker struct {
	labels *addressLabels
	means  []meaning // by atom
	seen   map[string]uint32
	key    []byte
	all    meaning
}

// place returns where in the pool the row of addresses that are in these atoms is.
func (m *rowMaker) place(atoms []int) uint32 {
	m.key = m.key[:0]
	for _, a := range atoms {
		m.key = binary.NativeEndian.AppendUint32(m.key, uint32(a))
	}
	if at, ok := m.seen[string(m.key)]; ok {
		return at
	}
	m.all.labels, m.all.except = m.all.labels[:0], m.all.except[:0]
	for _, a := range atoms {
		m.all.labels = append(m.all.labels, m.means[a].labels...)
		m.all.except = append(m.all.except, m.means[a].except...)
	}
	labels, except := sortedOnce(m.all.labels), sortedOnce(m.all.except)
	l := m.labels
	at := uint32(len(l.pool))
	l.pool = append(l.pool, uint32(len(labels)), uint32(len(except)))
	l.pool = append(append(l.pool, labels...), except...)
	l.longest = max(l.longest, len(labels))
	m.seen[string(m.key)] = at
	return at
}

// sortedOnce sorts a list in place and returns it with each number once.
func sortedOnce(list []uint32) []uint32 {
	slices.Sort(list)
	return slices.Compact(list)
}

// of returns the labels of an address. scratch has room for a.longest of them; the result may be part of it.
func (a *addressLabels) of(addr *packet.Addr, f packet.Family, scratch []uint32) []uint32 {
	met, except := a.row(a.ranges.find(addr, f))
	excluded := a.excluded[familyIndex(f)]
	if len(excluded) == 0 {
		return met
	}
	labels := append(scratch[:0], met...)
	for _, label := range excluded {
		for len(except) > 0 && except[0] < label {
			except = except[1:]
		}
		if len(except) == 0 || except[0] != label {
			labels = append(labels, label)
		}
	}
	return labels
}

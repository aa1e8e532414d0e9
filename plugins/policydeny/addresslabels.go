package policydeny

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"

	"github.com/rtflow/pipelined/core/packet"
)

// condition is what a label of an address stands for: one of the set's addresses, or, if excluded, none of them but of
// one of the families.
type condition struct {
	set      *set
	excluded bool
	families families
}

// addressLabels gives the labels of an address: the numbers of the conditions that it meets. One lookup of the longest
// prefix finds them, however many there are.
type addressLabels struct {
	prefixes bart.Table[addressRow]
	pool     []uint32    // labels of all rows
	excluded [2][]uint32 // the exclusions of each family: met unless a row says otherwise
	longest  int         // number of labels that an address can have
}

// addressRow is what the addresses of some prefixes have in common. The zero row is that of an address in no prefix.
type addressRow struct {
	labels span // conditions met, in order; exclusions are not among them
	except span // exclusions that are not met, in order
}

// span is a part of addressLabels.pool.
type span struct{ lo, hi uint32 }

func (a *addressLabels) pooled(s span) []uint32 { return a.pool[s.lo:s.hi:s.hi] }

// familyIndex is the place of a family in addressLabels.excluded.
func familyIndex(f packet.Family) int {
	if f == packet.IPv4 {
		return 0
	}
	return 1
}

// newAddressLabels numbers the conditions by their place in the list.
func newAddressLabels(conditions []condition) *addressLabels {
	a := &addressLabels{}
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
	}
	var stack []around
	rows := rowMaker{labels: a, means: means, seen: make(map[string]addressRow)}
	for i := 0; i < len(all); {
		p := all[i].prefix
		for len(stack) > 0 && !stack[len(stack)-1].prefix.Contains(p.Addr()) {
			stack = stack[:len(stack)-1]
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
		stack = append(stack, around{p, in})
		a.prefixes.Insert(p, rows.place(in))
	}
	for _, r := range rows.seen {
		a.longest = max(a.longest, int(r.labels.hi-r.labels.lo))
	}
	a.longest += max(len(a.excluded[0]), len(a.excluded[1]))
	return a
}

// meaning is what an address in an atom has of the conditions: those it meets, and the exclusions it does not.
type meaning struct{ labels, except []uint32 }

// rowMaker makes each different row once.
type rowMaker struct {
	labels *addressLabels
	means  []meaning // by atom
	seen   map[string]addressRow
	key    []byte
}

// place returns the row of addresses that are in these atoms.
func (m *rowMaker) place(atoms []int) addressRow {
	m.key = m.key[:0]
	for _, a := range atoms {
		m.key = binary.NativeEndian.AppendUint32(m.key, uint32(a))
	}
	if row, ok := m.seen[string(m.key)]; ok {
		return row
	}
	var all meaning
	for _, a := range atoms {
		all.labels = append(all.labels, m.means[a].labels...)
		all.except = append(all.except, m.means[a].except...)
	}
	row := addressRow{m.pool(all.labels), m.pool(all.except)}
	m.seen[string(m.key)] = row
	return row
}

// pool adds labels to the pool, in order and each once.
func (m *rowMaker) pool(labels []uint32) span {
	slices.Sort(labels)
	lo := len(m.labels.pool)
	m.labels.pool = append(m.labels.pool, slices.Compact(labels)...)
	return span{uint32(lo), uint32(len(m.labels.pool))}
}

// of returns the labels of an address. scratch has room for a.longest of them; the result may be part of it.
func (a *addressLabels) of(addr *packet.Addr, f packet.Family, scratch []uint32) []uint32 {
	row, _ := a.prefixes.Lookup(addr.Netip(f))
	met := a.pooled(row.labels)
	excluded := a.excluded[familyIndex(f)]
	if len(excluded) == 0 {
		return met
	}
	labels, except := append(scratch[:0], met...), a.pooled(row.except)
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

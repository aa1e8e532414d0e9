package filterlog

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
)

// condition is what one term wants of a field: a value in one of the spans.
type condition struct {
	term  int
	spans []span
}

// anyOf is a condition for one of the spans, in any order.
func anyOf(term int, spans []span) condition { return condition{term, merge(spans)} }

// noneOf is a condition for a value up to most that is in none of the spans.
func noneOf(term int, spans []span, most uint32) condition {
	var rest []span
	next := uint32(0)
	for _, s := range merge(spans) {
		if s.lo > next {
			rest = append(rest, span{next, s.lo - 1})
		}
		next = s.hi + 1
	}
	if next <= most {
		rest = append(rest, span{next, most})
	}
	return condition{term, rest}
}

// merge sorts spans and joins those that touch.
func merge(spans []span) []span {
	sorted := slices.SortedFunc(slices.Values(spans), func(a, b span) int { return cmp.Compare(a.lo, b.lo) })
	var merged []span
	for _, s := range sorted {
		if n := len(merged); n > 0 && s.lo <= merged[n-1].hi+1 {
			merged[n-1].hi = max(merged[n-1].hi, s.hi)
			continue
		}
		merged = append(merged, s)
	}
	return merged
}

// table gives for each value of a field the terms that agree with it, as a row of bits.
type table struct {
	care []uint64 // terms with a condition on the field
	row  []uint32 // by value: where its row begins
	bits []uint64
}

// newTable builds the table for a field with that many values. words is how many words a row has. It is nil if there are
// no conditions.
func newTable(values uint32, words int, conditions []condition) *table {
	if len(conditions) == 0 {
		return nil
	}
	t := &table{care: make([]uint64, words), row: make([]uint32, values)}

	// The row can change only where a span begins or has ended.
	begins := []uint32{0}
	for _, c := range conditions {
		t.care[c.term/64] |= 1 << (c.term % 64)
		for _, s := range c.spans {
			begins = append(begins, s.lo)
			if s.hi+1 < values {
				begins = append(begins, s.hi+1)
			}
		}
	}
	slices.Sort(begins)
	begins = slices.Compact(begins)

	rows := newRows(words)
	all := make([][]uint64, len(begins))
	for i := range all {
		all[i] = rows.full()
	}
	for _, c := range conditions {
		n := 0
		for i, v := range begins {
			for n < len(c.spans) && c.spans[n].hi < v {
				n++
			}
			if n == len(c.spans) || v < c.spans[n].lo {
				all[i][c.term/64] &^= 1 << (c.term % 64)
			}
		}
	}
	for i, v := range begins {
		end := values
		if i+1 < len(begins) {
			end = begins[i+1]
		}
		at := rows.place(all[i])
		for ; v < end; v++ {
			t.row[v] = at
		}
	}
	t.bits = rows.bits
	return t
}

// careOf returns word w of the terms with a condition on the field; t may be nil.
func (t *table) careOf(w int) uint64 {
	if t == nil {
		return 0
	}
	return t.care[w]
}

// agree returns word w of the row of a value.
func (t *table) agree(value uint32, w int) uint64 { return t.bits[int(t.row[value])+w] }

// rows collects rows of bits and keeps equal ones once.
type rows struct {
	words int
	bits  []uint64
	seen  map[string]uint32
	key   []byte
}

func newRows(words int) *rows { return &rows{words: words, seen: make(map[string]uint32)} }

// full returns a row with which all terms agree.
func (r *rows) full() []uint64 { return slices.Repeat([]uint64{math.MaxUint64}, r.words) }

// place returns where the row begins in bits.
func (r *rows) place(row []uint64) uint32 {
	r.key = r.key[:0]
	for _, w := range row {
		r.key = binary.NativeEndian.AppendUint64(r.key, w)
	}
	key := string(r.key)
	at, ok := r.seen[key]
	if !ok {
		at = uint32(len(r.bits))
		r.bits = append(r.bits, row...)
		r.seen[key] = at
	}
	return at
}

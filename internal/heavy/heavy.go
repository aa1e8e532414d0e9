// Package heavy finds the keys that come most often in a stream, in bounded memory, by the algorithm Space-Saving (Metwally, Agrawal and
// El Abbadi, 2005), and forgets what is older than a window.
//
// A count is never too low, and too high by at most the error that stands beside it. A key that makes up more of the stream than one in
// as many as a sketch has places is always found.
package heavy

import (
	"cmp"
	"container/heap"
	"slices"
)

// Entry is a key and how often it came. The true number is at least Count - Error, and at most Count.
type Entry[K comparable, V any] struct {
	Key          K
	Value        V // that came with it last; the zero value if none did
	Count, Error uint64
}

// Sketch counts the keys of a stream. It is for one goroutine.
type Sketch[K comparable, V any] struct {
	places int
	byKey  map[K]*place[K, V]
	least  places[K, V] // a heap by count
	total  uint64
}

type place[K comparable, V any] struct {
	Entry[K, V]

	index  int // in the heap
	valued bool
}

// New returns a sketch that holds so many keys, at least one.
func New[K comparable, V any](n int) *Sketch[K, V] {
	return &Sketch[K, V]{places: max(n, 1), byKey: make(map[K]*place[K, V])}
}

// Add counts a key once. Where there is no place for it, it takes that of the key with the lowest count, which it may have been.
//
// A value that is not nil takes the place of the one that the key had.
func (s *Sketch[K, V]) Add(key K, value *V) {
	s.total++
	p := s.byKey[key]
	switch {
	case p != nil:
		p.Count++
	case len(s.least) < s.places:
		p = &place[K, V]{Entry: Entry[K, V]{Key: key, Count: 1}}
		s.byKey[key] = p
		heap.Push(&s.least, p)
	default:
		p = s.least[0]
		delete(s.byKey, p.Key)
		s.byKey[key] = p
		p.Entry, p.valued = Entry[K, V]{Key: key, Count: p.Count + 1, Error: p.Count}, false
	}
	if value != nil {
		p.Value, p.valued = *value, true
	}
	heap.Fix(&s.least, p.index)
}

// unknown is how often a key at most came that has no place.
func (s *Sketch[K, V]) unknown() uint64 {
	if len(s.least) < s.places {
		return 0
	}
	return s.least[0].Count
}

// places is a heap, the lowest count first.
type places[K comparable, V any] []*place[K, V]

func (p places[K, V]) Len() int           { return len(p) }
func (p places[K, V]) Less(i, j int) bool { return p[i].Count < p[j].Count }
func (p places[K, V]) Swap(i, j int) {
	p[i], p[j] = p[j], p[i]
	p[i].index, p[j].index = i, j
}

// Push is of [heap.Interface].
func (p *places[K, V]) Push(x any) {
	e := x.(*place[K, V])
	e.index = len(*p)
	*p = append(*p, e)
}

// Pop is of [heap.Interface]. Nothing is ever popped.
func (p *places[K, V]) Pop() any { panic("heavy: a place is never taken away") }

// Window counts what came lately: in the newest part of time, and in some parts before it. It is for one goroutine.
type Window[K comparable, V any] struct {
	places int
	parts  []*Sketch[K, V] // the newest first
	most   int
}

// NewWindow returns a window of so many parts, each with so many places.
func NewWindow[K comparable, V any](parts, n int) *Window[K, V] {
	return &Window[K, V]{places: n, parts: []*Sketch[K, V]{New[K, V](n)}, most: parts}
}

// Add counts a key in the newest part, see [Sketch.Add].
func (w *Window[K, V]) Add(key K, value *V) { w.parts[0].Add(key, value) }

// Turn begins a new part, and forgets the oldest if they are too many.
func (w *Window[K, V]) Turn() {
	w.parts = slices.Insert(w.parts, 0, New[K, V](w.places))
	w.parts = w.parts[:min(len(w.parts), w.most)]
}

// Total returns how many keys came, each as often as it did.
func (w *Window[K, V]) Total() (n uint64) {
	for _, s := range w.parts {
		n += s.total
	}
	return n
}

// Top returns the n keys that came most often, those with the highest counts first.
func (w *Window[K, V]) Top(n int) []Entry[K, V] {
	sum, valued := make(map[K]Entry[K, V]), make(map[K]bool)
	for _, s := range w.parts {
		for key, p := range s.byKey {
			if _, ok := sum[key]; !ok {
				sum[key] = Entry[K, V]{Key: key}
			}
			if e := sum[key]; p.valued && !valued[key] {
				e.Value = p.Value
				sum[key], valued[key] = e, true
			}
		}
	}
	list := make([]Entry[K, V], 0, len(sum))
	for key, e := range sum {
		for _, s := range w.parts {
			if p := s.byKey[key]; p != nil {
				e.Count += p.Count
				e.Error += p.Error
			} else {
				e.Count += s.unknown()
				e.Error += s.unknown()
			}
		}
		list = append(list, e)
	}
	// Of two with the same count, the one that is surer.
	slices.SortFunc(list, func(a, b Entry[K, V]) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Error, b.Error))
	})
	return list[:min(n, len(list))]
}

// Package tally holds counters that one goroutine writes and any goroutine reads.
//
// The writer needs no atomic addition: it loads and stores. Who counts something for every packet counts in plain words
// and publishes them once per batch with [Publish].
package tally

import "sync/atomic"

// Number is a counter. Add and Set are called by one goroutine only, Load by any.
type Number struct{ n atomic.Uint64 }

// Add adds to the counter.
func (n *Number) Add(delta uint64) { n.n.Store(n.n.Load() + delta) }

// Set gives the counter a value. A value that has not changed is not stored: a store to memory that others read costs more
// than a load.
func (n *Number) Set(v uint64) {
	if n.n.Load() != v {
		n.n.Store(v)
	}
}

// Load returns the value.
func (n *Number) Load() uint64 { return n.n.Load() }

// Publish sets each number to the value of the same index.
func Publish(to []Number, from []uint64) {
	for i, v := range from {
		to[i].Set(v)
	}
}

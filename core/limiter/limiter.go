// Package limiter is the admission limiter: GCRA, one bucket, and the table of buckets by (class, zone).
//
// What lives here: the arithmetic of the generic cell rate algorithm (ITU-T I.371 Annex A, virtual scheduling) on one
// atomic word. What never may: clocks (now is an argument), counters, events, and anything of ours.
package limiter

import (
	"fmt"
	"math"
	"sync/atomic"
)

// Rate is how many events a bucket lets through.
type Rate struct {
	PerSecond int64 // sustained, 1 to 1e9
	Burst     int64 // at once, 1 to 1e9
}

// params is a Rate in the units of the algorithm, nanoseconds.
type params struct {
	interval  int64 // emission interval, rounded up: a bucket never lets through more than its rate
	tolerance int64 // interval × (burst − 1)
}

func (r Rate) params() (params, error) {
	if r.PerSecond < 1 || r.PerSecond > 1e9 || r.Burst < 1 || r.Burst > 1e9 {
		return params{}, fmt.Errorf("limiter: rate %d/s with burst %d is outside 1 to 1e9", r.PerSecond, r.Burst)
	}
	interval := (int64(1e9) + r.PerSecond - 1) / r.PerSecond
	return params{interval: interval, tolerance: interval * (r.Burst - 1)}, nil
}

// bucket is one theoretical arrival time, alone on its cache lines so that two zones never slow each other down.
type bucket struct {
	tat atomic.Int64
	_   [120]byte
}

// allow decides on one event at now and moves the theoretical arrival time if it conforms. A refusal is one load and one
// compare and writes nothing.
func (b *bucket) allow(now int64, p params) bool {
	for {
		tat := b.tat.Load()
		if tat-now > p.tolerance {
			return false
		}
		if b.tat.CompareAndSwap(tat, max(tat, now)+p.interval) {
			return true
		}
	}
}

// Table holds one bucket per (class, zone), and per class one more for every zone it was not told of. Zones are
// addressed by slot, not by id: [Table.Slot] translates. It is safe for concurrent use.
type Table struct {
	slots   []uint16 // by zone id; 0 is the slot of unknown zones
	zones   int      // slots in use
	classes []params
	buckets []bucket // class × zones + slot
}

// MaxZones is the largest number of zones a table can tell apart.
const MaxZones = math.MaxUint16 - 1

// New builds a table with one class per rate and a bucket per zone id in zones.
func New(rates []Rate, zones []uint16) (*Table, error) {
	if len(zones) > MaxZones {
		return nil, fmt.Errorf("limiter: %d zones, at most %d", len(zones), MaxZones)
	}
	t := &Table{zones: 1}
	for _, id := range zones {
		for int(id) >= len(t.slots) {
			t.slots = append(t.slots, 0)
		}
		if id == 0 || t.slots[id] != 0 {
			return nil, fmt.Errorf("limiter: zone id %d is 0 or given twice", id)
		}
		t.slots[id] = uint16(t.zones)
		t.zones++
	}
	for _, r := range rates {
		p, err := r.params()
		if err != nil {
			return nil, err
		}
		t.classes = append(t.classes, p)
	}
	t.buckets = make([]bucket, len(rates)*t.zones)
	return t, nil
}

// Slots returns how many slots the table has per class, the one for unknown zones included.
func (t *Table) Slots() int { return t.zones }

// Slot returns the slot of a zone id; 0 for a zone the table was not told of.
func (t *Table) Slot(zone uint16) int {
	if int(zone) < len(t.slots) {
		return int(t.slots[zone])
	}
	return 0
}

// Allow decides on one event of the class in the zone of that slot at now, in nanoseconds on any clock that does not go
// back. Both must be in range.
func (t *Table) Allow(class, slot int, now int64) bool {
	return t.buckets[class*t.zones+slot].allow(now, t.classes[class])
}

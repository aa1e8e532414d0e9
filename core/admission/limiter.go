package admission

import (
	"fmt"
	"math"
	"slices"
	"sync/atomic"
)

// Rate is how many events a bucket lets through.
type Rate struct {
	PerSecond int64 // sustained, up to 1e9; 0: all of them
	Burst     int64 // at once, 1 to 1e9
}

// params is a Rate in the units of the algorithm, nanoseconds.
type params struct {
	interval  int64 // emission interval, rounded up: a bucket never lets through more than its rate; 0: no limit
	tolerance int64 // interval × (burst − 1)
	change    int64 // how often the rates were changed before; noLimit where there is none, so that no bucket has it
}

const noLimit = -1

func (r Rate) params() (params, error) {
	if r.PerSecond == 0 {
		return params{change: noLimit}, nil
	}
	if r.PerSecond < 1 || r.PerSecond > 1e9 || r.Burst < 1 || r.Burst > 1e9 {
		return params{}, fmt.Errorf("admission: rate %d/s with burst %d is outside 1 to 1e9 (a rate of 0 is no limit)", r.PerSecond, r.Burst)
	}
	interval := (int64(1e9) + r.PerSecond - 1) / r.PerSecond
	return params{interval: interval, tolerance: interval * (r.Burst - 1)}, nil
}

// above reports whether an event at now, in nanoseconds on any clock that does not go back, is above the rate of a bucket.
func (p *params) above(tat, now int64) bool { return tat-now > p.tolerance }

// next returns the theoretical arrival time of the event after one at now.
func (p *params) next(tat, now int64) int64 { return max(tat, now) + p.interval }

// bucket is one theoretical arrival time, alone on its cache lines so that two zones never slow each other down.
type bucket struct {
	tat    atomic.Int64
	change atomic.Int64 // of the rate that it was used with last
	_      [112]byte
}

// allow decides on one event at now and moves the theoretical arrival time if it conforms. A refusal writes nothing.
func (b *bucket) allow(now int64, p *params) bool {
	if p.interval == 0 {
		return true
	}
	b.renew(now, p)
	for {
		tat := b.tat.Load()
		if p.above(tat, now) {
			return false
		}
		if b.tat.CompareAndSwap(tat, p.next(tat, now)) {
			return true
		}
	}
}

// renew goes over to another rate, if it is another.
func (b *bucket) renew(now int64, p *params) {
	if change := b.change.Load(); change != p.change && b.change.CompareAndSwap(change, p.change) {
		b.forgive(now + p.tolerance)
	}
}

// forgive moves the theoretical arrival time back to what a new rate allows at most: what was let through at the old rate must not
// keep the bucket closed for as long as that would have.
func (b *bucket) forgive(latest int64) {
	for {
		tat := b.tat.Load()
		if tat <= latest || b.tat.CompareAndSwap(tat, latest) {
			return
		}
	}
}

// numClasses is how many rates a limiter has, see [Options.rates].
const numClasses = 4

// limiter holds one bucket per (class, zone), and per class one more for every zone it was not told of. Zones are
// addressed by slot, not by id: [limiter.slot] translates. It is safe for concurrent use, and its zones do not change.
type limiter struct {
	slotOf  []uint16 // by zone id; 0 is the slot of unknown zones
	zones   []uint16 // by slot; the first is 0
	rates   *rates
	buckets []*[numClasses]bucket // by slot
}

// rates are those of all classes, in all limiters that [limiter.with] makes of one.
type rates struct {
	params  atomic.Pointer[[numLimits]params] // by limit
	changes int64                             // calls of set
}

// maxZones is the largest number of zones a limiter can tell apart.
const maxZones = math.MaxUint16 - 1

// newLimiter builds a limiter with a bucket per class and zone id in zones.
func newLimiter(list [numClasses]Rate, zones []uint16) (*limiter, error) {
	t := &limiter{rates: new(rates)}
	if err := t.set(list); err != nil {
		return nil, err
	}
	return t.with(append([]uint16{0}, zones...))
}

// with returns a limiter with the same buckets, and those of more zones.
func (t *limiter) with(zones []uint16) (*limiter, error) {
	if len(t.zones)+len(zones) > maxZones+1 {
		return nil, fmt.Errorf("admission: %d zones, at most %d", len(t.zones)+len(zones)-1, maxZones)
	}
	next := &limiter{rates: t.rates, slotOf: slices.Clone(t.slotOf), zones: slices.Clone(t.zones), buckets: slices.Clone(t.buckets)}
	added := make([][numClasses]bucket, len(zones))
	for i := range added {
		next.buckets = append(next.buckets, &added[i])
	}
	for _, id := range zones {
		for int(id) >= len(next.slotOf) {
			next.slotOf = append(next.slotOf, 0)
		}
		if len(next.zones) > 0 && (id == 0 || next.slotOf[id] != 0) {
			return nil, fmt.Errorf("admission: zone id %d is 0 or given twice", id)
		}
		next.slotOf[id] = uint16(len(next.zones))
		next.zones = append(next.zones, id)
	}
	return next, nil
}

// set sets the rate of each class. A bucket that was full is full. Calls must not overlap.
func (t *limiter) set(list [numClasses]Rate) error {
	var all [numLimits]params
	for limit, class := range bucketOf {
		p, err := list[class].params()
		if err != nil {
			return err
		}
		if p.change != noLimit {
			p.change = t.rates.changes
		}
		all[limit] = p
	}
	t.rates.changes++
	t.rates.params.Store(&all)
	return nil
}

// slots returns how many slots the limiter has per class, the one for unknown zones included.
func (t *limiter) slots() int { return len(t.zones) }

// slot returns the slot of a zone id; 0 for a zone the limiter was not told of.
func (t *limiter) slot(zone uint16) int {
	if int(zone) < len(t.slotOf) {
		return int(t.slotOf[zone])
	}
	return 0
}

// bucket returns the bucket of a limit for the zone of that slot. It is the same in every limiter that [limiter.with] makes of this one.
func (t *limiter) bucket(limit, slot int) *bucket { return &t.buckets[slot][bucketOf[limit]] }

// of returns the rate of a limit.
func (r *rates) of(limit int) *params { return &r.params.Load()[limit] }

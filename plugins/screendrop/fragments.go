package screendrop

import (
	"sync"

	"github.com/rtflow/pipelined/core/packet"
)

const (
	// datagramSets is how many sets the table of fragmented datagrams has: 2,048 datagrams in 1.1 MiB.
	datagramSets = 512
	datagramWays = 4
	// maxPieces is how many fragments of one datagram are remembered: more than 64 KiB have at an MTU of 1,500.
	maxPieces = 64
	// datagramLife is the reassembly timeout of Linux, after which an id may be used again.
	datagramLife = int64(30e9)
)

// datagramTable remembers the fragments of datagrams that are not complete, to find those that overlap (RFC 1858, RFC
// 5722), for any number of workers at once. Each set has a lock: fragments are few, and the fragments of one datagram
// must be seen in some order.
//
// Memory is fixed. Where a set is full, a new datagram takes the place of one whose time is over, or else of the oldest.
type datagramTable struct {
	sets []datagramSet
}

type datagramSet struct {
	mu   sync.Mutex
	ways [datagramWays]datagram
}

// datagram is what is known of one. Offsets are in bytes of its data.
type datagram struct {
	key    uint64 // hash of its addresses, id, zone and, of IPv4, protocol; 0 = none
	since  int64  // when its first fragment came
	have   uint32 // bytes seen
	end    uint32 // its length, 0 = not known: the last fragment has not come
	n      int
	bad    bool // its fragments overlap
	pieces [maxPieces]piece
}

type piece struct{ from, to uint32 }

func newDatagramTable(sets int) *datagramTable {
	return &datagramTable{sets: make([]datagramSet, sets)}
}

// add notes a fragment of the datagram with hash h at now, in nanoseconds. The first fragment that overlaps with another, or
// contradicts the length that the last one gave the datagram, is crossed, and all others of that datagram after it are over.
// A fragment that comes twice is under.
func (t *datagramTable) add(h uint64, p *packet.Headers, now int64) outcome {
	if p.DataLen == 0 {
		return under
	}
	key := max(h, 1)
	set := &t.sets[key%uint64(len(t.sets))]
	set.mu.Lock()
	defer set.mu.Unlock()
	d := set.find(key, now)
	if d.bad {
		return over
	}
	f := piece{from: uint32(p.FragOff), to: uint32(p.FragOff) + p.DataLen}
	for _, old := range d.pieces[:d.n] {
		if old == f {
			return under
		}
		if f.from < old.to && old.from < f.to {
			d.bad = true
			return crossed
		}
	}
	last := p.IPFlags&packet.MoreFragments == 0
	if d.end != 0 && (last || f.to > d.end) || last && d.reaches(f.to) {
		d.bad = true
		return crossed
	}
	if last {
		d.end = f.to
	}
	if d.n < maxPieces {
		d.pieces[d.n] = f
		d.n++
		d.have += p.DataLen
	}
	if d.have == d.end {
		d.key = 0 // complete: its id may be used again
	}
	return under
}

// reaches reports whether a fragment ends behind end.
func (d *datagram) reaches(end uint32) bool {
	for _, f := range d.pieces[:d.n] {
		if f.to > end {
			return true
		}
	}
	return false
}

// find returns the datagram with that key, which may be a new one.
func (s *datagramSet) find(key uint64, now int64) *datagram {
	oldest := &s.ways[0]
	for i := range s.ways {
		d := &s.ways[i]
		alive := d.key != 0 && -datagramLife < now-d.since && now-d.since < datagramLife
		if alive && d.key == key {
			return d
		}
		if !alive {
			d.key = 0
		}
		if oldest.key != 0 && (d.key == 0 || d.since < oldest.since) {
			oldest = d
		}
	}
	oldest.key, oldest.since = key, now
	oldest.have, oldest.end, oldest.n, oldest.bad = 0, 0, 0, false
	return oldest
}

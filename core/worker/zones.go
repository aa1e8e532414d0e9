package worker

import (
	"iter"
	"sync/atomic"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/internal/tally"
)

// zoneCounts counts packets by the zone that they come from. One goroutine counts and publishes, any may read. In a batch each packet may
// come from another of many zones, and an atomic store for each would wait until memory that is in no near cache has come: what was
// counted is published when the worker has time, or after so many batches.
type zoneCounts struct {
	pending   []uint16 // by zone id: packets that are not published; small, so that those of thousands of zones stay in a near cache
	changed   []uint16 // zones that have such packets
	batches   int      // since the last publication
	published atomic.Pointer[[]tally.Number]
}

// zoneBatches is after how many full batches the counts of zones are published at the latest: a few milliseconds of a busy worker.
// A pending count has room for all their packets.
const zoneBatches = 512

// grow makes room for the zones of a table. Counts stay.
func (z *zoneCounts) grow(t *zone.Table) {
	highest := zone.Unknown
	if zones := t.Zones(); len(zones) > 0 {
		highest = int(zones[len(zones)-1].ID)
	}
	if highest < len(z.pending) {
		return
	}
	published := make([]tally.Number, highest+1)
	if former := z.published.Load(); former != nil {
		z.publish()
		for id := range *former {
			published[id].Set((*former)[id].Load())
		}
	}
	z.pending = make([]uint16, highest+1)
	z.changed = make([]uint16, 0, min(highest+1, zoneBatches*packet.BatchSize)) // as many as there can be between two publications
	z.published.Store(&published)
}

// add counts some packets.
func (z *zoneCounts) add(id uint16, packets int) {
	if packets == 0 {
		return
	}
	n := &z.pending[id]
	if *n == 0 {
		z.changed = append(z.changed, id)
	}
	*n += uint16(packets)
}

// publishAfter publishes what was counted after a batch of so many packets, if it is due.
func (z *zoneCounts) publishAfter(packets int) {
	z.batches++
	if packets < packet.BatchSize || z.batches == zoneBatches {
		z.publish()
	}
}

// publish publishes what was counted.
func (z *zoneCounts) publish() {
	published := *z.published.Load()
	for _, id := range z.changed {
		published[id].Add(uint64(z.pending[id]))
		z.pending[id] = 0
	}
	z.changed, z.batches = z.changed[:0], 0
}

// Zones returns how many packets with an IP header came from which zone, without those of zones that had none. Those that wait are among
// them. Of a busy worker the packets of up to [zoneBatches] batches are missing; of one that has received a batch with room for more, or
// has ended, none. Safe for concurrent use.
func (w *Worker) Zones() iter.Seq2[uint16, uint64] {
	return func(yield func(uint16, uint64) bool) {
		published := *w.zoned.published.Load()
		for id := range published {
			if n := published[id].Load(); n > 0 && !yield(uint16(id), n) {
				return
			}
		}
	}
}

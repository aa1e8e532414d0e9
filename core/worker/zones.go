package worker

import (
	"iter"
	"sync/atomic"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/internal/tally"
)

// zoneCounts counts packets by the zone that they come from. One goroutine counts and publishes, any may read. Few of many zones have
// packets in a batch: only their counts are published.
type zoneCounts struct {
	counts    []uint64 // by zone id
	changed   []uint16 // zones whose count is not published
	published atomic.Pointer[[]tally.Number]
}

// grow makes room for the zones of a table. Counts stay.
func (z *zoneCounts) grow(t *zone.Table) {
	highest := zone.Unknown
	if zones := t.Zones(); len(zones) > 0 {
		highest = int(zones[len(zones)-1].ID)
	}
	if highest < len(z.counts) {
		return
	}
	counts, published := make([]uint64, highest+1), make([]tally.Number, highest+1)
	copy(counts, z.counts)
	tally.Publish(published, counts)
	z.counts = counts
	z.changed = make([]uint16, 0, packet.BatchSize) // as many as there can be between two publications
	z.published.Store(&published)
}

// add counts some packets.
func (z *zoneCounts) add(id uint16, packets uint64) {
	if packets == 0 {
		return
	}
	n := z.counts[id]
	if (*z.published.Load())[id].Load() == n {
		z.changed = append(z.changed, id)
	}
	z.counts[id] = n + packets
}

func (z *zoneCounts) publish() {
	published := *z.published.Load()
	for _, id := range z.changed {
		published[id].Set(z.counts[id])
	}
	z.changed = z.changed[:0]
}

// Zones returns how many packets with an IP header came from which zone, as the worker has published it last, without those of zones that
// had none. Those that wait are among them. Safe for concurrent use.
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

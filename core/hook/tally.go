package hook

import (
	"github.com/rtflow/pipelined/internal/hugepage"
	"github.com/rtflow/pipelined/internal/prefetch"
	"github.com/rtflow/pipelined/internal/tally"
)

// Tally counts packets and bytes under names, for each worker apart: no two workers write to the same cache line.
type Tally struct {
	names   []string
	workers [][]counted
	pending []pending
}

// pending is what one worker has counted in plain words, and under which name, since it published.
type pending struct {
	name           int
	packets, bytes uint64
	_              [104]byte // two cache lines, which processors fetch together
}

// counted is what one worker has counted under one name.
type counted struct{ packets, bytes tally.Number }

// apart is how many counters lie between those of two workers: 128 bytes, two cache lines, which processors fetch together.
const apart = 8

// NewTally returns a tally with a counter for each name.
func NewTally(workers int, names []string) *Tally {
	t := &Tally{names: names, workers: make([][]counted, workers), pending: make([]pending, workers)}
	for i := range t.workers {
		t.workers[i] = hugepage.Make[counted](len(names) + apart)
	}
	return t
}

// Count counts a packet under name i. Called only by the packet's worker.
func (t *Tally) Count(p *Packet, i int) {
	c := &t.workers[p.Worker][i]
	packets, bytes := p.Size()
	c.packets.Add(packets)
	c.bytes.Add(bytes)
}

// CountLater is Count for what comes many times in a row, such as the packets of a flood: others see it when the worker publishes. Called only
// by the packet's worker.
func (t *Tally) CountLater(p *Packet, i int) {
	c := &t.pending[p.Worker]
	if c.name != i {
		t.Publish(p.Worker)
		c.name = i
	}
	packets, bytes := p.Size()
	c.packets += packets
	c.bytes += bytes
}

// Publish has others see what CountLater has counted. Called only by the worker.
func (t *Tally) Publish(worker int) {
	p := &t.pending[worker]
	if p.packets == 0 {
		return
	}
	c := &t.workers[worker][p.name]
	c.packets.Add(p.packets)
	c.bytes.Add(p.bytes)
	p.packets, p.bytes = 0, 0
}

// Counters returns the sums of all workers, in the order of the names. Safe for concurrent use.
func (t *Tally) Counters() []Counter {
	sums := make([]Counter, len(t.names))
	for i, name := range t.names {
		sums[i].Name = name
		for _, w := range t.workers {
			sums[i].Packets += w[i].packets.Load()
			sums[i].Bytes += w[i].bytes.Load()
		}
	}
	return sums
}

// Prefetch has what Count will read and write of a worker's counters fetched, for these names.
func (t *Tally) Prefetch(worker int, names []uint32) { prefetch.Elements(t.workers[worker], names) }

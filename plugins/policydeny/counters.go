package policydeny

import (
	"sync/atomic"

	"github.com/rtflow/pipelined/core/hook"
)

// counters count what each policy decided: a row per worker, which alone writes it, and the sum when they are read.
type counters struct {
	names []string
	rows  [][]hits
}

// hits are one worker's counts of one policy.
type hits struct {
	packets, bytes atomic.Uint64
}

// padding is how many hits lie behind a row: 128 bytes, two cache lines, which processors fetch together.
const padding = 8

func newCounters(names []string, workers int) counters {
	rows := make([][]hits, workers)
	for i := range rows {
		rows[i] = make([]hits, len(names)+padding)
	}
	return counters{names, rows}
}

// add counts one packet. Only the worker of that number may call it. A load and a store are enough, and much cheaper than
// an atomic addition, where one goroutine writes.
func (c *counters) add(worker, number int, bytes uint32) {
	h := &c.rows[worker][number]
	h.packets.Store(h.packets.Load() + 1)
	h.bytes.Store(h.bytes.Load() + uint64(bytes))
}

// read returns the sums. It may be called at any time, from any goroutine.
func (c *counters) read() []hook.Counter {
	sums := make([]hook.Counter, len(c.names))
	for i, name := range c.names {
		sums[i].Name = name
		for _, row := range c.rows {
			sums[i].Packets += row[i].packets.Load()
			sums[i].Bytes += row[i].bytes.Load()
		}
	}
	return sums
}

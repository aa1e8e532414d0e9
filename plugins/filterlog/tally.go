package filterlog

import (
	"sync/atomic"

	"github.com/rtflow/pipelined/core/hook"
)

// tally is one counter of one worker, which alone writes it. It fills two cache lines, so that no two workers share one.
type tally struct {
	packets, bytes atomic.Uint64
	_              [112]byte
}

func (t *tally) count(size uint32) {
	t.packets.Add(1)
	t.bytes.Add(uint64(size))
}

// sum returns the filter's counters, in the order in which the terms name them.
func (f *filter) sum() []hook.Counter {
	list := make([]hook.Counter, len(f.counters))
	for i, name := range f.counters {
		list[i].Name = name
	}
	for i := range f.tallies {
		c := &list[i%len(list)]
		c.Packets += f.tallies[i].packets.Load()
		c.Bytes += f.tallies[i].bytes.Load()
	}
	return list
}

package screendrop

import (
	"sync/atomic"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/sdk/event"
)

// tally is what one worker has counted: packets that a screen fired on, dropped or not, with an event or without. Only
// its worker writes it. The padding keeps two workers off one cache line.
type tally struct {
	screens [event.NumScreens]struct{ packets, bytes atomic.Uint64 }
	_       [128]byte
}

func (t *tally) count(s event.Screen, size uint32) {
	t.screens[s].packets.Add(1)
	t.screens[s].bytes.Add(uint64(size))
}

// counters returns the packets and bytes that each screen has fired on. Screens that never did are left out.
func (s *screens) counters() []hook.Counter {
	var list []hook.Counter
	for screen := range none {
		c := hook.Counter{Name: screen.String()}
		for i := range s.tallies {
			n := &s.tallies[i].screens[screen]
			c.Packets += n.packets.Load()
			c.Bytes += n.bytes.Load()
		}
		if c.Packets != 0 {
			list = append(list, c)
		}
	}
	return list
}

package admission

import (
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/sdk/event"
)

// AnnounceFirst puts a loss record into the ring of a sink, by index, before the sink's next run: what an earlier run has given up.
// It reports whether the ring had room for it, which one that is empty has.
func (g *Gate) AnnounceFirst(i int, rec *event.Record) bool {
	s := g.view.Load().sinks[i]
	if !s.Ring.AcquireLoss(true) {
		return false
	}
	rec.Generation = g.generation.Load()
	s.Ring.Put(s.Ring.Claim(1), replay.Announcement, rec)
	s.last.Add(1)
	return true
}

package admission

import (
	"math/bits"

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

// Owed is what a sink's stream lacks and no record in its ring tells, for one reason, from Since to Until in Unix nanoseconds.
type Owed struct {
	Reason  event.LossReason `json:"reason"`
	Counts  event.LossCounts `json:"counts"`
	Packets uint64           `json:"packets"` // of a restart, see [event.Record.SetLossPackets]
	Since   int64            `json:"since"`
	Until   int64            `json:"until"`
}

// Owed returns what is owed to a sink, by index. The lanes have finished. Safe for concurrent use.
func (g *Gate) Owed(i int) (owed []Owed) {
	s := g.view.Load().sinks[i]
	s.mu.Lock()
	defer s.mu.Unlock()
	for missing := s.missing.Load(); missing != 0; missing &= missing - 1 {
		why := event.LossReason(bits.TrailingZeros32(missing))
		m := &s.lost[why]
		owed = append(owed, Owed{why, m.counts, m.packets, m.since, m.until})
	}
	return owed
}

// Owe makes the gate tell a sink, by index, when there is room, what an earlier run owed it. A reason that this gate does not have is
// told as [event.LossAbandoned]. Safe for concurrent use.
func (g *Gate) Owe(i int, owed ...Owed) {
	s := g.view.Load().sinks[i]
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range owed {
		if o.Reason >= reasons {
			o.Reason = event.LossAbandoned
		}
		s.add(o.Reason, &missed{o.Counts, o.Packets, o.Since, o.Until})
	}
}

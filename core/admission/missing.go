package admission

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/sdk/event"
)

// reasons is one more than the highest of the reasons that a gate has for a loss.
const reasons = event.LossRestart + 1

// maxAnnounced is how many loss records tell what a ring has missed, one per reason: what the limiter refused, a source could
// not read, or happened while no daemon ran, and found no room to say, and what the ring refused itself, connected or not.
const maxAnnounced = 5

// sink is a Sink and what it could not take since the last loss record.
type sink struct {
	Sink

	last atomic.Uint64 // loss records that no lane has put in

	_       [64]byte
	missing atomic.Uint32 // a bit for each reason that has lost something
	mu      sync.Mutex
	lost    [reasons]missed
}

// missed is what was lost for one reason, and from when to when, in Unix nanoseconds.
type missed struct {
	counts       event.LossCounts
	packets      uint64 // of a restart: that nobody has looked at
	since, until int64
}

// connected reports whether the sink has its destination.
func (s *sink) connected() bool { return s.Connected == nil || s.Connected() }

// miss notes events that are lost and not told yet.
func (s *sink) miss(why event.LossReason, counts *event.LossCounts, wall int64) {
	s.mu.Lock()
	s.add(why, &missed{counts: *counts, since: wall, until: wall})
	s.mu.Unlock()
}

// add notes what is lost. The lock is held.
func (s *sink) add(why event.LossReason, more *missed) {
	m, missing := &s.lost[why], s.missing.Load()
	m.add(more, missing>>why&1 == 0)
	s.missing.Store(missing | 1<<why)
}

// add adds what else was lost. first says that m is of nothing yet.
func (m *missed) add(more *missed, first bool) {
	if first || more.since < m.since {
		m.since = more.since
	}
	m.until = max(m.until, more.until)
	m.packets += more.packets
	addLoss(&m.counts, &more.counts)
}

func addLoss(to, from *event.LossCounts) {
	for k, n := range from {
		to[k] += n
	}
}

// takeMissing fills recs, at least one, with loss records for what is missing, and returns how many. Where they are fewer
// than the reasons, one record tells of all; its reason is that of most of what it counts, or a restart, which counts nothing and would
// not be told otherwise.
func (s *sink) takeMissing(recs []event.Record, generation uint32) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	why := s.missing.Load()
	if len(recs) < bits.OnesCount32(why) {
		s.merge()
		why = s.missing.Load()
	}
	for ; why != 0; why &= why - 1 {
		reason := event.LossReason(bits.TrailingZeros32(why))
		m, rec := &s.lost[reason], &recs[n]
		n++
		rec.Reset(event.Loss)
		rec.Generation = generation
		rec.SetLoss(reason, 0, &m.counts, m.since, m.until)
		if reason == event.LossRestart {
			rec.SetLossPackets(m.packets)
		}
		*m = missed{}
	}
	s.missing.Store(0)
	return n
}

// merge puts what is missing under one reason.
func (s *sink) merge() {
	var all missed
	var most uint64
	reason, first, missing := event.LossOverBudget, true, s.missing.Load()
	for why := range s.lost {
		m := &s.lost[why]
		if missing>>why&1 == 0 {
			continue
		}
		if n := m.counts.Total(); n > most {
			most, reason = n, event.LossReason(why)
		}
		all.add(m, first)
		first = false
		*m = missed{}
	}
	if missing>>event.LossRestart&1 != 0 {
		reason = event.LossRestart
	}
	s.lost[reason] = all
	s.missing.Store(1 << reason)
}

// announceable returns how many loss records what is missing makes.
func (s *sink) announceable() int { return bits.OnesCount32(s.missing.Load()) }

// AnnounceMissing puts the loss records for what a ring missed, and for what it evicted and has not told, into that ring,
// when nothing else will come: the lanes have finished. It waits for room until stop is closed. One call per sink, by
// index, from any goroutine.
func (g *Gate) AnnounceMissing(i int, stop <-chan struct{}) {
	s := g.view.Load().sinks[i]
	var rec [1]event.Record
	s.Ring.AnnounceOwed(g.generation.Load())
	s.Ring.Wake()
	for s.missing.Load() != 0 {
		room := s.Ring.Room()
		if s.Ring.AcquireLoss(true) {
			if s.takeMissing(rec[:], g.generation.Load()) == 0 {
				s.Ring.ReturnCredits(replay.Announcement, 1)
				return
			}
			s.Ring.Put(s.Ring.Claim(1), replay.Announcement, &rec[0])
			s.last.Add(1)
			s.Ring.Wake()
			return
		}
		if s.Ring.Closed() {
			return
		}
		select {
		case <-room:
		case <-stop:
			return
		}
	}
}

// Untold returns what is missing in the stream of a sink if its ring is abandoned, or was, and no loss record that was delivered
// tells. The lanes have finished. Safe for concurrent use.
func (g *Gate) Untold(i int) event.LossCounts {
	s := g.view.Load().sinks[i]
	all := s.Ring.Untold()
	s.mu.Lock()
	defer s.mu.Unlock()
	for why := range s.lost {
		addLoss(&all, &s.lost[why].counts)
	}
	return all
}

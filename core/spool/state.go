package spool

import (
	"github.com/rtflow/pipelined/sdk/event"
)

// Counts count records by kind, for the sums.
type Counts struct {
	// Found are records that earlier runs have left, and loss records that the spool has made.
	Found Tally
	// Spooled are records that were taken from the ring.
	Spooled Tally
	// Acknowledged, Rejected, Evicted and Damaged are records that have left: the sink's acknowledgement, its rejection, given up for
	// newer ones, unreadable.
	Acknowledged, Rejected, Evicted, Damaged Tally
}

// Add adds what another spool has counted.
func (c *Counts) Add(o *Counts) {
	c.Found.Add(&o.Found)
	c.Spooled.Add(&o.Spooled)
	c.Acknowledged.Add(&o.Acknowledged)
	c.Rejected.Add(&o.Rejected)
	c.Evicted.Add(&o.Evicted)
	c.Damaged.Add(&o.Damaged)
}

// State is a snapshot of a spool.
type State struct {
	Counts

	Held Tally // counted segment by segment, independently of the counters
	// Out is how many records the sink has in hand.
	Out uint64
	// Unsent is how many records it was not handed since its run began.
	Unsent uint64
	// OldestTime is about the time of the oldest record held, in Unix nanoseconds; 0 if there is none.
	OldestTime int64
	Epoch      uint64    // of the stream that the sink gets
	Sent       event.Seq // of that stream, the last record handed out
	Acked      event.Seq // of that stream, the last record released
	Bytes      int64     // of all files
	Size       int64     // bytes that they may take
	Segments   int
	Aside      int // files that were put aside

	TornBytes, TornRecords uint64 // cut off at the start
	Errors, Slow           uint64 // operations that have failed, that have taken more than a second
	Full                   string // why no record fits just now; "" if one does
	LastError              string
}

// state is what an operator is told, under Spool.mu but for what the counters count.
type state struct {
	tornBytes, tornRecords uint64
	errors, slow           uint64
	full                   string
	lastError              string
	failing                bool
}

// State counts what the spool holds. Safe for concurrent use.
func (s *Spool) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := State{
		Counts: s.counts, Out: uint64(s.out.len()), Epoch: s.stream, Bytes: s.used, Size: int64(s.c.Size), Segments: len(s.segments), Aside: len(s.aside),
		TornBytes: s.state.tornBytes, TornRecords: s.state.tornRecords, Errors: s.state.errors, Slow: s.state.slow,
		Full: s.state.full, LastError: s.state.lastError,
	}
	for _, g := range s.segments {
		held := g.held()
		if st.OldestTime == 0 && held.Total() > 0 {
			st.OldestTime = s.oldest(g)
		}
		st.Held.Add(&held)
	}
	st.Unsent = st.Held.Total() - min(st.Held.Total(), st.Out)
	if s.floor.epoch == s.stream {
		st.Acked = s.floor.seq
	}
	st.Sent = st.Acked
	if s.active && s.cursor.epoch == s.stream {
		st.Sent = max(st.Acked, s.cursor.seq)
	}
	return st
}

// oldest returns about the time of the oldest record that is not released, which is in that segment: that of the record itself if the
// sink has it in hand, or if it is in memory. The lock is held.
func (s *Spool) oldest(g *segment) int64 {
	if s.out.len() > 0 {
		return s.out.oldestTime()
	}
	if g.epoch == s.epoch {
		if t := s.oldestInMemory(); t != 0 {
			return t
		}
	}
	if s.entered(g) {
		return max(s.since, g.since)
	}
	return g.since
}

// oldestInMemory returns the time of the oldest record of the running epoch that is not released, 0 if it is not in memory. The lock is
// held.
func (s *Spool) oldestInMemory() int64 {
	last := event.Seq(0)
	if s.floor.epoch == s.epoch {
		last = s.floor.seq
	}
	if last < s.tail.before {
		return 0
	}
	if r := s.tail.after(last, 1); len(r) > 0 {
		return r[0].Time()
	}
	return 0
}

func (s *Spool) counterUp(n *uint64) {
	s.mu.Lock()
	*n++
	s.mu.Unlock()
}

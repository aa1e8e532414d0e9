package eventstream

import "github.com/rtflow/pipelined/sdk/event"

// Stats counts what a receiver has received, over all connections.
type Stats struct {
	Connected   bool
	Paused      bool      // the producer is asked to send no records
	Position    Position  // of the stream: everything up to it is handled
	Acked       event.Seq // last number acknowledged
	Connections uint64
	Reads       uint64 // that delivered something
	Acks        uint64 // sent
	Keepalives  uint64 // received; each read's are answered once

	Records  [event.NumKinds]uint64 // handed to Handler.Record, by kind
	Sessions uint64                 // handed to Handler.Session

	Duplicates uint64 // records that had been handled before: dropped and acknowledged
	Replays    uint64 // connections on which the producer began with records that had been handled before
	Restarts   uint64 // hellos with another epoch than the one before: the producer was started again
	Resyncs    uint64

	Gaps      uint64 // numbers were missing, and nothing in the stream has said so
	Missing   uint64 // how many
	Announced uint64 // numbers that were missing, and a loss record or a resync has said so

	Malformed     uint64 // frames that cannot be what their type says: dropped and acknowledged
	LastMalformed string // what was wrong with the last one
	Unknown       uint64 // frames of types that a producer does not send: dropped and acknowledged
}

// Total returns how many records of all kinds were handed out.
func (s Stats) Total() (n uint64) {
	for _, v := range s.Records {
		n += v
	}
	return n
}

// Gap is a run of numbers that are missing.
type Gap struct {
	From, To event.Seq // both included
	By       Announcement
}

// Len returns how many numbers are missing.
func (g Gap) Len() uint64 { return uint64(g.To-g.From) + 1 }

// Announcement is what in the stream says that numbers are missing.
type Announcement uint8

const (
	Silent   Announcement = iota // nothing: the records are lost without an account. Without a hello also where a loss record would be
	ByLoss                       // the loss record that follows: the producer has evicted them
	ByResync                     // the resync that follows
)

func (a Announcement) String() string {
	switch a {
	case ByLoss:
		return "announced by a loss record"
	case ByResync:
		return "announced by a resync"
	default:
		return "not announced"
	}
}

// Stats returns the counters as of the end of the last read. Safe for concurrent use.
func (r *Receiver) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

// publish makes the counters and a position visible to other goroutines.
func (r *Receiver) publish(pos Position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count.Position, r.count.Paused = pos, r.paused
	r.stats = r.count
}

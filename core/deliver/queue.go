package deliver

import (
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/sdk/event"
)

// Queue holds the records of a sink until they are acknowledged: its ring, or the spool behind it. Next, Sleep, Drained and Rewind are
// called by the goroutine of Run, the others by any.
type Queue interface {
	// Next lends the records that follow those of the last call, at most limit; nil if there is none. They are valid until the next
	// call, or until they are acknowledged.
	Next(limit int) []event.Record
	// Sleep says that the caller is about to wait on the returned channel. It returns false if the caller should look again.
	Sleep() (<-chan struct{}, bool)
	// Ack releases every record up to and including through; that of a record that was not handed out is an error.
	Ack(through event.Seq) error
	// Reject marks a record that was handed out, and reports whether it was there to be marked.
	Reject(seq event.Seq) bool
	// Rewind goes back to the first record that is not acknowledged, and to the stream that it belongs to.
	Rewind()
	// Drained reports whether the stream has come to its end and all of it was handed out.
	Drained() bool
	// Draining returns a channel that is closed when the pipeline begins to stop.
	Draining() <-chan struct{}
	// Room returns a channel that is closed when records are released.
	Room() <-chan struct{}
	// Acknowledged returns the number of the stream's last record that was released, 0 if none was.
	Acknowledged() event.Seq
	// Taken returns how many records were acknowledged.
	Taken() uint64
	// Empty reports whether nothing is left to deliver when the pipeline stops.
	Empty() bool
	// NothingLent reports whether the sink has acknowledged all that it was handed.
	NothingLent() bool
	// Kept reports whether the next run has what is not delivered when the pipeline stops.
	Kept() bool
	// Epoch identifies the stream that Next returns records of. Only Rewind changes it.
	Epoch() uint64
	// Names returns the names for the ids in records of that generation of the stream.
	Names(generation uint32) *event.Names
}

// ringQueue is a ring as a queue: one stream.
type ringQueue struct {
	*replay.Ring

	epoch uint64
	names func(generation uint32) *event.Names
}

func (q *ringQueue) Empty() bool                          { return q.State().Held == 0 }
func (q *ringQueue) Kept() bool                           { return false }
func (q *ringQueue) Acknowledged() event.Seq              { return q.Floor() - 1 }
func (q *ringQueue) Epoch() uint64                        { return q.epoch }
func (q *ringQueue) Names(generation uint32) *event.Names { return q.names(generation) }

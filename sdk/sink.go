package sdk

import (
	"context"
	"iter"
	"time"

	"github.com/rtflow/pipelined/sdk/event"
)

// Sink takes records to one destination.
//
// Run is called by one goroutine at a time. It must return soon after ctx ends, and may return at any time: nil or an
// error, the daemon calls it again with the stream at the first record that was not acknowledged. Delivery is therefore
// at least once and in order. A sink that acknowledges a record says that its destination has it, as far as its protocol
// can tell; its documentation says how far that is.
//
// When the daemon stops and the sink has nothing to deliver, ctx ends shortly after unless the sink has been told that the
// stream is drained ([ErrDrained]): a stop does not wait for a destination that nothing is sent to.
//
// A sink that implements [io.Closer] is closed once, after its last Run. It closes what it has kept open between two runs:
// a listener, a process.
//
// When the sink's options are changed while the daemon runs, the run is told that its stream is drained, the sink is closed, and another
// one takes over its ring and its stream where it has acknowledged.
//
// A sink may implement [Reopener], [Reporter], [CounterReporter], [Exclusive], [Waiter], [Successor] and [Keeper]; a stream may implement
// [DrainNotifier], [Positioned] and [SessionLister].
type Sink interface {
	Run(ctx context.Context, s Stream) error
}

// Stream is one sink's view of its ring. Its methods are called by the goroutine that runs Run, but for Ack and Reject,
// which any goroutine may call until Run returns.
type Stream interface {
	// Next returns the records that follow those of the last call, at least one, without a gap in their sequence numbers
	// but for records evicted meanwhile. It waits up to wait for the first (0: do not wait; negative: until ctx ends) and
	// returns an empty batch when there was none. A record in the batch is valid until the next call of Next, or until it
	// is acknowledged.
	//
	// The only error is ctx's, and [ErrDrained] when the stream has come to its end and every record has been handed out: the pipeline
	// is stopping, or the stream is what an earlier epoch has left, and Run is called again with the next one; or when another sink is
	// to have the rest.
	Next(ctx context.Context, wait time.Duration) (Batch, error)

	// Ack says that the destination has every record up to and including through. It is cumulative; going backwards has
	// no effect. Acknowledging a record that Next has not handed out returns an error and changes nothing.
	Ack(through event.Seq) error

	// Reject says that this one record can never be delivered and why, in a few words. It is counted and logged (not per
	// record), and is not retried; it still has to be covered by an Ack.
	Reject(seq event.Seq, why string)

	// Names returns the names for the ids in records of that configuration generation.
	Names(generation uint32) *event.Names

	// Epoch identifies this stream: no other has the same, be it of another sink or of another run of the daemon, unless that run goes on
	// with the stream. The pair of epoch and sequence number identifies a record for ever. It does not change while Run runs. The
	// stream of the next Run may be another: numbers of the one before mean nothing in it.
	Epoch() uint64
}

// Batch is a run of records in a ring, lent to a sink.
type Batch struct {
	Records []event.Record
}

// Len returns how many records the batch holds.
func (b Batch) Len() int { return len(b.Records) }

// Last returns the sequence number of the last record, 0 if the batch is empty.
func (b Batch) Last() event.Seq {
	if len(b.Records) == 0 {
		return 0
	}
	return b.Records[len(b.Records)-1].Seq()
}

// Reopener is implemented by sinks that can reopen what they write to, as on SIGHUP after a log rotation. Reopen is called
// from any goroutine and returns at once; Run does the work.
type Reopener interface{ Reopen() }

// Reporter is implemented by sinks that show an operator more than counters. Status is called from any goroutine and must
// not block; its value is shown as JSON by GET /status.
type Reporter interface{ Status() any }

// Counter is one of a sink's own counters. Metrics show it as pipelined_sink_total with the labels sink and counter.
type Counter struct {
	Name  string // lower case with underscores: "reconnects"
	Value uint64 // never goes down
}

// CounterReporter is implemented by sinks that count what the daemon does not see: reconnects, send errors. Counters is
// called from any goroutine, must not block, and returns the same names every time.
type CounterReporter interface{ Counters() []Counter }

// Exclusive is implemented by sinks that cannot share their destination with another sink: a file, a socket. Exclusive
// returns the destination, the same text for the same destination, such as "file /var/log/audit.log". A configuration with
// two sinks that return the same text is a mistake; "" can be shared. It is called after Configure, from any goroutine.
type Exclusive interface{ Exclusive() string }

// Waiter is implemented by sinks that may wait in Run for their destination to appear: while Waiting returns true, the sink
// does not count as up. Waiting is called from any goroutine and must not block.
type Waiter interface{ Waiting() bool }

// Successor is implemented by sinks that take something over from the one that had their stream before, whose options were others.
// Succeed is called at most once, before the first Run, when former, which may be of another type, has been closed.
type Successor interface{ Succeed(former Sink) }

// Keeper is implemented by sinks that know more of their stream than their ring does. A run of the daemon that goes on where the last one
// stopped, with the same epoch and the next number, hands it to the sink of the same name and plugin.
type Keeper interface {
	// Keep returns what the sink knows, in a layout of its own. It is called after the last Run.
	Keep() []byte
	// TakeOver takes over what the sink of the last run has kept. It is called before the first Run. After an error it is as if nothing
	// were kept.
	TakeOver(state []byte) error
}

// DrainNotifier is implemented by streams that tell when the pipeline begins to stop, or another sink to take over, so that a sink that waits for its
// destination to appear need not wait any longer. The daemon's streams implement it.
type DrainNotifier interface {
	// Draining returns a channel that is closed then. Safe for concurrent use.
	Draining() <-chan struct{}
}

// Positioned is implemented by streams that know what was acknowledged before this run: also before the daemon was started, of what an
// earlier epoch has left. The daemon's streams implement it.
type Positioned interface {
	// Acknowledged returns the number of the last record that was acknowledged, or released otherwise, 0 if none was. When Run
	// begins, the record behind it is the first that Next returns, unless it is evicted meanwhile.
	Acknowledged() event.Seq
}

// SessionLister is implemented by streams that can list the sessions that live now, for a destination that has lost track.
// The daemon's streams implement it if the sink's configuration lets session records through.
type SessionLister interface {
	// Sessions iterates over the sessions that live now, as SessionOpen records with the time of creation and sequence
	// number 0. A record is valid until the next one is asked for. Sessions that begin meanwhile may be among them or not. A
	// session is listed before the record of its end can be taken from the stream, or not at all: a sink may send records
	// between two entries. Safe for concurrent use until Run returns.
	Sessions() iter.Seq[*event.Record]
}

package eventstream

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rtflow/pipelined/sdk/event"
)

// Receiver receives an event stream from one producer, over as many connections as it takes. Set its fields, then call one
// of [Receiver.Listen], [Receiver.Dial], [Receiver.Accept], [Receiver.Connect] and [Receiver.Serve]; the fields must not
// change from then on. One of these calls runs at a time; the other methods are safe for concurrent use. No goroutine
// outlives the call.
//
// A record is acknowledged after the handler has returned from it: the producer keeps it until then, and sends it again
// on the next connection if there was no time for that. The numbers show what was sent twice: the handler is
// called once for each record while the Receiver lives, and over restarts of the program if [Receiver.From] is set.
//
// A Receiver uses a buffer of 256 KiB, and no memory that depends on the producer.
type Receiver struct {
	Handler Handler

	// AckEvery is the shortest time between two acknowledgements; 0 acknowledges after each read that delivered
	// something. Waiting saves little, and the producer's ring must hold what comes meanwhile: stay far below the 30
	// seconds after which it takes a receiver that owes an acknowledgement for dead. The same holds for the time that the
	// handler takes for what one read brings. A negative value never acknowledges, to test a producer.
	AckEvery time.Duration

	// Silence is how long a producer may send nothing, not even a keepalive, until it is taken for dead; 0 is 30 seconds.
	// Producers send a keepalive after 10 seconds without a record. A negative value waits for ever.
	Silence time.Duration

	// From is the position that an earlier run of the program has noted in [Handler.Commit], if it has.
	From Position

	// Mode is the permissions of the socket that Listen makes; 0 is 0660. Who may write to it may connect.
	Mode fs.FileMode

	running atomic.Bool
	control sync.Mutex // held while a pause or resume is noted and sent, so that the last one noted is the last one sent

	mu     sync.Mutex
	stats  Stats       // as of the last read
	paused bool        // what the producer is told on every connection
	cur    *connection // the newest

	// Owned by the call that runs.
	began bool
	pos   Position // of the last stream that had an epoch
	count Stats
	rd    *Reader
}

// Position is a place in a stream. Every record up to it has been handled.
type Position struct {
	Epoch uint64    // of the stream; 0 without a hello, and then a position means nothing on another connection
	Seq   event.Seq // of the last record handled; 0 before the first
}

// Handler holds the functions that are called for what a stream brings. Every field may be nil. All functions are called by one goroutine, one
// at a time.
//
// After a function has returned an error, no other is called but Disconnected, nothing more is acknowledged, and the
// Receiver's call returns a [*HandlerError]. If there is another call, what was handled after the last Commit is handed out
// again.
type Handler struct {
	// Record takes a record. rec is valid until Record returns. Its sequence number is larger than that of the record
	// before, within an epoch. Records of the kind event.Loss are among them and say what the producer has lost.
	Record func(ctx context.Context, rec *event.Record) error

	// Batch is called when all records of one read are handled, before a read that may wait. A handler that buffers output
	// flushes it then.
	Batch func(ctx context.Context, pos Position) error

	// Commit is called before every record up to pos is acknowledged. A handler stores then what must not be lost, and pos
	// with it.
	Commit func(ctx context.Context, pos Position) error

	// Resync is called where session records are missing: a handler that keeps a table of sessions empties it. Session is
	// then called for each session that lives, with a record of the kind event.SessionOpen without a number, and Synced
	// after the last. Record is called between them for what happens meanwhile. If the connection breaks before Synced,
	// there is another Resync on the next one unless the producer needs none. Producers of the delta layout do not mark
	// the end, and Synced is not called.
	Resync  func(ctx context.Context) error
	Session func(ctx context.Context, rec *event.Record) error
	Synced  func(ctx context.Context) error

	// Gap tells of numbers that are missing before the record, or resync, that comes next.
	Gap func(Gap)

	// Hello is called at the beginning of a stream that has an epoch. last is where the stream before it ended: of the
	// same epoch if the producer goes on, of another one if it was started again.
	Hello func(h Hello, last Position)

	// Connected is called at the beginning of a connection, Disconnected at its end; err is nil if the producer or [Receiver.Disconnect] has ended it.
	// Unreachable is called for each attempt of Dial that fails.
	Connected    func()
	Disconnected func(err error)
	Unreachable  func(err error)
}

// HandlerError is an error of a function in [Handler].
type HandlerError struct {
	Func string // name of the field of Handler: "Record"
	Err  error
}

func (e *HandlerError) Error() string { return fmt.Sprintf("eventstream: %s: %v", e.Func, e.Err) }

func (e *HandlerError) Unwrap() error { return e.Err }

// Errors of connections, beside those of the network.
var (
	ErrSilent       = errors.New("eventstream: the producer has gone silent")
	ErrReplaced     = errors.New("eventstream: another producer has connected")
	ErrNotConnected = errors.New("eventstream: not connected")
)

var errRunning = errors.New("eventstream: the receiver is running already")

// errDisconnect is why a connection ends on request.
var errDisconnect = errors.New("eventstream: disconnected")

// defaultSilence is three keepalives missed.
const defaultSilence = 30 * time.Second

// readBuffer is how many bytes a read may bring: 1724 records.
const readBuffer = 256 << 10

// start claims the receiver for one call. The caller must call the function it returns at the end.
func (r *Receiver) start() (end func(), err error) {
	if !r.running.CompareAndSwap(false, true) {
		return nil, errRunning
	}
	if !r.began {
		r.began = true
		r.pos = r.From
		r.rd = NewReader(nil, readBuffer)
		r.publish(r.pos)
	}
	return func() { r.running.Store(false) }, nil
}

// Serve receives from one connection until it ends, and closes it. It returns nil when the producer has closed it or
// after [Receiver.Disconnect], and ctx's error when ctx ends: what is handled until then is acknowledged.
func (r *Receiver) Serve(ctx context.Context, conn net.Conn) error {
	end, err := r.start()
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	defer end()
	return r.serve(ctx, r.attach(conn))
}

// attach makes conn the newest connection, and ends the one before.
func (r *Receiver) attach(conn net.Conn) *connection {
	c := &connection{r: r, h: &r.Handler, conn: conn, over: make(chan struct{})}
	r.mu.Lock()
	old := r.cur
	r.cur = c
	r.mu.Unlock()
	if old != nil {
		old.interrupt(ErrReplaced)
	}
	return c
}

// detach forgets a connection.
func (r *Receiver) detach(c *connection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cur == c {
		r.cur = nil
	}
}

// current returns the newest connection, nil if there is none.
func (r *Receiver) current() *connection {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cur
}

// Pause asks the producer to send no more records, on this connection and on every later one until [Receiver.Resume].
// What is on its way still comes. The producer's ring holds what is not sent.
func (r *Receiver) Pause() { r.setPaused(true) }

// Resume asks the producer to go on.
func (r *Receiver) Resume() { r.setPaused(false) }

func (r *Receiver) setPaused(paused bool) {
	r.control.Lock()
	defer r.control.Unlock()
	r.mu.Lock()
	r.paused, r.stats.Paused = paused, paused
	c := r.cur
	r.mu.Unlock()
	if c == nil {
		return
	}
	t := Resume
	if paused {
		t = Pause
	}
	c.send(t, 0) // a connection that is told nothing ends; the next one is told
}

// Disconnect ends the connection, if there is one, as soon as the record in hand is handled. Listen and Dial go on with
// the next.
func (r *Receiver) Disconnect() {
	if c := r.current(); c != nil {
		c.interrupt(errDisconnect)
	}
}

// Drain asks the producer to say when it has sent everything up to target, 0 for all that is at hand, and waits for the
// answer: the highest number sent. Every record up to that has been handled when Drain returns, and is acknowledged unless
// AckEvery holds that back. A producer that cannot send the target within its deadline, 200 ms, never answers: give ctx an
// end. Not to be called from a [Handler].
func (r *Receiver) Drain(ctx context.Context, target event.Seq) (event.Seq, error) {
	r.mu.Lock()
	c := r.cur
	if c == nil {
		r.mu.Unlock()
		return 0, ErrNotConnected
	}
	w := &waiter{target: target, done: make(chan event.Seq, 1)}
	c.waiters = append(c.waiters, w)
	r.mu.Unlock()
	defer c.forget(w)
	c.send(DrainRequest, target)
	select {
	case seq := <-w.done:
		return seq, nil
	case <-c.over:
		return 0, ErrNotConnected
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

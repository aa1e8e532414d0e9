package unixsock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
)

const (
	// keepalive is after how much silence of ours a keepalive goes out.
	keepalive = 10 * time.Second
	// writeSize is how many bytes are collected for a write while there are more records.
	writeSize = 64 << 10
)

// link is one connection. The goroutine of run writes; another one reads what the receiver says.
type link struct {
	*Sink
	ctx    context.Context
	conn   net.Conn
	stream sdk.Stream

	// Of the goroutine that writes.
	out    []byte    // whole frames, not written yet
	last   event.Seq // the highest number among them and those written
	next   event.Seq // number of the next record
	again  event.Seq // records up to here were sent on an earlier connection
	begun  bool      // a record was looked at on this connection
	held   sdk.Batch // taken while a paused pipeline drains, to see whether there is anything left
	track  resync
	state  State
	timers [3]*time.Timer // of keepalives, drain requests and resyncs

	mu sync.Mutex
	// wait is the context in which the writer waits; poke ends it. Whoever waits makes a new one first, looks at the rest of
	// the state then, and waits last: no poke is missed.
	wait context.Context
	poke context.CancelFunc

	ended    error      // why the connection is of no use any more
	paused   bool       // the receiver wants no records
	stopping bool       // the pipeline is stopping: the last acknowledgement may be what the writer waits for
	quiet    bool       // it may be time for a keepalive
	offered  event.Seq  // highest number whose bytes the connection was given
	resync   *event.Seq // of the FullResync whose acknowledgement is waited for
	awaiting time.Time  // since when an acknowledgement has been owed; zero: none is
	heard    time.Time  // when the receiver said something last
	written  time.Time  // when something was written last
	drains   []drainRequest
	skipped  skipped
}

// Indexes of link.timers.
const (
	aliveTimer = iota
	drainTimer
	resyncTimer
)

func newLink(ctx context.Context, k *Sink, conn net.Conn, s sdk.Stream) *link {
	now := time.Now()
	l := &link{
		Sink: k, ctx: ctx, conn: conn, stream: s, next: k.acked + 1, again: k.highest, last: k.acked, offered: k.acked,
		state: Streaming, heard: now, written: now,
	}
	l.rearm()
	l.timers[aliveTimer] = time.AfterFunc(keepalive, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.quiet = true
		l.poke()
	})
	for _, i := range []int{drainTimer, resyncTimer} {
		l.timers[i] = time.AfterFunc(drainDeadline, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.poke()
		})
	}
	return l
}

// run serves the connection until it breaks, ctx ends, or everything was sent and acknowledged.
func (l *link) run() error {
	stop := context.AfterFunc(l.ctx, func() { l.end(l.ctx.Err()) })
	var others sync.WaitGroup
	over := make(chan struct{})
	others.Go(func() { l.end(l.listen()) })
	others.Go(func() {
		select {
		case <-l.draining():
			l.mu.Lock()
			l.stopping = true
			l.poke()
			l.mu.Unlock()
		case <-over:
		}
	})
	l.end(l.write())
	l.endTable()
	stop()
	close(over)
	others.Wait()
	for _, t := range l.timers {
		t.Stop()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(l.ended, errDelivered) {
		return nil
	}
	if errors.Is(l.ended, errTakenOver) {
		l.counters.taken.Add(1)
	}
	if _, silent := errors.AsType[*silentError](l.ended); silent {
		l.counters.silent.Add(1)
	}
	return l.ended
}

// draining returns a channel that is closed when the pipeline begins to stop; nil if the stream does not tell.
func (l *link) draining() <-chan struct{} {
	if n, ok := l.stream.(sdk.DrainNotifier); ok {
		return n.Draining()
	}
	return nil
}

// silentError is a receiver that is there and does nothing.
type silentError struct{ what string }

func (e *silentError) Error() string { return "unixsock: the receiver " + e.what }

const (
	// errDelivered ends a connection over which everything was delivered.
	errDelivered = sdk.Error("unixsock: all delivered")
	errClosed    = sdk.Error("unixsock: the receiver has closed the connection")
)

// end notes why the connection ends, if it is the first to know, and closes it: reads and writes return.
func (l *link) end(err error) {
	l.mu.Lock()
	if l.ended == nil {
		l.ended = err
	}
	l.poke()
	l.mu.Unlock()
	_ = l.conn.Close() // what there is to say about it is in ended
}

// rearm makes a new wait if the last one was poked.
func (l *link) rearm() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wait == nil || l.wait.Err() != nil {
		l.wait, l.poke = context.WithCancel(l.ctx) //nolint:govet // poke ends it
	}
}

// write sends records until the connection ends.
func (l *link) write() error {
	if !l.Delta {
		l.out = eventstream.AppendHello(l.out, eventstream.Hello{Version: eventstream.Version, Epoch: l.stream.Epoch(), First: l.next})
		if err := l.flush(); err != nil {
			return err
		}
	}
	if l.owesTable() {
		l.resyncBefore(l.next)
		if err := l.flush(); err != nil {
			return err
		}
	}
	for {
		if err := l.attend(true); err != nil {
			return err
		}
		if l.resyncIfDue(false) {
			if err := l.flush(); err != nil {
				return err
			}
		}
		wait := time.Duration(-1)
		table := l.tableDue()
		if table || l.drainReached() {
			wait = 0 // that nothing more is at hand is all it waits for
		}
		b, err := l.held, error(nil)
		if l.held = (sdk.Batch{}); b.Len() == 0 {
			b, err = l.stream.Next(l.wait, wait)
		}
		switch {
		case err == nil && b.Len() > 0:
			err = l.send(b)
		case err == nil && table:
			if err = l.answerDrain(true); err == nil {
				err = l.writeTable()
			}
		case err == nil:
			err = l.answerDrain(true)
		case errors.Is(err, sdk.ErrDrained):
			var over bool
			if over, err = l.finishTable(); over {
				return l.finish()
			}
		case l.ctx.Err() == nil && l.wait.Err() != nil:
			continue // poked
		}
		if err != nil {
			return err
		}
	}
}

// finishTable goes on with a resync when there are no more records, and reports whether the receiver has the table.
func (l *link) finishTable() (over bool, err error) {
	switch {
	case l.resyncIfDue(true):
		return false, l.flush()
	case l.tableDue():
		return false, l.writeTable()
	case !l.track.told:
		return true, nil
	}
	if err := l.answerDrain(true); err != nil {
		return false, err
	}
	<-l.wait.Done()
	return false, nil
}

// finish waits until everything sent is acknowledged: the pipeline is stopping.
func (l *link) finish() error {
	l.show(Draining)
	for {
		l.rearm()
		l.mu.Lock()
		l.stopping = true // the stream may not have told
		ended, quiet, all := l.ended, l.quiet, l.acked >= l.next-1
		l.mu.Unlock()
		switch {
		case all:
			return errDelivered
		case ended != nil:
			return ended
		}
		if quiet {
			if err := l.keepAlive(); err != nil {
				return err
			}
		}
		if err := l.answerDrain(true); err != nil {
			return err
		}
		<-l.wait.Done()
	}
}

// flush writes what is collected.
func (l *link) flush() error {
	if len(l.out) == 0 {
		return nil
	}
	now := time.Now()
	l.mu.Lock()
	l.offered = max(l.offered, l.last)
	l.written = now
	if l.awaiting.IsZero() && (l.offered > l.acked || l.resync != nil) {
		l.awaiting = now
		// The reader may be waiting without a deadline, or with one from before.
		_ = l.conn.SetReadDeadline(now.Add(l.Silence)) // fails only if the connection has ended
	}
	l.mu.Unlock()
	l.highest = max(l.highest, l.last)
	defer func() { l.out = l.out[:0] }()
	for b := l.out; len(b) > 0; {
		// A receiver that owes nothing and takes nothing is dead as well; one that takes a little is slow.
		_ = l.conn.SetWriteDeadline(time.Now().Add(l.Silence)) // as above
		n, err := l.conn.Write(b)
		b = b[n:]
		switch {
		case err == nil, n > 0 && errors.Is(err, os.ErrDeadlineExceeded):
		case errors.Is(err, os.ErrDeadlineExceeded):
			return &silentError{fmt.Sprintf("has taken nothing for %v", l.Silence)}
		case errors.Is(err, syscall.EPIPE):
			return errClosed
		case errors.Is(err, errTakenOver):
			return err
		default:
			return fmt.Errorf("unixsock: write: %w", err)
		}
	}
	return nil
}

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
	// drainDeadline is how long a drain request may take to be answered.
	drainDeadline = 200 * time.Millisecond
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
	table  bool      // the session table is being sent
	state  State
	timers [2]*time.Timer // of keepalives and drain requests

	mu sync.Mutex
	// wait is the context in which the writer waits; poke ends it. Whoever waits makes a new one first, looks at the rest of
	// the state then, and waits last: no poke is missed.
	wait context.Context
	poke context.CancelFunc

	ended     error      // why the connection is of no use any more
	paused    bool       // the receiver wants no records
	finishing bool       // everything is sent: only acknowledgements are waited for
	quiet     bool       // it may be time for a keepalive
	offered   event.Seq  // highest number whose bytes the connection was given
	resync    *event.Seq // of the FullResync whose acknowledgement is waited for
	awaiting  time.Time  // since when an acknowledgement has been owed; zero: none is
	heard     time.Time  // when the receiver said something last
	written   time.Time  // when something was written last
	drain     drainRequest
	skipped   skipped
}

// Indexes of link.timers.
const (
	aliveTimer = iota
	drainTimer
)

// drainRequest is what the receiver has asked for with a DrainRequest.
type drainRequest struct {
	pending  bool
	target   event.Seq
	deadline time.Time
}

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
	l.timers[drainTimer] = time.AfterFunc(drainDeadline, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.poke()
	})
	return l
}

// run serves the connection until it breaks, ctx ends, or everything was sent and acknowledged.
func (l *link) run() error {
	stop := context.AfterFunc(l.ctx, func() { l.end(l.ctx.Err()) })
	done := make(chan struct{})
	go func() { defer close(done); l.end(l.listen()) }()
	err := l.write()
	l.end(err)
	stop()
	<-done
	for _, t := range l.timers {
		t.Stop()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(l.ended, errDelivered) {
		return nil
	}
	if _, silent := errors.AsType[*silentError](l.ended); silent {
		l.counters.silent.Add(1)
	}
	return l.ended
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
		if err := l.resyncBefore(l.next); err != nil {
			return err
		}
	}
	for {
		if err := l.attend(); err != nil {
			return err
		}
		wait := time.Duration(-1)
		if l.drainReached() {
			wait = 0 // that nothing more is at hand is all it waits for
		}
		b, err := l.stream.Next(l.wait, wait)
		switch {
		case err == nil && b.Len() > 0:
			err = l.send(b)
		case err == nil:
			err = l.answerDrain(true)
		case errors.Is(err, sdk.ErrDrained):
			return l.finish()
		case l.ctx.Err() == nil && l.wait.Err() != nil:
			continue // poked
		}
		if err != nil {
			return err
		}
	}
}

// attend does what the receiver and the clock ask for before the next record may go out. It returns when records may,
// or with the reason why the connection ends.
func (l *link) attend() error {
	for {
		l.rearm()
		l.mu.Lock()
		ended, paused, quiet, drain, resync := l.ended, l.paused, l.quiet, l.drain.pending, l.resync != nil
		l.mu.Unlock()
		if ended != nil {
			return ended
		}
		if quiet {
			if err := l.keepAlive(); err != nil {
				return err
			}
		}
		if drain {
			if err := l.answerDrain(false); err != nil {
				return err
			}
		}
		switch {
		case paused:
			l.show(Paused)
			<-l.wait.Done()
			continue
		case resync || l.table:
			l.show(Resyncing)
		default:
			l.show(Streaming)
		}
		return nil
	}
}

// show tells what the link is doing.
func (l *link) show(s State) {
	if l.state != s {
		l.state = s
		l.enter(s)
	}
}

// keepAlive sends a keepalive if nothing was written for long.
func (l *link) keepAlive() error {
	l.mu.Lock()
	l.quiet = false
	due := time.Until(l.written.Add(keepalive))
	l.mu.Unlock()
	if due > 0 {
		l.timers[aliveTimer].Reset(due)
		return nil
	}
	l.counters.keepalives.Add(1)
	l.out = eventstream.AppendControl(l.out, eventstream.Keepalive, 0)
	err := l.flush()
	l.timers[aliveTimer].Reset(keepalive)
	return err
}

// finish waits until everything sent is acknowledged: the pipeline is stopping.
func (l *link) finish() error {
	l.show(Draining)
	for {
		l.rearm()
		l.mu.Lock()
		l.finishing = true
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

// drainReached reports whether there is a drain request and everything up to its target was sent.
func (l *link) drainReached() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.drain.pending && l.reached(l.drain.target)
}

// reached reports whether everything up to a number was sent, or has no frame. The lock is held.
func (l *link) reached(target event.Seq) bool { return max(l.offered, l.acked) >= target }

// answerDrain answers a drain request: when everything up to its target was sent, and either nothing more is at hand or
// the deadline has come. Where the target was not reached by then, it stays unanswered.
func (l *link) answerDrain(atRest bool) error {
	l.mu.Lock()
	d := l.drain
	over := d.pending && !time.Now().Before(d.deadline)
	answer := d.pending && l.reached(d.target) && (atRest || over)
	if answer || over {
		l.drain = drainRequest{}
	}
	l.mu.Unlock()
	switch {
	case answer:
		l.out = eventstream.AppendControl(l.out, eventstream.DrainComplete, l.last)
		return l.flush()
	case over:
		l.counters.drainsMissed.Add(1)
	}
	return nil
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
	// A receiver that owes nothing and takes nothing is dead as well.
	_ = l.conn.SetWriteDeadline(now.Add(l.Silence)) // as above
	_, err := l.conn.Write(l.out)
	l.out = l.out[:0]
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &silentError{fmt.Sprintf("has not taken what was sent %v ago", l.Silence)}
	}
	if errors.Is(err, syscall.EPIPE) {
		return errClosed
	}
	if err != nil {
		return fmt.Errorf("unixsock: write: %w", err)
	}
	return nil
}

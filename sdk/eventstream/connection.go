package eventstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rtflow/pipelined/sdk/event"
)

// writeTimeout is how long a producer may take no byte. Acknowledgements are small: it is broken then.
const writeTimeout = 5 * time.Second

// connection is one connection of a receiver. One goroutine reads and runs the handler; any goroutine may interrupt and send.
type connection struct {
	r    *Receiver
	h    *Handler
	conn net.Conn
	over chan struct{}         // closed at the end
	stop atomic.Pointer[error] // why the connection is to end

	waiters []*waiter // guarded by r.mu

	sending sync.Mutex
	frame   [event.HeaderSize]byte // being sent
	broken  bool                   // a frame could not be sent, or not whole: no other must follow

	// Owned by the goroutine that reads.
	rec       event.Record
	pos       Position
	committed Position  // where the handler had flushed and committed everything
	known     bool      // pos is a place in this connection's numbering
	greeted   bool      // a frame has come
	table     bool      // the session table is coming in
	through   event.Seq // highest number of this connection that is handled
	acked     event.Seq // highest that is acknowledged
	owed      bool      // acknowledge through, even if it is already
	fresh     bool      // something was handled since the last Batch
	heard     bool      // a frame has come since the last settle
	answer    bool      // a keepalive wants one
	lastAck   time.Time
	lastSign  time.Time // of life
}

// waiter waits for everything up to target to be sent.
type waiter struct {
	target event.Seq
	done   chan event.Seq
}

// serve runs a connection to its end.
func (r *Receiver) serve(ctx context.Context, c *connection) (err error) {
	interrupted := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() {
		c.interrupt(ctx.Err())
		close(interrupted)
	})
	defer func() {
		if !unhook() {
			<-interrupted
		}
		r.detach(c)
		close(c.over)
		_ = c.conn.Close() // it was read to its end, or is broken
		r.count.Connected = false
		if isHandlers(err) && (c.h.Batch != nil || c.h.Commit != nil) {
			c.pos = c.committed // what is not safe is handed out again, should there be another call
		}
		r.publish(c.keep())
		if r.Handler.Disconnected != nil {
			r.Handler.Disconnected(err)
		}
	}()
	r.rd.Reset(c.conn)
	r.count.Connected = true
	r.count.Connections++
	c.lastSign = time.Now()
	r.publish(r.pos)
	if r.Handler.Connected != nil {
		r.Handler.Connected()
	}
	r.control.Lock()
	if r.paused {
		c.send(Pause, 0)
	}
	r.control.Unlock()
	return c.run(ctx)
}

// keep notes the position for the next connection, if it can mean something there, and returns the one to show.
func (c *connection) keep() Position {
	switch {
	case c.pos.Epoch != 0:
		c.r.pos = c.pos
	case c.known:
		return c.pos
	}
	return c.r.pos
}

// run reads and handles frames until the connection ends.
func (c *connection) run(ctx context.Context) error {
	for {
		if !c.r.rd.Buffered() {
			if err := c.settle(ctx, false); err != nil {
				return c.end(ctx, err)
			}
			_ = c.conn.SetReadDeadline(c.deadline()) // fails only on a connection that has ended, as the read will say
		}
		// An interruption sets the deadline after stop: either stop is seen here, or the read ends at once.
		if why := c.stop.Load(); why != nil {
			return c.end(ctx, *why)
		}
		if err := ctx.Err(); err != nil { // its interruption may be on its way still
			return c.end(ctx, err)
		}
		f, err := c.r.rd.Next()
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				if c.stop.Load() != nil || !c.dead() {
					continue // half a frame is kept
				}
				err = ErrSilent
			}
			return c.end(ctx, err)
		}
		c.heard = true
		if err := c.handle(ctx, f); err != nil {
			return err
		}
	}
}

// silence returns how long the producer may send nothing.
func (c *connection) silence() time.Duration {
	if c.r.Silence == 0 {
		return defaultSilence
	}
	return c.r.Silence
}

// dead reports whether the producer has been silent for too long.
func (c *connection) dead() bool {
	return c.silence() > 0 && time.Since(c.lastSign) >= c.silence()
}

// deadline returns when a read must end: an acknowledgement is due, or the producer is dead. The zero time is never.
func (c *connection) deadline() (t time.Time) {
	if s := c.silence(); s > 0 {
		t = c.lastSign.Add(s)
	}
	if c.r.AckEvery > 0 && c.through > c.acked {
		if due := c.lastAck.Add(c.r.AckEvery); t.IsZero() || due.Before(t) {
			t = due
		}
	}
	return t
}

// end settles what is handled, as far as the connection still allows, and says why it has ended.
func (c *connection) end(ctx context.Context, why error) error {
	if isHandlers(why) {
		return why
	}
	// The producer may have closed its side only: an acknowledgement may still reach it.
	if err := c.settle(context.WithoutCancel(ctx), true); err != nil {
		return err
	}
	switch {
	case errors.Is(why, io.EOF), errors.Is(why, errDisconnect):
		return nil
	case errors.Is(why, io.ErrUnexpectedEOF):
		return fmt.Errorf("eventstream: the connection ended inside a frame: %w", why)
	default:
		return why
	}
}

// settle is called when everything that was read is handled: it lets the handler flush, and acknowledges if that is
// due. An error is the handler's.
func (c *connection) settle(ctx context.Context, last bool) error {
	if c.fresh {
		c.fresh = false
		c.r.count.Reads++
		if err := c.call(ctx, "Batch", c.h.Batch); err != nil {
			return err
		}
	}
	now := time.Now()
	if c.heard {
		c.heard = false
		c.lastSign = now
	}
	ack := c.r.AckEvery >= 0 && (c.owed || c.through > c.acked && (last || now.Sub(c.lastAck) >= c.r.AckEvery))
	if ack {
		if err := c.call(ctx, "Commit", c.h.Commit); err != nil {
			return err
		}
		c.owed, c.acked, c.lastAck, c.committed = false, c.through, now, c.pos
		c.r.count.Acks++
		c.r.count.Acked = c.acked
	}
	c.r.publish(c.keep())
	if ack {
		c.send(Ack, c.acked)
	}
	if c.answer {
		c.answer = false
		c.send(Keepalive, 0)
	}
	return nil
}

// call calls Batch or Commit.
func (c *connection) call(ctx context.Context, name string, f func(context.Context, Position) error) error {
	if f == nil {
		return nil
	}
	if err := f(ctx, c.pos); err != nil {
		return &HandlerError{name, err}
	}
	return nil
}

// interrupt ends the connection for that reason. Safe for concurrent use.
func (c *connection) interrupt(why error) {
	if c.stop.CompareAndSwap(nil, &why) {
		_ = c.conn.SetReadDeadline(time.Unix(1, 0)) // an error means that it has ended already
	}
}

// send sends a control frame. A producer that does not take it in time is broken, and the connection ends. One that has
// closed it may have sent something before, which is still to be read: reading says how it ends. Safe for
// concurrent use.
func (c *connection) send(t event.FrameType, seq event.Seq) {
	c.sending.Lock()
	defer c.sending.Unlock()
	if c.broken {
		return
	}
	err := c.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err == nil {
		_, err = c.conn.Write(AppendControl(c.frame[:0], t, seq))
	}
	c.broken = err != nil
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.interrupt(err)
	}
}

// complete answers those who wait for a number up to highest.
func (c *connection) complete(highest event.Seq) {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	c.waiters = slices.DeleteFunc(c.waiters, func(w *waiter) bool {
		if w.target > highest {
			return false
		}
		w.done <- highest
		return true
	})
}

// forget removes a waiter that has given up.
func (c *connection) forget(w *waiter) {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	c.waiters = slices.DeleteFunc(c.waiters, func(other *waiter) bool { return other == w })
}

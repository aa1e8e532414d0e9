package eventstream

import (
	"context"
	"fmt"

	"github.com/rtflow/pipelined/sdk/event"
)

// handle handles one frame. An error is the handler's, or a hello that cannot be understood.
func (c *connection) handle(ctx context.Context, f Frame) error {
	first := !c.greeted
	c.greeted = true
	switch f.Type() {
	case event.FramePolicyDeny, event.FrameScreenDrop, event.FrameFilterLog, event.FrameSessionOpen, event.FrameSessionClose,
		event.FrameLoss, SessionOpen, SessionClose, SessionUpdate:
		return c.record(ctx, f)
	case FullResync:
		return c.resync(ctx, f.Seq())
	case Keepalive:
		c.r.count.Keepalives++
		c.answer = true
	case DrainComplete:
		if err := c.settle(ctx, false); err != nil {
			return c.end(ctx, err)
		}
		c.complete(f.Seq())
	case HelloFrame:
		return c.hello(f, first)
	case TableEnd:
		return c.tableEnd(ctx)
	case Ack, Pause, Resume, DrainRequest:
		// Frames that only receivers send. Their numbers are not those of records.
		c.r.count.Unknown++
	default:
		if !c.isDuplicate(f.Seq()) {
			c.r.count.Unknown++
			c.skip(f.Seq())
		}
	}
	return nil
}

// hello begins a stream that has an epoch.
func (c *connection) hello(f Frame, first bool) error {
	if !first {
		c.malformed("eventstream: a hello that is not the first frame")
		return nil
	}
	h, err := ParseHello(f)
	if err != nil {
		return err // epoch and first number are unknown
	}
	last := c.r.pos
	switch {
	case h.Epoch == 0 || h.Epoch != last.Epoch:
		c.pos = Position{Epoch: h.Epoch}
		if h.First > 0 {
			c.pos.Seq = h.First - 1 // records before it were sent to another receiver
		}
		if last.Epoch != 0 {
			c.r.count.Restarts++
			c.r.count.Acked = 0 // it was another numbering
		}
	default:
		c.pos = last
		if h.First <= last.Seq {
			c.r.count.Replays++
		}
	}
	c.known, c.committed = true, c.pos
	if c.h.Hello != nil {
		c.h.Hello(h, last)
	}
	return nil
}

// record handles a record, or an entry of the session table.
func (c *connection) record(ctx context.Context, f Frame) error {
	seq := f.Seq()
	if c.isDuplicate(seq) {
		return nil
	}
	var err error
	t := f.Type()
	if t == SessionOpen || t == SessionClose || t == SessionUpdate {
		err = DecodeDelta(f, &c.rec)
	} else {
		_, err = c.rec.Decode(f)
	}
	if err == nil && seq == 0 {
		if t == event.FrameSessionOpen || t == SessionUpdate {
			if err := c.give(ctx, "Session", c.h.Session); err != nil {
				return err
			}
			c.r.count.Sessions++
			c.fresh = true
			return nil
		}
		err = fmt.Errorf("eventstream: frame of type %d without a number", t)
	}
	if err != nil {
		c.malformed(err.Error())
		c.skip(seq)
		return nil
	}
	c.arrive(seq, &c.rec)
	if err := c.give(ctx, "Record", c.h.Record); err != nil {
		return err
	}
	c.r.count.Records[c.rec.Kind()]++
	c.done(seq)
	return nil
}

// give hands c.rec to a function of the handler.
func (c *connection) give(ctx context.Context, name string, f func(context.Context, *event.Record) error) error {
	if f == nil {
		return nil
	}
	if err := f(ctx, &c.rec); err != nil {
		return &HandlerError{name, err}
	}
	return nil
}

// resync handles the frame that begins a session table.
func (c *connection) resync(ctx context.Context, seq event.Seq) error {
	if c.known && seq > c.pos.Seq {
		c.gap(Gap{c.pos.Seq + 1, seq, ByResync})
	}
	c.r.count.Resyncs++
	if c.h.Resync != nil {
		if err := c.h.Resync(ctx); err != nil {
			return &HandlerError{"Resync", err}
		}
	}
	c.table = true
	c.owed = true // the producer waits for it, even if the number was acknowledged before
	c.through = max(c.through, seq)
	c.pos.Seq = max(c.pos.Seq, seq)
	c.known, c.fresh = true, true
	return nil
}

// skip counts a frame that cannot be handled, and is no duplicate, as handled. Otherwise the producer would send it for ever.
func (c *connection) skip(seq event.Seq) {
	if seq == 0 {
		return
	}
	c.arrive(seq, nil)
	c.done(seq)
}

// isDuplicate reports whether the frame with that number has been handled before. It is acknowledged then.
func (c *connection) isDuplicate(seq event.Seq) bool {
	if seq == 0 || !c.known || seq > c.pos.Seq {
		return false
	}
	c.r.count.Duplicates++
	c.through = max(c.through, seq)
	return true
}

// arrive is called before a numbered frame is handled: it finds what is missing before it. rec is its record, nil if it has
// none.
func (c *connection) arrive(seq event.Seq, rec *event.Record) {
	if c.known && seq-c.pos.Seq > 1 {
		g := Gap{From: c.pos.Seq + 1, To: seq - 1}
		if rec != nil && rec.Kind() == event.Loss && rec.LossReason() == event.LossEvicted {
			// It stands in the place of the last record that was evicted, and counts all of them.
			if counts := rec.LossCounts(); counts.Total() >= g.Len() {
				g.By = ByLoss
			}
		}
		c.gap(g)
	}
}

// tableEnd handles the frame that ends a session table.
func (c *connection) tableEnd(ctx context.Context) error {
	if !c.table {
		return nil
	}
	c.table, c.fresh = false, true
	if c.h.Synced != nil {
		if err := c.h.Synced(ctx); err != nil {
			return &HandlerError{"Synced", err}
		}
	}
	return nil
}

// done notes that a numbered frame, no duplicate, is handled. What is acknowledged, through, has come on this connection:
// the position may be ahead of it.
func (c *connection) done(seq event.Seq) {
	c.pos.Seq, c.through = seq, max(c.through, seq)
	c.known, c.fresh = true, true
}

func (c *connection) gap(g Gap) {
	if g.By == Silent {
		c.r.count.Gaps++
		c.r.count.Missing += g.Len()
	} else {
		c.r.count.Announced += g.Len()
	}
	if c.h.Gap != nil {
		c.h.Gap(g)
	}
}

func (c *connection) malformed(why string) {
	c.r.count.Malformed++
	c.r.count.LastMalformed = why
}

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
	"github.com/rtflow/pipelined/sdk/format"
)

// receivePrinter prints what a receiver receives.
type receivePrinter struct {
	receiveOptions
	receiver *eventstream.Receiver
	encoder  format.Encoder
	names    *event.Names // nil: none
	epoch    uint64       // of the stream
	only     event.KindSet
	out      *bufio.Writer
	log      *slog.Logger
	finish   context.CancelFunc

	// Used only by the goroutine that receives.
	line        []byte
	prefaced    bool // the names of the stream were printed, if the format has a place for them
	printed     uint64
	drop        uint64 // records since the connection was last closed
	stalled     bool
	newest      int64 // time of the newest record of this read
	table       int   // sessions since the resync
	unreachable string

	lag, maxLag atomic.Int64 // ns
}

func (t *receivePrinter) handler() eventstream.Handler {
	return eventstream.Handler{
		Record: t.record,
		Batch:  t.batch,
		Resync: func(context.Context) error {
			t.table = 0
			t.log.Warn("resync: session records are missing; the sessions that live follow")
			return nil
		},
		Session: func(context.Context, *event.Record) error {
			t.table++
			return nil
		},
		Synced: func(context.Context) error {
			t.log.Info("resync is complete", "sessions", t.table)
			return nil
		},
		Gap: func(g eventstream.Gap) {
			t.log.Warn("records are missing", "from", g.From, "to", g.To, "count", g.Len(), "why", g.By.String())
		},
		Hello:        t.hello,
		Connected:    func() { t.unreachable = ""; t.log.Info("connected") },
		Disconnected: t.disconnected,
		Unreachable: func(err error) {
			if err.Error() != t.unreachable {
				t.unreachable = err.Error()
				t.log.Warn("cannot connect; trying on", "err", err)
			}
		},
	}
}

func (t *receivePrinter) hello(h eventstream.Hello, last eventstream.Position) {
	if h.Epoch != t.epoch {
		t.epoch, t.prefaced = h.Epoch, false
		t.encoder = format.ForStream(t.encoder, h.Epoch)
	}
	switch {
	case last.Epoch == 0:
		t.log.Info("stream begins", "epoch", h.Epoch, "first", h.First)
	case last.Epoch != h.Epoch:
		t.log.Warn("the producer was started again", "epoch", h.Epoch, "first", h.First, "epoch_before", last.Epoch, "received_before", last.Seq)
	case h.First <= last.Seq:
		t.log.Info("stream goes on with a replay", "epoch", h.Epoch, "first", h.First, "known_up_to", last.Seq)
	default:
		t.log.Info("stream goes on", "epoch", h.Epoch, "first", h.First)
	}
}

func (t *receivePrinter) disconnected(err error) {
	if err == nil || errors.Is(err, context.Canceled) {
		t.log.Info("disconnected")
		return
	}
	t.log.Warn("disconnected", "err", err)
}

// record prints a record into the buffer of out, which is flushed before the record is acknowledged.
func (t *receivePrinter) record(ctx context.Context, rec *event.Record) error {
	t.newest = max(t.newest, rec.Time())
	if t.only.Has(rec.Kind()) {
		t.line = t.line[:0]
		if !t.prefaced && t.names != nil { // a file of frames without names is read with those of the configuration
			t.prefaced = true
			if p, ok := t.encoder.(format.Prefacer); ok {
				t.line = p.AppendPreface(t.line, t.names)
			}
		}
		t.line = append(t.encoder.Append(t.line, rec, t.names), t.encoder.Terminator()...)
		if _, err := t.out.Write(t.line); err != nil {
			return fmt.Errorf("standard output: %w", err)
		}
		t.printed++
	}
	if t.stall > 0 && !t.stalled {
		t.stalled = true
		if err := t.pause(ctx); err != nil {
			return err
		}
	}
	if t.drop++; t.drop == t.dropAfter {
		t.drop = 0
		t.log.Info("closing the connection, as asked", "after", t.dropAfter)
		t.receiver.Disconnect()
	}
	if t.printed == t.count && t.count > 0 {
		t.receiver.Disconnect()
		t.finish()
	}
	return nil
}

// pause waits for the duration of --stall.
func (t *receivePrinter) pause(ctx context.Context) error {
	if err := t.out.Flush(); err != nil {
		return fmt.Errorf("standard output: %w", err)
	}
	t.log.Info("stalling, as asked", "for", t.stall.String())
	timer := time.NewTimer(t.stall)
	defer timer.Stop()
	select {
	case <-timer.C:
		t.log.Info("going on")
	case <-ctx.Done():
	}
	return nil
}

// batch flushes what is printed.
func (t *receivePrinter) batch(context.Context, eventstream.Position) error {
	if t.newest != 0 {
		lag := max(time.Since(time.Unix(0, t.newest)), 0)
		t.lag.Store(int64(lag))
		t.maxLag.Store(max(t.maxLag.Load(), int64(lag)))
		t.newest = 0
	}
	if err := t.out.Flush(); err != nil {
		return fmt.Errorf("standard output: %w", err)
	}
	return nil
}

// reportEvery logs the counters regularly until ctx ends. The channel is closed then.
func (t *receivePrinter) reportEvery(ctx context.Context, every time.Duration) <-chan struct{} {
	done := make(chan struct{})
	if every <= 0 {
		close(done)
		return done
	}
	go func() {
		defer close(done)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		var before uint64
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			s := t.receiver.Stats()
			total := s.Total()
			t.log.Info("so far", "records", total, "per_second", uint64(float64(total-before)/every.Seconds()),
				"position", s.Position.Seq, "acked", s.Acked, "duplicates", s.Duplicates, "missing", s.Missing,
				"announced", s.Announced, "malformed", s.Malformed, "unknown", s.Unknown, "connections", s.Connections,
				"lag", round(t.lag.Load()), "max_lag", round(t.maxLag.Load()))
			before = total
		}
	}()
	return done
}

// summary writes what was received.
func (t *receivePrinter) summary(w io.Writer) error {
	s := t.receiver.Stats()
	var kinds []string
	for _, k := range event.Kinds() {
		if n := s.Records[k]; n > 0 {
			kinds = append(kinds, fmt.Sprintf("%s %d", k, n))
		}
	}
	if kinds == nil {
		kinds = []string{"none"}
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "records\t%d: %s; printed %d\n", s.Total(), strings.Join(kinds, ", "), t.printed)
	fmt.Fprintf(tw, "position\t%d of epoch %d; acknowledged up to %d\n", s.Position.Seq, s.Position.Epoch, s.Acked)
	fmt.Fprintf(tw, "missing\t%d in %d gaps; %d more are announced\n", s.Missing, s.Gaps, s.Announced)
	fmt.Fprintf(tw, "duplicates\t%d\n", s.Duplicates)
	fmt.Fprintf(tw, "connections\t%d; %d with a replay, %d with a restarted producer\n", s.Connections, s.Replays, s.Restarts)
	fmt.Fprintf(tw, "resyncs\t%d; %d sessions in their tables\n", s.Resyncs, s.Sessions)
	fmt.Fprintf(tw, "not understood\t%d malformed, %d of unknown type\n", s.Malformed, s.Unknown)
	if s.LastMalformed != "" {
		fmt.Fprintf(tw, "\t%s\n", s.LastMalformed)
	}
	fmt.Fprintf(tw, "lag\t%s at the last record, %s at most\n", round(t.lag.Load()), round(t.maxLag.Load()))
	return tw.Flush()
}

// round returns a duration in nanoseconds as text with at most five digits.
func round(ns int64) string {
	d := time.Duration(ns)
	switch {
	case d >= time.Second:
		d = d.Round(10 * time.Millisecond)
	case d >= time.Millisecond:
		d = d.Round(10 * time.Microsecond)
	default:
		d = d.Round(time.Microsecond)
	}
	return d.String()
}

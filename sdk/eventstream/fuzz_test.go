package eventstream_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
)

// want is what a receiver must make of a stream: which records, how many resyncs and table entries, and after how many
// records each number may be acknowledged at the earliest.
type want struct {
	records  []event.Seq
	sessions int
	resyncs  int
	through  []event.Seq // highest number after each numbered frame
	after    []int       // records before and in it
}

// understand reads a stream in one piece, by the rules of the protocol, and returns the position it ends at.
func understand(b []byte, pos eventstream.Position) (w want, end eventstream.Position) {
	kept := pos
	pos = eventstream.Position{}
	known, top := false, event.Seq(0)
	number := func(seq event.Seq) {
		top = max(top, seq)
		w.through, w.after = append(w.through, top), append(w.after, len(w.records))
	}
	finish := func() (want, eventstream.Position) {
		if pos.Epoch == 0 {
			return w, kept
		}
		return w, pos
	}
	r := eventstream.NewReader(bytes.NewReader(b), 0)
	for first := true; ; first = false {
		f, err := r.Next()
		if err != nil {
			return finish()
		}
		seq := f.Seq()
		switch t := f.Type(); t {
		case eventstream.HelloFrame:
			if !first {
				continue
			}
			h, err := eventstream.ParseHello(f)
			if err != nil {
				return finish()
			}
			known = true
			if pos = kept; h.Epoch == 0 || h.Epoch != kept.Epoch {
				pos = eventstream.Position{Epoch: h.Epoch, Seq: max(h.First, 1) - 1}
			}
		case eventstream.FullResync:
			w.resyncs++
			known, pos.Seq = true, max(pos.Seq, seq)
			number(seq)
		case 4, 5, 6, 7, 8, 10:
		default:
			var rec event.Record
			var err error
			if t <= 3 && t >= 1 {
				err = eventstream.DecodeDelta(f, &rec)
			} else {
				_, err = rec.Decode(f)
			}
			switch {
			case seq == 0:
				if err == nil && (t == 3 || t == 14) {
					w.sessions++
				}
				continue
			case !known || seq > pos.Seq:
				known, pos.Seq = true, seq
				if err == nil {
					w.records = append(w.records, seq)
				}
			}
			number(seq)
		}
	}
}

// chunks is a connection that delivers a stream in random pieces, with timeouts between, and holds the acknowledgements
// against what the handler has got.
type chunks struct {
	t       *testing.T
	in      pieces
	want    want
	records []event.Seq
	acked   event.Seq
	at      int // first number of want.through that is not acknowledged
}

func (c *chunks) Read(b []byte) (int, error) {
	n, err := c.in.Read(b)
	if errors.Is(err, errTimeout) {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

func (c *chunks) Write(b []byte) (int, error) {
	if len(b) != event.HeaderSize || binary.LittleEndian.Uint32(b) != 0 {
		c.t.Fatalf("not a control frame: %x", b)
	}
	f := eventstream.Frame(b)
	switch f.Type() {
	case eventstream.Keepalive:
	case eventstream.Ack:
		if f.Seq() < c.acked {
			c.t.Fatalf("ACK %d after %d", f.Seq(), c.acked)
		}
		c.acked = f.Seq()
		for c.at < len(c.want.through) && c.want.through[c.at] < c.acked {
			c.at++
		}
		if c.at == len(c.want.through) || c.want.through[c.at] != c.acked {
			c.t.Fatalf("ACK %d, which is no number of the stream", c.acked)
		}
		if c.want.after[c.at] > len(c.records) {
			c.t.Fatalf("ACK %d after %d records, it is %d", c.acked, len(c.records), c.want.after[c.at])
		}
	default:
		c.t.Fatalf("a frame of type %d", f.Type())
	}
	return len(b), nil
}

func (*chunks) Close() error                     { return nil }
func (*chunks) LocalAddr() net.Addr              { return nil }
func (*chunks) RemoteAddr() net.Addr             { return nil }
func (*chunks) SetDeadline(time.Time) error      { return nil }
func (*chunks) SetReadDeadline(time.Time) error  { return nil }
func (*chunks) SetWriteDeadline(time.Time) error { return nil }

// FuzzReceiver feeds any bytes in any pieces on two connections: the handler gets what a plain reading of the protocol
// says, nothing is acknowledged before it is handled, and at the end everything is.
func FuzzReceiver(f *testing.F) {
	stream, _ := frames(10)
	second := piece(hello(2, 5), denies(5, 14), control(eventstream.FullResync, 20), opened(0), opened(21))
	f.Add(stream, second, uint64(1))
	f.Add(piece(delta(eventstream.SessionOpen, 3), deny(2), deny(4), odd(11, 5), odd(99, 6)), stream, uint64(2))
	f.Add(piece(hello(7, 9), loss(20, event.LossEvicted, 30), control(eventstream.FullResync, 3), deny(20)), piece(hello(7, 1), deny(21)), uint64(3))
	f.Add(piece(hello(0, 0), control(eventstream.Keepalive, 0), deny(^event.Seq(0)), deny(1)), eventstream.AppendFrame(nil, 11, 1025, 1), uint64(4))
	f.Fuzz(func(t *testing.T, one, two []byte, seed uint64) {
		var at *chunks
		sessions, resyncs := 0, 0
		r := &eventstream.Receiver{Handler: eventstream.Handler{
			Record: func(_ context.Context, rec *event.Record) error {
				at.records = append(at.records, rec.Seq())
				return nil
			},
			Session: func(context.Context, *event.Record) error { sessions++; return nil },
			Resync:  func(context.Context) error { resyncs++; return nil },
			Commit: func(_ context.Context, p eventstream.Position) error {
				if n := len(at.records); n > 0 && p.Seq < at.records[n-1] {
					t.Fatalf("position %d, and %d is handled", p.Seq, at.records[n-1])
				}
				return nil
			},
		}}
		rng := rand.New(rand.NewPCG(seed, 0))
		var pos eventstream.Position
		for _, b := range [][]byte{one, two} {
			var w want
			w, pos = understand(b, pos)
			at = &chunks{t: t, in: pieces{b: b, rng: rng}, want: w}
			sessions, resyncs = 0, 0
			err := r.Serve(t.Context(), at)
			var bad *event.FrameError
			if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.As(err, &bad) && len(w.through) != 0 {
				t.Fatalf("Serve = %v", err)
			}
			if len(at.records) != len(w.records) || sessions != w.sessions || resyncs != w.resyncs {
				t.Fatalf("%d records, %d sessions, %d resyncs; want %d, %d, %d", len(at.records), sessions, resyncs,
					len(w.records), w.sessions, w.resyncs)
			}
			for i, seq := range w.records {
				if at.records[i] != seq {
					t.Fatalf("record %d is number %d, want %d", i, at.records[i], seq)
				}
			}
			if n := len(w.through); n > 0 && at.acked != w.through[n-1] {
				t.Fatalf("acknowledged up to %d, want %d", at.acked, w.through[n-1])
			}
		}
	})
}

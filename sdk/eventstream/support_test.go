package eventstream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/rtflow/pipelined/internal/testing/await"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// journal notes in order what a handler is called with, and what its producer gets.
type journal struct {
	mu    sync.Mutex
	lines []string
	fail  map[string]error // what the handler answers to a line
	last  *producer        // if there is one, Disconnected waits until it has noted everything
}

func (j *journal) note(format string, args ...any) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	line := fmt.Sprintf(format, args...)
	j.lines = append(j.lines, line)
	return j.fail[line]
}

// take returns what was noted since the last call.
func (j *journal) take() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	text := strings.Join(j.lines, "\n")
	j.lines = nil
	return text
}

// expect compares what was noted since the last call with lines, "; " between them.
func (j *journal) expect(t *testing.T, what, want string) {
	t.Helper()
	if diff := cmp.Diff(strings.Split(want, "; "), strings.Split(j.take(), "\n")); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// eventually waits until a line has been noted.
func (j *journal) eventually(t *testing.T, line string) {
	t.Helper()
	await.Until(t, line, func() bool {
		j.mu.Lock()
		defer j.mu.Unlock()
		return slices.Contains(j.lines, line)
	})
}

// handler returns a handler that notes every call.
func (j *journal) handler() eventstream.Handler {
	record := func(prefix string) func(context.Context, *event.Record) error {
		return func(_ context.Context, rec *event.Record) error {
			return j.note("%s%s %d", prefix, rec.Kind(), rec.Seq())
		}
	}
	position := func(prefix string) func(context.Context, eventstream.Position) error {
		return func(_ context.Context, p eventstream.Position) error {
			return j.note("%s %d/%d", prefix, p.Epoch, p.Seq)
		}
	}
	return eventstream.Handler{
		Record:  record(""),
		Session: record("table: "),
		Batch:   position("batch"),
		Commit:  position("commit"),
		Resync:  func(context.Context) error { return j.note("resync") },
		Synced:  func(context.Context) error { return j.note("synced") },
		Gap:     func(g eventstream.Gap) { _ = j.note("%d to %d %s", g.From, g.To, g.By) },
		Hello: func(h eventstream.Hello, last eventstream.Position) {
			_ = j.note("hello %d from %d, last %d/%d", h.Epoch, h.First, last.Epoch, last.Seq)
		},
		Connected: func() { _ = j.note("connected") },
		Disconnected: func(err error) {
			if j.last != nil {
				<-j.last.over
			}
			_ = j.note("disconnected: %v", err)
		},
		Unreachable: func(err error) { _ = j.note("unreachable: %v", errors.Unwrap(errors.Unwrap(err))) },
	}
}

// producer is the other end of a connection. It notes what it gets.
type producer struct {
	t    *testing.T
	conn net.Conn
	over chan struct{}
}

func newProducer(t *testing.T, conn net.Conn, j *journal) *producer {
	p := &producer{t: t, conn: conn, over: make(chan struct{})}
	go func() {
		defer close(p.over)
		r := eventstream.NewReader(conn, 0)
		for {
			f, err := r.Next()
			if err != nil {
				return
			}
			_ = j.note("> %s %d", names[f.Type()], f.Seq())
		}
	}()
	return p
}

var names = map[event.FrameType]string{
	eventstream.Ack: "ack", eventstream.Keepalive: "keepalive", eventstream.Pause: "pause", eventstream.Resume: "resume",
	eventstream.DrainRequest: "drain",
}

// send writes frames in one piece.
func (p *producer) send(frames ...[]byte) {
	p.t.Helper()
	var b []byte
	for _, f := range frames {
		b = append(b, f...)
	}
	if _, err := p.conn.Write(b); err != nil {
		p.t.Errorf("producer: %v", err)
	}
}

func (p *producer) close() {
	p.conn.Close()
	<-p.over
}

// Frames of a producer.

func record(kind event.Kind, seq event.Seq) []byte {
	rec := sinktest.Record(kind, uint64(seq))
	rec.SetSeq(seq)
	return append([]byte(nil), rec.Frame()...)
}

func deny(seq event.Seq) []byte   { return record(event.PolicyDeny, seq) }
func opened(seq event.Seq) []byte { return record(event.SessionOpen, seq) }
func closed(seq event.Seq) []byte { return record(event.SessionClose, seq) }

// denies returns the frames from one number to another.
func denies(from, to event.Seq) (b []byte) {
	for seq := from; seq <= to; seq++ {
		b = append(b, deny(seq)...)
	}
	return b
}

func loss(seq event.Seq, why event.LossReason, lost uint64) []byte {
	var rec event.Record
	rec.Reset(event.Loss)
	rec.SetSeq(seq)
	rec.SetLoss(why, 0, &event.LossCounts{event.ScreenDrop: lost}, 1, 2)
	return append([]byte(nil), rec.Frame()...)
}

func hello(epoch uint64, first event.Seq) []byte {
	return eventstream.AppendHello(nil, eventstream.Hello{Version: eventstream.Version, Epoch: epoch, First: first})
}

func control(t event.FrameType, seq event.Seq) []byte { return eventstream.AppendControl(nil, t, seq) }

// odd returns a frame of any type with a payload that is no record.
func odd(t event.FrameType, seq event.Seq) []byte {
	return append(eventstream.AppendFrame(nil, t, 3, seq), 1, 2, 3)
}

// delta returns a session frame of the delta layout.
func delta(t event.FrameType, seq event.Seq) []byte {
	if t == eventstream.SessionClose {
		return eventstream.AppendClose(nil, seq, session(event.SessionClose, false))
	}
	return eventstream.AppendOpen(nil, t, seq, session(event.SessionOpen, false))
}

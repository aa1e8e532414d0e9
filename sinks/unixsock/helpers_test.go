package unixsock_test

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
	"github.com/rtflow/pipelined/sdk/sinktest"
	"github.com/rtflow/pipelined/sinks/unixsock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pipes is a connector whose connections are in memory: they work under virtual time.
type pipes chan net.Conn

func (p pipes) Connect(ctx context.Context, draining <-chan struct{}) (net.Conn, error) {
	select {
	case c := <-p:
		return c, nil
	case <-draining:
		return nil, errors.New("nobody there")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (pipes) Close() error    { return nil }
func (pipes) Refused() uint64 { return 0 }

// rig is a sink over a stream, and the test is its receiver.
type rig struct {
	*testing.T
	*sinktest.Stream
	sink  *unixsock.Sink
	conns pipes
	stop  context.CancelFunc
	done  chan error // of the run that is under way
}

// start runs a sink. Call it inside the bubble of a synctest.
func start(t *testing.T, c unixsock.Config) *rig {
	t.Helper()
	r := &rig{T: t, Stream: sinktest.NewStream(t), conns: make(pipes)}
	c.Connector = r.conns
	r.sink = unixsock.New(c)
	r.run()
	t.Cleanup(func() { r.stop() })
	return r
}

// run runs the sink once, as the daemon does again and again.
func (r *rig) run() {
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	r.done = make(chan error, 1)
	go func() { r.done <- r.Stream.Run(ctx, r.sink) }()
}

// again waits for the run to end, begins the next, and returns what the first returned.
func (r *rig) again() error {
	r.Helper()
	err := <-r.done
	r.run()
	return err
}

func (r *rig) counter(name string) uint64 {
	r.Helper()
	for _, c := range r.sink.Counters() {
		if c.Name == name {
			return c.Value
		}
	}
	r.Fatalf("no counter %q", name)
	return 0
}

// receiver is the other end of a connection.
type receiver struct {
	*rig
	conn net.Conn
	in   *eventstream.Reader
}

// connect is a receiver that connects; in record mode it reads the hello.
func (r *rig) connect(first event.Seq) *receiver {
	r.Helper()
	here, there := net.Pipe()
	r.conns <- there
	v := &receiver{rig: r, conn: here, in: eventstream.NewReader(here, 1<<18)}
	r.Cleanup(func() { _ = here.Close() })
	if r.sink.Delta {
		return v
	}
	h, err := eventstream.ParseHello(v.frame(eventstream.HelloFrame))
	if want := (eventstream.Hello{Version: 1, Epoch: sinktest.Epoch, First: first}); err != nil || h != want {
		r.Fatalf("hello %+v, %v, want %+v", h, err, want)
	}
	return v
}

// frame reads a frame of that type.
func (v *receiver) frame(want event.FrameType) eventstream.Frame {
	v.Helper()
	f, err := v.in.Next()
	if err != nil {
		v.Fatalf("want a frame of type %d, got %v", want, err)
	}
	if f.Type() != want {
		v.Fatalf("frame of type %d and number %d, want type %d", f.Type(), f.Seq(), want)
	}
	return f
}

// records reads records, from that number to that, and checks that there is nothing else between.
func (v *receiver) records(from, to event.Seq) {
	v.Helper()
	for seq := from; seq <= to; seq++ {
		f, err := v.in.Next()
		if err != nil || f.Seq() != seq || f.Type() < 11 && f.Type() > 2 {
			v.Fatalf("want record %d, got %v, %v", seq, f, err)
		}
	}
}

// nothing checks that nothing comes for as long.
func (v *receiver) nothing(within time.Duration) {
	v.Helper()
	if err := v.conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		v.Fatal(err)
	}
	if f, err := v.in.Next(); !errors.Is(err, os.ErrDeadlineExceeded) {
		v.Fatalf("want nothing, got %v, %v", f, err)
	}
	if err := v.conn.SetReadDeadline(time.Time{}); err != nil {
		v.Fatal(err)
	}
}

// say sends a control frame.
func (v *receiver) say(t event.FrameType, seq event.Seq) {
	v.send(eventstream.AppendControl(nil, t, seq))
}

func (v *receiver) send(b []byte) {
	v.Helper()
	if _, err := v.conn.Write(b); err != nil {
		v.Fatalf("the sink does not read: %v", err)
	}
}

// hasAcked checks what the sink has acknowledged.
func (r *rig) hasAcked(want event.Seq) {
	r.Helper()
	if got := r.Acked(); got != want {
		r.Fatalf("acknowledged up to %d, want %d", got, want)
	}
}

// sessions returns n session-open records.
func sessions(n int) []event.Record {
	all := make([]event.Record, n)
	for i := range all {
		all[i] = sinktest.Record(event.SessionOpen, uint64(i))
	}
	return all
}

// loss returns a loss record for one event of a kind.
func loss(k event.Kind) event.Record {
	var r event.Record
	r.Reset(event.Loss)
	var lost event.LossCounts
	lost[k] = 1
	r.SetLoss(event.LossOverBudget, 0, &lost, 1, 2)
	return r
}

// takeAll is a receiver that acknowledges whatever comes, until the connection ends.
func takeAll(conn net.Conn) {
	defer conn.Close()
	in := eventstream.NewReader(conn, 1<<18)
	for {
		f, err := in.Next()
		if err != nil {
			return
		}
		if f.Seq() != 0 && !in.Buffered() {
			if _, err := conn.Write(eventstream.AppendControl(nil, eventstream.Ack, f.Seq())); err != nil {
				return
			}
		}
	}
}

package sinkplugin

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinkplugin/sinkv1"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a sink that does what a test says.
type fake struct {
	run    func(ctx context.Context, s sdk.Stream) error
	closed atomic.Int32
}

func (f *fake) Run(ctx context.Context, s sdk.Stream) error { return f.run(ctx, s) }
func (f *fake) Close() error                                { f.closed.Add(1); return nil }

// start serves a sink in this process and returns the daemon's side.
func start(t *testing.T, sink sdk.Sink) (sinkv1.SinkClient, *service) {
	t.Helper()
	s := newService(sdk.SinkPlugin{Name: "fake", Summary: "fake", Configure: func(cfg sdk.Config, env sdk.Env) sdk.Sink {
		o := struct {
			Key string `toml:"key"`
		}{}
		cfg.Decode(&o)
		cfg.Warnf("key", "odd")
		return sink
	}})
	l := bufconn.Listen(1 << 20)
	server := grpc.NewServer(serverOptions()...)
	sinkv1.RegisterSinkServer(server, s)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:x", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return l.Dial() }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		<-done
	})
	return sinkv1.NewSinkClient(conn), s
}

// deliver configures the sink and opens a run.
func deliver(t *testing.T, client sinkv1.SinkClient) grpc.BidiStreamingClient[sinkv1.Down, sinkv1.Up] {
	t.Helper()
	_, err := client.Configure(t.Context(), &sinkv1.ConfigureRequest{})
	if err != nil && status.Code(err) != codes.FailedPrecondition {
		t.Fatal(err)
	}
	call, err := client.Deliver(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	send(t, call, &sinkv1.Down{Message: &sinkv1.Down_Open{Open: &sinkv1.Open{Epoch: 5}}})
	return call
}

func send(t *testing.T, call grpc.BidiStreamingClient[sinkv1.Down, sinkv1.Up], m *sinkv1.Down) {
	t.Helper()
	if err := call.Send(m); err != nil {
		t.Fatal(err)
	}
}

// batch returns records first.. as they travel.
func batch(first event.Seq, n int) *sinkv1.Down {
	b := &sinkv1.Batch{First: uint64(first), Count: uint32(n), Generation: 3}
	for i, r := range sinktest.Records(uint64(first), n) {
		r.SetSeq(first + event.Seq(i))
		b.Frames = append(b.Frames, r.Frame()...)
	}
	return &sinkv1.Down{Message: &sinkv1.Down_Batch{Batch: b}}
}

func drain() *sinkv1.Down { return &sinkv1.Down{Message: &sinkv1.Down_Drain{Drain: &sinkv1.Drain{}}} }

// answer reads to the end of the call.
func answer(call grpc.BidiStreamingClient[sinkv1.Down, sinkv1.Up]) (acked uint64, rejected []*sinkv1.Rejection, err error) {
	for {
		up, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return acked, rejected, nil
		}
		if err != nil {
			return acked, rejected, err
		}
		acked = max(acked, up.GetAck())
		rejected = append(rejected, up.GetRejections()...)
	}
}

func TestDelivers(t *testing.T) {
	want := event.Seq(1)
	client, _ := start(t, &fake{run: func(ctx context.Context, s sdk.Stream) error {
		if s.Epoch() != 5 {
			t.Errorf("epoch %d", s.Epoch())
		}
		for {
			b, err := s.Next(ctx, -1)
			if err != nil {
				return err
			}
			for i := range b.Records {
				r := &b.Records[i]
				if r.Seq() != want || r.Generation != 3 || s.Names(3).Zone(1) != "trust" || s.Names(4).Generation != 4 {
					t.Errorf("record %d of generation %d, want %d", r.Seq(), r.Generation, want)
				}
				if want++; r.Seq() == 7 {
					s.Reject(7, strings.Repeat("ä", 1000))
				}
			}
			if err := s.Ack(b.Last() + 1); err == nil {
				t.Error("a record that was not handed out could be acknowledged")
			}
			if err := s.Ack(b.Last()); err != nil {
				t.Error(err)
			}
		}
	}})
	call := deliver(t, client)
	names := sinkv1.FromNames(sinktest.Names())
	names.Generation = 3
	send(t, call, &sinkv1.Down{Message: &sinkv1.Down_Names{Names: names}})
	send(t, call, batch(1, 10))
	send(t, call, batch(11, 1024))
	send(t, call, drain())
	acked, rejected, err := answer(call)
	if err != nil || acked != 1034 {
		t.Errorf("acknowledged %d, %v", acked, err)
	}
	if len(rejected) != 1 || rejected[0].GetSequence() != 7 || len(rejected[0].GetWhy()) != maxWhy {
		t.Errorf("rejected %v", rejected)
	}
}

// TestManyGenerations checks that a sink which is slow knows the names of every record, however many generations have come since.
func TestManyGenerations(t *testing.T) {
	const generations = 40
	sent := make(chan struct{})
	client, _ := start(t, &fake{run: func(ctx context.Context, s sdk.Stream) error {
		<-sent
		for {
			b, err := s.Next(ctx, -1)
			if err != nil {
				return err
			}
			for i := range b.Records {
				if r := &b.Records[i]; s.Names(r.Generation).Zone(1) != "trust" {
					t.Errorf("record %d of generation %d has no names", r.Seq(), r.Generation)
				}
			}
			if err := s.Ack(b.Last()); err != nil {
				return err
			}
		}
	}})
	call := deliver(t, client)
	for i := range uint32(generations) {
		names := sinkv1.FromNames(sinktest.Names())
		names.Generation = 100 + i
		send(t, call, &sinkv1.Down{Message: &sinkv1.Down_Names{Names: names}})
		m := batch(event.Seq(i)+1, 1)
		m.GetBatch().Generation = 100 + i
		send(t, call, m)
	}
	close(sent)
	send(t, call, drain())
	if acked, _, err := answer(call); err != nil || acked != generations {
		t.Errorf("acknowledged %d, %v", acked, err)
	}
}

// TestNextWaits checks what Next returns when there is nothing.
func TestNextWaits(t *testing.T) {
	client, _ := start(t, &fake{run: func(ctx context.Context, s sdk.Stream) error {
		for _, wait := range []time.Duration{0, time.Millisecond} {
			if b, err := s.Next(ctx, wait); err != nil || b.Len() != 0 {
				t.Errorf("Next(%v) = %d records, %v", wait, b.Len(), err)
			}
		}
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		_, err := s.Next(short, -1)
		return err
	}})
	_, _, err := answer(deliver(t, client))
	if status.Code(err) != codes.Aborted || status.Convert(err).Message() != context.DeadlineExceeded.Error() {
		t.Errorf("%v", err)
	}
}

// TestCredit checks that the credit never lets more wait than the window, and that it grows as the sink takes records.
func TestCredit(t *testing.T) {
	take := make(chan struct{})
	client, _ := start(t, &fake{run: func(ctx context.Context, s sdk.Stream) error {
		for {
			<-take
			if _, err := s.Next(ctx, -1); err != nil {
				return err
			}
		}
	}})
	call := deliver(t, client)
	up, err := call.Recv()
	if err != nil || up.GetCredit() != window {
		t.Fatalf("%v, %v", up, err)
	}
	for i := range window / 1024 {
		send(t, call, batch(event.Seq(i*1024+1), 1024))
	}
	for range window / 1024 / 2 {
		take <- struct{}{}
	}
	if up, err = call.Recv(); err != nil || up.GetCredit() != window+window/2 || up.GetAck() != 0 {
		t.Errorf("%v, %v", up, err)
	}
	_ = call.CloseSend()
	close(take)
	if _, _, err := answer(call); err != nil {
		t.Error(err)
	}
}

// TestStops ends a run from the daemon's side: the sink's context ends, and its last acknowledgement arrives.
func TestStops(t *testing.T) {
	client, _ := start(t, &fake{run: func(ctx context.Context, s sdk.Stream) error {
		b, err := s.Next(ctx, -1)
		if err != nil {
			return err
		}
		<-ctx.Done()
		return errors.Join(s.Ack(b.Last()), errors.New("lost with the run"))
	}})
	call := deliver(t, client)
	send(t, call, batch(1, 5))
	_ = call.CloseSend()
	if acked, _, err := answer(call); err != nil || acked > 5 {
		t.Errorf("acknowledged %d, %v", acked, err)
	}
}

// TestFaults checks what a run's end looks like to the daemon.
func TestFaults(t *testing.T) {
	consume := func(ctx context.Context, s sdk.Stream) error {
		for {
			b, err := s.Next(ctx, -1)
			if err != nil {
				return err
			}
			if err := s.Ack(b.Last()); err != nil {
				return err
			}
		}
	}
	gap := batch(1, 4)
	gap.GetBatch().First = 2
	short := batch(1, 4)
	short.GetBatch().Frames = short.GetBatch().Frames[:500]
	empty := batch(1, 4)
	empty.GetBatch().Count = 0
	for _, c := range []struct {
		name string
		run  func(ctx context.Context, s sdk.Stream) error
		send []*sinkv1.Down
		code codes.Code
		want string
	}{
		{"error", func(context.Context, sdk.Stream) error { return errors.New("down") }, nil, codes.Aborted, "down"},
		{"long error", func(context.Context, sdk.Stream) error { return errors.New(strings.Repeat("é", 5000)) }, nil, codes.Aborted, "é"},
		{"panic", func(context.Context, sdk.Stream) error { panic("ouch") }, nil, codes.Aborted, "panic: ouch"},
		{"returns", func(context.Context, sdk.Stream) error { return nil }, nil, codes.OK, ""},
		{"gap", consume, []*sinkv1.Down{gap}, codes.InvalidArgument, "gap"},
		{"short", consume, []*sinkv1.Down{short}, codes.InvalidArgument, ""},
		{"empty", consume, []*sinkv1.Down{empty}, codes.InvalidArgument, "count is wrong"},
		{"unknown", consume, []*sinkv1.Down{{}, batch(1, 1), drain()}, codes.OK, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, _ := start(t, &fake{run: c.run})
			call := deliver(t, client)
			for _, m := range c.send {
				send(t, call, m)
			}
			_, _, err := answer(call)
			message := status.Convert(err).Message()
			// The sink sees the same breach as an error of Next and may be the first to say so.
			if got := status.Code(err); got != c.code && (c.code != codes.InvalidArgument || got != codes.Aborted) || !strings.Contains(message, c.want) {
				t.Errorf("%v", err)
			}
			if len(message) > maxError {
				t.Errorf("a message of %d bytes", len(message))
			}
		})
	}
}

// TestOneRunAtATime opens a second run while the first has not returned.
func TestOneRunAtATime(t *testing.T) {
	var running atomic.Int32
	release := make(chan struct{})
	client, _ := start(t, &fake{run: func(ctx context.Context, _ sdk.Stream) error {
		if running.Add(1) > 1 {
			t.Error("two runs at once")
		}
		<-release
		running.Add(-1)
		return nil
	}})
	first := deliver(t, client)
	if _, err := first.Recv(); err != nil {
		t.Fatal(err)
	}
	second := deliver(t, client)
	close(release)
	for _, call := range []grpc.BidiStreamingClient[sinkv1.Down, sinkv1.Up]{first, second} {
		if _, _, err := answer(call); err != nil {
			t.Error(err)
		}
	}
}

// TestLate checks that what a sink has left behind changes nothing.
func TestLate(t *testing.T) {
	var kept sdk.Stream
	client, _ := start(t, &fake{run: func(ctx context.Context, s sdk.Stream) error {
		kept = s
		_, err := s.Next(ctx, -1)
		return err
	}})
	call := deliver(t, client)
	send(t, call, batch(1, 5))
	if acked, _, err := answer(call); err != nil || acked != 0 {
		t.Errorf("acknowledged %d, %v", acked, err)
	}
	if err := kept.Ack(5); !errors.Is(err, errOver) {
		t.Errorf("Ack = %v", err)
	}
	kept.Reject(5, "late")
	if _, err := kept.Next(t.Context(), 0); !errors.Is(err, errOver) {
		t.Errorf("Next = %v", err)
	}
}

// TestConfigure checks the order of calls, and what is said of a configuration.
func TestConfigure(t *testing.T) {
	sink := &fake{run: func(context.Context, sdk.Stream) error { return nil }}
	client, s := start(t, sink)
	call, err := client.Deliver(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := answer(call); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("Deliver before Configure: %v", err)
	}
	if _, err := client.Configure(t.Context(), &sinkv1.ConfigureRequest{Config: "{"}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("no JSON: %v", err)
	}
	got, err := client.Configure(t.Context(), &sinkv1.ConfigureRequest{Config: `{"kee": 1}`})
	if err != nil || len(got.GetProblems()) != 2 || got.GetProblems()[0].GetKey() != "kee" || got.GetProblems()[0].GetWarning() ||
		!got.GetProblems()[1].GetWarning() {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := client.Configure(t.Context(), &sinkv1.ConfigureRequest{Config: `{"key": "x"}`}); err != nil || len(got.GetProblems()) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := client.Configure(t.Context(), &sinkv1.ConfigureRequest{}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("twice: %v", err)
	}
	s.end(time.Second)
	if sink.closed.Load() != 1 {
		t.Errorf("closed %d times", sink.closed.Load())
	}
	if call, err = client.Deliver(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := answer(call); err == nil {
		t.Error("a run after the end")
	}
}

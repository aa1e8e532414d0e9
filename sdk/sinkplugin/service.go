package sinkplugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rtflow/pipelined/internal/table"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/sinkplugin/sinkv1"
)

// maxError is the longest error that a run sends, in bytes.
const maxError = 1024

// service is a sink as the daemon calls it.
type service struct {
	sinkv1.UnimplementedSinkServer

	plugin sdk.SinkPlugin
	turn   chan struct{} // holds a token while a run is under way

	mu     sync.Mutex
	sink   sdk.Sink // nil until configured
	cancel context.CancelFunc
	ended  bool
	over   chan struct{} // closed when ended
}

var errEnds = status.Error(codes.Unavailable, "the process ends")

func newService(p sdk.SinkPlugin) *service {
	return &service{plugin: p, turn: make(chan struct{}, 1), cancel: func() {}, over: make(chan struct{})}
}

func (s *service) Configure(_ context.Context, req *sinkv1.ConfigureRequest) (*sinkv1.ConfigureResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sink != nil {
		return nil, status.Error(codes.FailedPrecondition, "configured already")
	}
	cfg, err := table.Parse(req.GetComponent(), req.GetConfig())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
	sink := s.plugin.Configure(cfg, sdk.Env{
		Hostname: req.GetHostname(), Window: int(req.GetWindow()),
		Warn: func(msg string, args ...any) { log.Warn(msg, args...) }, //nolint:sloglint // the sink words it
	})
	answer := &sinkv1.ConfigureResponse{Summary: s.plugin.Summary}
	for _, p := range cfg.Problems() {
		answer.Problems = append(answer.Problems, &sinkv1.Problem{Key: p.Key, Message: p.Message, Warning: p.Warning})
	}
	switch {
	case cfg.Err() != nil:
	case sink == nil:
		answer.Problems = append(answer.Problems, &sinkv1.Problem{Message: "the plugin made no sink and does not say why"})
	default:
		s.sink = sink
	}
	return answer, nil
}

// withoutTime leaves out the time: the daemon's log has one.
func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

func (s *service) Deliver(call grpc.BidiStreamingServer[sinkv1.Down, sinkv1.Up]) error {
	ctx, cancel := context.WithCancel(call.Context())
	defer cancel()
	select {
	case s.turn <- struct{}{}: // the run before has returned
		defer func() { <-s.turn }()
	case <-s.over:
		return errEnds
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
	sink, err := s.begin(cancel)
	if err != nil {
		return err
	}
	first, err := call.Recv()
	if err != nil {
		return err
	}
	if first.GetOpen() == nil {
		return status.Error(codes.InvalidArgument, "the first message is not Open")
	}
	r := newRun(first.GetOpen().GetEpoch())
	go r.receive(call, cancel)
	acked := make(chan struct{})
	go func() {
		defer close(acked)
		r.acknowledge(call, cancel)
	}()
	err = runSink(ctx, sink, r)
	r.end()
	<-acked
	if err != nil && ctx.Err() == nil {
		return status.Error(codes.Aborted, cut(err.Error(), maxError))
	}
	return r.failure()
}

// begin returns the sink, and keeps how to end its run.
func (s *service) begin(cancel context.CancelFunc) (sdk.Sink, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.sink == nil:
		return nil, status.Error(codes.FailedPrecondition, "not configured")
	case s.ended:
		return nil, errEnds
	}
	s.cancel = cancel
	return s.sink, nil
}

// runSink calls the sink's Run and turns a panic into an error, as the daemon does with a sink that is compiled in.
func runSink(ctx context.Context, sink sdk.Sink, r *run) (err error) {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(os.Stderr, "panic: %v\n%s\n", p, debug.Stack())
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	if err := sink.Run(ctx, r); !errors.Is(err, sdk.ErrDrained) {
		return err
	}
	return nil
}

func (s *service) Health(context.Context, *sinkv1.HealthRequest) (*sinkv1.HealthResponse, error) {
	s.mu.Lock()
	sink := s.sink
	s.mu.Unlock()
	answer := new(sinkv1.HealthResponse)
	if r, ok := sink.(sdk.Reporter); ok {
		text, err := json.Marshal(r.Status())
		if err != nil {
			return nil, status.Errorf(codes.Internal, "the sink's status: %v", err)
		}
		answer.Status = string(text)
	}
	if r, ok := sink.(sdk.CounterReporter); ok {
		for _, c := range r.Counters() {
			answer.Counters = append(answer.Counters, &sinkv1.Counter{Name: c.Name, Value: c.Value})
		}
	}
	return answer, nil
}

func (s *service) Reopen(context.Context, *sinkv1.ReopenRequest) (*sinkv1.ReopenResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.sink.(sdk.Reopener); ok {
		r.Reopen()
	}
	return new(sinkv1.ReopenResponse), nil
}

// end stops the run that is under way, waits for it no longer than grace, and closes the sink.
func (s *service) end(grace time.Duration) {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return
	}
	s.ended = true
	close(s.over)
	s.cancel()
	sink := s.sink
	s.mu.Unlock()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case s.turn <- struct{}{}:
	case <-timer.C:
	}
	if c, ok := sink.(io.Closer); ok {
		if err := c.Close(); err != nil {
			fmt.Fprintf(os.Stderr, "the sink does not close: %v\n", err)
		}
	}
}

// cut shortens a text to so many bytes of valid UTF-8.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && text[most]&0xc0 == 0x80 {
		most--
	}
	return text[:most]
}

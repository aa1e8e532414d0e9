package pluginhost

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rtflow/pipelined/internal/process"
	"github.com/rtflow/pipelined/internal/terminal"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/sinkplugin/sinkv1"
)

// Sink is a sink in a process of its own.
type Sink struct {
	host    *Host
	name    string
	cfg     sdk.Config
	options options
	log     *slog.Logger
	request *sinkv1.ConfigureRequest
	breaker *gobreaker.TwoStepCircuitBreaker[any]
	output  *process.Output
	window  int
	stats   stats

	acquiring sync.Mutex // held while a process is started: there is one at a time

	mu      sync.Mutex
	process *live          // nil if there is none
	group   *process.Group // nil until the first process, and if there are no limits
	limits  string         // why they are not in force
	closed  bool
	abort   context.CancelFunc // ends a start that is under way
	retryAt time.Time          // when the open breaker lets a process be tried
	exit    string             // how the last process has ended
	exitAt  time.Time
	exits   map[string]uint64            // a plugin's own counters, of the processes before
	lines   struct{ total, left uint64 } // of their output
}

// stats are counted over all processes.
type stats struct {
	starts, failures, kills, breaches atomic.Uint64
	batches, records                  atomic.Uint64
	window                            atomic.Uint64 // largest credit ahead of what was sent
}

var (
	_ sdk.Sink            = (*Sink)(nil)
	_ sdk.Reopener        = (*Sink)(nil)
	_ sdk.Reporter        = (*Sink)(nil)
	_ sdk.CounterReporter = (*Sink)(nil)
	_ sdk.Waiter          = (*Sink)(nil)
)

func newSink(h *Host, cfg sdk.Config, env sdk.Env, o options, config string) *Sink {
	s := &Sink{
		host: h, name: cfg.Name(), cfg: cfg, options: o, log: h.log.With("sink", cfg.Name()), window: env.Window,
		request: &sinkv1.ConfigureRequest{
			Component: cfg.Name(), Config: config, Hostname: env.Hostname, Window: uint32(max(env.Window, 0)),
		},
		exits: make(map[string]uint64),
	}
	s.breaker = gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		Name: s.name, MaxRequests: 1, Timeout: h.timing.cooldown,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= h.timing.failures },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			if to == gobreaker.StateOpen {
				s.mu.Lock()
				s.retryAt = time.Now().Add(h.timing.cooldown)
				s.mu.Unlock()
			}
		},
	})
	return s
}

// Run starts the process if there is none, and delivers over one stream. What the sink itself complains about, such as a
// destination that is down, leaves the process alone; a process that breaks the protocol, does not answer or is gone is
// replaced by the next Run.
func (s *Sink) Run(ctx context.Context, stream sdk.Stream) error {
	p, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	err = s.deliver(ctx, p, stream)
	if err == nil || ctx.Err() != nil {
		return err
	}
	var breach *breachError
	said := errors.New(terminal.Line(status.Convert(err).Message()))
	switch {
	case errors.As(err, &breach):
		s.stats.breaches.Add(1)
		p.process.Kill(breach.Error())
	case sinksOwn(status.Code(err)):
		if p.alive() {
			return said
		}
		err = p.explain(said)
	default:
		if c := status.Code(err); c == codes.Internal || c == codes.ResourceExhausted { // what came was no message
			s.stats.breaches.Add(1)
		}
		err = p.explain(said)
	}
	s.discard(p, err)
	return err
}

// sinksOwn reports whether a status is what a sink says of its destination, and not what becomes of a stream whose other
// end is broken.
func sinksOwn(c codes.Code) bool {
	switch c {
	case codes.Unavailable, codes.Internal, codes.ResourceExhausted, codes.InvalidArgument, codes.Unimplemented, codes.Canceled:
		return false
	}
	return true
}

// Waiting reports whether there is no process, or one that is still starting: it takes nothing, and what it has been sent
// before is not with its destination. Safe for concurrent use.
func (s *Sink) Waiting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process == nil
}

// Close ends the process.
func (s *Sink) Close() error {
	s.mu.Lock()
	s.closed = true
	if s.abort != nil {
		s.abort()
	}
	s.mu.Unlock()
	s.acquiring.Lock() // no process is being started any longer, and none will be
	defer s.acquiring.Unlock()
	s.mu.Lock()
	p := s.process
	g := s.group
	s.group = nil
	s.mu.Unlock()
	if p != nil {
		p.end(true)
		p.verdict(nil)
		s.mu.Lock()
		s.process = nil
		addCounters(s.exits, counters(p))
		s.exit, s.exitAt = "the plugin has ended, "+p.process.Exit(), time.Now()
		s.mu.Unlock()
	}
	g.Remove()
	return nil
}

func (s *Sink) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Client starts the process if there is none and returns its side of the protocol. For tests of plugins.
func (s *Sink) Client(ctx context.Context) (sinkv1.SinkClient, error) {
	p, err := s.acquire(ctx)
	if err != nil {
		return nil, err
	}
	return p.sink, nil
}

// Reopen asks the plugin to reopen what it writes to.
func (s *Sink) Reopen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		select {
		case s.process.reopen <- struct{}{}:
		default: // it is asked already
		}
	}
}

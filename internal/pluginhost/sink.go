package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

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
	output  *output
	window  int
	stats   stats

	acquiring sync.Mutex // held while a process is started: there is one at a time

	mu      sync.Mutex
	process *live  // nil if there is none
	group   *group // nil until the first process, and if there are no limits
	limits  string // why they are not in force
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

// configError is what a plugin says about its configuration.
type configError struct{ problems []*sinkv1.Problem }

func (e *configError) Error() string {
	p := e.problems[0]
	text := printable(p.GetMessage())
	if p.GetKey() != "" {
		text = printable(p.GetKey()) + ": " + text
	}
	if n := len(e.problems) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more)", n)
	}
	return "the plugin refuses its configuration: " + text
}

// Run starts the process if there is none, and delivers over one stream. What the sink itself complains about, such as a destination
// that is down, leaves the process alone; a process that breaks the protocol, does not answer or is gone is replaced by
// the next Run.
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
	said := errors.New(printable(status.Convert(err).Message()))
	switch {
	case errors.As(err, &breach):
		s.stats.breaches.Add(1)
		p.command.kill(breach.Error())
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

// sinksOwn reports whether a status is what a sink says of its destination, and not what becomes of a stream whose other end is broken.
func sinksOwn(c codes.Code) bool {
	switch c {
	case codes.Unavailable, codes.Internal, codes.ResourceExhausted, codes.InvalidArgument, codes.Unimplemented, codes.Canceled:
		return false
	}
	return true
}

// Waiting reports whether there is no process, or one that is still starting: it takes nothing, and what it has been sent
// before is not with its destination. Any goroutine.
func (s *Sink) Waiting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process == nil
}

// acquire returns the process, a new one if none is alive.
func (s *Sink) acquire(ctx context.Context) (*live, error) {
	s.acquiring.Lock()
	defer s.acquiring.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	p, closed := s.process, s.closed
	s.abort = cancel
	s.mu.Unlock()
	if closed {
		return nil, errStopping
	}
	if p != nil {
		if p.alive() {
			return p, nil
		}
		s.discard(p, nil)
	}
	verdict, err := s.breaker.Allow()
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		return nil, fmt.Errorf("the plugin has failed %d times in a row; it is tried again at %s: %s", s.host.timing.failures,
			s.retryAt.Format(time.TimeOnly), s.exit)
	}
	var once sync.Once
	judge := func(err error) { once.Do(func() { verdict(err) }) }
	p, answer, err := s.launch(ctx)
	if err != nil {
		if errors.Is(err, errStart) {
			s.stats.kills.Add(1)
		}
		judge(err)
		return nil, s.ended(err)
	}
	p.verdict = judge
	s.mu.Lock()
	s.process = p
	closed = s.closed
	s.mu.Unlock()
	if problems := errorsAmong(answer.GetProblems()); len(problems) > 0 {
		err := &configError{problems}
		s.discard(p, err)
		return nil, err
	}
	if closed { // while it was started
		s.discard(p, nil)
		return nil, errStopping
	}
	every := s.host.timing.callEvery
	if every == 0 {
		every = min(s.options.Health/3, maxCallEvery)
	}
	go p.watch(every, s.options.Health)
	s.log.Info("plugin started", "command", s.options.command[0], "pid", p.command.number())
	return p, nil
}

// maxCallEvery bounds what a plugin can have counted that nobody has heard of when it is killed.
const maxCallEvery = time.Second

func errorsAmong(problems []*sinkv1.Problem) (list []*sinkv1.Problem) {
	for _, p := range problems[:min(len(problems), sinkv1.MaxProblems)] {
		if !p.GetWarning() {
			list = append(list, p)
		}
	}
	return list
}

func (s *Sink) launch(ctx context.Context) (*live, *sinkv1.ConfigureResponse, error) {
	where, err := s.host.dir()
	if err != nil {
		return nil, nil, err
	}
	s.stats.starts.Add(1)
	out := newOutput(s.log, s.host.timing)
	s.mu.Lock()
	if s.output != nil {
		total, left := s.output.counts()
		s.lines.total += total
		s.lines.left += left
	}
	s.output = out
	s.mu.Unlock()
	return launch(ctx, spec{
		options: &s.options, where: where, adopted: s.host.adopted, output: out, timing: s.host.timing, request: s.request,
		version: s.host.version, confine: s.confine(where),
	})
}

// confine returns what puts a process under its limits. Where control groups do not allow that, it says so once and lets
// the process run.
func (s *Sink) confine(where *instance) func(pid int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := &s.options; (o.Memory > 0 || o.CPU > 0) && s.group == nil && s.limits == "" {
		var err error
		s.group, err = s.host.cgroups.create(groupPrefix+filepath.Base(where.path)+"-"+s.name, int64(o.Memory), o.CPU)
		if err != nil {
			s.limits = err.Error()
			s.log.Warn("the limits of a plugin are not in force", "err", err)
		}
	}
	if s.group == nil {
		return func(int) error { return nil }
	}
	return s.group.enter
}

// discard ends a process that is of no use any longer and notes how that came.
func (s *Sink) discard(p *live, why error) {
	p.end(false)
	s.mu.Lock()
	if s.process == p {
		s.process = nil
		addCounters(s.exits, counters(p))
	}
	s.mu.Unlock()
	if p.command.wasKilled() {
		s.stats.kills.Add(1)
	}
	if why == nil {
		why = errors.New("the plugin has ended, " + p.command.how())
	}
	p.verdict(why)
	_ = s.ended(why)
}

// ended notes why a process has ended or did not begin.
func (s *Sink) ended(why error) error {
	s.stats.failures.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.exit, s.exitAt = why.Error(), time.Now()
	return why
}

// report records in the configuration what the plugin has said about it. It returns any other error.
func (s *Sink) report(err error) error {
	var refused *configError
	if !errors.As(err, &refused) {
		if err != nil {
			err = fmt.Errorf("sink %s: %w", s.name, err)
		}
		return err
	}
	for _, p := range refused.problems {
		key := printable(p.GetKey())
		switch {
		case key == "":
			key = s.options.prefix
		case s.options.prefix != "":
			key = s.options.prefix + "." + key
		}
		s.cfg.Errorf(key, "%s", printable(p.GetMessage()))
	}
	return nil
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
		s.exit, s.exitAt = "the plugin has ended, "+p.command.how(), time.Now()
		s.mu.Unlock()
	}
	if g != nil {
		g.remove()
	}
	return nil
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

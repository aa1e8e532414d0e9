package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rtflow/pipelined/internal/process"
	"github.com/rtflow/pipelined/sdk/sinkplugin/sinkv1"
)

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
		return nil, process.ErrClosed
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
		return nil, process.ErrClosed
	}
	every := s.host.timing.callEvery
	if every == 0 {
		every = min(s.options.Health/3, maxCallEvery)
	}
	go p.watch(every, s.options.Health, s.host.processes.Reap)
	s.log.Info("plugin started", "command", s.options.Command[0], "pid", p.process.PID())
	return p, nil
}

// maxCallEvery bounds what a plugin can have counted that nobody has heard of when it is killed.
const maxCallEvery = time.Second

func (s *Sink) launch(ctx context.Context) (*live, *sinkv1.ConfigureResponse, error) {
	dir, err := s.host.processes.Dir()
	if err != nil {
		return nil, nil, err
	}
	s.stats.starts.Add(1)
	out := process.NewOutput(func(line string, leftOut uint64) {
		if leftOut > 0 {
			s.log.Warn("plugin prints more than is logged", "lines_left_out", leftOut)
		}
		s.log.Info("plugin says", "line", line)
	})
	s.mu.Lock()
	if s.output != nil {
		total, left := s.output.Counts()
		s.lines.total += total
		s.lines.left += left
	}
	s.output = out
	s.mu.Unlock()
	return launch(ctx, launchConfig{
		processes: s.host.processes, dir: dir, options: &s.options, group: s.limit(), output: out, timing: s.host.timing, request: s.request,
		version: s.host.version,
	})
}

// limit returns the control group with the limits of the options. Where control groups do not allow them it says so once, and
// returns none: the process runs without.
func (s *Sink) limit() *process.Group {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.group == nil && s.limits == "" {
		var err error
		name := s.name
		if s.host.number > 0 { // the one before has a group of its own until its last process has ended
			name = fmt.Sprintf("%s.%d", name, s.host.number)
		}
		if s.group, err = s.host.processes.Group(name, &s.options.Options); err != nil {
			s.limits = err.Error()
			s.log.Warn("the limits of a plugin are not in force", "err", err)
		}
	}
	return s.group
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
	if p.process.Killed() {
		s.stats.kills.Add(1)
	}
	if why == nil {
		why = errors.New("the plugin has ended, " + p.process.Exit())
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

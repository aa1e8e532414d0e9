package sinktest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

// Check is one thing that every sink owes the daemon, whatever it writes to.
type Check struct {
	Name string

	run func(ctx context.Context, s *Stream, sink sdk.Sink) error
}

// Run checks a sink whose destination takes everything, and that it keeps the contract meanwhile. The sink is not used
// before or after.
func (c Check) Run(ctx context.Context, sink sdk.Sink) error {
	s := newStream()
	err := c.run(ctx, s, sink)
	for _, b := range s.Breaches() {
		err = errors.Join(err, errors.New(b))
	}
	return err
}

// Conform runs every check. open returns a sink whose destination takes everything; it is called once for each.
func Conform(t *testing.T, open func(t *testing.T) sdk.Sink) {
	for _, c := range Checks() {
		t.Run(c.Name, func(t *testing.T) {
			if err := c.Run(t.Context(), open(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// Checks lists what every sink owes the daemon.
func Checks() []Check {
	return []Check{
		{"acknowledges everything before it returns from a drain", drains},
		{"acknowledges without waiting for more", acknowledgesEarly},
		{"stops with its context while idle", stopsIdle},
		{"goes on where it stopped", goesOn},
		{"survives an eviction", survivesEviction},
	}
}

// many is more records than one batch holds, and than a sink may wait for.
const many = 3000

func drains(ctx context.Context, s *Stream, sink sdk.Sink) error {
	s.Append(Records(1, many)...)
	s.Drain()
	return runAll(ctx, s, sink, many)
}

// runAll runs a sink until it returns from the drain and looks at what it has acknowledged.
func runAll(ctx context.Context, s *Stream, sink sdk.Sink, want event.Seq) error {
	if err := s.Run(ctx, sink); err != nil {
		return fmt.Errorf("Run = %w, want nil when drained", err) //nolint:revive // the name of the method
	}
	if got := s.Acked(); got != want {
		return fmt.Errorf("acknowledged up to %d, want %d", got, want)
	}
	return nil
}

func acknowledgesEarly(ctx context.Context, s *Stream, sink sdk.Sink) error {
	s.Append(Records(2, 3)...)
	r := s.Start(ctx, sink)
	defer func() { _ = r.Stop() }() // it may return any error when it is stopped
	if err := r.WaitAcked(3); err != nil {
		return fmt.Errorf("of 3 records %d are acknowledged: %w", s.Acked(), err)
	}
	s.Append(Records(3, 2)...)
	if err := r.WaitAcked(5); err != nil {
		return fmt.Errorf("of 5 records %d are acknowledged: %w", s.Acked(), err)
	}
	return nil
}

func stopsIdle(ctx context.Context, s *Stream, sink sdk.Sink) error {
	_ = s.Start(ctx, sink).Stop() // it may return any error
	return nil
}

func goesOn(ctx context.Context, s *Stream, sink sdk.Sink) error {
	s.SetBatch(10)
	s.Append(Records(4, many)...)
	r := s.Start(ctx, sink)
	err := r.WaitAcked(1)
	_ = r.Stop() // it may return any error when it is stopped
	if err != nil {
		return fmt.Errorf("no record is acknowledged: %w", err)
	}
	s.Append(Records(5, 10)...)
	s.Drain()
	if err := runAll(ctx, s, sink, many+10); err != nil {
		return fmt.Errorf("the second run: %w", err)
	}
	return nil
}

// survivesEviction has a gap at the beginning of what the sink sees, and another behind records that an earlier run was
// handed.
func survivesEviction(ctx context.Context, s *Stream, sink sdk.Sink) error {
	s.Append(Records(6, 100)...)
	s.Evict(10)
	s.SetBatch(30)
	_ = s.Run(ctx, takeOne{}) // fails as it should
	s.SetBatch(256)
	s.Evict(20)
	s.EvictKinds(70, event.AllKinds)
	s.Drain()
	return runAll(ctx, s, sink, 101) // one more for a loss record
}

// takeOne is a sink that fails with its first batch.
type takeOne struct{}

func (takeOne) Run(ctx context.Context, s sdk.Stream) error {
	if _, err := s.Next(ctx, -1); err != nil {
		return err
	}
	return errors.New("broken")
}

package sinkcheck

import (
	"context"
	"testing"
	"time"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// shownFailures is how many failures of a sink are logged; the rest says the same.
const shownFailures = 5

// KeepRunning runs a sink until its stream is drained, as the daemon does: after a failure again, a moment later. It returns
// how often it failed, and fails the test if ctx ends before.
func KeepRunning(ctx context.Context, tb testing.TB, s *sinktest.Stream, sink sdk.Sink) (failures int) {
	tb.Helper()
	for {
		err := s.Run(ctx, sink)
		if err == nil {
			return failures
		}
		if failures++; failures <= shownFailures {
			tb.Logf("run %d, acknowledged up to %d: %v", failures, s.Acked(), err)
		}
		pause := time.NewTimer(100 * time.Millisecond)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			tb.Errorf("acknowledged up to %d: %v", s.Acked(), err)
			return failures
		}
	}
}

// Start runs a sink beside the test, waits until the records up to through are acknowledged, and returns the channel in which stands what the
// run returns. A run that ends before fails the test, which would wait for ever.
func Start(ctx context.Context, tb testing.TB, s *sinktest.Stream, sink sdk.Sink, through event.Seq) (done <-chan error) {
	tb.Helper()
	returned := make(chan error, 1)
	running, end := context.WithCancel(ctx)
	go func() {
		defer end()
		returned <- s.Run(ctx, sink)
	}()
	if s.WaitAcked(running, through) != nil && s.Acked() < through {
		tb.Fatalf("acknowledged up to %d of %d: %v", s.Acked(), through, <-returned)
	}
	return returned
}

// Deliver runs a sink over records to the end.
func Deliver(tb testing.TB, sink sdk.Sink, records ...event.Record) error {
	tb.Helper()
	s := sinktest.NewStream(tb)
	s.Append(records...)
	s.Drain()
	return s.Run(tb.Context(), sink)
}

// Counter returns one of a sink's counters.
func Counter(tb testing.TB, sink sdk.Sink, name string) uint64 {
	tb.Helper()
	for _, c := range sink.(sdk.CounterReporter).Counters() {
		if c.Name == name {
			return c.Value
		}
	}
	tb.Fatalf("no counter %s", name)
	return 0
}

// Benchmark delivers b.N copies of those records, from the fake stream to the acknowledgement of the last.
func Benchmark(b *testing.B, sink sdk.Sink, records ...event.Record) {
	b.Helper()
	s := sinktest.NewStream(b)
	s.Append(records...)
	s.SetBatch(1024)
	s.Repeat(b.N)
	s.Drain()
	b.ReportAllocs()
	b.ResetTimer()
	if err := s.Run(b.Context(), sink); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	if got := s.Acked(); got != event.Seq(b.N) {
		b.Fatalf("acknowledged up to %d of %d", got, b.N)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

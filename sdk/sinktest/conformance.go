package sinktest

import (
	"context"
	"testing"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

// Conform checks what every sink owes the daemon, whatever it writes to. open returns a sink whose destination takes
// everything; it is called once for each check.
func Conform(t *testing.T, open func(t *testing.T) sdk.Sink) {
	const n = 3000
	t.Run("acknowledges everything before it returns from a drain", func(t *testing.T) {
		s := NewStream(t)
		s.Append(Records(1, n)...)
		s.Drain()
		if err := s.Run(t.Context(), open(t)); err != nil {
			t.Errorf("Run = %v, want nil when drained", err)
		}
		if got := s.Acked(); got != n {
			t.Errorf("acknowledged up to %d, want %d", got, n)
		}
	})
	t.Run("acknowledges without waiting for more", func(t *testing.T) {
		s, sink := NewStream(t), open(t)
		s.Append(Records(2, 3)...)
		stop := background(t, s, sink)
		if err := s.WaitAcked(t.Context(), 3); err != nil {
			t.Fatal(err)
		}
		s.Append(Records(3, 2)...)
		if err := s.WaitAcked(t.Context(), 5); err != nil {
			t.Fatal(err)
		}
		stop()
	})
	t.Run("stops with its context while idle", func(t *testing.T) {
		s, sink := NewStream(t), open(t)
		stop := background(t, s, sink)
		stop()
	})
	t.Run("goes on where it stopped", func(t *testing.T) {
		s, sink := NewStream(t), open(t)
		s.SetBatch(10)
		s.Append(Records(4, n)...)
		stop := background(t, s, sink)
		if err := s.WaitAcked(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		stop()
		first := s.Acked()
		s.Append(Records(5, 10)...)
		s.Drain()
		if err := s.Run(t.Context(), sink); err != nil {
			t.Errorf("second Run = %v", err)
		}
		if got := s.Acked(); got != n+10 {
			t.Errorf("acknowledged up to %d after %d in the first run, want %d", got, first, n+10)
		}
	})
	t.Run("survives an eviction", func(t *testing.T) {
		s, sink := NewStream(t), open(t)
		s.Append(Records(6, 100)...)
		s.Evict(50)
		s.Drain()
		if err := s.Run(t.Context(), sink); err != nil {
			t.Errorf("Run = %v", err)
		}
		if got := s.Acked(); got != event.Seq(100) {
			t.Errorf("acknowledged up to %d, want 100", got)
		}
	})
}

// background runs the sink until stop is called, which waits for it.
func background(t *testing.T, s *Stream, sink sdk.Sink) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx, sink)
	}()
	return func() {
		cancel()
		<-done
	}
}

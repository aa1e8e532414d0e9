package sinktest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// sinkFunc is a sink made of its Run.
type sinkFunc func(ctx context.Context, s sdk.Stream) error

func (f sinkFunc) Run(ctx context.Context, s sdk.Stream) error { return f(ctx, s) }

// TestConform holds the adapter of the sdk, a sink without faults, against the suite.
func TestConform(t *testing.T) {
	sinktest.Conform(t, func(*testing.T) sdk.Sink {
		return sdk.Writer(func(_ context.Context, b sdk.Batch) (int, error) { return b.Len(), nil })
	})
}

// TestWaitAckedEnds waits for records that no run acknowledges any more.
func TestWaitAckedEnds(t *testing.T) {
	broken := errors.New("broken")
	for want, err := range map[string]error{"the run has ended: broken": broken, "before the drain": nil} {
		s := sinktest.NewStream(t)
		s.Append(sinktest.Records(1, 3)...)
		r := s.Start(t.Context(), sinkFunc(func(ctx context.Context, stream sdk.Stream) error {
			b, nextErr := stream.Next(ctx, -1)
			return errors.Join(nextErr, stream.Ack(b.Last()), err)
		}))
		if got := r.WaitAcked(3); got != nil {
			t.Errorf("%v, though all are acknowledged", got)
		}
		if got := r.WaitAcked(4); got == nil || !strings.Contains(got.Error(), want) {
			t.Errorf("%v, want %q", got, want)
		}
		if got := r.Stop(); !errors.Is(got, err) {
			t.Errorf("Stop = %v, want %v", got, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := sinktest.NewStream(t).Start(ctx, sinkFunc(func(ctx context.Context, _ sdk.Stream) error { <-ctx.Done(); return broken }))
	cancel()
	if got := r.WaitAcked(1); !errors.Is(got, context.Canceled) || !errors.Is(r.Stop(), broken) {
		t.Errorf("%v, want the end of the context", got)
	}
}

func TestBreaches(t *testing.T) {
	next := func(s sdk.Stream) sdk.Batch {
		b, err := s.Next(t.Context(), 0)
		if err != nil {
			t.Error(err)
		}
		return b
	}
	var late sdk.Stream
	for _, c := range []struct {
		name string
		run  func(s sdk.Stream)
		want string
	}{
		{"ack of what was not handed out", func(s sdk.Stream) { _ = s.Ack(next(s).Last() + 1) }, "Ack(3)"},
		{"ack of nothing handed out", func(s sdk.Stream) { _ = s.Ack(1) }, "Ack(1)"},
		{"reject of what was not handed out", func(s sdk.Stream) { s.Reject(1, "why") }, "Reject(1)"},
		{"reject twice", func(s sdk.Stream) { next(s); s.Reject(1, "why"); s.Reject(1, "why") }, "twice"},
		{"reject without reason", func(s sdk.Stream) { next(s); s.Reject(1, "") }, "reason"},
		{"late", func(s sdk.Stream) { late = s }, ""},
		{"good", func(s sdk.Stream) { _ = s.Ack(next(s).Last()); _ = s.Ack(1); s.Reject(2, "why") }, ""},
	} {
		s := sinktest.NewStream(t)
		s.Append(sinktest.Records(1, 2)...)
		err := s.Run(t.Context(), sinkFunc(func(_ context.Context, stream sdk.Stream) error { c.run(stream); return nil }))
		if err != nil {
			t.Fatal(err)
		}
		if c.name == "late" {
			_ = late.Ack(0)
			late.Reject(1, "why")
			_, _ = late.Next(t.Context(), 0)
			if got := s.Breaches(); len(got) != 3 {
				t.Errorf("late calls: %q", got)
			}
			continue
		}
		got := s.Breaches()
		if c.want == "" && len(got) != 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestRewind(t *testing.T) {
	s := sinktest.NewStream(t)
	s.SetBatch(3)
	s.Append(sinktest.Records(1, 8)...)
	s.Drain()
	broken := errors.New("broken")
	var seen []event.Seq
	collect := func(ackUpTo event.Seq) sdk.Sink {
		return sinkFunc(func(ctx context.Context, stream sdk.Stream) error {
			for {
				b, err := stream.Next(ctx, -1)
				if err != nil {
					return err
				}
				for i := range b.Records {
					seen = append(seen, b.Records[i].Seq())
				}
				if b.Last() > ackUpTo {
					return broken
				}
				if err := stream.Ack(b.Last()); err != nil {
					return err
				}
			}
		})
	}
	if err := s.Run(t.Context(), collect(3)); !errors.Is(err, broken) {
		t.Errorf("first run: %v", err)
	}
	if err := s.Run(t.Context(), collect(8)); !errors.Is(err, sdk.ErrDrained) {
		t.Errorf("second run: %v", err)
	}
	if want := []event.Seq{1, 2, 3, 4, 5, 6, 4, 5, 6, 7, 8}; !slices.Equal(seen, want) {
		t.Errorf("handed out %v, want %v", seen, want)
	}
}

// TestLentBatch pins that a batch is worthless after the next call of Next.
func TestLentBatch(t *testing.T) {
	s := sinktest.NewStream(t)
	s.Append(sinktest.Records(1, 1)...)
	err := s.Run(t.Context(), sinkFunc(func(ctx context.Context, stream sdk.Stream) error {
		b, _ := stream.Next(ctx, -1)
		if b.Last() != 1 {
			t.Errorf("sequence number %d", b.Last())
		}
		_, _ = stream.Next(ctx, 0)
		if b.Last() != 0 {
			t.Error("the batch is still there")
		}
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
}

func TestNextWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sinktest.NewStream(t)
		begin := time.Now()
		err := s.Run(t.Context(), sinkFunc(func(ctx context.Context, stream sdk.Stream) error {
			if b, err := stream.Next(ctx, time.Second); err != nil || b.Len() != 0 || time.Since(begin) != time.Second {
				t.Errorf("Next = %d records, %v after %v", b.Len(), err, time.Since(begin))
			}
			time.AfterFunc(time.Minute, func() { s.Append(sinktest.Record(event.Loss, 1)) })
			if b, err := stream.Next(ctx, -1); err != nil || b.Len() != 1 {
				t.Errorf("Next = %d records, %v", b.Len(), err)
			}
			short, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			_, err := stream.Next(short, -1)
			return err
		}))
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// TestRecords pins that the records are what a decoder takes, of every kind, and the same for the same seed.
func TestRecords(t *testing.T) {
	a, b := sinktest.Records(1, 5000), sinktest.Records(1, 5000)
	var seen event.KindSet
	for i := range a {
		if a[i] != b[i] {
			t.Fatalf("record %d differs between two calls", i)
		}
		seen = seen.With(a[i].Kind())
		var r event.Record
		if _, err := r.Decode(a[i].Frame()); err != nil {
			t.Fatal(err)
		}
	}
	if seen != event.AllKinds {
		t.Errorf("kinds %b", seen)
	}
	for _, k := range event.Kinds() {
		if r := sinktest.Record(k, 5); r.Kind() != k || r != sinktest.Record(k, 5) {
			t.Errorf("%v: another record", k)
		}
	}
}

func TestRepeat(t *testing.T) {
	s := sinktest.NewStream(t)
	s.Append(sinktest.Records(1, 7)...)
	s.Repeat(100)
	s.Drain()
	var want event.Seq
	sink := sdk.Writer(func(_ context.Context, b sdk.Batch) (int, error) {
		for i := range b.Records {
			if want++; b.Records[i].Seq() != want {
				t.Fatalf("sequence number %d, want %d", b.Records[i].Seq(), want)
			}
		}
		return b.Len(), nil
	})
	if err := s.Run(t.Context(), sink); err != nil || want != 100 {
		t.Errorf("%d records, %v", want, err)
	}
}

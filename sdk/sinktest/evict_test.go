package sinktest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// evicting is a stream of a test that evicts.
type evicting struct {
	*testing.T
	*sinktest.Stream
}

// take runs a sink that takes n batches, acknowledges up to ack and fails. It returns what it was handed: numbers, with
// what a loss record counts in brackets.
func (e evicting) take(batches int, ack event.Seq) (got []string) {
	e.Helper()
	broken := errors.New("broken")
	err := e.Stream.Run(e.Context(), sinkFunc(func(ctx context.Context, stream sdk.Stream) error {
		for range batches {
			b, err := stream.Next(ctx, 0)
			if err != nil {
				return err
			}
			for i := range b.Records {
				rec := &b.Records[i]
				text := fmt.Sprint(rec.Seq())
				if rec.Kind() == event.Loss {
					counts := rec.LossCounts()
					text += fmt.Sprintf("[%d of %d to %d]", counts.Total(), rec.LossSince(), rec.Time())
				} else {
					text += fmt.Sprintf("=%d", rec.Time())
				}
				got = append(got, text)
			}
		}
		if err := stream.Ack(ack); err != nil {
			return err
		}
		return broken
	}))
	if !errors.Is(err, broken) {
		e.Errorf("Run: %v", err)
	}
	return got
}

// timed returns records whose times are first, first+1 and so on.
func timed(first int64, kinds ...event.Kind) []event.Record {
	all := make([]event.Record, len(kinds))
	for i, k := range kinds {
		all[i].Reset(k)
		all[i].SetTime(first + int64(i))
	}
	return all
}

// TestEvict pins what a sink sees of evictions: each record as number=time, a loss record with what it counts.
func TestEvict(t *testing.T) {
	const (
		o = event.SessionOpen
		d = event.PolicyDeny
	)
	denials := event.KindSet(0).With(d)
	for _, c := range []struct {
		name string
		do   func(e evicting)
		want []string
	}{
		{"nothing", func(e evicting) { e.Evict(0) }, []string{"1=101", "2=102", "3=103", "4=104", "5=105", "6=106"}},
		{"fresh", func(e evicting) { e.Evict(3) }, []string{"3[3 of 101 to 103]", "4=104", "5=105", "6=106"}},
		{"everything", func(e evicting) { e.Evict(99) }, []string{"6[6 of 101 to 106]"}},
		{"twice", func(e evicting) { e.Evict(2); e.Evict(4) }, []string{"4[4 of 101 to 104]", "5=105", "6=106"}},
		{"again what is gone", func(e evicting) { e.Evict(4); e.Evict(4) }, []string{"4[4 of 101 to 104]", "5=105", "6=106"}},
		{"kinds", func(e evicting) { e.EvictKinds(4, denials) }, []string{"2[2 of 102 to 104]", "3=101", "4=103", "5=105", "6=106"}},
		{"kinds twice", func(e evicting) { e.EvictKinds(2, denials); e.EvictKinds(6, denials) }, []string{"3[3 of 102 to 106]", "4=101", "5=103", "6=105"}},
		{"kinds that are not there", func(e evicting) { e.EvictKinds(6, event.KindSet(0).With(event.ScreenDrop)) }, []string{"1=101", "2=102", "3=103", "4=104", "5=105", "6=106"}},
		{"had", func(e evicting) { e.take(2, 0); e.Evict(3) }, []string{"4=104", "5=105", "6=106", "7[3 of 101 to 103]"}},
		{"had, twice", func(e evicting) { e.take(2, 0); e.Evict(2); e.Evict(3) }, []string{"4=104", "5[3 of 101 to 103]", "6=105", "7=106"}},
		{"had and fresh", func(e evicting) { e.take(2, 0); e.Evict(5) }, []string{"5[5 of 101 to 105]", "6=106"}},
		{"had, then fresh", func(e evicting) { e.take(2, 0); e.Evict(2); e.EvictKinds(6, denials) }, []string{"3=103", "4=104", "6[3 of 101 to 106]", "7=105"}},
		{"had and acknowledged", func(e evicting) { e.take(2, 2); e.Evict(3) }, []string{"4=104", "5=105", "6=106", "7[1 of 103 to 103]"}},
		{"kinds, had", func(e evicting) { e.take(2, 0); e.EvictKinds(6, denials) }, []string{"1=101", "2=102", "3=103", "4=104", "5[1 of 106 to 106]", "6=105"}},
		{"gap between", func(e evicting) { e.take(2, 0); e.EvictKinds(6, event.AllKinds) }, []string{"1=101", "2=102", "3=103", "4=104", "6[2 of 105 to 106]"}},
		{"loss record had", func(e evicting) { e.Evict(2); e.take(1, 0); e.Evict(3) }, []string{"4=104", "5=105", "6=106", "7[3 of 101 to 103]"}},
		{"loss record had, and the first gap stays", func(e evicting) {
			e.take(1, 0)
			e.EvictKinds(4, event.AllKinds)
			e.take(2, 0)
			e.EvictKinds(6, event.AllKinds)
		}, []string{"1=101", "2=102", "4[2 of 103 to 104]", "5=105", "6[1 of 106 to 106]"}},
		{"during a run, nothing in hand", func(e evicting) {
			_ = e.Stream.Run(e.Context(), sinkFunc(func(ctx context.Context, stream sdk.Stream) error {
				b, _ := stream.Next(ctx, 0)
				_ = stream.Ack(b.Last())
				e.Evict(4)
				return nil
			}))
		}, []string{"4[2 of 103 to 104]", "5=105", "6=106"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := evicting{t, sinktest.NewStream(t)}
			e.Append(timed(101, o, d, o, d, o, d)...)
			e.SetBatch(2)
			c.do(e)
			if got := e.take(5, 0); !slices.Equal(got, c.want) {
				t.Errorf("handed out %q, want %q", got, c.want)
			}
		})
	}
}

// TestEvictInHand checks that a test cannot evict what a ring would not.
func TestEvictInHand(t *testing.T) {
	s := sinktest.NewStream(t)
	s.Append(sinktest.Records(1, 10)...)
	evict := func() (panicked bool) {
		defer func() { panicked = recover() != nil }()
		s.Evict(1)
		return
	}
	s.SetBatch(2)
	err := s.Run(t.Context(), sinkFunc(func(ctx context.Context, stream sdk.Stream) error {
		if _, err := stream.Next(ctx, 0); err != nil {
			return err
		}
		if !evict() {
			t.Error("evicted while two records are in hand")
		}
		if err := stream.Ack(1); err != nil {
			return err
		}
		if !evict() {
			t.Error("evicted while a record is in hand")
		}
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	s.Repeat(100)
	if !evict() {
		t.Error("a stream that repeats has evicted")
	}
}

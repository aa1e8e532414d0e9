package deliver

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/internal/inflight"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

// TestNext checks the three ways to wait.
func TestNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *rig
		ready := make(chan struct{})
		r = start(t, func(ctx context.Context, s sdk.Stream) error {
			<-ready
			for _, c := range []struct {
				name    string
				wait    time.Duration
				arrives time.Duration // when a record comes, 0 = none
				took    time.Duration
				want    int
			}{
				{"no wait, nothing there", 0, 0, 0, 0},
				{"wait, nothing comes", 3 * time.Second, 0, 3 * time.Second, 0},
				{"wait, too late", 3 * time.Second, 4 * time.Second, 3 * time.Second, 0},
				{"no wait, something there", 0, 0, 0, 1}, // the one that was late
				{"wait, something comes", 3 * time.Second, time.Second, time.Second, 1},
				{"wait for ever", -1, 10 * time.Hour, 10 * time.Hour, 1},
			} {
				if c.name == "no wait, something there" {
					time.Sleep(time.Second)
					synctest.Wait()
				}
				if c.arrives > 0 {
					time.AfterFunc(c.arrives, func() { r.put(1) })
				}
				before := time.Now()
				b, err := s.Next(ctx, c.wait)
				if err != nil || b.Len() != c.want || time.Since(before) != c.took {
					t.Errorf("%s: %d records, %v after %v; want %d after %v", c.name, b.Len(), err, time.Since(before), c.want, c.took)
				}
			}
			inner, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			if _, err := s.Next(inner, -1); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v when the context ends, want its own", err)
			}
			if _, err := s.Next(inner, 0); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v when the context has ended, want its own", err)
			}
			if s.Epoch() != epoch || s.Names(1) == nil {
				t.Error("no epoch or no names")
			}
			if err := s.Ack(3); err != nil {
				t.Error(err)
			}
			<-ctx.Done()
			return ctx.Err()
		})
		close(ready)
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if got := r.acknowledged(); got != 3 {
			t.Errorf("%d acknowledged, want 3", got)
		}
	})
}

// TestBatch checks that batches are bounded and follow on each other.
func TestBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var next event.Seq = 1
		r := start(t, func(ctx context.Context, s sdk.Stream) error {
			for {
				b, err := s.Next(ctx, -1)
				if err != nil {
					return err
				}
				if b.Len() > maxBatch {
					t.Errorf("a batch of %d", b.Len())
				}
				for _, seq := range seqs(b) {
					if seq != next {
						t.Fatalf("record %d, want %d", seq, next)
					}
					next++
				}
				if err := s.Ack(b.Last()); err != nil {
					return err
				}
			}
		})
		for range 10 { // three times around the ring
			r.put(300)
			synctest.Wait()
		}
		if next != 3001 || r.acknowledged() != 3000 {
			t.Errorf("next is %d, want 3001; %d acknowledged", next, r.acknowledged())
		}
	})
}

// TestReject checks that a rejected record counts once, is not retried, and does not flood the log.
func TestReject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run := 0
		r := start(t, func(ctx context.Context, s sdk.Stream) error {
			run++
			b, err := s.Next(ctx, -1)
			if err != nil {
				return err
			}
			for _, seq := range seqs(b) {
				if seq > 20 {
					break
				}
				s.Reject(seq, "too long")
				s.Reject(seq, "too long")
			}
			if run == 1 {
				return errDown // before the acknowledgement: the same again
			}
			s.Reject(1001, "not there")
			if err := s.Ack(20); err != nil {
				return err
			}
			for _, seq := range seqs(b)[20:] {
				s.Reject(seq, fmt.Sprint("too long by ", seq))
			}
			if err := s.Ack(b.Last()); err != nil {
				return err
			}
			s.Reject(b.Last(), "too late")
			<-ctx.Done()
			return ctx.Err()
		})
		r.put(1000)
		time.Sleep(time.Second)
		synctest.Wait()
		rel := r.Ring.State().Released
		if rel.Rejected[event.SessionOpen] != 1000 || rel.Acknowledged[event.SessionOpen] != 0 {
			t.Errorf("released %+v, want all 1000 rejected", rel)
		}
		if st := r.Status(); st.Rejects != 1000 || st.LastReject != "too long by 1000" {
			t.Errorf("status %+v", st)
		}
		// One for the first reason, one for the failure, and a few for the reasons that are always new.
		if warn, _, _ := r.log.counts(); warn < 3 || warn > 12 {
			t.Errorf("%d warnings", warn)
		}
	})
}

// TestWakeups appends records one at a time while the sink goes to sleep and wakes up, and waits for each tenth of them
// to be acknowledged: a wakeup that is lost is a test that does not end.
func TestWakeups(t *testing.T) {
	const records = 20_000
	acked := make(chan struct{}, records)
	r := start(t, func(ctx context.Context, s sdk.Stream) error {
		for {
			b, err := s.Next(ctx, -1)
			if err != nil {
				return err
			}
			if err := s.Ack(b.Last()); err != nil {
				return err
			}
			for range b.Len() {
				acked <- struct{}{}
			}
		}
	})
	for i := range records {
		r.put(1)
		if i%10 == 9 {
			for range 10 {
				<-acked
			}
		}
	}
	if got := r.acknowledged(); got != records {
		t.Errorf("%d acknowledged, want %d", got, records)
	}
}

// TestEvictionUnderWindow has a broker confirm record 7 and not 5 and 6 when the connection breaks, and a ring that evicts
// while the sink is down: what the sink's window knows as confirmed is never another record.
func TestEvictionUnderWindow(t *testing.T) {
	ring, err := replay.New(replay.Limits{Slots: 16, Telemetry: 10, PerKind: 10})
	if err != nil {
		t.Fatal(err)
	}
	put := func(c replay.Class, k event.Kind, n int) {
		var rec event.Record
		rec.Reset(k)
		got := ring.AcquireEvicting(c, n)
		ring.AnnounceOwed(1)
		for p := ring.Claim(got); got > 0; got-- {
			ring.Put(p, c, &rec)
			p++
		}
	}
	put(replay.PolicyDeny, event.PolicyDeny, 10)
	w := inflight.New(16)
	d := New(Config{Ring: ring})
	s := &stream{queue: d.queue, owner: d}
	w.Begin(s)
	sent := map[event.Seq]event.Kind{}
	for _, rec := range ring.Next(10) {
		sent[rec.Seq()] = rec.Kind()
		if send, err := w.Add(rec.Seq()); err != nil || !send {
			t.Fatal(send, err)
		}
	}
	if err := w.Done(1, 2, 3, 4, 7); err != nil {
		t.Fatal(err)
	}
	w.End()
	s.over.Store(true)
	ring.Rewind()
	put(replay.PolicyDeny, event.PolicyDeny, 8) // a storm, and then sessions that fill the ring and evict from it
	put(replay.Priority, event.SessionClose, 14)

	var lost event.LossCounts
	d = New(Config{Ring: ring})
	w.Begin(&stream{queue: d.queue, owner: d})
	for run := ring.Next(16); run != nil; run = ring.Next(16) {
		for _, rec := range run {
			send, err := w.Add(rec.Seq())
			if err != nil {
				t.Fatal(err)
			}
			if k, ok := sent[rec.Seq()]; ok && k != rec.Kind() {
				t.Errorf("P5: number %d was %v, and is %v", rec.Seq(), k, rec.Kind())
			}
			if rec.Kind() == event.Loss {
				if lost = rec.LossCounts(); !send {
					t.Errorf("the loss record %d is not sent", rec.Seq())
				}
			}
		}
	}
	if got := ring.State().Released.Evicted[event.PolicyDeny]; got == 0 || lost[event.PolicyDeny] != got {
		t.Errorf("%d denials evicted, %d announced", got, lost[event.PolicyDeny])
	}
}

package inflight

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

// recorder is a stream of which only acknowledgements and rejections matter.
type recorder struct {
	sdk.Stream
	acked    event.Seq
	acks     int
	rejected map[event.Seq]string
	err      error
	epoch    uint64
}

func (r *recorder) Epoch() uint64 { return r.epoch }

// TestAnotherEpoch checks that the numbers of a stream mean nothing in the next one of another epoch.
func TestAnotherEpoch(t *testing.T) {
	w := New(4)
	for epoch := range uint64(3) {
		s := &recorder{epoch: epoch}
		w.Begin(s)
		for seq := event.Seq(1); seq <= 3; seq++ {
			if send, err := w.Add(seq); err != nil || !send {
				t.Fatalf("record %d of epoch %d is not sent: %v", seq, epoch, err)
			}
			if err := w.Done(seq); err != nil {
				t.Fatal(err)
			}
		}
		if s.acked != 3 {
			t.Errorf("%d acknowledged in epoch %d", s.acked, epoch)
		}
		w.End()
	}
}

func (r *recorder) Ack(through event.Seq) error {
	r.acked = through
	r.acks++
	return r.err
}

func (r *recorder) Reject(seq event.Seq, why string) {
	if r.rejected == nil {
		r.rejected = map[event.Seq]string{}
	}
	r.rejected[seq] = why
}

func add(t *testing.T, w *Window, seqs ...event.Seq) (sent []event.Seq) {
	t.Helper()
	for _, seq := range seqs {
		if !w.Fits(seq) {
			t.Fatalf("%d does not fit", seq)
		}
		send, err := w.Add(seq)
		if err != nil {
			t.Fatal(err)
		}
		if send {
			sent = append(sent, seq)
		}
	}
	return sent
}

func done(t *testing.T, w *Window, seqs ...event.Seq) {
	t.Helper()
	if err := w.Done(seqs...); err != nil {
		t.Fatal(err)
	}
}

func TestOutOfOrder(t *testing.T) {
	s := &recorder{}
	w := New(8)
	w.Begin(s)
	add(t, w, 1, 2, 3, 4)
	done(t, w, 2, 4)
	if s.acks != 0 || w.Len() != 4 {
		t.Errorf("acknowledged up to %d before 1 is confirmed; %d in flight", s.acked, w.Len())
	}
	done(t, w, 1)
	if s.acked != 2 || w.Len() != 2 {
		t.Errorf("acknowledged up to %d, want 2; %d in flight", s.acked, w.Len())
	}
	done(t, w, 3, 3, 1, 99)
	if s.acked != 4 || s.acks != 2 || w.Len() != 0 {
		t.Errorf("acknowledged up to %d in %d steps, want 4 in 2; %d in flight", s.acked, s.acks, w.Len())
	}
}

func TestReject(t *testing.T) {
	s := &recorder{}
	w := New(8)
	w.Begin(s)
	add(t, w, 1, 2)
	for range 2 {
		if err := w.Reject(1, "too large"); err != nil {
			t.Fatal(err)
		}
	}
	if s.acked != 1 || len(s.rejected) != 1 || s.rejected[1] != "too large" {
		t.Errorf("acknowledged up to %d, rejected %v", s.acked, s.rejected)
	}
	w.End()
	if err := w.Reject(2, "too late"); err != nil || len(s.rejected) != 1 || w.Has(2) {
		t.Errorf("a rejection after the end: %v, %v", err, s.rejected)
	}
}

func TestSecondRun(t *testing.T) {
	w := New(8)
	first, second := &recorder{}, &recorder{}
	w.Begin(first)
	add(t, w, 1, 2, 3, 4, 5)
	done(t, w, 1, 3)
	w.End()
	done(t, w, 4) // late
	if first.acked != 1 {
		t.Errorf("acknowledged up to %d, want 1", first.acked)
	}
	w.Begin(second)
	if w.Len() != 0 {
		t.Errorf("%d in flight at the start", w.Len())
	}
	if sent := add(t, w, 2, 3, 4, 5); len(sent) != 2 || sent[0] != 2 || sent[1] != 5 {
		t.Errorf("sent %v again, want 2 and 5", sent)
	}
	done(t, w, 2)
	if second.acked != 4 {
		t.Errorf("acknowledged up to %d, want 4", second.acked)
	}
}

// A stream whose acknowledgement was lost hands out what the window has settled.
func TestBehindFloor(t *testing.T) {
	w := New(8)
	w.Begin(&recorder{})
	add(t, w, 1, 2, 3)
	done(t, w, 1, 2, 3)
	w.End()
	s := &recorder{}
	w.Begin(s)
	if sent := add(t, w, 2, 3); sent != nil || s.acked != 3 {
		t.Errorf("sent %v, acknowledged up to %d", sent, s.acked)
	}
}

func TestGaps(t *testing.T) {
	s := &recorder{}
	w := New(4)
	w.Begin(s)
	add(t, w, 1, 4) // 2 and 3 were evicted
	done(t, w, 1)
	if s.acked != 3 {
		t.Errorf("acknowledged up to %d, want 3", s.acked)
	}
	if w.Fits(1000) {
		t.Error("a gap that is wider than the window fits while 4 is on its way")
	}
	done(t, w, 4)
	add(t, w, 1000, 1001, 1002, 1003)
	if w.Fits(1004) {
		t.Error("a fifth record fits in a window of four")
	}
	done(t, w, 1001, 1002, 1003)
	if s.acked != 999 {
		t.Errorf("acknowledged up to %d, want 999", s.acked)
	}
	done(t, w, 1000)
	if s.acked != 1003 {
		t.Errorf("acknowledged up to %d, want 1003", s.acked)
	}
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(2)
		w.Begin(&recorder{})
		add(t, w, 1, 2)
		go func() {
			time.Sleep(time.Second)
			_ = w.Done(1)
			time.Sleep(time.Second)
			_ = w.Done(2)
		}()
		start := time.Now()
		if err := w.Wait(t.Context(), 3); err != nil || time.Since(start) != time.Second {
			t.Errorf("waited %v: %v", time.Since(start), err)
		}
		if err := w.Drain(t.Context()); err != nil || time.Since(start) != 2*time.Second {
			t.Errorf("drained after %v: %v", time.Since(start), err)
		}
		add(t, w, 3)
		why := errors.New("why")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(why)
		if err := w.Drain(ctx); err != why {
			t.Errorf("Drain = %v, want the cause", err)
		}
	})
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(100)
		w.Begin(&recorder{})
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() { result <- w.Watch(ctx, 4*time.Second) }()

		time.Sleep(time.Hour) // idle
		for seq := event.Seq(1); seq < 20; seq++ {
			add(t, w, seq)
			time.Sleep(3 * time.Second)
			done(t, w, seq) // slow, and never stuck
		}
		add(t, w, 20, 21)
		done(t, w, 21)
		start := time.Now()
		err := <-result
		var stall *StallError
		if !errors.As(err, &stall) || stall.First != 20 || stall.Waited < 4*time.Second || time.Since(start) > 6*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		go func() { result <- w.Watch(ctx, 4*time.Second) }()
		cancel()
		if err := <-result; err != nil {
			t.Errorf("Watch = %v", err)
		}
	})
}

func TestAckError(t *testing.T) {
	s := &recorder{err: errors.New("over")}
	w := New(8)
	w.Begin(s)
	add(t, w, 1)
	if err := w.Done(1); err != s.err {
		t.Errorf("Done = %v", err)
	}
}

// TestModel runs random histories against a window that is a set: records are confirmed in any order, runs end anywhere,
// records are evicted. Nothing is acknowledged that was not confirmed, rejected or evicted, everything that was is, and
// nothing that was confirmed is sent again.
func TestModel(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 0))
		size := 1 + rng.IntN(12)
		w := New(size)
		settled, evicted := map[event.Seq]bool{}, map[event.Seq]bool{}
		floor := event.Seq(0) // of the ring
		for range 20 {
			s := &recorder{acked: floor}
			w.Begin(s)
			next, sent := floor+1, []event.Seq{}
			for range rng.IntN(60) {
				switch {
				case rng.IntN(2) == 0:
					if rng.IntN(10) == 0 {
						for seq := range event.Seq(rng.IntN(2 * size)) {
							evicted[next+seq], settled[next+seq] = true, true
						}
					}
					for evicted[next] { // skipped
						next++
					}
					if !w.Fits(next) {
						continue
					}
					send, err := w.Add(next)
					if err != nil || send == settled[next] {
						t.Fatalf("seed %d: Add(%d) = %t, %v; settled %t", seed, next, send, err, settled[next])
					}
					if send {
						sent = append(sent, next)
					}
					next++
				case len(sent) > 0:
					i := rng.IntN(len(sent))
					settled[sent[i]] = true
					done(t, w, sent[i])
				}
				through := floor
				for through+1 < next && settled[through+1] {
					through++
				}
				// What was skipped is known with the next record only.
				if s.acked > through || len(sent) > 0 && through <= sent[len(sent)-1] && s.acked < through {
					t.Fatalf("seed %d: acknowledged up to %d, want %d", seed, s.acked, through)
				}
				if w.Len() > size {
					t.Fatalf("seed %d: %d in flight", seed, w.Len())
				}
			}
			w.End()
			floor = s.acked
		}
	}
}

// TestConcurrent confirms from many goroutines while records are added.
func TestConcurrent(t *testing.T) {
	const n = 20000
	w, s := New(64), &recorder{}
	w.Begin(s)
	work := make(chan event.Seq, 64)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for seq := range work {
				if err := w.Done(seq); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for seq := event.Seq(1); seq <= n; seq++ {
		if err := w.Wait(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
		if send, err := w.Add(seq); !send || err != nil {
			t.Fatal(send, err)
		}
		work <- seq
	}
	close(work)
	if err := w.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	if s.acked != n {
		t.Errorf("acknowledged up to %d", s.acked)
	}
}

func TestAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	w := New(64)
	w.Begin(&recorder{})
	seq := event.Seq(0)
	if got := testing.AllocsPerRun(1000, func() {
		seq++
		if _, err := w.Add(seq); err != nil {
			t.Fatal(err)
		}
		if err := w.Done(seq); err != nil {
			t.Fatal(err)
		}
	}); got != 0 {
		t.Errorf("%v allocations per record", got)
	}
}

func BenchmarkWindow(b *testing.B) {
	w := New(1024)
	w.Begin(&recorder{})
	b.ReportAllocs()
	for seq := event.Seq(1); b.Loop(); seq++ {
		if _, err := w.Add(seq); err != nil {
			b.Fatal(err)
		}
		if err := w.Done(seq); err != nil {
			b.Fatal(err)
		}
	}
}

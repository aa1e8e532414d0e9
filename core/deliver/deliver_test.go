package deliver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

var errDown = errors.New("connection refused")

// TestBackoff checks the pauses between the runs of a sink that fails: they grow to their maximum, vary within half, and
// begin again when a run got something acknowledged.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			mu           sync.Mutex
			ends, begins []time.Time
			deliver      bool // one record in the next run
		)
		r := start(t, func(ctx context.Context, s sdk.Stream) error {
			mu.Lock()
			defer mu.Unlock()
			begins = append(begins, time.Now())
			if deliver {
				b, err := s.Next(ctx, 0)
				if err != nil {
					return err
				}
				if err := s.Ack(b.Records[0].Seq()); err != nil {
					return err
				}
				deliver = false
			}
			ends = append(ends, time.Now())
			return errDown
		})
		r.put(100)
		pauses := func(total time.Duration) {
			t.Helper()
			time.Sleep(total)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if deliver {
				t.Fatal("the sink did not run again")
			}
			mean := firstPause
			for i := 1; i < len(begins); i++ {
				pause := begins[i].Sub(ends[i-1])
				if pause < mean/2 || pause > mean+mean/2 {
					t.Errorf("pause %d is %v, want %v and up to half of it more or less", i, pause, mean)
				}
				mean = min(mean+mean/2, maxPause)
			}
		}
		pauses(time.Minute)
		if len(begins) < 15 {
			t.Fatalf("%d runs in a minute", len(begins))
		}
		mu.Lock()
		deliver = true
		mu.Unlock()
		// Away with all runs but the one that makes progress: the pause after it is the first again.
		synctest.Wait()
		for done := false; !done; {
			time.Sleep(time.Millisecond)
			synctest.Wait()
			mu.Lock()
			if done = !deliver; done {
				begins, ends = begins[len(begins)-1:], ends[len(ends)-1:]
			}
			mu.Unlock()
		}
		pauses(time.Minute)
		if got := r.acknowledged(); got != 1 {
			t.Errorf("%d acknowledged, want 1", got)
		}
		if st := r.Status(); st.Phase != Backoff && st.Phase != Running || st.LastError != errDown.Error() || st.ErrorAt.IsZero() {
			t.Errorf("status %+v", st)
		}
	})
}

// TestP6Replay checks that each run begins with the first record that is not acknowledged, and hands them out in order.
func TestP6Replay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs [][]event.Seq
		through := event.Seq(0)
		r := start(t, func(ctx context.Context, s sdk.Stream) error {
			var got []event.Seq
			for len(got) < 20-int(through) {
				b, err := s.Next(ctx, -1)
				if err != nil {
					return err
				}
				got = append(got, seqs(b)...)
			}
			runs = append(runs, got)
			through += 5
			if err := s.Ack(through); err != nil {
				return err
			}
			return errDown
		})
		r.put(7)
		synctest.Wait()
		r.put(13)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(runs) < 4 {
			t.Fatalf("%d runs, want at least 4", len(runs))
		}
		for i, got := range runs[:4] {
			var want []event.Seq
			for seq := event.Seq(i*5 + 1); seq <= 20; seq++ {
				want = append(want, seq)
			}
			if !slices.Equal(got, want) {
				t.Errorf("run %d got %v, want %v", i, got, want)
			}
		}
		if got := r.acknowledged(); got != 20 {
			t.Errorf("%d acknowledged, want 20", got)
		}
		if st := r.Status(); st.Records != 20+15+10+5 {
			t.Errorf("%d records handed out, want 50, replays included", st.Records)
		}
	})
}

// TestFails runs sinks that fail in every way a few times and then work. All records must come through.
func TestFails(t *testing.T) {
	for _, c := range []struct {
		name     string
		fail     func(ctx context.Context, s sdk.Stream) error
		reported string
	}{
		{"error", func(context.Context, sdk.Stream) error { return errDown }, "connection refused"},
		{"error after reading", func(ctx context.Context, s sdk.Stream) error {
			if _, err := s.Next(ctx, -1); err != nil {
				return err
			}
			return errDown
		}, "connection refused"},
		{"panic", func(context.Context, sdk.Stream) error { panic("oh no") }, "panic: oh no"},
		{"panic with nil map", func(context.Context, sdk.Stream) error {
			var m map[string]int
			m["x"] = 1
			return nil
		}, "panic: assignment to entry in nil map"},
		{"nothing", func(context.Context, sdk.Stream) error { return nil },
			"the sink returned without an error and before its stream ended"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				runs := 0
				r := start(t, func(ctx context.Context, s sdk.Stream) error {
					if runs++; runs <= 3 {
						return c.fail(ctx, s)
					}
					return deliverAll(ctx, s)
				})
				r.put(10)
				synctest.Wait()
				if st := r.Status(); st.Phase != Backoff || st.LastError != c.reported {
					t.Errorf("status %+v, want backoff for %q", st, c.reported)
				}
				time.Sleep(10 * time.Second)
				synctest.Wait()
				if st := r.Status(); st.Phase != Running || st.Runs != 4 {
					t.Errorf("status %+v, want the fourth run", st)
				}
				if got := r.acknowledged(); got != 10 {
					t.Errorf("%d acknowledged, want 10", got)
				}
				warn, info, _ := r.log.counts()
				if warn != 1 || info != 1 {
					t.Errorf("%d warnings and %d notes, want one for the failure and one for its end", warn, info)
				}
			})
		})
	}
}

// TestP8Isolation runs a sink that hangs, one that panics and one that works beside each other.
func TestP8Isolation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		hung := start(t, func(context.Context, sdk.Stream) error { <-release; return nil })
		bad := start(t, func(context.Context, sdk.Stream) error { panic("bad") })
		good := start(t, deliverAll)
		for range 50 {
			for _, r := range []*rig{hung, bad, good} {
				r.put(10)
			}
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if got := good.acknowledged(); got != 500 {
			t.Errorf("the good sink has %d of 500 records", got)
		}
		if hung.acknowledged()+bad.acknowledged() != 0 || hung.Status().Phase != Running {
			t.Errorf("the hung sink: %+v; the bad one: %+v", hung.Status(), bad.Status())
		}
		if warn, _, errs := good.log.counts(); warn+errs != 0 {
			t.Error("the good sink was complained about")
		}
		close(release)
	})
}

// TestLateAcks acknowledges from another goroutine: in time, out of order, twice, ahead of what was handed out, and after
// Run has returned.
func TestLateAcks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acks := make(chan event.Seq)
		results := make(chan error)
		fail := make(chan struct{})
		streams := make(chan sdk.Stream, 2)
		r := start(t, func(ctx context.Context, s sdk.Stream) error {
			streams <- s
			if _, err := s.Next(ctx, -1); err != nil {
				return err
			}
			select {
			case <-fail:
				return errDown
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		r.put(10)
		first := <-streams
		go func() {
			for seq := range acks {
				results <- first.Ack(seq)
			}
		}()
		defer close(acks)
		ack := func(seq event.Seq, wantErr bool, total uint64) {
			t.Helper()
			synctest.Wait()
			acks <- seq
			if err := <-results; (err != nil) != wantErr {
				t.Errorf("Ack(%d): %v", seq, err)
			}
			if got := r.acknowledged(); got != total {
				t.Errorf("after Ack(%d) %d are acknowledged, want %d", seq, got, total)
			}
		}
		ack(5, false, 5)
		ack(3, false, 5)
		ack(5, false, 5)
		ack(11, true, 5)
		r.put(5)
		ack(12, true, 5) // there, but not handed out
		ack(6, false, 6)
		fail <- struct{}{}
		synctest.Wait()
		ack(10, true, 6)
		first.Reject(7, "too late")
		if b, err := first.Next(context.Background(), -1); err == nil {
			t.Errorf("the stream of a run that is over handed out %v", seqs(b))
		}
		second := <-streams // of the next run
		synctest.Wait()
		if err := second.Ack(15); err != nil {
			t.Errorf("Ack of the second run: %v", err)
		}
		if st := r.Ring.State(); st.Released.Rejected[event.SessionOpen] != 0 || r.acknowledged() != 15 {
			t.Errorf("released %+v, want 15 acknowledged and nothing rejected", st.Released)
		}
	})
}

// TestDrain checks that a draining sink gets the rest, is told that it was the last, and that its goodbye counts.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []event.Seq
		flushed := false
		r := start(t, func(ctx context.Context, s sdk.Stream) error {
			for {
				b, err := s.Next(ctx, -1)
				if errors.Is(err, sdk.ErrDrained) {
					flushed = true
					return s.Ack(event.Seq(len(got))) // what it buffered goes out now
				}
				if err != nil {
					return err
				}
				got = append(got, seqs(b)...)
			}
		})
		r.put(5)
		synctest.Wait()
		r.put(5)
		r.Ring.Drain()
		<-r.done
		if !flushed || len(got) != 10 || r.acknowledged() != 10 {
			t.Errorf("flushed %v, got %v, %d acknowledged", flushed, got, r.acknowledged())
		}
		if st := r.Status(); st.Phase != Drained || st.LastError != "" {
			t.Errorf("status %+v, want drained", st)
		}
		if warn, _, _ := r.log.counts(); warn != 0 {
			t.Error("a drained sink was complained about")
		}
	})
}

// TestDrainAsleep wakes a sink that waits for records when there will be none any more.
func TestDrainAsleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, deliverAll)
		synctest.Wait()
		r.Ring.Drain()
		<-r.done
		if got := r.Status().Phase; got != Drained {
			t.Errorf("phase %s, want drained", got)
		}
	})
}

// TestDrainUnacknowledged runs a sink again that returned from draining with records not acknowledged.
func TestDrainUnacknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs [][]event.Seq
		r := start(t, func(ctx context.Context, s sdk.Stream) error {
			var got []event.Seq
			for {
				b, err := s.Next(ctx, -1)
				if err != nil {
					runs = append(runs, got)
					if len(got) == 0 {
						return nil
					}
					return s.Ack(got[len(got)/2])
				}
				got = append(got, seqs(b)...)
			}
		})
		r.put(4)
		r.Ring.Drain()
		<-r.done
		want := [][]event.Seq{{1, 2, 3, 4}, {4}}
		if fmt.Sprint(runs) != fmt.Sprint(want) {
			t.Errorf("runs %v, want %v", runs, want)
		}
		if got := r.Status().Phase; got != Drained {
			t.Errorf("phase %s, want drained", got)
		}
	})
}

// TestDrainEndsPause checks that a delivery which waits for a dead sink does not keep a stopping pipeline waiting.
func TestDrainEndsPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs := 0
		r := start(t, func(ctx context.Context, s sdk.Stream) error {
			if runs++; runs < 10 {
				return errDown
			}
			return deliverAll(ctx, s)
		})
		time.Sleep(5 * time.Second) // fake: somewhere in a long pause
		synctest.Wait()
		runs = 10
		before := time.Now()
		r.Ring.Drain()
		<-r.done
		if waited := time.Since(before); waited != 0 {
			t.Errorf("the pause went on for %s", waited)
		}
		if got := r.Status().Phase; got != Drained {
			t.Errorf("phase %s, want drained", got)
		}
	})
}

// TestDrainNothing checks that a sink with nothing to deliver does not keep a stopping pipeline waiting, whatever it waits
// for itself, and that one with a record in flight, or that ends in its own way, is left alone.
func TestDrainNothing(t *testing.T) {
	connects := func(ctx context.Context, _ sdk.Stream) error { // to what does not answer
		<-ctx.Done()
		return ctx.Err()
	}
	for _, c := range []struct {
		name    string
		records int
		run     sinkFunc
		want    time.Duration
		runs    uint64 // at least; none begins once the ring is draining
	}{
		{"waiting for records", 0, deliverAll, 0, 1},
		{"in a pause", 0, func(context.Context, sdk.Stream) error { return errDown }, 0, 2},
		{"connecting", 0, connects, lastCall, 1},
		{"connecting with a record", 1, connects, time.Minute, 1},
		{"connecting behind the last acknowledgement", 1, func(ctx context.Context, s sdk.Stream) error {
			b, err := s.Next(ctx, -1)
			if err != nil {
				return err
			}
			<-s.(sdk.DrainNotifier).Draining()
			<-time.After(time.Second) // the destination takes its time
			if err := s.Ack(b.Last()); err != nil {
				return err
			}
			return connects(ctx, s)
		}, time.Second + lastCall, 1},
		{"says goodbye", 0, func(ctx context.Context, s sdk.Stream) error {
			_, err := s.Next(ctx, -1)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				err = ctx.Err()
			}
			return err
		}, time.Second, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, c.run)
				if c.records > 0 {
					r.put(c.records)
				}
				time.Sleep(firstPause + firstPause/2 + 1) // fake: in the second pause or a later one, if there are any
				synctest.Wait()
				before, runs := time.Now(), r.Status().Runs
				if runs < c.runs {
					t.Fatalf("%d runs, want at least %d", runs, c.runs)
				}
				r.Ring.Drain()
				select {
				case <-r.done:
				case <-time.After(time.Minute):
					r.stop()
					<-r.done
				}
				if took := time.Since(before); took != c.want {
					t.Errorf("took %v, want %v", took, c.want)
				}
				if got := r.Status(); c.records == 0 && got.Phase != Drained || got.Runs != runs {
					t.Errorf("phase %s after %d runs, want drained after %d", got.Phase, got.Runs, runs)
				}
			})
		})
	}
}

// TestStop checks that a delivery ends at once when it is told to, whatever its sink is doing.
func TestStop(t *testing.T) {
	for _, c := range []struct {
		name string
		run  sinkFunc
	}{
		{"waiting for records", deliverAll},
		{"in a pause", func(context.Context, sdk.Stream) error { return errDown }},
		{"waiting with a timeout", func(ctx context.Context, s sdk.Stream) error {
			_, err := s.Next(ctx, forever)
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, c.run)
				synctest.Wait()
				before := time.Now()
				r.stop()
				<-r.done
				if took := time.Since(before); took != 0 {
					t.Errorf("took %v", took)
				}
				if got := r.Status().Phase; got != Stopped {
					t.Errorf("phase %s, want stopped", got)
				}
			})
		})
	}
}

// TestAbandon wakes a sink whose ring is closed under it.
func TestAbandon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(ctx context.Context, s sdk.Stream) error {
			for {
				if _, err := s.Next(ctx, -1); err != nil {
					return err
				}
			}
		})
		r.put(3)
		synctest.Wait()
		r.Ring.Abandon()
		<-r.done
		if got := r.Ring.State().Released.Abandoned[event.SessionOpen]; got != 3 {
			t.Errorf("%d abandoned, want 3", got)
		}
	})
}

// TestLog checks that the log tells changes and not repetitions.
func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fail atomic.Value
		fail.Store("connection refused")
		r := start(t, func(ctx context.Context, s sdk.Stream) error {
			if why := fail.Load().(string); why != "" {
				_ = s.Ack(0) // nothing new: not a sign of recovery
				return errors.New(why)
			}
			b, err := s.Next(ctx, -1)
			if err != nil {
				return err
			}
			_ = s.Ack(b.Last())
			_ = s.Ack(b.Last())
			<-ctx.Done()
			return nil
		})
		expect := func(warn, info int) {
			t.Helper()
			time.Sleep(time.Minute)
			synctest.Wait()
			if w, i, _ := r.log.counts(); w != warn || i != info {
				t.Errorf("%d warnings and %d notes, want %d and %d", w, i, warn, info)
			}
		}
		r.put(1)
		expect(1, 0)
		fail.Store("no route")
		expect(2, 0)
		fail.Store("")
		expect(2, 1)
	})
}

package deliver

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

// heir is a sink that counts, is closed, and takes over from another.
type heir struct {
	sinkFunc
	n      atomic.Uint64
	closed atomic.Int32
	after  sdk.Sink
}

func (h *heir) Counters() []sdk.Counter { return []sdk.Counter{{Name: "n", Value: h.n.Load()}} }
func (h *heir) Close() error            { h.closed.Add(1); return nil }
func (h *heir) Succeed(former sdk.Sink) { h.after = former }

// startWith is start for a sink of any type.
func startWith(t *testing.T, s sdk.Sink) *rig {
	t.Helper()
	r := start(t, func(context.Context, sdk.Stream) error { return nil })
	r.Replace(s, 0)
	synctest.Wait()
	return r
}

// TestReplace has a sink with records in hand replaced: it delivers those, and its successor all that follow, once.
func TestReplace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first, second []event.Seq
		acked := make(chan struct{})
		former := &heir{}
		former.sinkFunc = func(ctx context.Context, s sdk.Stream) error {
			for {
				b, err := s.Next(ctx, -1)
				if err != nil {
					return err
				}
				first = append(first, seqs(b)...)
				former.n.Add(uint64(b.Len()))
				select {
				case <-acked:
				case <-ctx.Done():
					return ctx.Err()
				}
				if err := s.Ack(b.Last()); err != nil {
					return err
				}
			}
		}
		next := &heir{}
		next.sinkFunc = func(ctx context.Context, s sdk.Stream) error {
			if s.Epoch() != epoch {
				t.Errorf("epoch %d", s.Epoch())
			}
			for {
				b, err := s.Next(ctx, -1)
				if err != nil {
					return err
				}
				second = append(second, seqs(b)...)
				next.n.Add(uint64(b.Len()))
				if err := s.Ack(b.Last()); err != nil {
					return err
				}
			}
		}
		r := startWith(t, former)
		r.put(3)
		synctest.Wait()
		r.Replace(next, time.Minute)
		r.put(2)
		time.Sleep(time.Second)
		synctest.Wait()
		if len(first) != 3 || len(second) != 0 || former.closed.Load() != 0 {
			t.Fatalf("while the first has something in hand: %v, %v", first, second)
		}
		close(acked)
		synctest.Wait()
		if len(first) != 3 || len(second) != 2 || second[0] != 4 {
			t.Errorf("delivered %v, then %v", first, second)
		}
		if former.closed.Load() != 1 || next.closed.Load() != 0 || next.after != sdk.Sink(former) {
			t.Errorf("closed %d and %d times, after %v", former.closed.Load(), next.closed.Load(), next.after)
		}
		if c := r.Counters(); len(c) != 1 || c[0].Value != 5 {
			t.Errorf("counters %v", c)
		}
		if st := r.Status(); st.Phase != Running || st.LastError != "the sink returned without an error and before its stream ended" && st.LastError != "" {
			t.Errorf("status %+v", st)
		}
	})
}

// TestReplaceHung replaces sinks that do not end by themselves, and one that fails all the time.
func TestReplaceHung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := func(ctx context.Context, s sdk.Stream) error {
			if _, err := s.Next(ctx, -1); err != nil {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		}
		idle := func(ctx context.Context, s sdk.Stream) error { <-ctx.Done(); return ctx.Err() }
		fails := func(context.Context, sdk.Stream) error { return errors.New("no") }
		for _, c := range []struct {
			name   string
			run    sinkFunc
			within time.Duration // until the next one runs
		}{{"hangs with records in hand", hangs, time.Minute}, {"does not look", idle, lastCall}, {"fails", fails, 0}} {
			var got []event.Seq // until the delivery has ended
			var taken atomic.Int64
			next := &heir{}
			next.sinkFunc = func(ctx context.Context, s sdk.Stream) error {
				for {
					b, err := s.Next(ctx, -1)
					if err != nil {
						return err
					}
					got = append(got, seqs(b)...)
					taken.Store(int64(len(got)))
					if err := s.Ack(b.Last()); err != nil {
						return err
					}
				}
			}
			r := startWith(t, c.run)
			r.put(2)
			synctest.Wait()
			skipped := &heir{sinkFunc: fails} // at once, should it come to its turn
			before := time.Now()
			r.Replace(skipped, time.Minute)
			r.Replace(next, time.Minute)
			for taken.Load() == 0 {
				time.Sleep(time.Millisecond)
				synctest.Wait()
			}
			if took := time.Since(before); took > c.within+10*time.Millisecond {
				t.Errorf("%s: replaced after %v", c.name, took)
			}
			r.Ring.Drain()
			<-r.done
			if len(got) != 2 || got[0] != 1 || r.acknowledged() != 2 || skipped.closed.Load() != 1 {
				t.Errorf("%s: %v, %d closed", c.name, got, skipped.closed.Load())
			}
			if r.Status().Phase != Drained || next.closed.Load() != 1 {
				t.Errorf("%s: %+v, closed %d times", c.name, r.Status(), next.closed.Load())
			}
		}
	})
}

// slowToClose is an heir whose Close waits.
type slowToClose struct {
	heir
	release chan struct{}
}

func (s *slowToClose) Close() error { <-s.release; return s.heir.Close() }

// TestReplaceWhileTheFormerCloses replaces a sink twice while it is being closed: the first successor is closed once, after its turn.
func TestReplaceWhileTheFormerCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		former := &slowToClose{release: make(chan struct{})}
		former.sinkFunc = deliverAll
		r := startWith(t, former)
		first, second := &heir{sinkFunc: deliverAll}, &heir{sinkFunc: deliverAll}
		r.Replace(first, time.Minute)
		synctest.Wait()
		r.Replace(second, time.Minute)
		synctest.Wait()
		if n := first.closed.Load(); n != 0 || first.after != nil {
			t.Errorf("the successor is closed %d times before its turn", n)
		}
		close(former.release)
		synctest.Wait()
		if former.closed.Load() != 1 || first.closed.Load() != 1 || second.closed.Load() != 0 {
			t.Errorf("closed %d, %d and %d times, want 1, 1 and 0", former.closed.Load(), first.closed.Load(), second.closed.Load())
		}
		if first.after != sdk.Sink(former) || second.after != sdk.Sink(first) {
			t.Errorf("the first comes after %v, the second after %v", first.after, second.after)
		}
		r.put(2)
		r.Ring.Drain()
		<-r.done
		if r.acknowledged() != 2 || second.closed.Load() != 1 {
			t.Errorf("%d records acknowledged, closed %d times", r.acknowledged(), second.closed.Load())
		}
	})
}

// TestReplaceWhileItStops replaces a sink that is draining, and one that was never run: all are closed.
func TestReplaceWhileItStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := startWith(t, sinkFunc(deliverAll))
		r.Ring.Drain()
		<-r.done
		late := &heir{sinkFunc: deliverAll}
		r.Replace(late, time.Minute)
		if late.closed.Load() != 1 {
			t.Error("a successor that comes too late is not closed")
		}
	})
}

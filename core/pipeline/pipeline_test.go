package pipeline

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/rtflow/pipelined/core/metrics"
	"github.com/rtflow/pipelined/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// opens returns the account of session opens at a sink.
func opens(l metrics.Ledger, sink string) metrics.Queue { return l.Sinks[sink]["session-open"] }

func checkP1(t *testing.T, pl *Pipeline) metrics.Ledger {
	t.Helper()
	l := pl.Ledger()
	if l.Unaccounted != 0 {
		t.Errorf("P1: %d unaccounted for: %+v", l.Unaccounted, l)
	}
	return l
}

// TestCaptureDelivers runs a capture with more events than the rings hold: both sinks get every one, however slow.
func TestCaptureDelivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false, &fakeQueue{flows: 1000, end: io.EOF})
		r.sinks["good"] = deliverAll
		r.sinks["other"] = func(ctx context.Context, s sdk.Stream) error {
			return sdk.Writer(func(_ context.Context, b sdk.Batch) (int, error) {
				time.Sleep(time.Minute) // fake: longer than service.drain, which is for a pipeline that is told to stop
				return b.Len(), nil
			}).Run(ctx, s)
		}
		pl := r.open(twoSinks)
		if err := pl.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		l := checkP1(t, pl)
		for _, sink := range []string{"good", "other"} {
			if q := opens(l, sink); q.Acknowledged != 1000 {
				t.Errorf("sink %s: %+v, want 1000 acknowledged", sink, q)
			}
		}
		if !r.source.closed.Load() {
			t.Error("the source was not closed")
		}
	})
}

// TestP8HungSink runs a live source with a sink that hangs, even when it is told to stop: the other sink gets everything
// its ring had room for at any time, the pipeline stops after its deadline and a second, and the account balances.
func TestP8HungSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		returned := make(chan struct{})
		r := newRig(t, true, &fakeQueue{flows: 40}, &fakeQueue{flows: 40, base: 1 << 16})
		r.sinks["good"] = deliverAll
		r.sinks["other"] = func(ctx context.Context, s sdk.Stream) error {
			defer close(returned)
			b, err := s.Next(ctx, -1)
			<-release
			if err == nil {
				_ = s.Ack(b.Last()) // too late: it must change nothing, which the ledger shows below
			}
			return err
		}
		pl := r.open(twoSinks)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- pl.Run(ctx) }()
		synctest.Wait()
		if q := opens(pl.Ledger(), "good"); q.Acknowledged != 80 && q.Acknowledged+q.OverBudget != 80 {
			t.Errorf("the good sink: %+v", q)
		}
		before := time.Now()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if took := time.Since(before); took != 5*time.Second+grace {
			t.Errorf("stopping took %s, want the deadline and the grace", took)
		}
		l := checkP1(t, pl)
		if q := opens(l, "other"); q.Abandoned == 0 || q.Abandoned+q.OverBudget != 80 {
			t.Errorf("the hung sink: %+v, want what it held abandoned", q)
		}
		if !strings.Contains(r.log.String(), "records abandoned") {
			t.Errorf("nobody was told:\n%s", r.log.String())
		}
		close(release)
		<-returned
		synctest.Wait()
		checkP1(t, pl)
	})
}

// TestCaptureStopsWhileWaiting stops a capture whose worker waits for room in the ring of a dead sink.
func TestCaptureStopsWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, false, &fakeQueue{flows: 1000, end: io.EOF})
		r.sinks["good"] = deliverAll
		r.sinks["other"] = func(context.Context, sdk.Stream) error { return errBroken }
		pl := r.open(twoSinks)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := pl.Run(ctx); err != nil {
			t.Error(err)
		}
		l := checkP1(t, pl)
		if q := opens(l, "other"); q.Abandoned != 96 || q.Closed == 0 {
			t.Errorf("the dead sink: %+v, want 96 abandoned and the rest closed", q)
		}
	})
}

// TestHurry ends the draining of a pipeline at once.
func TestHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, true, &fakeQueue{flows: 10})
		r.sinks["good"] = deliverAll
		r.sinks["other"] = func(ctx context.Context, _ sdk.Stream) error { <-ctx.Done(); return ctx.Err() }
		pl := r.open(twoSinks)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- pl.Run(ctx) }()
		synctest.Wait()
		before := time.Now()
		cancel()
		synctest.Wait()
		pl.Hurry()
		pl.Hurry() // a third signal
		if err := <-done; err != nil {
			t.Error(err)
		}
		if took := time.Since(before); took != 0 {
			t.Errorf("stopping took %s after Hurry", took)
		}
		if q := opens(checkP1(t, pl), "other"); q.Abandoned != 10 {
			t.Errorf("%+v, want 10 abandoned", q)
		}
	})
}

// TestSourceFails ends the pipeline with the error of one queue: the other worker stops, and what is in flight is
// delivered.
func TestSourceFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, true, &fakeQueue{flows: 10, end: errBroken}, &fakeQueue{flows: 10, base: 1 << 16})
		r.sinks["good"], r.sinks["other"] = deliverAll, deliverAll
		pl := r.open(twoSinks)
		if err := pl.Run(t.Context()); !errors.Is(err, errBroken) {
			t.Errorf("Run returned %v", err)
		}
		l := checkP1(t, pl)
		if l.Packets.Received == 0 || opens(l, "good").Acknowledged != l.Packets.Received {
			t.Errorf("received %d, delivered %+v", l.Packets.Received, opens(l, "good"))
		}
	})
}

func TestOpenFails(t *testing.T) {
	r := newRig(t, true, &fakeQueue{})
	r.openErr = errBroken
	r.sinks["good"], r.sinks["other"] = deliverAll, deliverAll
	_, err := Open(t.Context(), r.plan(twoSinks), Options{})
	if !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "source in: ") {
		t.Errorf("Open returned %v", err)
	}
}

// TestHealth sees a worker that does not move.
func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		r := newRig(t, true, &fakeQueue{stuck: stuck}, &fakeQueue{})
		r.sinks["good"], r.sinks["other"] = deliverAll, deliverAll
		pl := r.open(twoSinks)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- pl.Run(ctx) }()
		if err := pl.Health(); err != nil {
			t.Error(err)
		}
		time.Sleep(stuckAfter / 2)
		if err := pl.Health(); err != nil {
			t.Errorf("after %s: %v", stuckAfter/2, err)
		}
		time.Sleep(stuckAfter)
		if err := pl.Health(); err == nil || !strings.Contains(err.Error(), "worker 0") {
			t.Errorf("a stuck worker: %v", err)
		}
		close(stuck)
		time.Sleep(2 * time.Second)
		if err := pl.Health(); err != nil {
			t.Errorf("when it goes on: %v", err)
		}
		r.source.blind.Store(true)
		if err := pl.Losses(); err == nil || err.Error() != "source in: interface lan0 is down" {
			t.Errorf("a source that cannot read: %v", err)
		}
		r.source.blind.Store(false)
		if err := pl.Losses(); err != nil {
			t.Errorf("a source that can read again: %v", err)
		}
		cancel()
		<-done
	})
}

// TestStatusOfDrain looks at a pipeline that stops: it says so, and not that its sources, which are closed, cannot read.
func TestStatusOfDrain(t *testing.T) {
	r := newRig(t, true, &fakeQueue{flows: 10})
	var pl *Pipeline
	drained := false
	r.sinks["other"] = deliverAll
	r.sinks["good"] = func(ctx context.Context, s sdk.Stream) error {
		err := deliverAll(ctx, s)
		if !drained {
			drained = true
			r.source.blind.Store(true) // closed
			if err := pl.Losses(); err != nil || !pl.Status().Stopping {
				t.Errorf("meanwhile: %v, stopping %v", err, pl.Status().Stopping)
			}
		}
		return err
	}
	pl = r.open(twoSinks)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- pl.Run(ctx) }()
	for pl.Ledger().Packets.Received < 10 {
		runtime.Gosched()
	}
	if pl.Status().Stopping {
		t.Error("stopping while it runs")
	}
	cancel()
	if err := <-done; err != nil || !drained || pl.Status().Stopping {
		t.Errorf("at the end: %v, drained %v, stopping %v", err, drained, pl.Status().Stopping)
	}
}

// TestStatusAndSnapshot looks at a pipeline while it runs.
func TestStatusAndSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, true, &fakeQueue{flows: 10})
		r.sinks["good"] = deliverAll
		r.sinks["other"] = func(context.Context, sdk.Stream) error { return errBroken }
		pl := r.open(twoSinks)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- pl.Run(ctx) }()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		st := pl.Status()
		if s := st.Sinks["good"]; s.Phase != "running" || s.Sent != 10 || s.Acked != 10 || s.InFlight != 0 || s.LagRecords != 0 {
			t.Errorf("good: %+v", s)
		}
		if s := st.Sinks["other"]; s.LastError != errBroken.Error() || s.InFlight != 10 || s.Runs < 3 || s.LagSeconds < 9 {
			t.Errorf("other: %+v", s)
		}
		snap := pl.Snapshot()
		if !snap.Sinks["good"].Up || snap.Sinks["other"].LagRecords != 10 || len(snap.Sources["in"]) != 1 {
			t.Errorf("snapshot: %+v", snap)
		}
		cancel()
		<-done
		if got := opens(checkP1(t, pl), "other").Abandoned; got != 10 {
			t.Errorf("%d abandoned, want 10", got)
		}
	})
}

package deliver

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

// closer is a sink that keeps something open between its runs.
type closer struct {
	sinkFunc
	closed atomic.Int32
}

func (c *closer) Close() error {
	c.closed.Add(1)
	return errors.New("was not open")
}

// TestClose checks that a sink is closed once, after its last run and not between two.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring, err := replay.New(replay.Limits{Slots: 64, Telemetry: 32, PerKind: 16})
		if err != nil {
			t.Fatal(err)
		}
		var runs, log = atomic.Int32{}, new(logged)
		sink := &closer{sinkFunc: func(context.Context, sdk.Stream) error { runs.Add(1); return errDown }}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			New(Config{Name: "sink", Sink: sink, Ring: ring, Log: slog.New(log)}).Run(ctx)
		}()
		time.Sleep(time.Minute)
		synctest.Wait()
		if runs.Load() < 10 || sink.closed.Load() != 0 {
			t.Errorf("%d runs, closed %d times between them", runs.Load(), sink.closed.Load())
		}
		cancel()
		<-done
		if n := sink.closed.Load(); n != 1 {
			t.Errorf("closed %d times", n)
		}
		if warn, _, _ := log.counts(); warn != 2 {
			t.Errorf("%d warnings, want one for the failure and one for Close", warn)
		}
	})
}

// TestSessions checks that a sink gets the list of sessions that the delivery was given, and an empty one without.
func TestSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := func(s sdk.Stream) (n int) {
			for range s.(sdk.SessionLister).Sessions() {
				n++
			}
			return n
		}
		var got atomic.Int32
		r := start(t, func(ctx context.Context, s sdk.Stream) error {
			got.Store(int32(list(s)))
			<-ctx.Done()
			return nil
		})
		synctest.Wait()
		if n := got.Load(); n != 0 {
			t.Errorf("%d sessions from a delivery that lists none", n)
		}
		two := func() iter.Seq[*event.Record] {
			return func(yield func(*event.Record) bool) { _ = yield(new(event.Record)) && yield(new(event.Record)) }
		}
		s := &stream{queue: r.queue, sessions: two, owner: r.Delivery}
		if n := list(s); n != 2 {
			t.Errorf("%d sessions, want 2", n)
		}
	})
}

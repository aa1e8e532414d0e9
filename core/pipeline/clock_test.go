package pipeline

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rtflow/pipelined/sdk"
)

// TestSessionsAtTheStart lists sessions that one queue made while the other, whose worker is the first, has received nothing
// yet and has no clock: they have the time at which they began.
func TestSessionsAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, true, &fakeQueue{}, &fakeQueue{flows: 3})
		got := make(chan int64, 8)
		r.sinks["good"] = func(ctx context.Context, s sdk.Stream) error {
			if _, err := s.Next(ctx, -1); err != nil {
				return err
			}
			for rec := range s.(sdk.SessionLister).Sessions() {
				got <- rec.Time()
			}
			close(got)
			<-ctx.Done()
			return ctx.Err()
		}
		r.sinks["other"] = deliverAll
		pl := r.open(twoSinks)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- pl.Run(ctx) }()
		listed := 0
		for at := range got {
			listed++
			if d := time.Since(time.Unix(0, at)); d.Abs() > time.Second {
				t.Errorf("a session that has just begun is dated %v", time.Unix(0, at).UTC())
			}
		}
		if listed != 3 {
			t.Errorf("%d sessions listed, want 3", listed)
		}
		cancel()
		<-done
	})
}

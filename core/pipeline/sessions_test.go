package pipeline

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

// TestSessionsForSinks checks that a sink can list the sessions that live, with the ids, flows and times of their records,
// and that one whose configuration leaves session records out gets none.
func TestSessionsForSinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, true, &fakeQueue{flows: 20}, &fakeQueue{flows: 20, base: 1 << 16})
		var opened, listed []event.Record
		ask := make(chan struct{})
		answered := make(chan struct{})
		r.sinks["good"] = func(ctx context.Context, s sdk.Stream) error {
			for len(opened) < 40 {
				b, err := s.Next(ctx, -1)
				if err != nil {
					return err
				}
				opened = append(opened, b.Records...)
				if err := s.Ack(b.Last()); err != nil {
					return err
				}
			}
			<-ask
			for rec := range s.(sdk.SessionLister).Sessions() {
				listed = append(listed, *rec)
			}
			close(answered)
			<-ctx.Done()
			return ctx.Err()
		}
		fromOther := -1
		r.sinks["other"] = func(ctx context.Context, s sdk.Stream) error {
			<-ask
			fromOther = 0
			for range s.(sdk.SessionLister).Sessions() {
				fromOther++
			}
			<-ctx.Done()
			return ctx.Err()
		}
		pl := r.open(strings.Replace(twoSinks, "[sinks.other]", "[sinks.other]\nonly = [\"policy-deny\"]", 1))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- pl.Run(ctx) }()
		time.Sleep(5 * time.Second) // sessions are listed some time after they began
		close(ask)
		<-answered
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if fromOther != 0 {
			t.Errorf("a sink without session records was given %d sessions", fromOther)
		}
		byID := func(a, b event.Record) int { return int(a.SessionID()) - int(b.SessionID()) }
		slices.SortFunc(opened, byID)
		slices.SortFunc(listed, byID)
		if len(listed) != 40 || len(opened) != 40 {
			t.Fatalf("%d sessions listed and %d opened, want 40", len(listed), len(opened))
		}
		for i := range listed {
			a, b := &opened[i], &listed[i]
			if a.SessionID() != b.SessionID() || a.Src() != b.Src() || a.DstPort() != b.DstPort() || a.InZone() != b.InZone() || b.Seq() != 0 {
				t.Errorf("opened %v %v, listed %v %v", a.SessionID(), a.Src(), b.SessionID(), b.Src())
			}
			if late := b.Time() - a.Time(); late < -int64(time.Second) || late > int64(time.Second) {
				t.Errorf("session %d is listed with a time %v after its record's", a.SessionID(), time.Duration(late))
			}
		}
	})
}

package pipeline

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

// Rematch implements [hook.Rematcher].
func (g *gatekeeper) Rematch() func(p *hook.Packet) bool {
	return func(p *hook.Packet) bool {
		if !p.HasHead || p.Proto != packet.ProtoUDP || p.InZone != 1 {
			panic(fmt.Sprintf("%+v is no first packet", p))
		}
		return !g.deny
	}
}

// TestRematch denies by a reload what was permitted: sessions live on, unless sessions.rematch is set. Then they are ended by their policy.
func TestRematch(t *testing.T) {
	for _, test := range []struct {
		name, sessions string
		deny           bool
		withdrawn      uint64
	}{
		{"off", "", true, 0},
		{"permitted", "[sessions]\nrematch = true\n", false, 0},
		{"denied", "[sessions]\nrematch = true\n", true, 300},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &reloads{rig: newRig(t, true, &fakeQueue{flows: 100}, &fakeQueue{flows: 200, base: 1 << 20})}
				closed := make(map[string]int)
				r.sinks["good"] = func(ctx context.Context, s sdk.Stream) error {
					return sdk.Writer(func(_ context.Context, b sdk.Batch) (int, error) {
						for i := range b.Records {
							if rec := &b.Records[i]; rec.Kind() == event.SessionClose && rec.CloseReason() == event.ClosePolicy {
								closed[s.Names(rec.Generation).Policy(rec.Policy())]++
							}
						}
						return b.Len(), nil
					}).Run(ctx, s)
				}
				pl := runPlan(t, r.plan(reloadable))
				time.Sleep(5 * time.Second)
				synctest.Wait()
				text := reloadable + test.sessions
				if test.deny {
					text = change(t, text, `policies = ["c"]`, "policies = [\"d\"]\ndeny = true")
				}
				for range 3 { // the last one is asked
					if _, err := pl.Reload(r.plan(text)); err != nil {
						t.Fatal(err)
					}
					text += "# again\n"
				}
				time.Sleep(5 * time.Second)
				synctest.Wait()
				led := pl.Ledger()
				if led.Sessions.Withdrawn != test.withdrawn || led.Sessions.Closed != test.withdrawn || led.Sessions.Active != 300-test.withdrawn {
					t.Errorf("ledger %+v", led.Sessions)
				}
				if n := led.Events["session-close"].Offered; n != test.withdrawn || (closed["c"] == 0) != (n == 0) || len(closed) > 1 {
					t.Errorf("%d ends; of those that were not limited, closed by a policy: %v", n, closed)
				}
				pl.end()
			})
		})
	}
}

// TestRematchBeforeRun takes another configuration over before the pipeline runs, and stops it in the middle: nothing is left running.
func TestRematchBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &fakeQueue{flows: 100, stuck: make(chan struct{})}
		r := &reloads{rig: newRig(t, true, q)}
		r.sinks["good"] = deliverAll
		pl, err := Open(t.Context(), r.plan(reloadable), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pl.Reload(r.plan(reloadable + "[sessions]\nrematch = true\n")); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- pl.Run(ctx) }()
		synctest.Wait()
		if _, err := pl.Reload(r.plan(reloadable + "[sessions]\nrematch = true\nlog = false\n")); err != nil {
			t.Fatal(err)
		}
		stop()
		close(q.stuck)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

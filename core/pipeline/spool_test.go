package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/sdk"
)

// spooled is what stands in the table of a sink with a spool.
func spooled(dir, more string) string {
	return fmt.Sprintf("spool = { size = \"16MiB\", path = %q, min_free = 0 }\n%s", dir, more)
}

// TestReloadSpool changes a sink with a spool while it runs: its options, and overflow, in place; the spool not at all. One that is removed
// leaves in its spool what its destination has not taken, and the next one of that name finds it.
func TestReloadSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &fakeQueue{}
		r := newSinkRig(t, q)
		dir := stateDir(t)
		with := func(more string) *plan.Plan { return r.plan(sinkText("5s", "a", spooled(dir, more), "b", "")) }
		pl := runPlan(t, with(""))
		more := func(n int) {
			t.Helper()
			q.more.Add(int64(n))
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if led := pl.Ledger(); led.Unaccounted != 0 {
				t.Errorf("unaccounted for: %+v", led.Sinks["a"])
			}
		}
		reload := func(p *plan.Plan) {
			t.Helper()
			if _, err := pl.Reload(p); err != nil {
				t.Fatal(err)
			}
			time.Sleep(8 * time.Second) // a sink that is dead pauses
			synctest.Wait()
		}
		time.Sleep(2 * time.Second)
		more(100)
		reload(with(`option = "x"`))
		more(100)
		reload(with(`option = "dead"`))
		more(100)
		if st := pl.Status().Sinks["a"]; st.Spool.Held != 100 || st.InFlight != 0 || r.books.records["a"] != 200 {
			t.Errorf("while the destination is dead: %d held, %d in flight, %d delivered", st.Spool.Held, st.InFlight, r.books.records["a"])
		}
		var restart *RestartError
		if _, err := pl.Reload(r.plan(sinkText("5s", "a", strings.Replace(spooled(dir, `option = "dead"`), "16MiB", "32MiB", 1), "b", ""))); !errors.As(err, &restart) || restart.Changed[0] != "sinks.a.spool" {
			t.Errorf("a spool is changed: %v", err)
		}
		if _, err := pl.Reload(r.plan(sinkText("5s", "a", `option = "dead"`, "b", ""))); !errors.As(err, &restart) || restart.Changed[0] != "sinks.a.spool" {
			t.Errorf("a spool is taken away: %v", err)
		}
		reload(with("option = \"\"\nreplay = { overflow = \"evict\" }"))
		more(100)
		if n := r.books.records["a"]; n != 400 {
			t.Errorf("%d delivered when the destination is back", n)
		}
		reload(with(`option = "dead"`))
		more(100)

		epoch := pl.Status().Sinks["a"].Epoch
		reload(r.plan(sinkText("5s", "b", "")))
		more(10)
		if a := pl.Ledger().Sinks["a"]["session-open"]; a.Acknowledged != 400 || a.Spool == nil || a.Spool.Spooled != 500 || a.Spool.Left != 100 || a.Spool.Held != 0 || a.Absent != 10 {
			t.Errorf("of a sink that was removed: %+v, %+v", a, a.Spool)
		}
		reload(with(""))
		more(100)
		if a := pl.Ledger().Sinks["a"]["session-open"]; a.Acknowledged != 600 || a.Spool.Spooled != 600 || a.Spool.Found != 100 || a.Spool.Left != 100 || a.Spool.Held != 0 {
			t.Errorf("of a sink that came back: %+v, %+v", a, a.Spool)
		}
		if n := r.books.records["a"]; n != 600 || r.books.last[epoch] != 500 {
			t.Errorf("%d delivered, the former stream up to %d", n, r.books.last[epoch])
		}
		// The account goes on where a sink of that name has no spool any more.
		reload(r.plan(sinkText("5s", "b", "")))
		reload(r.plan(sinkText("5s", "a", "", "b", "")))
		more(100)
		if a := pl.Ledger().Sinks["a"]["session-open"]; a.Acknowledged != 700 || a.Spool.Spooled != 700 || a.Spool.Left != 100 {
			t.Errorf("of a sink that has no spool any more: %+v, %+v", a, a.Spool)
		}
		pl.end()
		if len(r.books.wrong) > 0 {
			t.Error(r.books.wrong)
		}
	})
}

// TestReloadWindow changes the size of the ring of a sink with a spool: the sink may have as many records in hand.
func TestReloadWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &fakeQueue{}
		r := newRig(t, true, q)
		inHand := 0
		r.sinks["a"] = func(ctx context.Context, s sdk.Stream) error {
			for inHand = 0; ; {
				b, err := s.Next(ctx, -1)
				if err != nil {
					return err
				}
				inHand += b.Len()
			}
		}
		dir := stateDir(t)
		with := func(slots int) *plan.Plan {
			return r.plan("[pipeline]\nsources = [\"in\"]\nsinks = [\"a\"]\n[sources.in]\nplugin = \"fake\"\n[service]\ndrain = \"1s\"\n[sinks.a]\nplugin = \"fake\"\n" +
				spooled(dir, fmt.Sprintf("replay = { slots = %d, telemetry = 32, per_kind = 32 }\n", slots)))
		}
		pl := runPlan(t, with(64))
		for range 20 { // no more than the ring has room for
			q.more.Add(30)
			time.Sleep(2 * time.Second)
			synctest.Wait()
		}
		if inHand != 64 {
			t.Errorf("%d records in hand, want 64", inHand)
		}
		for _, slots := range []int{256, 128} {
			time.Sleep(3 * time.Second)
			if _, err := pl.Reload(with(slots)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Second)
			synctest.Wait()
			if inHand != slots {
				t.Errorf("%d records in hand, want %d", inHand, slots)
			}
		}
		pl.end()
	})
}

// spoolRun is a run of a pipeline with a state directory and a spool, which is stopped in order after some flows.
type spoolRun struct {
	flows   int
	options string // of the sink
	dir     string // of its spool; empty: it has none
	during  func(pl *Pipeline, r *sinkRig)
}

// TestRestartSpool starts a pipeline again and again that keeps its state, with a sink that has a spool: the stream goes on with the same
// epoch and the next number while the sink has the spool of the last run. With another one it begins anew, and nothing is delivered twice.
func TestRestartSpool(t *testing.T) {
	state, first, second := stateDir(t), stateDir(t), stateDir(t)
	total, sum := 0, newBooks()
	var begun time.Duration
	run := func(k spoolRun) (epoch uint64, log string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			begun += time.Hour
			time.Sleep(begun) // clocks of all tests begin at the same moment
			q := &fakeQueue{flows: k.flows, base: uint32(total)}
			r := newSinkRig(t, q)
			r.books = sum
			table := "only = [\"session-open\"]\n" + k.options
			if k.dir != "" {
				table = spooled(k.dir, table)
			}
			p := r.plan(sinkText("5s", "a", table))
			p.Log = slog.New(slog.NewTextHandler(&r.log, nil))
			dir, err := OpenState(state, p.Log)
			if err != nil {
				t.Fatal(err)
			}
			defer dir.Close()
			pl, err := Open(t.Context(), p, Options{State: dir, Boot: "boot"})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- pl.Run(ctx) }()
			time.Sleep(10 * time.Second)
			if k.during != nil {
				k.during(pl, r)
				time.Sleep(10 * time.Second)
			}
			epoch = pl.outputs.find("a").epoch
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			checkP1(t, pl)
			log = r.log.String()
		})
		total += k.flows
		if len(sum.wrong) > 0 {
			t.Fatal(sum.wrong)
		}
		return epoch, log
	}
	e1, _ := run(spoolRun{flows: 50, dir: first})
	e2, _ := run(spoolRun{flows: 50, options: `option = "dead"`, dir: first})
	e3, _ := run(spoolRun{flows: 50, options: `option = "dead"`, dir: first})
	if e2 != e1 || e3 != e1 || sum.records["a"] != 50 {
		t.Fatalf("epochs %d, %d, %d, %d records delivered", e1, e2, e3, sum.records["a"])
	}
	// The destination comes back while the configuration changes.
	e4, log := run(spoolRun{flows: 50, options: `option = "dead"`, dir: first, during: func(pl *Pipeline, r *sinkRig) {
		if _, err := pl.Reload(r.plan(sinkText("5s", "a", spooled(first, "only = [\"session-open\"]\noption = \"fails\"")))); err != nil {
			t.Error(err)
		}
	}})
	if losses := 3; e4 != e1 || sum.records["a"] != total+losses { // one for the time between two runs
		t.Fatalf("epoch %d, %d records delivered of %d\n%s", e4, sum.records["a"], total, log)
	}
	// An empty spool may be another one.
	if e, _ := run(spoolRun{flows: 50, options: `option = "dead"`, dir: second}); e != e1 {
		t.Errorf("epoch %d with another spool, the last was empty", e)
	}
	// One that holds records may not.
	had := sum.records["a"]
	e6, log := run(spoolRun{flows: 50, dir: first})
	if e6 <= e1 || !strings.Contains(log, "begins anew") || sum.records["a"] != had+50 {
		t.Errorf("epoch %d with another spool, %d records more\n%s", e6, sum.records["a"]-had, log)
	}
	e7, log := run(spoolRun{flows: 50})
	if e7 != e6 || strings.Contains(log, "begins anew") {
		t.Errorf("epoch %d behind %d without a spool\n%s", e7, e6, log)
	}
	// What waits in it is delivered when it is the sink's again, first, as a stream of its own.
	e8, log := run(spoolRun{flows: 50, dir: second})
	if losses := 3 + 1 + 2; e8 != e6 || sum.records["a"] != total+losses {
		t.Errorf("epoch %d behind %d, %d records of %d\n%s", e8, e6, sum.records["a"], total, log)
	}
	if sum.last[e1] != 50*5+4 {
		t.Errorf("the first stream was delivered up to %d", sum.last[e1])
	}
}

// TestLongOutage has a destination down for several times what the ring holds, and then back: it gets everything, in order, and what comes
// meanwhile behind it.
func TestLongOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 20000
		q := &fakeQueue{}
		r := newSinkRig(t, q)
		table := func(option string) string {
			return spooled("DIR", fmt.Sprintf("only = [\"session-open\"]\noption = %q\nreplay = { slots = 4096, telemetry = 4000, per_kind = 4000 }", option))
		}
		dir := stateDir(t)
		plan := func(option string) *plan.Plan {
			return r.plan(strings.Replace(sinkText("5s", "a", table(option)), "DIR", dir, 1) + "[admission.unanswered]\nrate = 0\n")
		}
		pl := runPlan(t, plan("dead"))
		for made := 0; made < n; made += 1000 { // as much as the ring takes at once
			q.more.Add(1000)
			time.Sleep(2 * time.Second)
			synctest.Wait()
		}
		if st := pl.Status().Sinks["a"]; st.Spool.Held != n || st.InFlight != 0 {
			t.Errorf("%d held, %d in flight", st.Spool.Held, st.InFlight)
		}
		if _, err := pl.Reload(plan("")); err != nil {
			t.Fatal(err)
		}
		q.more.Add(1000)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := r.books.records["a"]; got != n+1000 {
			t.Errorf("%d delivered of %d", got, n+1000)
		}
		pl.end()
		if len(r.books.wrong) > 0 {
			t.Error(r.books.wrong[0])
		}
	})
}

// TestSpoolClockSetBack starts a run with the clock set back behind one that has left records, and without a state directory: the epoch is a
// later one all the same, and what is left comes first.
func TestSpoolClockSetBack(t *testing.T) {
	dir := stateDir(t)
	var epochs []uint64
	for _, ahead := range []time.Duration{24 * time.Hour, 0} {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(ahead) // clocks of all tests begin at the same moment
			r := newSinkRig(t, &fakeQueue{flows: 50})
			option := ""
			if ahead > 0 {
				option = "dead"
			}
			p := r.plan(sinkText("5s", "a", spooled(dir, fmt.Sprintf("option = %q", option))))
			p.Log = slog.New(slog.NewTextHandler(&r.log, nil))
			pl := runPlan(t, p)
			time.Sleep(10 * time.Second)
			epochs = append(epochs, pl.outputs.find("a").epoch)
			pl.end()
			if ahead > 0 {
				return
			}
			if epochs[1] <= epochs[0] || !strings.Contains(r.log.String(), "the clock was set back") {
				t.Errorf("epochs %v\n%s", epochs, r.log.String())
			}
			if len(r.books.wrong) > 0 || r.books.last[epochs[0]] != 50 || r.books.last[epochs[1]] != 50 {
				t.Errorf("delivered %v, %v", r.books.last, r.books.wrong)
			}
		})
	}
}

package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

// books are what the sinks of a test have been given, by epoch: each stream goes on where it was acknowledged, in order and without a
// gap.
type books struct {
	mu      sync.Mutex
	last    map[uint64]event.Seq // acknowledged, by epoch
	records map[string]int       // by sink
	options map[string]string    // of the sink of that name that was run last
	closed  map[string]int
	gaps    bool // what was evicted leaves some
	wrong   []string
}

func newBooks() *books {
	return &books{last: make(map[uint64]event.Seq), records: make(map[string]int), options: make(map[string]string), closed: make(map[string]int)}
}

// clerk is a sink that keeps the books.
type clerk struct {
	*books
	name, option string
}

func (c *clerk) Run(ctx context.Context, s sdk.Stream) error {
	c.mu.Lock()
	c.options[c.name] = c.option
	c.mu.Unlock()
	if c.option == "dead" {
		return errBroken
	}
	n := 0
	return sdk.Writer(func(_ context.Context, b sdk.Batch) (int, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		last := c.last[s.Epoch()]
		for i := range b.Records {
			if seq := b.Records[i].Seq(); seq <= last || seq != last+1 && !c.gaps {
				c.wrong = append(c.wrong, fmt.Sprintf("%s: number %d after %d", c.name, seq, last))
			}
			last = b.Records[i].Seq()
		}
		take := b.Len()
		if n++; c.option == "fails" && n%3 == 0 {
			take /= 2
		}
		if take > 0 {
			c.last[s.Epoch()] = b.Records[take-1].Seq()
		}
		c.records[c.name] += take
		if take < b.Len() {
			return take, errBroken
		}
		return take, nil
	}).Run(ctx, s)
}

func (c *clerk) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed[c.name+"/"+c.option]++
	return nil
}

func (c *clerk) Counters() []sdk.Counter { return []sdk.Counter{{Name: "made", Value: 1}} }

// sinkRig is a rig whose sinks of the plugin "clerk" keep books.
type sinkRig struct {
	*rig
	books *books
}

func newSinkRig(t *testing.T, queues ...*fakeQueue) *sinkRig {
	return &sinkRig{rig: newRig(t, true, queues...), books: newBooks()}
}

func (r *sinkRig) plan(text string) *plan.Plan {
	r.t.Helper()
	reg := r.registry()
	reg.Sinks["clerk"] = sdk.SinkPlugin{Name: "clerk", Configure: func(cfg sdk.Config, _ sdk.Env) sdk.Sink {
		var o struct {
			Option string `toml:"option"`
		}
		cfg.Decode(&o)
		return &clerk{books: r.books, name: cfg.Name(), option: o.Option}
	}}
	file, problems := config.Parse("p.toml", []byte(text))
	p := plan.New(file, problems, plan.Options{Registry: reg, Hostname: "host"})
	if err := problems.Err(); err != nil {
		r.t.Fatalf("%v\n%s", err, text)
	}
	return p
}

// sinkText is a configuration with those sinks: name to what stands in its table.
func sinkText(drain string, sinks ...string) string {
	var names, tables strings.Builder
	for i := 0; i < len(sinks); i += 2 {
		fmt.Fprintf(&names, "%q,", sinks[i])
		fmt.Fprintf(&tables, "[sinks.%s]\nplugin = \"clerk\"\n%s\n", sinks[i], sinks[i+1])
	}
	return fmt.Sprintf("[pipeline]\nsources = [\"in\"]\nsinks = [%s]\n[sources.in]\nplugin = \"fake\"\n[service]\ndrain = %q\n%s", names.String(), drain, tables.String())
}

// running is a pipeline that runs.
type running struct {
	*Pipeline
	t    *testing.T
	stop context.CancelFunc
	done chan error
}

func runPlan(t *testing.T, p *plan.Plan) *running {
	t.Helper()
	pl, err := Open(t.Context(), p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return runOpened(t, pl)
}

// runOpened runs a pipeline that is open.
func runOpened(t *testing.T, pl *Pipeline) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Pipeline: pl, t: t, stop: cancel, done: make(chan error, 1)}
	go func() { r.done <- pl.Run(ctx) }()
	return r
}

// end stops the pipeline and returns its ledger, in which nothing is missing.
func (r *running) end() {
	r.t.Helper()
	r.stop()
	if err := <-r.done; err != nil {
		r.t.Error(err)
	}
	if led := r.Ledger(); led.Unaccounted != 0 {
		r.t.Errorf("%d unaccounted for: %+v", led.Unaccounted, led)
	}
}

// TestReloadSinks changes one thing of sinks after another.
func TestReloadSinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &fakeQueue{flows: 100}
		r := newSinkRig(t, q)
		pl := runPlan(t, r.plan(sinkText("5s", "a", "")))
		reload := func(text string, want ...string) Outcome {
			t.Helper()
			o, err := pl.Reload(r.plan(text))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range o.Changes {
				got = append(got, c.What+" "+c.Path)
			}
			if strings.Join(got, "; ") != strings.Join(want, "; ") {
				t.Errorf("changes %q, want %q", got, want)
			}
			time.Sleep(3 * time.Second) // an idle worker looks up once a second
			synctest.Wait()
			return o
		}
		more := func(n int) {
			q.more.Add(int64(n))
			time.Sleep(2 * time.Second)
			synctest.Wait()
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		runs := func(name string) uint64 { return pl.Status().Sinks[name].Runs }

		o := reload(sinkText("5s", "a", "", "b", `only = ["session-open"]`), "changed pipeline.sinks", "added sinks.b")
		if len(o.Sinks) != 1 || o.Sinks[0] != "b" || runs("a") != 1 {
			t.Errorf("outcome %+v; a has run %d times", o, runs("a"))
		}
		more(50)
		if led := pl.Ledger(); led.Sinks["b"]["session-open"].Acknowledged != 50 || led.Sinks["b"]["session-open"].Absent != 100 || led.Unaccounted != 0 {
			t.Errorf("ledger of a sink that was added: %+v", led.Sinks["b"])
		}
		reload(sinkText("5s", "a", `option = "x"`, "b", `only = ["policy-deny"]`), "added sinks.a.option", "changed sinks.b.only")
		more(50)
		if led := pl.Ledger(); led.Sinks["b"]["session-open"].Filtered != 50 || r.books.options["a"] != "x" || runs("a") != 2 || runs("b") != 1 || r.books.closed["a/"] != 1 {
			t.Errorf("after changes: %+v, options %v, runs %d and %d, closed %v", led.Sinks["b"], r.books.options, runs("a"), runs("b"), r.books.closed)
		}
		if made := pl.Status().Sinks["a"].Counters["made"]; made != 2 {
			t.Errorf("the counters of a sink that was replaced: %d", made)
		}
		reload(sinkText("5s", "a", "option = \"x\"\nreplay = { slots = 16384 }", "b", `only = ["policy-deny"]`), "added sinks.a.replay")
		if l, settled := pl.outputs.find("a").ring.Limits(); l.Slots != 16384 || !settled {
			t.Errorf("limits %+v, settled: %v", l, settled)
		}
		before := pl.Status().Sinks["b"].Epoch
		reload(sinkText("5s", "a", "option = \"x\"\nreplay = { slots = 16384 }"), "changed pipeline.sinks", "removed sinks.b")
		more(10)
		if _, there := pl.Status().Sinks["b"]; there || r.books.closed["b/"] != 1 {
			t.Errorf("a sink that was removed is there: %v; closed %d times", there, r.books.closed["b/"])
		}
		if led := pl.Ledger(); led.Sinks["b"]["session-open"].Absent != 110 || led.Unaccounted != 0 {
			t.Errorf("ledger of a sink that was removed: %+v", led.Sinks["b"])
		}
		reload(sinkText("5s", "a", "option = \"x\"\nreplay = { slots = 16384 }", "b", ""), "changed pipeline.sinks", "added sinks.b")
		more(5)
		if led, after := pl.Ledger(), pl.Status().Sinks["b"].Epoch; led.Sinks["b"]["session-open"].Acknowledged != 55 || after <= before {
			t.Errorf("ledger of a sink that came back: %+v, epoch %d after %d", led.Sinks["b"], after, before)
		}
		reload(sinkText("5s", "a", "option = \"x\"\nreplay = { slots = 16384 }", "b", "")+"[node]\nname = \"other\"\n", "added node")
		if runs("a") != 4 || runs("b") != 2 {
			t.Errorf("with another host name: runs %d and %d", runs("a"), runs("b"))
		}
		pl.end()
		if len(r.books.wrong) > 0 {
			t.Error(r.books.wrong)
		}
	})
}

// TestReloadRemovesDeadSink removes a sink that takes nothing: it is given up after service.drain, and accounted for.
func TestReloadRemovesDeadSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSinkRig(t, &fakeQueue{flows: 100})
		pl := runPlan(t, r.plan(sinkText("5s", "a", "", "b", `option = "dead"`)))
		time.Sleep(2 * time.Second)
		if _, err := pl.Reload(r.plan(sinkText("7s", "a", ""))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if st := pl.Status().Sinks["b"]; !st.Leaving || st.InFlight != 100 {
			t.Errorf("while it drains: %+v", st)
		}
		if _, err := pl.Reload(r.plan(sinkText("7s", "a", "", "b", ""))); err != nil { // waits until the former is gone
			t.Fatal(err)
		}
		if led := pl.Ledger(); led.Sinks["b"]["session-open"].Abandoned != 100 || led.Unaccounted != 0 {
			t.Errorf("ledger %+v", led.Sinks["b"])
		}
		pl.end()
	})
}

// TestReloadWaitsAtTheEnd stops a pipeline while a change waits for a sink that is being removed: the change is refused, and the stop takes
// no longer than service.drain.
func TestReloadWaitsAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSinkRig(t, &fakeQueue{flows: 100})
		both := sinkText("3s", "a", `option = "dead"`, "b", `option = "dead"`)
		pl := runPlan(t, r.plan(both))
		time.Sleep(2 * time.Second)
		if _, err := pl.Reload(r.plan(sinkText("3s", "a", `option = "dead"`))); err != nil {
			t.Fatal(err)
		}
		refused := make(chan error, 1)
		go func() {
			_, err := pl.Reload(r.plan(both))
			refused <- err
		}()
		synctest.Wait()
		before := time.Now()
		pl.end()
		if took := time.Since(before); took > 3*time.Second+100*time.Millisecond {
			t.Errorf("the stop takes %v", took)
		}
		if err := <-refused; !errors.Is(err, errEnding) {
			t.Errorf("the change: %v", err)
		}
	})
}

// TestReloadShrinks makes the ring of a sink that is down smaller: it keeps what it holds, and is full until that has gone.
func TestReloadShrinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSinkRig(t, &fakeQueue{flows: 100})
		small := "replay = { slots = 64, telemetry = 60, per_kind = 60 }\n"
		pl := runPlan(t, r.plan(sinkText("5s", "a", "option = \"dead\"\nreplay = { slots = 128, telemetry = 120, per_kind = 120 }")))
		time.Sleep(2 * time.Second)
		if _, err := pl.Reload(r.plan(sinkText("5s", "a", "option = \"dead\"\n"+small))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if st := pl.Status().Sinks["a"]; st.ShrinksTo != 64 || st.InFlight != 100 {
			t.Errorf("while it is too full: %+v", st)
		}
		if _, err := pl.Reload(r.plan(sinkText("5s", "a", small))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Second)
		if st := pl.Status().Sinks["a"]; st.ShrinksTo != 0 || r.books.records["a"] != 100 {
			t.Errorf("afterwards: %+v, %d records", st, r.books.records["a"])
		}
		pl.end()
	})
}

// TestReloadAtTheEnd changes the configuration of a pipeline that stops: it is refused.
func TestReloadAtTheEnd(t *testing.T) {
	r := newSinkRig(t)
	pl := runPlan(t, r.plan(sinkText("5s", "a", "")))
	pl.end()
	if _, err := pl.Reload(r.plan(sinkText("5s", "a", "", "b", ""))); !errors.Is(err, errEnding) {
		t.Errorf("error %v", err)
	}
}

// TestP1P5ReloadSinksUnderLoad changes, adds, removes and resizes sinks at random, one of them with a spool, while two workers carry
// packets: nothing is unaccounted for, and every stream goes on in order.
func TestP1P5ReloadSinksUnderLoad(t *testing.T) {
	const reloads = 60
	queues := []*fakeQueue{{flows: 1 << 30}, {flows: 1 << 30, base: 1 << 24}}
	r := newSinkRig(t, queues...)
	r.books.gaps = true
	rng, dir := rand.New(rand.NewPCG(3, 4)), stateDir(t)
	text := func() string {
		sinks := []string{"always", ""}
		for _, name := range []string{"a", "b", "c"} {
			if rng.IntN(3) == 0 {
				continue
			}
			slots := 64 << rng.IntN(6)
			table := fmt.Sprintf("replay = { slots = %d, overflow = %q }\n", slots, [...]string{"refuse", "evict"}[rng.IntN(2)])
			table += fmt.Sprintf("option = %q\n", [...]string{"", "x", "fails", "dead"}[rng.IntN(4)])
			if rng.IntN(3) == 0 {
				table += "only = [\"session-open\"]\n"
			}
			if name == "c" {
				table = spooled(dir, table)
			}
			sinks = append(sinks, name, table)
		}
		return sinkText("20ms", sinks...)
	}
	pl := runPlan(t, r.plan(text()))
	for range reloads {
		if _, err := pl.Reload(r.plan(text())); err != nil {
			t.Fatal(err)
		}
	}
	made := uint64(0)
	for _, q := range queues {
		q.halt.Store(true)
	}
	pl.end()
	for _, q := range queues {
		made += uint64(q.made)
	}
	if len(r.books.wrong) > 0 {
		t.Errorf("%d wrong: %s", len(r.books.wrong), r.books.wrong[0])
	}
	led := pl.Ledger()
	if led.Packets.Received != made || r.books.records["always"] == 0 {
		t.Errorf("%d made, %+v", made, led.Packets)
	}
}

package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/metrics"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/internal/machine"
	"github.com/rtflow/pipelined/internal/monotonic"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

// countingHook counts packets as hooks do, for each worker apart: it has no room for others than it was made for.
type countingHook struct{ *hook.Tally }

func (h countingHook) Inspect(p *hook.Packet, _ *hook.Finding) hook.Verdict {
	h.Count(p, 0)
	return hook.Pass
}

// keepingEvents is a source of events that knows sessions whose ends it would tell.
type keepingEvents struct {
	*fakeEvents
	ends   uint64
	closed atomic.Bool
}

func (s *keepingEvents) Keep(func([]byte) bool) uint64                       { return s.ends }
func (s *keepingEvents) TakeOver(iter.Seq2[[]byte, error], source.IDs) error { return nil }
func (s *keepingEvents) Close() error                                        { s.closed.Store(true); return nil }

// sourcesRig is a rig whose sources are made by their names, each once.
type sourcesRig struct {
	*rig
	made  map[string]source.Source
	fails map[string]error // opening them
	// opens, if set, opens the others, of which the ring is this; reports is what the machine lacks for them.
	opens   func(name string, ring int) (source.Source, error)
	reports map[string]machine.Finding
	opened  []string
	takes   map[string]func(ctx context.Context) error // what happens first when one is opened
	// translated is the source of whose sessions somebody knows how they are translated.
	translated string
}

// noTranslator knows nothing.
type noTranslator struct{}

func (noTranslator) Translate([]source.Question) error { return nil }
func (noTranslator) Close() error                      { return nil }

func newSourcesRig(t *testing.T) *sourcesRig {
	r := &sourcesRig{rig: newRig(t, true), made: make(map[string]source.Source), fails: make(map[string]error)}
	r.sinks["good"] = deliverAll
	return r
}

// plan plans a pipeline of these sources and the hook that counts.
func (r *sourcesRig) plan(names ...string) *plan.Plan {
	r.t.Helper()
	reg := r.registry()
	reg.Sources["named"] = source.Plugin{Name: "named", Configure: func(cfg sdk.Config, _ source.Env) source.Configured {
		var o struct {
			Interface string `toml:"interface"`
			Sessions  bool   `toml:"sessions"`
			Ring      int    `toml:"ring"`
			Peer      string `toml:"peer"`
		}
		cfg.Decode(&o)
		name := cfg.Name()
		_, events := r.made[name].(source.Events)
		c := source.Configured{Live: true, Events: events, Sessions: o.Sessions, Peer: o.Peer, Interfaces: []string{name + "0"}}
		if o.Interface != "" {
			c.Interfaces[0] = o.Interface
		}
		if events || o.Interface == "none" {
			c.Interfaces = nil
		}
		if r.translated == name {
			c.Translator = func() (source.Translator, error) { return noTranslator{}, nil }
		}
		c.Open = func(ctx context.Context, _ *zone.Table) (source.Source, error) {
			if take := r.takes[name]; take != nil {
				if err := take(ctx); err != nil {
					return nil, err
				}
			}
			if err := r.fails[name]; err != nil {
				return nil, err
			}
			if r.opens != nil {
				return r.opens(name, o.Ring)
			}
			r.opened = append(r.opened, name)
			return r.made[name], nil
		}
		if f, ok := r.reports[fmt.Sprint(name, o.Ring)]; ok {
			c.Examine = func(*machine.Machine) []machine.Finding {
				return []machine.Finding{{Part: "memory", Verdict: machine.OK}, f}
			}
		}
		return c
	}}
	reg.Hooks["counting"] = hook.Plugin{Name: "counting", Configure: func(_ sdk.Config, env hook.Env) hook.Instance {
		h := countingHook{hook.NewTally(env.Workers, []string{"all"})}
		return hook.Instance{Ingress: h, Counters: h.Counters}
	}}
	var text strings.Builder
	list := make([]string, len(names))
	for i, name := range names {
		name, options, _ := strings.Cut(name, " ")
		list[i] = fmt.Sprintf("%q", name)
		fmt.Fprintf(&text, "[sources.%s]\nplugin = \"named\"\n%s\n", name, strings.ReplaceAll(options, "; ", "\n"))
	}
	file, problems := config.Parse("p.toml", []byte("[pipeline]\nsources = ["+strings.Join(list, ", ")+"]\nhooks = [\"count\"]\nsinks = [\"good\"]\n[hooks.count]\nplugin = \"counting\"\n"+
		"[sinks.good]\nplugin = \"fake\"\n[service]\ndrain = \"5s\"\n[sessions]\nudp_timeout = \"1s\"\n[replay]\nslots = 4096\n"+text.String()))
	p := plan.New(file, problems, plan.Options{Registry: reg, Log: slog.New(slog.NewTextHandler(&r.log, nil)), Hostname: "host", ZoneIDs: r.ids})
	if err := problems.Err(); err != nil {
		r.t.Fatal(err)
	}
	return p
}

// carryingSource is a source of frames that has a carrier.
type carryingSource struct {
	*fakeSource
	carrier source.Carrier
}

func (s *carryingSource) Carrier() source.Carrier { return s.carrier }

// pastCarrier has carried some packets of no session.
type pastCarrier struct {
	source.Carrier
	done source.Carried
}

func (c *pastCarrier) Carried() source.Carried { return c.done }

// frames makes a source of frames that makes that many flows in each queue.
func (r *sourcesRig) frames(name string, base uint32, flows ...int) *fakeSource {
	s := new(fakeSource)
	for i, n := range flows {
		s.queues = append(s.queues, &fakeQueue{flows: n, base: base + uint32(i)<<16})
	}
	r.made[name] = s
	return s
}

func names(of map[string]any) (list []string) {
	for name := range of {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// TestReloadSources adds and removes sources of frames one after the other: those that stay go on with their workers, what was counted stays
// counted, by hooks, too, and every session ends, also of sources that are gone.
func TestReloadSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSourcesRig(t)
		a, b, c := r.frames("a", 1<<20, 10), r.frames("b", 2<<20, 20, 20, 20), r.frames("c", 3<<20, 5, 5)
		pl := runPlan(t, r.plan("a"))
		look := func(what string, packets uint64, sources ...string) {
			t.Helper()
			time.Sleep(3 * time.Second)
			synctest.Wait()
			st := pl.Status()
			if st.Ledger.Packets.Received != packets || st.Ledger.Unaccounted != 0 || st.Hooks["count"][0].Packets != packets {
				t.Errorf("%s: %d packets, %d of the hook, want %d; %d unaccounted for", what, st.Ledger.Packets.Received, st.Hooks["count"][0].Packets, packets, st.Ledger.Unaccounted)
			}
			var shape []string
			for _, s := range pl.Shape().Sources {
				shape = append(shape, s.Name)
			}
			slices.Sort(sources)
			if got := names(st.Sources); !slices.Equal(got, sources) || !slices.Equal(slices.Sorted(slices.Values(shape)), sources) || len(pl.Snapshot().Sources) != len(sources) {
				t.Errorf("%s: sources %v, %v, want %v", what, got, shape, sources)
			}
			if err := pl.Health(); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		reload := func(sources ...string) {
			t.Helper()
			if _, err := pl.Reload(r.plan(sources...)); err != nil {
				t.Fatal(err)
			}
		}
		look("the start", 10, "a")
		reload("a", `b interface = "none"`)
		look("one more", 70, "a", "b")
		worker, counting := pl.readers.Load().workers[0], pl.rules.Load().hook("count").Ingress
		reload(`b interface = "none"`, "a")
		look("the order", 70, "a", "b")
		if pl.rules.Load().hook("count").Ingress != counting {
			t.Error("another order makes another hook")
		}
		reload("c", "a")
		look("another one", 80, "a", "c")
		if !b.closed.Load() || a.closed.Load() || c.closed.Load() {
			t.Errorf("closed: %v, %v, %v", a.closed.Load(), b.closed.Load(), c.closed.Load())
		}
		if now := pl.readers.Load().workers; len(now) != 3 || !slices.Contains(now, worker) || pl.lanes != 4 {
			t.Errorf("%d workers and %d lanes; that of a is the same: %v", len(now), pl.lanes, slices.Contains(now, worker))
		}
		a.queues[0].more.Store(7)
		look("the one that stays goes on", 87, "a", "c")
		time.Sleep(15 * time.Second)
		synctest.Wait()
		if s := pl.Ledger().Sessions; s.Active != 0 || s.Created != 87 || s.Closed != 87 {
			t.Errorf("sessions %+v: all should have ended", s)
		}
		reload("c")
		c.queues[0].more.Store(3)
		look("the first worker is gone", 90, "c")
		time.Sleep(15 * time.Second)
		synctest.Wait()
		if s := pl.Ledger().Sessions; s.Active != 0 || s.Closed != 90 {
			t.Errorf("sessions %+v: all should have ended", s)
		}
		if !slices.Equal(r.opened, []string{"a", "b", "c"}) {
			t.Errorf("opened: %v", r.opened)
		}
		pl.end()
	})
}

// TestReloadClock replaces the only source: sessions that live are told with their times before a worker of the other has received anything.
func TestReloadClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSourcesRig(t)
		r.frames("a", 1<<20, 10)
		r.frames("b", 2<<20, 0)
		begun := time.Now()
		pl := runPlan(t, r.plan("a"))
		synctest.Wait()
		if _, err := pl.Reload(r.plan("b")); err != nil {
			t.Fatal(err)
		}
		n := 0
		for rec := range pl.liveSessions() {
			if n++; rec.Time() != begun.UnixNano() {
				t.Errorf("a session began at %v, want %v", time.Unix(0, rec.Time()), begun)
			}
		}
		if n != 10 {
			t.Errorf("%d sessions, want 10", n)
		}
		pl.end()
	})
}

// TestReloadTranslated takes away the source of whose sessions somebody is asked, and adds it again; where there was none, it is refused.
func TestReloadTranslated(t *testing.T) {
	for _, first := range []string{"a", "b"} {
		r := newSourcesRig(t)
		r.translated = "b"
		r.frames("a", 1<<20, 1)
		r.frames("b", 2<<20, 1)
		pl := runPlan(t, r.plan(first))
		if first == "b" {
			if _, err := pl.Reload(r.plan("a")); err != nil {
				t.Fatal(err)
			}
		}
		r.frames("b", 2<<20, 1)
		_, err := pl.Reload(r.plan("a", "b"))
		var restart *RestartError
		if refused := errors.As(err, &restart) && slices.Equal(restart.Changed, []string{"sources.b.nat"}); refused == (first == "b") {
			t.Errorf("after a start with %s: %v", first, err)
		}
		pl.end()
	}
}

// lossySource has lost packets, and loses seven more while it closes.
type lossySource struct {
	*fakeSource
	lost atomic.Uint64
}

func newLossySource(s *fakeSource, lost uint64) *lossySource {
	l := &lossySource{fakeSource: s}
	l.lost.Store(lost)
	return l
}

func (s *lossySource) Counters() []source.Counter {
	return []source.Counter{{Name: "missed", Queue: -1, Value: s.lost.Load(), Lost: true}}
}

func (s *lossySource) Close() error {
	s.lost.Add(7)
	return s.fakeSource.Close()
}

// TestReloadLossySource takes away a source that has lost packets, and adds one of its name: what that one loses is said, and both are in the
// ledger.
func TestReloadLossySource(t *testing.T) {
	r := newSourcesRig(t)
	r.frames("a", 1<<20, 1)
	r.made["b"] = newLossySource(r.frames("b", 2<<20, 1), 1000)
	pl := runPlan(t, r.plan("a", "b"))
	for i := range 3 {
		pl.watch.look(time.Now().Add(time.Duration(i) * time.Minute))
	}
	if err := pl.watch.health(); err != nil {
		t.Fatal(err)
	}
	if _, err := pl.Reload(r.plan("a")); err != nil {
		t.Fatal(err)
	}
	r.made["b"] = newLossySource(r.frames("b", 2<<20, 1), 500)
	if _, err := pl.Reload(r.plan("a", "b")); err != nil {
		t.Fatal(err)
	}
	pl.watch.look(time.Now().Add(3 * time.Minute))
	if err := pl.watch.health(); err == nil || !strings.Contains(err.Error(), "500") || pl.Ledger().Packets.Lost != 1507 {
		t.Errorf("health %v, %d lost", err, pl.Ledger().Packets.Lost)
	}
	pl.end()
}

// TestReloadBeforeRun replaces the only source of a pipeline that has taken sessions over which have ended meanwhile, before it runs: their ends
// are told.
func TestReloadBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSourcesRig(t)
		r.frames("a", 1<<20, 0)
		r.frames("b", 2<<20, 0)
		pl, err := Open(t.Context(), r.plan("a"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now().UnixNano()
		pl.left = leftSessions{[]session.Session{{ID: 3, LogClose: true, Client: packet.Tuple{Proto: packet.ProtoUDP, Family: packet.IPv4}}}, now, now}
		if _, err := pl.Reload(r.plan("b")); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- pl.Run(ctx) }()
		time.Sleep(3 * time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := pl.Ledger().Events["session-close"].Admitted; n != 1 {
			t.Errorf("%d ends were told, want 1", n)
		}
	})
}

// TestReloadCarriers replaces a source that carries packets by itself by another: what it has carried stays counted, and the other has its place
// among the carriers.
func TestReloadCarriers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSourcesRig(t)
		r.frames("a", 1<<20, 10)
		for i, name := range []string{"b", "c"} {
			r.made[name] = &carryingSource{r.frames(name, uint32(i+2)<<20, 10), &pastCarrier{done: source.Carried{Packets: 100, Bytes: 1000, NotSent: 4, Forwards: i == 0}}}
		}
		pl := runPlan(t, r.plan("a", "b"))
		time.Sleep(2 * time.Second)
		for _, x := range []struct {
			sources   []string
			offloaded uint64
		}{{[]string{"a", "c"}, 200}, {[]string{"a"}, 200}} {
			if _, err := pl.Reload(r.plan(x.sources...)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			p := pl.Ledger().Packets
			if p.Offloaded != x.offloaded || p.NotSent != 4 || p.Received != 30+x.offloaded || pl.Ledger().Unaccounted != 0 {
				t.Errorf("%v: %+v", x.sources, p)
			}
			for _, s := range pl.readers.Load().sources {
				if want := map[string]int{"a": noCarrier, "c": 0}[s.Name]; s.place != want {
					t.Errorf("%v: source %s has place %d among the carriers", x.sources, s.Name, s.place)
				}
			}
		}
		pl.end()
	})
}

// TestReloadLastSourceOfFrames removes the only source of frames, beside one of events: the sessions of its packets end nevertheless. Then it
// adds another one.
func TestReloadLastSourceOfFrames(t *testing.T) {
	r := newSourcesRig(t)
	r.made["told"] = &keepingEvents{fakeEvents: newFakeEvents(t)}
	a := r.frames("a", 1<<20, 10)
	b := r.frames("b", 2<<20, 3)
	clock, err := monotonic.New()
	if err != nil {
		t.Fatal(err)
	}
	a.queues[0].clock, b.queues[0].clock = &clock, &clock
	pl := runPlan(t, r.plan("a", "told"))
	await := func(what string, of func(metrics.Ledger) bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !of(pl.Ledger()); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: %+v", what, pl.Ledger())
			}
		}
	}
	await("the packets", func(l metrics.Ledger) bool { return l.Packets.Received == 10 })
	if _, err := pl.Reload(r.plan("told")); err != nil {
		t.Fatal(err)
	}
	if !a.closed.Load() || len(pl.readers.Load().workers) != 1 {
		t.Errorf("closed: %v; %d workers", a.closed.Load(), len(pl.readers.Load().workers))
	}
	await("the ends", func(l metrics.Ledger) bool {
		return l.Sessions.Active == 0 && l.Sessions.Closed == 10 && l.Packets.Received == 10
	})
	if _, err := pl.Reload(r.plan("told", "b")); err != nil {
		t.Fatal(err)
	}
	await("other packets", func(l metrics.Ledger) bool { return l.Sessions.Created == 13 && l.Packets.Received == 13 })
	if n := len(pl.readers.Load().workers); n != 1 {
		t.Errorf("%d workers, want that of b", n)
	}
	pl.end()
}

// TestReloadSourcesRefused changes sources in ways that fail: what was opened is closed, and nothing is changed.
func TestReloadSourcesRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSourcesRig(t)
		a, b := r.frames("a", 1<<20, 10), r.frames("b", 2<<20, 10)
		r.frames("c", 3<<20, 10)
		r.fails["c"] = errBroken
		pl := runPlan(t, r.plan("a"))
		before := pl.readers.Load()
		for _, x := range []struct {
			sources []string
			want    string
		}{
			{[]string{"a", "b", "c"}, "source c: " + errBroken.Error()},
			{[]string{`a interface = "a1"`, "c"}, "source c: " + errBroken.Error()},
		} {
			_, err := pl.Reload(r.plan(x.sources...))
			if err == nil || err.Error() != x.want {
				t.Errorf("%v: %v, want %s", x.sources, err, x.want)
			}
			if c := pl.Status().Configuration; pl.readers.Load() != before || a.closed.Load() || c.Number != 1 || c.Refused != x.want {
				t.Errorf("%v: configuration %+v", x.sources, c)
			}
		}
		if !b.closed.Load() {
			t.Error("a source that was opened in vain is not closed")
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if n := pl.Ledger().Packets.Received; n != 10 {
			t.Errorf("%d packets, want 10: the pipeline goes on", n)
		}
		pl.end()
	})
}

// deafFrames is a source whose worker hangs in it: it does not notice that it is to end.
type deafFrames struct {
	*fakeSource
	wake chan struct{}
}

func (s *deafFrames) Queues() []source.FrameSource { return []source.FrameSource{deafQueue{s.wake}} }

type deafQueue struct{ wake chan struct{} }

func (q deafQueue) Receive(ctx context.Context, b *packet.Batch, timeout time.Duration) error {
	<-q.wake
	select {
	case <-ctx.Done():
	case <-time.After(timeout):
	}
	b.Now, b.Wall = 1, time.Now().UnixNano()
	return nil
}

func (deafQueue) Release() {}

// TestReloadHangingSource removes a source whose worker hangs: that is refused in time, and says which one; nothing is changed, and the
// source can be removed when it goes on.
func TestReloadHangingSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSourcesRig(t)
		r.frames("a", 1<<20, 10)
		deaf := &deafFrames{r.frames("deaf", 2<<20, 0), make(chan struct{})}
		r.made["deaf"] = deaf
		b := r.frames("b", 3<<20, 10)
		pl := runPlan(t, r.plan("a", "deaf"))
		synctest.Wait()
		before, begin := pl.readers.Load(), time.Now()
		_, err := pl.Reload(r.plan("a", "b"))
		const want = "sources.deaf cannot be closed: worker 1, which reads it, has made no progress for 10s, and would not end: a restart ends it"
		if err == nil || err.Error() != want || time.Since(begin) > stuckAfter+time.Second {
			t.Errorf("after %v: %v, want %s", time.Since(begin), err, want)
		}
		if c := pl.Status().Configuration; pl.readers.Load() != before || deaf.closed.Load() || !b.closed.Load() || c.Number != 1 || c.Refused != want {
			t.Errorf("configuration %+v; closed: %v, %v", c, deaf.closed.Load(), b.closed.Load())
		}
		close(deaf.wake)
		if _, err := pl.Reload(r.plan("a")); err != nil || !deaf.closed.Load() {
			t.Errorf("%v; closed: %v", err, deaf.closed.Load())
		}
		pl.end()
	})
}

// TestStopWhileASourceOpens stops a pipeline while a reload opens a source, which takes long: everything is delivered at once, the reload is
// refused, and what it has opened is closed.
func TestStopWhileASourceOpens(t *testing.T) {
	for name, opens := range map[string]func(ctx context.Context, opened <-chan struct{}) error{
		"deaf":     func(_ context.Context, opened <-chan struct{}) error { <-opened; return nil },
		"listens":  func(ctx context.Context, _ <-chan struct{}) error { <-ctx.Done(); return ctx.Err() },
		"too late": func(ctx context.Context, _ <-chan struct{}) error { <-ctx.Done(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newSourcesRig(t)
				a, b, c := r.frames("a", 1<<20, 10), r.frames("b", 2<<20, 10), r.frames("c", 3<<20, 10)
				opened := make(chan struct{})
				r.takes = map[string]func(context.Context) error{"b": func(ctx context.Context) error { return opens(ctx, opened) }}
				pl := runPlan(t, r.plan("a"))
				time.Sleep(2 * time.Second)
				reloaded := make(chan error)
				go func() {
					_, err := pl.Reload(r.plan("a", "b", "c"))
					reloaded <- err
				}()
				synctest.Wait()
				good := pl.outputs.find("good")
				pl.stop()
				<-good.life.ended // also while the source is still being opened
				if led := pl.Ledger(); led.Packets.Received != 10 || led.Unaccounted != 0 || !a.closed.Load() {
					t.Errorf("what is delivered: %+v", led)
				}
				if name == "deaf" {
					close(opened)
				}
				if err := <-reloaded; !errors.Is(err, errEnding) {
					t.Errorf("the reload: %v", err)
				}
				if b.closed.Load() != (name != "listens") || slices.Contains(r.opened, "c") || c.closed.Load() {
					t.Errorf("opened %v; closed: %v, %v", r.opened, b.closed.Load(), c.closed.Load())
				}
				pl.end()
			})
		})
	}
}

// TestReloadSourcesOfEvents adds and removes sources of events: what the feed has counted goes on, and the sessions that a source has told of,
// and whose ends will not come, are told as lost.
func TestReloadSourcesOfEvents(t *testing.T) {
	r := newSourcesRig(t)
	one, two := &keepingEvents{fakeEvents: newFakeEvents(t), ends: 4}, &keepingEvents{fakeEvents: newFakeEvents(t)}
	r.made["one"], r.made["two"] = one, two
	r.frames("a", 1<<20, 1)
	type lost struct {
		reason event.LossReason
		counts event.LossCounts
	}
	losses := make(chan lost, 10)
	r.sinks["good"] = func(ctx context.Context, s sdk.Stream) error {
		return sdk.Writer(func(_ context.Context, b sdk.Batch) (int, error) {
			for i := range b.Records {
				if rec := &b.Records[i]; rec.Kind() == event.Loss {
					losses <- lost{rec.LossReason(), rec.LossCounts()}
				}
			}
			return b.Len(), nil
		}).Run(ctx, s)
	}
	pl := runPlan(t, r.plan("a"))
	denied := source.Event{What: source.Denied, Flow: packet.Tuple{Proto: packet.ProtoUDP, Family: packet.IPv4, Src: packet.Addr{10, 0, 0, 1}, SrcPort: 1}, Rule: &source.Rule{Name: "rule"}}
	told := func(s *keepingEvents, total uint64) {
		t.Helper()
		s.next <- denied
		for end := time.Now().Add(time.Minute); pl.Status().Feed["denied"] != total; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("feed %v, want %d denied", pl.Status().Feed, total)
			}
		}
	}
	reload := func(sources ...string) {
		t.Helper()
		if _, err := pl.Reload(r.plan(sources...)); err != nil {
			t.Fatal(err)
		}
	}
	reload("a", "one")
	told(one, 1)
	reload("a", "one", "two")
	told(one, 2)
	told(two, 3)
	one.Lock()
	one.lost = 6
	one.Unlock()
	reload("two", "a")
	told(two, 4)
	if got, want := <-losses, (lost{event.LossAbandoned, event.LossCounts{event.SessionClose: 4}}); got != want {
		t.Errorf("lost %+v, want %+v", got, want)
	}
	if n := pl.Ledger().Unread; !one.closed.Load() || two.closed.Load() || n != 6 {
		t.Errorf("closed: %v, %v; %d events unread, want 6", one.closed.Load(), two.closed.Load(), n)
	}
	reload("a")
	if st := pl.Status(); st.Feed["denied"] != 4 || pl.Health() != nil || !two.closed.Load() {
		t.Errorf("feed %v, health %v", st.Feed, pl.Health())
	}
	reload("a", "one")
	told(one, 5)
	pl.end()
}

// TestReloadSourceAtTheEnd changes sources of a pipeline whose only source ends meanwhile: either the change is made, and it goes on, or it is
// refused.
func TestReloadSourceAtTheEnd(t *testing.T) {
	for range 50 {
		r := newSourcesRig(t)
		a := r.frames("a", 1<<20, 10)
		a.queues[0].end = io.EOF
		b := r.frames("b", 2<<20, 10)
		pl := runPlan(t, r.plan("a"))
		_, err := pl.Reload(r.plan("a", "b"))
		if err != nil && !errors.Is(err, errEnding) {
			t.Fatal(err)
		}
		want := uint64(10)
		if err == nil {
			want = 20
			for pl.Ledger().Packets.Received < want {
				runtime.Gosched()
			}
		}
		pl.end()
		if n := pl.Ledger().Packets.Received; n != want || !a.closed.Load() || err == nil && !b.closed.Load() {
			t.Errorf("%v: %d packets, want %d; closed: %v, %v", err, n, want, a.closed.Load(), b.closed.Load())
		}
	}
}

// TestP1ManySources changes sources at random while packets come: the ledger is exact all the time, and nothing is left in the end.
func TestP1ManySources(t *testing.T) {
	r := newSourcesRig(t)
	r.frames("always", 0, 1<<30)
	rng := rand.New(rand.NewPCG(3, 4))
	checkLeaks := leaks(t)
	pl := runPlan(t, r.plan("always"))
	for i := range 60 {
		sources := []string{"always"}
		for j := range 3 {
			if rng.IntN(2) == 0 {
				name := fmt.Sprintf("s%d_%d", i-rng.IntN(2), j) // of this round, or of the last one
				if _, ok := r.made[name]; !ok {
					r.frames(name, rng.Uint32()%(1<<23), 1<<30, 1<<30)
				}
				if s := r.made[name].(*fakeSource); !s.closed.Load() {
					sources = append(sources, name)
				}
			}
		}
		rng.Shuffle(len(sources), func(i, j int) { sources[i], sources[j] = sources[j], sources[i] })
		r.ids = pl.ZoneIDs()
		if _, err := pl.Reload(r.plan(sources...)); err != nil {
			t.Fatal(err)
		}
		if got := len(pl.readers.Load().workers); got != 2*len(sources)-1 {
			t.Fatalf("%d workers of %v", got, sources)
		}
		for before := pl.Ledger().Packets.Received; pl.Ledger().Packets.Received < before+packet.BatchSize; {
			runtime.Gosched()
		}
	}
	pl.end()
	led, counted := pl.Ledger(), pl.hookCounters()["count"][0].Packets
	if led.Packets.Received != counted {
		t.Errorf("%d packets, %d of the hook", led.Packets.Received, counted)
	}
	if len(pl.readers.Load().numbers()) == 0 || pl.lanes > 7 {
		t.Errorf("%d lanes for at most 7 workers", pl.lanes)
	}
	for name, s := range r.made {
		if !s.(*fakeSource).closed.Load() {
			t.Errorf("source %s is not closed", name)
		}
	}
	checkLeaks()
}

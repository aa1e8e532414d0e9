package pipeline

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rtflow/pipelined/core/metrics"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/machine"
	"github.com/rtflow/pipelined/sdk/event"
)

// reopening is a rig whose sources are made each time that they are opened. It notes what is opened and closed, in this order: "+a 5" is
// source a with a ring of 5, "-a" its end.
type reopening struct {
	*sourcesRig
	mu     sync.Mutex
	done   []string
	flows  map[string][]int // in each queue of a source
	broken map[string]bool  // opening it, by the source's name and its ring: "a 5"
	base   uint32
	alone  bool   // nothing is opened but by reloads
	during func() // called when a source is opened by a reload
	ending func() // called when a source has been closed
	lost   uint64 // by each source
}

// openedSource is a source of frames that notes its end.
type openedSource struct {
	*fakeSource
	name    string
	r       *reopening
	carrier *pastCarrier
	peer    source.Source
	blind   error
}

func (s *openedSource) Close() error {
	s.r.note("-" + s.name)
	if !s.closed.Load() { // what was on its way is known now
		s.carrier.done.Packets, s.carrier.done.NotSent = s.carrier.done.Packets+10, s.carrier.done.NotSent+1
	}
	if s.r.ending != nil {
		s.r.ending()
	}
	return s.fakeSource.Close()
}

func (s *openedSource) Counters() []source.Counter {
	return []source.Counter{{Name: "missed", Queue: -1, Value: s.r.lost, Lost: true}}
}

func (s *openedSource) Blind() error { return s.blind }

func (s *openedSource) Carrier() source.Carrier { return s.carrier }

func (s *openedSource) Pair(peer source.Source) error {
	if s.peer = peer; peer.(*openedSource).closed.Load() {
		return errors.New("the peer is closed")
	}
	return nil
}

func newReopening(t *testing.T) *reopening {
	r := &reopening{sourcesRig: newSourcesRig(t), flows: make(map[string][]int), broken: make(map[string]bool)}
	r.opens = r.openSource
	return r
}

func (r *reopening) note(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = append(r.done, what)
}

// noted returns what was noted since the last call.
func (r *reopening) noted() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := strings.Join(r.done, ", ")
	r.done = nil
	return list
}

func (r *reopening) openSource(name string, ring int) (source.Source, error) {
	what := fmt.Sprint(name, " ", ring)
	if r.during != nil {
		r.during()
	}
	if r.breaks(what) {
		r.note("!" + what)
		return nil, fmt.Errorf("%s: %w", what, errBroken)
	}
	r.note("+" + what)
	if s, ok := r.made[what]; ok {
		return s, nil
	}
	s := &openedSource{fakeSource: new(fakeSource), name: name, r: r}
	flows, ok := r.flows[what]
	if !ok {
		flows = r.flows[name]
	}
	for _, n := range flows {
		r.base++
		s.queues = append(s.queues, &fakeQueue{flows: n, base: r.base << 16})
	}
	s.carrier = &pastCarrier{done: source.Carried{Packets: 100, Bytes: 1000, NotSent: 4, Forwards: true}}
	return s, nil
}

func (r *reopening) breaks(what string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.broken[what]
}

// setBroken sets what cannot be opened, also while something is opened.
func (r *reopening) setBroken(list ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken = make(map[string]bool)
	for _, what := range list {
		r.broken[what] = true
	}
}

// run opens and runs a pipeline of these sources.
func (r *reopening) run(sources ...string) *running {
	t := r.t.(*testing.T)
	opened, err := Open(t.Context(), r.plan(sources...), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.alone {
		opened.unopened = nil
	}
	pl := runOpened(t, opened)
	for !pl.isRunning() {
		runtime.Gosched()
	}
	r.noted()
	return pl
}

// TestReopen changes options of sources: those are closed and opened again, and all that go on with others, also where it fails. What is counted
// stays counted, sessions live on until they end, and what other sources do is not touched.
func TestReopen(t *testing.T) {
	boom := ": " + errBroken.Error()
	for _, c := range []struct {
		name    string
		broken  []string
		reload  []string // sources, from a, b
		done    string
		gaps    string
		err     string
		packets uint64 // afterwards
		away    string
	}{
		{"options", nil, []string{"a ring = 5", "b"}, "-a, +a 5", "a", "", 40, ""},
		{"and another one that is new", nil, []string{"a ring = 5", "b", "c"}, "+c 0, -a, +a 5", "a", "", 50, ""},
		{"in the place of another one", nil, []string{"a", `c interface = "b0"`}, "-b, +c 0", "c", "", 40, ""},
		{"two exchange their interfaces", nil, []string{`a interface = "b0"`, `b interface = "a0"`}, "-a, -b, +a 0, +b 0", "a b", "", 60, ""},
		{"takes what another one reads that is removed", nil, []string{`a interface = "b0"`}, "-a, -b, +a 0", "a", "", 40, ""},
		{"more queues", nil, []string{"a ring = 7", "b"}, "-a, +a 7", "a", "", 60, ""},
		{"it fails", []string{"a 5"}, []string{"a ring = 5", "b"}, "-a, !a 5, +a 0", "a", "source a: a 5" + boom, 40, ""},
		{"and another one is removed", nil, []string{"a ring = 5"}, "-a, +a 5, -b", "a", "", 40, ""},
		{"it fails, beside one that is removed", []string{"a 5"}, []string{"a ring = 5"}, "-a, !a 5, +a 0", "a", "source a: a 5" + boom, 40, ""},
		{"another one that is new fails", []string{"c 0"}, []string{"a ring = 5", "b", "c"}, "!c 0", "", "source c: c 0" + boom, 30, ""},
		{"one that is late fails", []string{"c 0"}, []string{"a ring = 5", `c interface = "b0"`}, "-a, -b, +a 5, !c 0, -a, +a 0, +b 0", "a b", "source c: c 0" + boom, 60, ""},
		{"neither opens", []string{"a 5", "a 0"}, []string{"a ring = 5", "b"}, "-a, !a 5, !a 0", "",
			"source a: a 5" + boom + "; nor can it be opened as it was, and it is not read: source a: a 0" + boom, 30, "a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newReopening(t)
				r.flows["a"], r.flows["b"], r.flows["c"], r.flows["a 7"] = []int{5, 5}, []int{20}, []int{10}, []int{10, 10, 10}
				pl := r.run("a", "b")
				time.Sleep(3 * time.Second)
				synctest.Wait()
				before, counting := pl.readers.Load(), pl.rules.Load().hook("count").Ingress
				for _, what := range c.broken {
					r.broken[what] = true
				}
				o, err := pl.Reload(r.plan(c.reload...))
				if (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
					t.Errorf("%v, want %q", err, c.err)
				}
				if got := r.noted(); got != c.done {
					t.Errorf("done: %s, want %s", got, c.done)
				}
				var gaps []string
				for _, g := range o.Gaps {
					gaps = append(gaps, g.Source)
				}
				if got := strings.Join(gaps, " "); got != c.gaps {
					t.Errorf("gaps %s, want %s", got, c.gaps)
				}
				number := 2
				if c.err != "" {
					number = 1
				}
				st := pl.Status()
				if st.Configuration.Number != number || o.Number != number || st.Configuration.Refused != c.err {
					t.Errorf("configuration %+v, outcome %+v", st.Configuration, o)
				}
				if (c.name == "options" || c.err != "") && pl.rules.Load().hook("count").Ingress != counting {
					t.Error("the hook has forgotten what it remembered")
				}
				touched := " " + c.gaps + " " + c.away + " "
				for _, w := range before.workers {
					stays := slices.Contains(pl.readers.Load().workers, w)
					if !strings.Contains(touched, " "+w.source.Name+" ") && stays != (c.err != "" || slices.Contains(c.reload, w.source.Name)) {
						t.Errorf("a worker of source %s stays: %v", w.source.Name, stays)
					}
				}
				for _, s := range pl.readers.Load().sources {
					if s.opened.(*openedSource).closed.Load() {
						t.Errorf("source %s is closed, and read", s.Name)
					}
				}
				time.Sleep(3 * time.Second)
				synctest.Wait()
				st = pl.Status()
				if n := st.Ledger.Packets.Received - st.Ledger.Packets.Offloaded; n != c.packets || st.Hooks["count"][0].Packets != n || st.Ledger.Unaccounted != 0 {
					t.Errorf("%d packets, %d of the hook, want %d; %d unaccounted for", n, st.Hooks["count"][0].Packets, c.packets, st.Ledger.Unaccounted)
				}
				losses := pl.Losses()
				if (losses != nil) != (c.away != "") || losses != nil && !strings.Contains(losses.Error(), "source "+c.away) {
					t.Errorf("health: %v", losses)
				}
				if c.away != "" {
					if s, ok := st.Sources[c.away].(AwayStatus); !ok || s.Open || s.Error == "" || s.Since.IsZero() || pl.Snapshot().SourceOpen[c.away] {
						t.Errorf("status %+v", st.Sources[c.away])
					}
					if !strings.Contains(r.log.String(), "level=ERROR") {
						t.Errorf("log: %s", r.log.String())
					}
				}
				time.Sleep(15 * time.Second)
				synctest.Wait()
				if s := pl.Ledger().Sessions; s.Active != 0 || s.Closed != c.packets {
					t.Errorf("sessions %+v: all should have ended", s)
				}
				pl.end()
			})
		})
	}
}

// TestReopenLater brings a source back that could be opened neither with other options nor as it was: by the same configuration, by another
// one, or not at all.
func TestReopenLater(t *testing.T) {
	for _, c := range []struct {
		reload  []string
		done    string
		gaps    int
		packets uint64
	}{
		{[]string{"a", "b"}, "+a 0", 1, 40},
		{[]string{"a ring = 6", "b"}, "+a 6", 1, 40},
		{[]string{"b"}, "", 0, 30},
		{[]string{`c interface = "a0"`, "b"}, "+c 0", 0, 40},
		{[]string{`a interface = "b0"`}, "-b, +a 0", 1, 40},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newReopening(t)
			r.flows["a"], r.flows["b"], r.flows["c"] = []int{5, 5}, []int{20}, []int{10}
			pl := r.run("a", "b")
			time.Sleep(3 * time.Second)
			r.broken["a 5"], r.broken["a 0"] = true, true
			if _, err := pl.Reload(r.plan("a ring = 5", "b")); err == nil {
				t.Fatal("it is taken over")
			}
			r.noted()
			r.broken["a 0"] = false
			o, err := pl.Reload(r.plan(c.reload...))
			if err != nil || len(o.Gaps) != c.gaps || r.noted() != c.done {
				t.Errorf("%v: %v, gaps %v", c.reload, err, o.Gaps)
			}
			time.Sleep(3 * time.Second)
			synctest.Wait()
			p := pl.Ledger().Packets
			if n := p.Received - p.Offloaded; n != c.packets || pl.Losses() != nil || len(pl.Status().Sources) != len(c.reload) {
				t.Errorf("%v: %d packets, want %d; health %v; sources %v", c.reload, n, c.packets, pl.Losses(), pl.Status().Sources)
			}
			pl.end()
		})
	}
}

// TestReopenExamined refuses what the machine lacks before anything is closed, unless the source has done without it so far, and reads.
func TestReopenExamined(t *testing.T) {
	lacks := machine.Finding{Part: "interface wan9", Subject: "link", Verdict: machine.Missing, Text: "there is no interface wan9"}
	for _, c := range []struct {
		known bool
		blind error
		done  string
	}{
		{false, nil, ""},
		{true, nil, "-a, +a 5"},
		{true, errBroken, ""}, // it waits for the interface, and could not be opened
	} {
		r := newReopening(t)
		r.flows["a"] = []int{1}
		r.reports = map[string]machine.Finding{"a5": lacks}
		if c.known {
			r.reports["a0"] = lacks
		}
		pl := r.run("a")
		pl.readers.Load().sources[0].opened.(*openedSource).blind = c.blind
		_, err := pl.Reload(r.plan("a ring = 5"))
		if (err == nil) != (c.done != "") || err != nil && err.Error() != "source a: interface wan9: there is no interface wan9" {
			t.Errorf("%+v: %v", c, err)
		}
		if done := r.noted(); done != c.done {
			t.Errorf("%+v: %s", c, done)
		}
		pl.end()
	}
}

// TestReopenIdle opens a source again whose many workers have nothing to read: their progress is waited for at the same time.
func TestReopenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReopening(t)
		r.flows["a"] = make([]int, 16)
		pl := r.run("a")
		time.Sleep(3 * time.Second)
		begin := time.Now()
		if _, err := pl.Reload(r.plan("a ring = 5")); err != nil {
			t.Error(err)
		}
		if d := time.Since(begin); d > 2*time.Second {
			t.Errorf("it takes %v", d)
		}
		pl.end()
	})
}

// TestReopenCarriers opens a source again that carries packets by itself: what it has carried stays counted, also what the
// close finds out.
func TestReopenCarriers(t *testing.T) {
	r := newReopening(t)
	r.flows["a"], r.lost = []int{0}, 7
	pl := r.run("a")
	for i := range 3 {
		r.ending = func() {
			if p := pl.Ledger().Packets; p.Offloaded != uint64(110*(i+1)) || p.Lost != uint64(7*(i+1)) {
				t.Errorf("while it is closed: %+v", p)
			}
		}
		if p := pl.Ledger().Packets; p.Offloaded != uint64(100+110*i) || p.NotSent != uint64(4+5*i) || p.Lost != uint64(7*(i+1)) {
			t.Errorf("%+v", p)
		}
		if _, err := pl.Reload(r.plan(fmt.Sprint("a ring = ", i+1))); err != nil {
			t.Fatal(err)
		}
		if place := pl.readers.Load().sources[0].place; place != 0 {
			t.Errorf("place %d among the carriers", place)
		}
	}
	r.ending = nil
	pl.end()
}

// TestReopenPair changes one source of a bridge: both are opened again, and are a pair. Where one cannot be opened, both are as they were, or
// both are away.
func TestReopenPair(t *testing.T) {
	for _, c := range []struct {
		broken []string
		done   string
		open   int
	}{
		{nil, "-a, -b, +a 5, +b 0", 2},
		{[]string{"a 5"}, "-a, -b, !a 5, +a 0, +b 0", 2},
		{[]string{"a 5", "b 0"}, "-a, -b, !a 5, +a 0, !b 0, -a", 0},
		{[]string{"a 5", "a 0"}, "-a, -b, !a 5, !a 0, +b 0, -b", 0},
	} {
		r := newReopening(t)
		r.alone = true
		r.flows["c"] = []int{1}
		pl := r.run(`a peer = "b"`, `b peer = "a"`, "c")
		for _, what := range c.broken {
			r.broken[what] = true
		}
		_, err := pl.Reload(r.plan(`a peer = "b"; ring = 5`, `b peer = "a"`, "c"))
		if done := r.noted(); done != c.done || (err == nil) != (c.broken == nil) {
			t.Errorf("%v: %s, %v; want %s", c.broken, done, err, c.done)
		}
		list := pl.readers.Load().sources
		if len(list) != c.open+1 || len(pl.readers.Load().away) != 2-c.open {
			t.Fatalf("%v: %d sources", c.broken, len(list))
		}
		if c.open == 2 && (list[0].opened.(*openedSource).peer != list[1].opened || list[1].opened.(*openedSource).peer != list[0].opened) {
			t.Errorf("%v: they are no pair", c.broken)
		}
		r.broken = make(map[string]bool)
		if _, err := pl.Reload(r.plan(`a peer = "b"`, `b peer = "a"`, "c")); err != nil || pl.Losses() != nil {
			t.Errorf("%v: %v, %v", c.broken, err, pl.Losses())
		}
		pl.end()
	}
}

// TestReopenPairParts gives a source of a bridge another peer: the former one, which is removed, is closed with it, and where the new pair
// cannot be opened the former one is.
func TestReopenPairParts(t *testing.T) {
	for _, c := range []struct {
		broken string
		done   string
	}{
		{"", "-a, -b, +a 0, +c 0"},
		{"c 0", "-a, -b, +a 0, !c 0, -a, +a 0, +b 0"},
	} {
		r := newReopening(t)
		r.flows["a"], r.flows["b"], r.flows["c"] = []int{1}, []int{1}, []int{1}
		pl := r.run(`a peer = "b"`, `b peer = "a"`)
		r.broken[c.broken] = true
		_, err := pl.Reload(r.plan(`a peer = "c"`, `c peer = "a"`))
		if done := r.noted(); done != c.done || (err == nil) != (c.broken == "") {
			t.Errorf("%q: %s, %v; want %s", c.broken, done, err, c.done)
		}
		list := pl.readers.Load().sources
		if len(list) != 2 || list[0].opened.(*openedSource).peer != list[1].opened || list[1].opened.(*openedSource).peer != list[0].opened {
			t.Errorf("%q: they are no pair", c.broken)
		}
		pl.end()
	}
}

// TestReopenWithMoreQueues opens a source as it was that has more queues than before, for whose workers the hooks have no room: it is away
// until the next reload.
func TestReopenWithMoreQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReopening(t)
		r.flows["a"] = []int{1, 1}
		pl := r.run("a")
		time.Sleep(3 * time.Second)
		r.flows["a"] = []int{1, 1, 1}
		r.broken["a 5"] = true
		if _, err := pl.Reload(r.plan("a ring = 5")); err == nil || !strings.Contains(err.Error(), "it has 3 queues now, and had 2") {
			t.Error(err)
		}
		if _, err := pl.Reload(r.plan("a")); err != nil {
			t.Error(err)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if n := pl.Status().Hooks["count"][0].Packets; n != 5 {
			t.Errorf("%d packets, want 5", n)
		}
		pl.end()
	})
}

// tellingSource is a source of events that hands what it knows to its successor.
type tellingSource struct {
	*fakeEvents
	knows  []byte
	refuse error // taking over
	took   []byte
}

func (s *tellingSource) Close() error { return nil }

func (s *tellingSource) Keep(yield func([]byte) bool) uint64 {
	yield(s.knows)
	return uint64(len(s.knows))
}

func (s *tellingSource) TakeOver(pieces iter.Seq2[[]byte, error], ids source.IDs) error {
	for piece, err := range pieces {
		zone, ok := ids.Zone(9)
		if err != nil || zone != 9 || !ok || ids.Policy(8) != 8 || ids.Interface(7) != 7 || ids.Application(6) != 6 {
			return errBroken
		}
		s.took = append(s.took, piece...)
	}
	if s.refuse == nil {
		s.knows = s.took
	}
	return s.refuse
}

// TestReopenTold opens a source of events again that has told of sessions, beside another one, which is read meanwhile: sessions live on, also
// in the list of those who ask in between, and are told as lost only if the source does not take them over.
func TestReopenTold(t *testing.T) {
	flow := packet.Tuple{Proto: packet.ProtoUDP, Family: packet.IPv4, Src: packet.Addr{10, 0, 0, 1}, SrcPort: 1}
	live := source.Event{What: source.Began, Flow: flow, Reply: flow.Reverse(), Session: 4, Created: 1e18, Kept: &source.Kept{Carried: true}}
	for _, c := range []struct {
		name   string
		refuse error // of the new source
		broken bool  // it cannot be opened
		lost   bool
	}{
		{"it takes them over", nil, false, false}, {"it does not", errBroken, false, true},
		{"it comes back as it was", nil, true, false}, {"it comes back, and does not take them over", errBroken, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newReopening(t)
			former, next := &tellingSource{fakeEvents: newFakeEvents(t), knows: []byte("abc")}, &tellingSource{fakeEvents: newFakeEvents(t), refuse: c.refuse}
			former.live = []source.Event{live}
			other := &tellingSource{fakeEvents: newFakeEvents(t)}
			r.made["told"], r.made["told 0"], r.made["told 5"] = former, former, next // by name: that it is one of events
			r.made["other"], r.made["other 0"] = other, other
			r.flows["a"] = []int{1}
			r.broken["told 5"] = c.broken
			pl := r.run("a", "told sessions = true", "other")
			listed, read := 0, uint64(0)
			r.during = func() {
				for range pl.liveSessions() {
					listed++
				}
				if read > 0 {
					return
				}
				other.next <- source.Event{What: source.Denied, Flow: flow, Rule: &source.Rule{Name: "rule"}}
				for end := time.Now().Add(time.Minute); read == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
					read = pl.Status().Feed["denied"]
				}
			}
			again := &tellingSource{fakeEvents: newFakeEvents(t), refuse: c.refuse}
			if c.broken {
				r.made["told 0"] = again
			}
			_, err := pl.Reload(r.plan("a", "told sessions = true; ring = 5", "other"))
			if (err != nil) != c.broken {
				t.Error(err)
			}
			if listed == 0 || read != 1 {
				t.Errorf("meanwhile %d sessions are listed, and %d events of the other source are told", listed, read)
			}
			if got := string(next.took) + string(again.took); got != "abc" {
				t.Errorf("%q is taken over", got)
			}
			var owed uint64
			for _, o := range pl.gate.Owed(0) {
				owed += o.Counts[event.SessionClose]
			}
			owed += pl.Ledger().Events["loss"].Admitted
			if (owed > 0) != c.lost {
				t.Errorf("lost: %d, want %v", owed, c.lost)
			}
			pl.end()
		})
	}
}

// TestReopenToldLater has a source of sessions that could not be opened come back with a later reload: it goes on with what it has told of. One
// that does not come back is told of as lost.
func TestReopenToldLater(t *testing.T) {
	for _, c := range []struct {
		reload []string
		took   string
		lost   bool
	}{
		{[]string{"a", "told sessions = true"}, "abc", false},
		{[]string{"a", "told sessions = true; ring = 6"}, "abc", false},
		{[]string{"a"}, "", true},
		{[]string{"a", "again sessions = true"}, "", true}, // the name of another source
	} {
		r := newReopening(t)
		r.alone = true
		next := &tellingSource{fakeEvents: newFakeEvents(t)}
		r.made["told"] = &tellingSource{fakeEvents: newFakeEvents(t), knows: []byte("abc")}
		r.made["told 0"], r.made["told 6"], r.made["again"], r.made["again 0"] = r.made["told"], next, next, next
		r.flows["a"] = []int{1}
		pl := r.run("a", "told sessions = true")
		r.broken["told 5"], r.broken["told 0"] = true, true
		if _, err := pl.Reload(r.plan("a", "told sessions = true; ring = 5")); err == nil {
			t.Fatal("it is taken over")
		}
		r.made["told 0"], r.broken = next, nil
		if _, err := pl.Reload(r.plan(c.reload...)); err != nil {
			t.Error(err)
		}
		owed := pl.Ledger().Events["loss"].Admitted
		for _, o := range pl.gate.Owed(0) {
			owed += o.Counts[event.SessionClose]
		}
		if got := string(next.took); got != c.took || (owed > 0) != c.lost {
			t.Errorf("%v: %q is taken over, %d are lost", c.reload, got, owed)
		}
		pl.end()
	}
}

// TestReopenStop stops a pipeline while a source is opened again: that is not waited for longer than the source takes, nothing is changed, and
// what the source has told of is kept for the next run.
func TestReopenStop(t *testing.T) {
	r := newReopening(t)
	told := &tellingSource{fakeEvents: newFakeEvents(t), knows: []byte("abc")}
	r.made["told"], r.made["told 0"] = told, told
	r.flows["a"] = []int{10}
	pl, err := Open(t.Context(), r.plan("a", "told sessions = true"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- pl.Run(ctx) }()
	for !pl.isRunning() {
		runtime.Gosched()
	}
	r.noted()
	r.during = func() {
		cancel()
		<-pl.running.loops.ctx.Done()
	}
	r.broken["told 5"] = true
	_, err = pl.Reload(r.plan("a", "told sessions = true; ring = 5"))
	if err == nil {
		t.Error("it is taken over")
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if done := r.noted(); done != "!told 5, -a" {
		t.Error(done)
	}
	content := pl.content(nil, true)
	if len(content.Sources) != 1 || content.Head.Sources[0].Name != "told" || pl.Ledger().Unaccounted != 0 {
		t.Errorf("kept: %+v", content.Head.Sources)
	}
}

// isRunning reports whether the pipeline has begun.
func (pl *Pipeline) isRunning() bool {
	pl.reloading.Lock()
	defer pl.reloading.Unlock()
	return pl.running.begun
}

// TestReopenBeforeRun changes options before the pipeline runs.
func TestReopenBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReopening(t)
		r.flows["a"] = []int{3, 3}
		pl, err := Open(t.Context(), r.plan("a"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		r.broken["a 6"] = true
		if _, err := pl.Reload(r.plan("a ring = 6")); err == nil {
			t.Error("it is taken over")
		}
		if _, err := pl.Reload(r.plan("a ring = 5")); err != nil {
			t.Error(err)
		}
		if got := r.noted(); got != "+a 0, -a, !a 6, +a 0, -a, +a 5" {
			t.Error(got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- pl.Run(ctx) }()
		time.Sleep(3 * time.Second)
		cancel()
		if err := <-done; err != nil || pl.Ledger().Packets.Received-pl.Ledger().Packets.Offloaded != 6 {
			t.Errorf("%v, %+v", err, pl.Ledger().Packets)
		}
	})
}

// TestP1Reopen opens sources again at random while packets come, some of which fail: the ledger is exact all the time, and nothing is left in
// the end.
func TestP1Reopen(t *testing.T) {
	r := newReopening(t)
	r.alone = true
	rounds := 25
	if testing.Short() {
		rounds = 10
	}
	rng := rand.New(rand.NewPCG(5, 6))
	checkLeaks := leaks(t)
	for _, name := range []string{"a", "b", "c"} {
		r.flows[name] = []int{1 << 30, 1 << 30}
	}
	failures := 0
	pl := r.run("a", "b", "c")
	for range rounds {
		sources := []string{"a", "b", "c"}
		var broken []string
		for i := range sources {
			ring := rng.IntN(3)
			if rng.IntN(4) == 0 {
				broken = append(broken, fmt.Sprint(sources[i], " ", ring))
			}
			sources[i] = fmt.Sprint(sources[i], " ring = ", ring)
		}
		r.setBroken(broken...)
		r.ids = pl.ZoneIDs()
		if _, err := pl.Reload(r.plan(sources...)); err != nil {
			failures++
		}
		r.setBroken()
		if l := pl.Ledger(); l.Packets.Lost != 0 {
			t.Fatalf("%+v", l.Packets)
		}
		for before := pl.Ledger().Packets.Received; len(pl.readers.Load().sources) > 0 && pl.Ledger().Packets.Received < before+packet.BatchSize; {
			runtime.Gosched()
		}
	}
	_, err := pl.Reload(r.plan("a", "b", "c"))
	if away := pl.readers.Load().away; err != nil || len(away) != 0 || failures == 0 {
		t.Errorf("%v, %d sources are away, %d failures", err, len(away), failures)
	}
	pl.end()
	check := func(led metrics.Ledger) {
		if counted := pl.hookCounters()["count"][0].Packets; led.Packets.Received-led.Packets.Offloaded != counted || led.Unaccounted != 0 {
			t.Errorf("%+v, %d of the hook", led.Packets, counted)
		}
	}
	check(pl.Ledger())
	if pl.lanes > 6 {
		t.Errorf("%d lanes for 6 workers", pl.lanes)
	}
	r.noted()
	checkLeaks()
}

// rulesSource is a source of events that knows no sessions.
type rulesSource struct{ events *fakeEvents }

func (s *rulesSource) Stream() source.EventStream { return rulesStream{s.events} }
func (s *rulesSource) Status() any                { return s.events.Status() }
func (s *rulesSource) Counters() []source.Counter { return nil }
func (s *rulesSource) Close() error               { return nil }

// rulesStream hides that the events are those of sessions.
type rulesStream struct{ source.EventStream }

// TestReopenRulesTold has rules let packets through while the source that tells of their sessions is opened again, and when it cannot be
// opened: they wait for their sessions, and are told by themselves from then on.
func TestReopenRulesTold(t *testing.T) {
	r := newReopening(t)
	r.alone = true
	told := &tellingSource{fakeEvents: newFakeEvents(t)}
	rules := &rulesSource{newFakeEvents(t)}
	r.made["told"], r.made["told 0"], r.made["rules"], r.made["rules 0"] = told, told, rules, rules
	pl := r.run("told sessions = true", "rules")
	let := func(port uint16) (logged uint64) {
		t.Helper()
		before := pl.Status().Feed["accepted"]
		flow := packet.Tuple{Proto: packet.ProtoUDP, Family: packet.IPv4, Src: packet.Addr{10, 0, 0, 1}, SrcPort: port}
		rules.events.next <- source.Event{What: source.Accepted, Flow: flow, Rule: &source.Rule{Name: "rule"}}
		for end := time.Now().Add(time.Minute); pl.Status().Feed["accepted"] == before && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		return pl.Ledger().Events["filter-log"].Offered
	}
	if n := let(1); n != 0 {
		t.Errorf("%d records of a rule that waits for its session", n)
	}
	r.during = func() {
		if n := let(2); n != 0 {
			t.Errorf("%d records of rules that wait for their sessions, which will be told", n)
		}
	}
	r.broken["told 5"], r.broken["told 0"] = true, true
	if _, err := pl.Reload(r.plan("told sessions = true; ring = 5", "rules")); err == nil {
		t.Error("it is taken over")
	}
	if n := let(3); n != 1 {
		t.Errorf("%d records of rules whose sessions nobody tells, want 1", n)
	}
	pl.end()
}

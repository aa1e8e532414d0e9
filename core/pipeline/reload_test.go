package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/namebook"
	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

// gatekeeper is a hook that permits or denies all flows by policies of those names in turn.
type gatekeeper struct {
	policies []uint32
	deny     bool
	asked    atomic.Uint64
	made     int // how many were made before it, in the test
}

func (g *gatekeeper) Decide(_ *hook.Packet, permit *hook.Permit, f *hook.Finding) hook.Verdict {
	policy := g.policies[g.asked.Add(1)%uint64(len(g.policies))]
	if g.deny {
		*f = hook.Finding{Found: true, Kind: event.PolicyDeny, Policy: policy}
		return hook.Drop
	}
	permit.Policy = policy
	return hook.Pass
}

func (g *gatekeeper) Denied(*hook.Packet, *hook.Finding) {}

// reloads is a rig with hooks of the plugin "gatekeeper".
type reloads struct {
	*rig
	made []*gatekeeper // those that run, and those that checks have made
}

func (r *reloads) plan(text string) *plan.Plan {
	r.t.Helper()
	reg := r.registry()
	reg.Hooks["gatekeeper"] = hook.Plugin{Name: "gatekeeper", Configure: func(cfg sdk.Config, env hook.Env) hook.Instance {
		var o struct {
			Policies []string `toml:"policies"`
			Deny     bool     `toml:"deny"`
		}
		cfg.Decode(&o)
		g := &gatekeeper{deny: o.Deny, made: len(r.made)}
		for _, name := range o.Policies {
			g.policies = append(g.policies, env.Names.Policy(name))
		}
		r.made = append(r.made, g)
		return hook.Instance{Session: g, Permits: true, Counters: func() []hook.Counter {
			list := []hook.Counter{{Name: "asked", Packets: g.asked.Load()}}
			for _, name := range o.Policies {
				list = append(list, hook.Counter{Name: name, Packets: 1})
			}
			return list
		}}
	}}
	file, problems := config.Parse("p.toml", []byte(text))
	p := plan.New(file, problems, plan.Options{Registry: reg, Log: slog.New(slog.NewTextHandler(&r.log, nil)), Hostname: "host", ZoneIDs: r.ids})
	if err := problems.Err(); err != nil {
		r.t.Fatal(err)
	}
	return p
}

const reloadable = `
[pipeline]
sources = ["in"]
hooks   = ["first", "second"]
sinks   = ["good"]
[zones.lan]
prefixes = ["10.0.0.0/8"]
[sources.in]
plugin = "fake"
[hooks.first]
plugin   = "gatekeeper"
policies = ["a", "b", "a"]
[hooks.second]
plugin   = "gatekeeper"
policies = ["c"]
[sinks.good]
plugin = "fake"
[replay]
slots = 4096
[service]
drain = "5s"
`

func change(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("no %q in the configuration", pairs[i])
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	return text
}

// TestReloadNames changes hooks, and looks at ids, names and counters: what has the same name has the same id, an unchanged hook is the
// same one, the counters of a changed one go on.
func TestReloadNames(t *testing.T) {
	r := &reloads{rig: newRig(t, true)}
	pl, err := Open(t.Context(), r.plan(reloadable), Options{})
	if err != nil {
		t.Fatal(err)
	}
	running := func(name string) *gatekeeper { return pl.rules.Load().hook(name).Session.(*gatekeeper) }
	first, second := running("first"), running("second")
	if !slices.Equal(first.policies, []uint32{1, 2, 3}) || !slices.Equal(second.policies, []uint32{4}) {
		t.Fatalf("ids %v, %v", first.policies, second.policies)
	}
	first.asked.Store(10)
	counted := func(name, counter string) uint64 {
		for _, c := range pl.hookCounters()[name] {
			if c.Name == counter {
				return c.Packets
			}
		}
		return 0
	}
	if _, err := pl.Reload(r.plan(change(t, reloadable, `["a", "b", "a"]`, `["new", "a", "a", "a"]`))); err != nil {
		t.Fatal(err)
	}
	if running("second") != second {
		t.Error("a hook that has not changed is another one")
	}
	next := running("first")
	if !slices.Equal(next.policies, []uint32{5, 1, 3, 6}) {
		t.Errorf("ids %v after the change", next.policies)
	}
	next.asked.Store(5)
	first.asked.Store(11) // a packet that came under the former rules
	if got := counted("first", "asked"); got != 16 {
		t.Errorf("counted %d, want 16", got)
	}
	latest, old := pl.names.Of(pl.names.Latest()), pl.names.Of(1)
	if latest.Generation != 2 || latest.Policy(2) != "b" || latest.Policy(5) != "new" || old.Policy(5) != "" || old.Policy(2) != "b" || old.Generation != 1 {
		t.Errorf("generation %d: %q; before %q", latest.Generation, latest.Policies, old.Policies)
	}
	if _, err := pl.Reload(r.plan(change(t, reloadable, `["a", "b", "a"]`, `["b"]`, `hooks   = ["first", "second"]`, `hooks   = ["second", "first"]`))); err != nil {
		t.Fatal(err)
	}
	if third := running("first"); !slices.Equal(third.policies, []uint32{2}) || counted("first", "asked") != 16 || counted("first", "b") != 2 {
		t.Errorf("ids %v, %d asked, %d by b", third.policies, counted("first", "asked"), counted("first", "b"))
	}
	if c := pl.Status().Configuration; c.Number != 3 || c.Refused != "" || c.Refusals != 0 {
		t.Errorf("configuration %+v", c)
	}
	if err := pl.closeSources(); err != nil {
		t.Error(err)
	}
}

// TestReloadRefused changes what needs a restart: nothing changes, and the status says why.
func TestReloadRefused(t *testing.T) {
	r := &reloads{rig: newRig(t, true)}
	pl, err := Open(t.Context(), r.plan(reloadable), Options{})
	if err != nil {
		t.Fatal(err)
	}
	before := pl.rules.Load()
	for i, c := range []struct {
		change []string
		want   []string
	}{
		{[]string{`drain = "5s"`, `state = "/var/lib/other"`}, []string{"service.state"}},
		{[]string{`drain = "5s"`, "metrics = \"\"\nplugin_dir = \"/opt\"\nruntime_dir = \"/run/other\""}, []string{"service.metrics", "service.plugin_dir", "service.runtime_dir"}},
		{[]string{`prefixes = ["10.0.0.0/8"]`, "prefixes = [\"10.0.0.0/8\"]\nid = 7\n[zones.wan]\nid = 1"}, []string{"zones.lan.id", "zones.wan.id"}},
		{[]string{"[replay]", "[sessions]\nmax = 2048\nseparate = \"none\"\nadopt = \"1s\"\n[replay]"}, []string{"sessions.max", "sessions.separate", "sessions.adopt"}},
		{[]string{`drain = "5s"`, `state = "/x"`, `["c"]`, `["d"]`, `slots = 4096`, `slots = 2048`, `sinks   = ["good"]`, "sinks   = [\"good\", \"more\"]", "[replay]", "[sinks.more]\nplugin = \"fake\"\n[replay]"},
			[]string{"service.state"}},
	} {
		var restart *RestartError
		_, err := pl.Reload(r.plan(change(t, reloadable, c.change...)))
		if !errors.As(err, &restart) || !slices.Equal(restart.Changed, c.want) {
			t.Errorf("%q: %v, want %v", c.change, err, c.want)
		}
		if st := pl.Status().Configuration; pl.rules.Load() != before || st.Number != 1 || st.Refusals != i+1 || !strings.Contains(st.Refused, c.want[0]) {
			t.Errorf("%q: configuration %+v", c.change, st)
		}
	}
	if o, err := pl.Reload(r.plan(reloadable)); err != nil || len(o.Changes) > 0 || pl.Status().Configuration.Refused != "" || pl.rules.Load() != before {
		t.Errorf("the same configuration: %+v, %v, %+v", o, err, pl.Status().Configuration)
	}
	if err := pl.closeSources(); err != nil {
		t.Error(err)
	}
}

// TestReloadSame counts configurations that change something, and no others.
func TestReloadSame(t *testing.T) {
	r := &reloads{rig: newRig(t, true)}
	pl, err := Open(t.Context(), r.plan(reloadable), Options{})
	if err != nil {
		t.Fatal(err)
	}
	n, last := 1, ""
	for _, text := range []string{
		reloadable, "# a remark\n" + reloadable, change(t, reloadable, `["c"]`, `["d"]`), change(t, reloadable, `["c"]`, `["d"]`),
		change(t, reloadable, `hooks   = ["first", "second"]`, `hooks   = ["second", "first"]`), change(t, reloadable, `hooks   = ["first", "second"]`, `hooks   = ["first"]`),
		reloadable + "[sessions]\nudp_timeout = \"9s\"\n", reloadable + "[sessions]\nlog = false\n", reloadable + "[sessions]\nlog = false\n",
		reloadable + "[admission]\nrate = 5000\n", reloadable,
	} {
		same := text == reloadable && n == 1 || strings.HasPrefix(text, "#") || last == text
		o, err := pl.Reload(r.plan(text))
		if err != nil {
			t.Fatal(err)
		}
		changed := len(o.Changes) > 0
		if !same {
			n++
		}
		if number := pl.Status().Configuration.Number; changed == same || number != n {
			t.Errorf("changed %v, number %d, want %v, %d, by\n%s", changed, number, !same, n, text)
		}
		last = text
	}
	if err := pl.closeSources(); err != nil {
		t.Error(err)
	}
}

// TestReloadWhileNamesAreLearned gives the names of rules that a feed learns, and those of a configuration, different ids.
func TestReloadWhileNamesAreLearned(t *testing.T) {
	r := &reloads{rig: newRig(t, true)}
	pl, err := Open(t.Context(), r.plan(reloadable), Options{})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan map[string]uint32, 1)
	go func() {
		ids := make(map[string]uint32)
		for i := range 200 {
			name := fmt.Sprint("rule-", i)
			ids[name] = pl.names.Policy(name)
			pl.names.Publish()
		}
		done <- ids
	}()
	taken := 0
	for i := range 100 {
		_, err := pl.Reload(r.plan(change(t, reloadable, `["c"]`, fmt.Sprintf(`["c-%d"]`, i))))
		if err == nil {
			taken++
		} else if !errors.Is(err, namebook.ErrLearned) {
			t.Fatal(err)
		}
	}
	learned := <-done
	n := pl.names.Of(pl.names.Latest())
	for name, id := range learned {
		if n.Policy(id) != name {
			t.Fatalf("id %d is %q, and was given to %q", id, n.Policy(id), name)
		}
	}
	last := pl.rules.Load().hook("second").Session.(*gatekeeper)
	if name := n.Policy(last.policies[0]); taken == 0 || !strings.HasPrefix(name, "c-") {
		t.Errorf("%d reloads; the last policy is called %q", taken, name)
	}
	if err := pl.closeSources(); err != nil {
		t.Error(err)
	}
}

// TestP1P13ReloadUnderLoad reloads again and again while two workers carry packets: nothing is unaccounted for, and every record has the
// name that its rules gave it.
func TestP1P13ReloadUnderLoad(t *testing.T) {
	const reloaded, flows = 200, 40_000
	r := &reloads{rig: newRig(t, true, &fakeQueue{flows: flows}, &fakeQueue{flows: flows, base: 1 << 20})}
	seen := make(map[string]int)
	r.sinks["good"] = func(ctx context.Context, s sdk.Stream) error {
		return sdk.Writer(func(_ context.Context, b sdk.Batch) (int, error) {
			for i := range b.Records {
				rec := &b.Records[i]
				if k := rec.Kind(); k == event.PolicyDeny || k == event.SessionOpen {
					seen[fmt.Sprint(k, " ", s.Names(rec.Generation).Policy(rec.Policy()))]++
				}
			}
			return b.Len(), nil
		}).Run(ctx, s)
	}
	pl, err := Open(t.Context(), r.plan(reloadable), Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- pl.Run(ctx) }()
	for i := range reloaded {
		text := reloadable
		if i%2 == 0 {
			text = change(t, reloadable, `policies = ["c"]`, "policies = [\"denied\"]\ndeny = true")
		}
		if _, err := pl.Reload(r.plan(text)); err != nil {
			t.Fatal(err)
		}
	}
	for pl.Ledger().Packets.Received < 2*flows {
		if err := pl.Health(); err != nil {
			t.Fatal(err)
		}
		runtime.Gosched()
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	led := pl.Ledger()
	if led.Unaccounted != 0 || led.Packets.Received != 2*flows {
		t.Errorf("ledger %+v", led)
	}
	for what := range seen {
		if !slices.Contains([]string{"session-open c", "policy-deny denied"}, what) {
			t.Errorf("records of %q: %v", what, seen)
		}
	}
	if n := len(pl.names.All().Policies); n != 6 {
		t.Errorf("%d names after %d reloads", n, reloaded)
	}
	if c := pl.Status().Configuration; c.Number != reloaded+1 {
		t.Errorf("configuration %+v", c)
	}
}

// A session that a sink lists has the name of its policy, also one of a later configuration.
func TestReloadListedSessions(t *testing.T) {
	const flows = 10
	q := &fakeQueue{flows: flows, stuck: make(chan struct{})}
	r := &reloads{rig: newRig(t, true, q)}
	r.sinks["good"] = deliverAll
	pl, err := Open(t.Context(), r.plan(reloadable), Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- pl.Run(ctx) }()
	if _, err := pl.Reload(r.plan(change(t, reloadable, `policies = ["c"]`, `policies = ["new"]`))); err != nil {
		t.Fatal(err)
	}
	close(q.stuck)
	for pl.Ledger().Packets.Received < flows {
		runtime.Gosched()
	}
	n := 0
	for rec := range pl.liveSessions() {
		n++
		if name := pl.names.Of(rec.Generation).Policy(rec.Policy()); name != "new" {
			t.Fatalf("policy %d of generation %d is %q", rec.Policy(), rec.Generation, name)
		}
	}
	if n != flows {
		t.Errorf("%d sessions", n)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

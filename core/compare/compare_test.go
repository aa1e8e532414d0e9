package compare

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packettext"
	"github.com/rtflow/pipelined/core/pipeline"
	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/plugins/filterlog"
	"github.com/rtflow/pipelined/plugins/policydeny"
	"github.com/rtflow/pipelined/plugins/screendrop"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	filesink "github.com/rtflow/pipelined/sinks/file"
	"github.com/rtflow/pipelined/sources/capture"
)

// shipped returns the configuration that ships, with these pairs of texts replaced.
func shipped(t *testing.T, replace ...string) string {
	t.Helper()
	text, err := os.ReadFile("../../pipeline.toml")
	if err != nil {
		t.Fatal(err)
	}
	out := string(text)
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(out, replace[i]) {
			t.Fatalf("the configuration that ships has no %q", replace[i])
		}
		out = strings.Replace(out, replace[i], replace[i+1], 1)
	}
	return out
}

// told is a sink that notes which records there are of each flow, without a recorder.
type told map[flowKey][]string

func (s told) Run(ctx context.Context, stream sdk.Stream) error {
	for {
		batch, err := stream.Next(ctx, -1)
		if err != nil {
			if errors.Is(err, sdk.ErrDrained) {
				return nil
			}
			return err
		}
		for i := range batch.Records {
			r := &batch.Records[i]
			n := stream.Names(r.Generation)
			key := newKey(r.Proto(), netip.AddrPortFrom(r.Src(), r.SrcPort()), netip.AddrPortFrom(r.Dst(), r.DstPort()))
			text := fmt.Sprint(r.Kind(), r.Action(), n.Policy(r.Policy()))
			if r.Kind() == event.ScreenDrop {
				text = fmt.Sprint(r.Kind(), r.Action(), r.Screen())
			}
			if r.Kind() == event.FilterLog {
				filter, term := n.Term(r.Filter(), r.Term())
				text = fmt.Sprint(r.Kind(), r.Action(), filter, term)
			}
			if r.Kind() != event.Loss && !slices.Contains(s[key], text) {
				s[key] = append(s[key], text)
				slices.Sort(s[key])
			}
		}
		if err := stream.Ack(batch.Last()); err != nil {
			return err
		}
	}
}

// options plans over the capture that ships.
func options(t *testing.T, sink sdk.Sink) plan.Options {
	t.Helper()
	registry, err := plan.NewRegistry([]source.Plugin{capture.Plugin(nil)},
		[]hook.Plugin{screendrop.Plugin(), filterlog.Plugin(), policydeny.Plugin()}, []sdk.SinkPlugin{filesink.Plugin()})
	if err != nil {
		t.Fatal(err)
	}
	return plan.Options{
		Registry: registry, Hostname: "fw1",
		Input:  &plan.Input{Name: "capture", Configured: capture.Configure(capture.Config{Path: "../../testdata/edge.pcapng.gz"}, nil)},
		Output: &plan.Output{Name: "out", New: func(sdk.Env) sdk.Sink { return sink }},
	}
}

func planOf(t *testing.T, text string, o plan.Options) *plan.Plan {
	t.Helper()
	file, problems := config.Parse("p.toml", []byte(text))
	p := plan.New(file, problems, o)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return p
}

func runPlan(t *testing.T, p *plan.Plan, observer pipeline.Observer) {
	t.Helper()
	pl, err := pipeline.Open(t.Context(), p, pipeline.Options{CloseAtEnd: true, Observer: observer})
	if err != nil {
		t.Fatal(err)
	}
	if err := pl.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// recorded runs a configuration over the capture, before a recorder.
func recorded(t *testing.T, text string) *Recorder {
	t.Helper()
	var r *Recorder
	late := &lateRecorder{&r}
	p := planOf(t, text, options(t, late))
	r = NewRecorder(p.Explainer())
	runPlan(t, p, late)
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	return r
}

// lateRecorder is a recorder that there is when the pipeline is opened.
type lateRecorder struct{ r **Recorder }

func (l *lateRecorder) Before() hook.Instance                           { return (*l.r).Before() }
func (l *lateRecorder) After() hook.Instance                            { return (*l.r).After() }
func (l *lateRecorder) Hook(name string, h hook.Instance) hook.Instance { return (*l.r).Hook(name, h) }
func (l *lateRecorder) Run(ctx context.Context, stream sdk.Stream) error {
	return (*l.r).Run(ctx, stream)
}

// variants change the configuration that ships, and say how many flows must differ at least.
var variants = map[string][]string{
	"a permit without a log":    {"then        = \"permit\"\nlog         = \"session-close\"", "then        = \"permit\""},
	"a permit becomes a denial": {"application = [\"junos-http\", \"ping\"]\nthen        = \"permit\"\nlog         = \"session-close\"", "application = [\"junos-http\", \"ping\"]\nthen        = \"deny\""},
	"an application less":       {`"junos-http", "junos-https", "junos-dns-udp",`, `"junos-http", "junos-dns-udp",`},
	"another default":           {"default = \"deny\"", "default = \"permit\""},
	"another address":           {`web  = ["192.0.2.80", "2001:db8:2::80"]`, `web  = ["192.0.2.81", "2001:db8:2::80"]`},
	"a rule less":               {"name        = \"no-telnet\"", "name        = \"telnet\""},
}

// A flow is said to be logged otherwise exactly if pipelines without a recorder log it otherwise.
func TestLogs(t *testing.T) {
	run := func(text string) told {
		out := told{}
		runPlan(t, planOf(t, text, options(t, out)), nil)
		return out
	}
	oldTold, old := run(shipped(t)), recorded(t, shipped(t))
	for name, replace := range variants {
		t.Run(name, func(t *testing.T) {
			text := shipped(t, replace...)
			nowTold, now := run(text), recorded(t, text)
			differ := 0
			for key := range old.flows {
				a, b := old.outcome(key), now.outcome(key)
				want := !slices.Equal(oldTold[key], nowTold[key])
				if want {
					differ++
				}
				if got := !slices.Equal(a.log, b.log); got != want {
					t.Errorf("%v: records %v and %v, noted %v and %v", key, oldTold[key], nowTold[key], a.log, b.log)
				}
			}
			if differ == 0 {
				t.Error("no flow is logged otherwise: the case shows nothing")
			}
			if r := Compare(old, now); r.Changed < differ || r.Changed == r.Flows {
				t.Errorf("%d flows are logged otherwise, and %d of %d are said to change", differ, r.Changed, r.Flows)
			}
		})
	}
	if r := Compare(old, recorded(t, shipped(t))); r.Changed != 0 {
		t.Errorf("%d flows differ from themselves: %+v", r.Changed, r.Groups)
	}
}

// Every packet of the capture is counted once, and one that a hook drops is not let through.
func TestCounts(t *testing.T) {
	r := recorded(t, shipped(t))
	seen, passed := 0, 0
	for _, f := range r.flows {
		seen += int(f.seen)
		passed += int(f.passed)
		if f.passed > f.seen {
			t.Errorf("%v > %v %v: %d %d %v", f.src, f.dst, f.iface, f.seen, f.passed, f.decided)
		}
	}
	if seen < 5000 || passed == 0 || passed == seen {
		t.Errorf("%d packets, %d passed", seen, passed)
	}
}

// What changes is named: the verdict, the rules that are responsible with their places, and the records.
func TestGroups(t *testing.T) {
	rs := packets(t, shipped(t), shipped(t, variants["a permit becomes a denial"]...), "tcp 198.51.100.9:40000 > 192.0.2.80:80 in wan0",
		"tcp 198.51.100.9:40001 > 192.0.2.80:80 in wan0", "udp 10.0.1.20:5000 > 198.51.100.10:53 in lan0")
	var b strings.Builder
	if err := Compare(rs[0], rs[1]).Write(&b); err != nil {
		t.Fatal(err)
	}
	const want = `flows: 3, of which 2 change

2 flows, 2 packets
  - verdict  pass
  + verdict  drop
  - rule     policy web-in at p.toml:156:18: permit
  + rule     policy web-in at p.toml:156:18: deny
  - log      session-close when the session ends, policy web-in, to events
  + log      policy-deny policy web-in action deny, to events
  such as  tcp 198.51.100.9:40000 > 192.0.2.80:80 in wan0
  such as  tcp 198.51.100.9:40001 > 192.0.2.80:80 in wan0
`
	if got := b.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// packets returns the recorders of two configurations that have carried these packets, each alone.
func packets(t *testing.T, old, now string, texts ...string) [2]*Recorder {
	t.Helper()
	var rs [2]*Recorder
	for i, text := range []string{old, now} {
		rs[i] = NewRecorder(planOf(t, text, options(t, told{})).Explainer())
		for _, words := range texts {
			p, err := packettext.Parse(words)
			if err != nil {
				t.Fatal(err)
			}
			if err := rs[i].Packet(p); err != nil {
				t.Fatal(err)
			}
		}
	}
	return rs
}

// Packets that are carried alone are one flow only if they are judged alike: the other direction, another interface and another type of ICMP
// are asked about by themselves. The order in which they come says nothing.
func TestPacketsAlone(t *testing.T) {
	text := shipped(t)
	for name, c := range map[string]struct {
		now     string
		packets []string
		flows   int
	}{
		"direction": {
			shipped(t, variants["a permit becomes a denial"]...),
			[]string{"icmp 192.0.2.80 > 198.51.100.9", "icmp 198.51.100.9 > 192.0.2.80"}, 2,
		},
		"interface": {
			shipped(t, `from        = "trust"`, `from        = "partner"`),
			[]string{"udp 10.0.1.20:123 > 198.51.100.10:123 in wan0", "udp 10.0.1.20:123 > 198.51.100.10:123 in lan0"}, 2,
		},
		"type of ICMP": {
			shipped(t, `members = ["junos-icmp-all", "junos-icmp6-all"]`, `members = ["junos-icmp-ping", "junos-icmp6-all"]`),
			[]string{"icmp 10.0.1.20 > 198.51.100.10 in lan0 type 8", "icmp 10.0.1.20 > 198.51.100.10 in lan0 type 13"}, 2,
		},
		"the same": {
			shipped(t, `from        = "trust"`, `from        = "partner"`),
			[]string{"udp 10.0.1.20:123 > 198.51.100.10:123 in lan0", "udp 10.0.1.20:123 > 198.51.100.10:123 in lan0"}, 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				rs := packets(t, text, c.now, c.packets...)
				r := Compare(rs[0], rs[1])
				if r.Flows != c.flows || r.Changed != 1 || r.Groups[0].Packets != 1 {
					t.Errorf("%v: %+v", c.packets, r)
				}
				slices.Reverse(c.packets)
			}
		})
	}
}

// Of a flow of which a part passes before and after, it is said how many packets do.
func TestVerdictInPart(t *testing.T) {
	g := differ(&outcome{seen: 3, passed: 1}, &outcome{seen: 3, passed: 2})
	if g == nil || *g.Verdict != (Difference{"1 of 3 packets pass", "2 of 3 packets pass"}) {
		t.Errorf("%+v", g)
	}
	if g := differ(&outcome{seen: 3, passed: 1}, &outcome{seen: 3, passed: 3}); *g.Verdict != (Difference{"pass in part", "pass"}) {
		t.Errorf("%+v", g.Verdict)
	}
}

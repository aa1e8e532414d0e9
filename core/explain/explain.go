package explain

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/packettext"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/core/worker"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/internal/spelling"
	"github.com/rtflow/pipelined/sdk/event"
)

// Config is the configuration whose verdicts are explained.
type Config struct {
	Zones    *zone.Table
	Apps     *application.Table
	Names    *event.Names // that the ids of Hooks stand for
	Hooks    []Hook       // in the order of the chain, for one worker, and for nobody else
	Sinks    []Sink
	Sessions session.Options
	Unlogged bool // see [worker.Rules]
	// Peers are the interfaces that a bridge sends on what others receive, each as [packet.Frame] has it, by those others.
	Peers map[uint32]uint32
	Notes []string // what is said where zones were looked up
	// RulesOf and SessionsOf are the sources that tell of the rules of another firewall and of the sessions of the host, as the
	// configuration calls them: "sources.rules". Their events do not pass the hooks.
	RulesOf, SessionsOf []string
}

// Hook is a hook of the chain.
type Hook struct {
	Name, Plugin string
	hook.Instance
	// Place returns where a key of the hook's table stands.
	Place func(key string) (file string, line, column int)
}

// Sink is a sink, and the kinds of records that it takes.
type Sink struct {
	Name string
	Only event.KindSet
}

// Explainer explains packets, one at a time. It is not safe for concurrent use.
type Explainer struct{ Config }

// New returns an explainer.
func New(c Config) *Explainer { return &Explainer{c} }

// start is the time of a packet that is described in words.
const start = int64(time.Second)

// Text explains the packet that a text describes.
func (x *Explainer) Text(p *packettext.Packet) (*Answer, error) {
	f, err := x.FrameOf(p)
	if err != nil {
		return nil, err
	}
	var z zones
	z.from, _ = x.Zones.Lookup(p.From) // FrameOf has looked for them
	z.to, _ = x.Zones.Lookup(p.To)
	return x.frame(&f, p.Text, z)
}

// FrameOf returns the frame of a packet that is described in words. The error says that its interface, or a zone that it names, is not one
// of the configuration.
func (x *Explainer) FrameOf(p *packettext.Packet) (packet.Frame, error) {
	f := packet.Frame{Time: start, Outgoing: p.Out != ""}
	for _, name := range []string{p.From, p.To} {
		if _, ok := x.Zones.Lookup(name); name != "" && !ok {
			return f, fmt.Errorf("%s", spelling.Unknown("zone", name, x.Zones.ZoneNames()))
		}
	}
	name := p.In + p.Out
	tag := uint16(0)
	if name != "" {
		var parent string
		parent, tag = zone.SplitVLAN(name)
		if f.Interface = x.Zones.Index(parent); f.Interface == 0 {
			tag = 0
			f.Interface = x.Zones.Index(name)
		}
		if f.Interface == 0 {
			return f, fmt.Errorf("%s", spelling.Unknown("interface", name, x.Zones.InterfaceNames()))
		}
	}
	f.Data = p.Frame(tag)
	f.Wire = len(f.Data)
	return f, nil
}

// Screen explains the packet that the record of a screen tells of, and says whether the screen is one of the configuration. The error says
// why there is nothing to explain.
func (x *Explainer) Screen(r *packettext.Screen) (*Answer, error) {
	name := r.Screen.String()
	places := x.screens(name)
	where := fmt.Sprintf("the record is of the screen %s (%s), which is not configured here", name, r.Attack)
	if len(places) > 0 {
		where = fmt.Sprintf("the record is of the screen %s (%s) at %s", name, r.Attack, strings.Join(places, ", "))
	}
	if r.Packet == nil {
		return nil, fmt.Errorf("%s; it tells of one address alone, %s, and of no packet", where, r.Alone)
	}
	from, _, told := x.placed(r.From, "")
	a, err := x.Text(r.Packet.Between(from, ""))
	if err != nil {
		return nil, err
	}
	a.OfRecord = told
	switch fired := slices.ContainsFunc(a.Log, func(l Record) bool { return l.Screen == name }); {
	case fired:
		where += ": flags, options and lengths are not in it, and were put in as the screen looks for them"
	case r.Counts && len(places) > 0:
		where += ": it counts packets, and one alone does not make it fire"
	case len(places) > 0:
		where += ": this packet does not make it fire"
	}
	a.Notes = slices.Insert(a.Notes, 0, where)
	return a, nil
}

// screens returns the places of the screens of that name.
func (x *Explainer) screens(name string) (places []string) {
	for i := range x.Hooks {
		h := &x.Hooks[i]
		var rules []hook.Rule
		if e, ok := h.Ingress.(hook.Explainer); ok {
			rules = e.Rules()
		}
		if a, ok := h.Ingress.(hook.Accumulator); ok {
			rules = append(rules, a.Accumulating()...)
		}
		for _, r := range rules {
			if place := h.Rule(r).Place; r.Sort == "screen" && r.Name == name && place != nil {
				places = append(places, place.String())
			}
		}
	}
	return places
}

// room is what the ring holds: a packet makes a few records.
var room = replay.Limits{Slots: 256, Telemetry: 128, PerKind: 64}

// Frame explains a frame; text is what the answer calls it.
func (x *Explainer) Frame(f *packet.Frame, text string) (*Answer, error) {
	return x.frame(f, text, zones{})
}

// zones are those that somebody says a packet comes from and goes to, [zone.Unknown] if nobody does.
type zones struct{ from, to uint16 }

func (x *Explainer) frame(f *packet.Frame, text string, named zones) (*Answer, error) {
	ring, err := replay.New(room)
	if err != nil {
		return nil, err
	}
	g := admission.Config{Lanes: 1, Sinks: []admission.Sink{{Name: "explain", Ring: ring, Only: event.AllKinds}}}
	for _, z := range x.Zones.Zones() {
		g.Zones = append(g.Zones, z.ID)
	}
	gate, err := admission.New(g)
	if err != nil {
		return nil, err
	}
	w := &walk{explainer: x, named: named, hooks: slices.Clone(x.Hooks), answer: Answer{Packet: text, Steps: []Step{}, Log: []Record{}}}
	for i := range w.hooks {
		if h := &w.hooks[i]; h.Fresh != nil {
			h.Instance = h.Fresh()
		}
	}
	packet.DecodeLink(f.Link, f.Data, f.Wire, &w.headers)
	one := &oneFrame{frame: *f}
	var src source.FrameSource = one
	if !f.Outgoing {
		one.frame.LeavesBy = x.Peers[f.Interface]
	}
	if one.frame.LeavesBy != 0 {
		src = inPath{one}
	} else if named.from == zone.Unknown || named.to == zone.Unknown {
		w.answer.Notes = append(w.answer.Notes, x.Notes...) // a bridge needs none to know where a packet goes
	}
	wk := worker.New(worker.Config{
		Source: src, Gate: gate, Zones: x.Zones, Apps: x.Apps,
		Sessions: session.New(session.Config{Max: 1, Workers: 1, Timeouts: x.Sessions.Timeouts}),
		Rules:    w.rules(), Separate: x.Sessions.Separate, Complete: true, CloseAtEnd: true,
	})
	if err := wk.Run(context.Background()); err != nil {
		return nil, err
	}
	w.conclude(wk.Counts())
	if x.Unlogged && w.answer.Verdict == verdictText(hook.Pass) && len(x.SessionsOf) > 0 {
		w.answer.Notes = append(w.answer.Notes, "sessions are logged as "+strings.Join(x.SessionsOf, ", ")+" tells of them, and none that packets make")
	}
	for run := ring.Next(math.MaxInt); run != nil; run = ring.Next(math.MaxInt) {
		for i := range run {
			w.answer.Log = append(w.answer.Log, x.Record(&run[i], x.Names))
		}
		if err := ring.Ack(run[len(run)-1].Seq()); err != nil {
			return nil, err
		}
	}
	return &w.answer, nil
}

// Record describes a record; names are what its ids stand for.
func (x *Explainer) Record(r *event.Record, names *event.Names) Record {
	out := Record{Kind: r.Kind().String(), Sinks: []string{}}
	for _, s := range x.Sinks {
		if s.Only.Has(r.Kind()) {
			out.Sinks = append(out.Sinks, s.Name)
		}
	}
	switch r.Kind() {
	case event.SessionOpen, event.SessionClose:
		out.Policy = names.Policy(r.Policy())
		return out
	case event.PolicyDeny:
		out.Policy = names.Policy(r.Policy())
	case event.ScreenDrop:
		out.Screen = r.Screen().String()
	case event.FilterLog:
		out.Filter, out.Term = names.Term(r.Filter(), r.Term())
	}
	out.Action = [...]string{event.ActionDeny: "deny", event.ActionPermit: "permit", event.ActionReject: "reject"}[r.Action()]
	return out
}

// Rules returns the rules of all hooks that may decide on a packet, by hook, in the order of the chain.
func (x *Explainer) Rules() (hooks []string, rules [][]Rule) {
	for i := range x.Hooks {
		h := &x.Hooks[i]
		for _, at := range []any{h.Session, h.Ingress, h.Egress} {
			if e, ok := at.(hook.Explainer); ok {
				var list []Rule
				for _, r := range e.Rules() {
					list = append(list, h.Rule(r))
				}
				hooks, rules = append(hooks, h.Name), append(rules, list)
				break // all that a hook has say the same
			}
		}
	}
	return hooks, rules
}

// Rule returns a rule of the hook with its place.
func (h *Hook) Rule(r hook.Rule) Rule {
	return Rule{Sort: r.Sort, Name: r.Name, Then: r.Then, Place: h.place(r.Key)}
}

// place returns where a key of the hook's table stands, nil if there is no key.
func (h *Hook) place(key string) *Place {
	if h.Place == nil || key == "" {
		return nil
	}
	file, line, column := h.Place(key)
	return &Place{File: file, Line: line, Column: column}
}

// oneFrame is a source of one frame.
type oneFrame struct {
	frame packet.Frame
	done  bool
}

// Receive implements [source.FrameSource].
func (s *oneFrame) Receive(_ context.Context, b *packet.Batch, _ time.Duration) error {
	if s.done {
		return io.EOF
	}
	s.done = true
	b.Frames[0], b.N = s.frame, 1
	b.Now, b.Wall = s.frame.Time, s.frame.Time
	return nil
}

// Release implements [source.FrameSource].
func (s *oneFrame) Release() {}

// inPath is a source of one frame that a bridge would send on.
type inPath struct{ *oneFrame }

var _ source.Forwarder = inPath{}

// Forward implements [source.Forwarder]. It sends nothing.
func (inPath) Forward([]source.Verdict) (notSent int) { return 0 }

package compare

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/explain"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/packettext"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

// MaxFlows is how many flows a recorder holds. One takes some 500 bytes.
const MaxFlows = 2 << 20

// ErrTooMany is the error of a recorder that has met more than [MaxFlows] flows.
var ErrTooMany = fmt.Errorf("there are more than %d flows", MaxFlows)

// Recorder notes what one configuration makes of flows. Its hooks are for a pipeline with one worker; records may come to its sink at the
// same time.
type Recorder struct {
	x     *explain.Explainer
	flows map[flowKey]*flow
	rules interned[rule]
	full  bool

	mu       sync.Mutex
	logs     map[flowKey][]uint32 // of the kinds of records of a flow, each once
	records  interned[string]
	fullLogs bool
}

// flowKey names a flow. Of one whose packets are met in order it is its two ends, in an order that does not depend on the direction. Ends of
// ICMP have no ports: packets and records do not agree on what stands there.
type flowKey struct {
	low, high netip.AddrPort
	proto     uint8
	alone     aloneKey
}

// aloneKey is what else the name of a flow has whose packet is carried alone: all that its verdict depends on. The ends of such a flow stand as
// they are in the packet, source first, for the same packet the other way is another question. In a capture it is zero.
type aloneKey struct {
	in, out            string // interfaces
	icmpType, icmpCode uint8
}

func newKey(proto uint8, src, dst netip.AddrPort) flowKey {
	if packet.IsICMP(proto) {
		src, dst = netip.AddrPortFrom(src.Addr(), 0), netip.AddrPortFrom(dst.Addr(), 0)
	}
	if src.Compare(dst) > 0 {
		src, dst = dst, src
	}
	return flowKey{low: src, high: dst, proto: proto}
}

// newAloneKey returns the key of a packet that is carried alone.
func newAloneKey(p *packettext.Packet) flowKey {
	key := flowKey{low: p.Src, high: p.Dst, proto: p.Proto, alone: aloneKey{in: p.In, out: p.Out}}
	key.alone.icmpType, key.alone.icmpCode = p.ICMP()
	return key
}

// flow is what became of one flow.
type flow struct {
	src, dst     netip.AddrPort // of the packet that was met first
	iface        string
	words        string // of the packet that is carried alone
	in, out      string // zones, "" = not known
	seen, passed uint32 // packets
	asked        []asked
	decided      []uint32 // of the rules, each once
}

// asked is a question that a hook has been asked about a flow, and its answer.
type asked struct {
	hook       int
	site       hook.Site
	verdict    hook.Verdict
	found      bool
	screen     event.Screen
	rule, term uint32
}

// rule is a rule of a hook that has decided. Of two configurations the same rule stands in different places.
type rule struct {
	hook, sort, name, then string
	place                  explain.Place
}

// interned numbers values in the order in which they come.
type interned[T comparable] struct {
	numbers map[T]uint32
	list    []T
}

func (in *interned[T]) number(v T) uint32 {
	n, known := in.numbers[v]
	if !known {
		if in.numbers == nil {
			in.numbers = make(map[T]uint32)
		}
		n = uint32(len(in.list))
		in.numbers[v], in.list = n, append(in.list, v)
	}
	return n
}

// add adds a number to a list that does not have it.
func add(list []uint32, n uint32) []uint32 {
	if slices.Contains(list, n) {
		return list
	}
	return append(list, n)
}

// NewRecorder returns a recorder; x has the zones of the configuration, and the places of its rules.
func NewRecorder(x *explain.Explainer) *Recorder {
	return &Recorder{x: x, flows: make(map[flowKey]*flow), logs: make(map[flowKey][]uint32)}
}

// Err returns [ErrTooMany] if that has happened. It is for when the pipeline has ended.
func (r *Recorder) Err() error {
	if r.full || r.fullLogs {
		return ErrTooMany
	}
	return nil
}

// Before returns a hook that stands before all others of the pipeline.
func (r *Recorder) Before() hook.Instance { return hook.Instance{Ingress: before{r}} }

// After returns a hook that stands behind all others of the pipeline.
func (r *Recorder) After() hook.Instance { return hook.Instance{Egress: after{r}} }

// Hook returns a hook that judges as h does, the hook of that name, and notes it.
func (r *Recorder) Hook(name string, h hook.Instance) hook.Instance {
	i := slices.IndexFunc(r.x.Hooks, func(o explain.Hook) bool { return o.Name == name })
	if i < 0 {
		return h
	}
	if h.Ingress != nil {
		h.Ingress = tracedHook{h.Ingress, tracer{r, i, hook.Ingress}}
	}
	if h.Session != nil {
		h.Session = tracedSession{h.Session, tracer{r, i, hook.Session}}
	}
	if h.Egress != nil {
		h.Egress = tracedHook{h.Egress, tracer{r, i, hook.Egress}}
	}
	return h
}

// flow returns what is noted of the flow of a packet.
func (r *Recorder) flow(p *hook.Packet) *flow {
	src := netip.AddrPortFrom(p.Src.Netip(p.Family), p.SrcPort)
	dst := netip.AddrPortFrom(p.Dst.Netip(p.Family), p.DstPort)
	key := newKey(p.Proto, src, dst)
	f := r.flows[key]
	if f == nil {
		f = &flow{src: src, dst: dst, iface: r.x.Names.Interface(p.Interface), in: r.zone(p.InZone)}
		if len(r.flows) == MaxFlows {
			r.full = true
			return f
		}
		r.flows[key] = f
	}
	if f.out == "" && p.OutZone != 0 && src == f.src && dst == f.dst {
		f.out = r.zone(p.OutZone)
	}
	return f
}

// zone returns the name of a zone, "" if it is not known.
func (r *Recorder) zone(id uint16) string {
	if id == 0 {
		return ""
	}
	return r.x.Zones.Name(id)
}

// before counts the packets of flows. Later fragments are not counted, here and behind the hooks: at first they have no ports, and so no
// flow.
type before struct{ *Recorder }

// Inspect implements [hook.Hook].
func (h before) Inspect(p *hook.Packet, _ *hook.Finding) hook.Verdict {
	if p.FragOff == 0 {
		h.flow(p).seen++
	}
	return hook.Pass
}

// after counts the packets that no hook has dropped.
type after struct{ *Recorder }

// Inspect implements [hook.Hook].
func (h after) Inspect(p *hook.Packet, _ *hook.Finding) hook.Verdict {
	if p.FragOff == 0 {
		h.flow(p).passed++
	}
	return hook.Pass
}

// tracer notes what one hook decides at one site.
type tracer struct {
	*Recorder
	hook int // in x.Hooks
	site hook.Site
}

// note asks a hook for its reasons when it has judged a packet otherwise than those of the flow before.
func (t tracer) note(judge any, p *hook.Packet, v hook.Verdict, f *hook.Finding) {
	e, ok := judge.(hook.Explainer)
	if !ok {
		return
	}
	q := asked{hook: t.hook, site: t.site, verdict: v, found: f.Found}
	if f.Found {
		q.screen, q.rule, q.term = f.Screen, f.Policy+f.Filter, f.Term
	}
	of := t.flow(p)
	if slices.Contains(of.asked, q) {
		return
	}
	of.asked = append(of.asked, q)
	for _, m := range e.Explain(p, v, f).Matched {
		of.decided = add(of.decided, t.ruleNumber(t.x.Hooks[t.hook].Name, t.x.Hooks[t.hook].Rule(m)))
	}
}

func (r *Recorder) ruleNumber(hook string, x explain.Rule) uint32 {
	of := rule{hook: hook, sort: x.Sort, name: x.Name, then: x.Then}
	if x.Place != nil {
		of.place = *x.Place
	}
	return r.rules.number(of)
}

// tracedHook is a hook of which every call is noted.
type tracedHook struct {
	hook.Hook
	tracer
}

// Inspect implements [hook.Hook].
func (t tracedHook) Inspect(p *hook.Packet, f *hook.Finding) hook.Verdict {
	v := t.Hook.Inspect(p, f)
	t.note(t.Hook, p, v, f)
	return v
}

// tracedSession is a hook at the session site of which every call is noted.
type tracedSession struct {
	hook.SessionHook
	tracer
}

// Decide implements [hook.SessionHook].
func (t tracedSession) Decide(p *hook.Packet, permit *hook.Permit, f *hook.Finding) hook.Verdict {
	v := t.SessionHook.Decide(p, permit, f)
	t.note(t.SessionHook, p, v, f)
	return v
}

// Run implements [sdk.Sink]: it notes what the records of the pipeline say.
func (r *Recorder) Run(ctx context.Context, stream sdk.Stream) error {
	for {
		batch, err := stream.Next(ctx, -1)
		if errors.Is(err, sdk.ErrDrained) {
			return nil
		}
		if err != nil {
			return err
		}
		for i := range batch.Records {
			rec := &batch.Records[i]
			if rec.Kind() == event.Loss || !rec.Src().IsValid() || !rec.Dst().IsValid() {
				continue // of no flow
			}
			r.record(newKey(rec.Proto(), netip.AddrPortFrom(rec.Src(), rec.SrcPort()), netip.AddrPortFrom(rec.Dst(), rec.DstPort())),
				r.x.Record(rec, stream.Names(rec.Generation)))
		}
		if err := stream.Ack(batch.Last()); err != nil {
			return err
		}
	}
}

// record notes a record of a flow.
func (r *Recorder) record(key flowKey, rec explain.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list, known := r.logs[key]
	if !known && len(r.logs) == MaxFlows {
		r.fullLogs = true
		return
	}
	r.logs[key] = add(list, r.records.number(rec.String()))
}

// Packet carries one packet alone, as explain does, and notes what becomes of it. The same one again is not carried: it would be judged
// alike. A recorder takes these or a pipeline's. The error is [ErrTooMany], or that of the explainer.
func (r *Recorder) Packet(p *packettext.Packet) error {
	key := newAloneKey(p)
	if r.flows[key] != nil {
		return nil
	}
	if len(r.flows) == MaxFlows {
		return ErrTooMany
	}
	a, err := r.x.Text(p)
	if err != nil {
		return err
	}
	f := &flow{words: p.Text, in: a.Zone, out: a.ToZone, seen: 1}
	if a.Verdict == passes {
		f.passed = 1
	}
	for i := range a.Steps {
		for _, m := range a.Steps[i].Matched {
			f.decided = add(f.decided, r.ruleNumber(a.Steps[i].Hook, m))
		}
	}
	for _, rec := range a.Log {
		r.record(key, rec)
	}
	r.flows[key] = f
	return nil
}

// passes is the verdict of an explanation for a packet that is let through.
const passes = "pass"

// text describes a flow as the language of packets has it.
func (f *flow) text(key flowKey) string {
	if f.words != "" {
		return f.words
	}
	src, dst := f.src.String(), f.dst.String()
	if !hasPorts(key.proto) {
		src, dst = f.src.Addr().String(), f.dst.Addr().String()
	}
	text := fmt.Sprintf("%s %s > %s", application.ProtocolName(key.proto), src, dst)
	if f.iface != "" {
		text += " in " + f.iface
	}
	return text
}

func hasPorts(proto uint8) bool {
	return proto == packet.ProtoTCP || proto == packet.ProtoUDP || proto == packet.ProtoSCTP
}

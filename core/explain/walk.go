package explain

import (
	"fmt"
	"slices"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/worker"
	"github.com/rtflow/pipelined/core/zone"
)

// walk is the way of one packet.
type walk struct {
	explainer *Explainer
	hooks     []Hook         // of the explainer; those that judge by earlier packets have seen none
	headers   packet.Headers // as the frame has them
	named     zones          // of the packet, in the place of those that the worker finds
	answer    Answer
	rejected  bool // the last hook that did not let it pass rejected it
}

// rules returns the hooks of the configuration, each behind one that takes notes.
func (w *walk) rules() worker.Rules {
	x := w.explainer
	r := worker.Rules{
		Ingress: []hook.Hook{seen{w, false}}, Session: []hook.SessionHook{begun{w}}, Egress: []hook.Hook{seen{w, true}},
		SynCheck: x.Sessions.SynCheck, Unlogged: x.Unlogged, Alone: true,
	}
	for i := range w.hooks {
		h := &w.hooks[i]
		if h.Ingress != nil {
			r.Ingress = append(r.Ingress, tracedHook{w, h, hook.Ingress, h.Ingress})
		}
		if h.Session != nil {
			r.Session = append(r.Session, tracedSession{w, h, h.Session})
		}
		if h.Egress != nil {
			r.Egress = append(r.Egress, tracedHook{w, h, hook.Egress, h.Egress})
		}
	}
	return r
}

// add adds the step of a hook that has just judged the packet.
func (w *walk) add(site hook.Site, h *Hook, judge any, p *hook.Packet, v hook.Verdict, f *hook.Finding) {
	s := Step{Site: site.String(), Hook: h.Name, Plugin: h.Plugin, Verdict: verdictText(v)}
	s.Reverse = p.Tuple != w.headers.Tuple && p.Tuple == w.headers.Reverse()
	if v != hook.Pass {
		w.rejected = v.Rejects()
	}
	if e, ok := judge.(hook.Explainer); ok {
		x := e.Explain(p, v, f)
		s.Looked = x.Looked
		for _, n := range x.Notes {
			if n = h.Name + ": " + n; !slices.Contains(w.answer.Notes, n) {
				w.answer.Notes = append(w.answer.Notes, n)
			}
		}
		for _, r := range x.Matched {
			s.Matched = append(s.Matched, h.Rule(r))
		}
		if x.Nearest != nil {
			s.Nearest = h.nearest(x.Nearest())
		}
	}
	w.answer.Steps = append(w.answer.Steps, s)
}

// nearest returns that rule with the places of what fails, nil if there is none.
func (h *Hook) nearest(n *hook.Nearest) *Nearest {
	if n == nil {
		return nil
	}
	near := &Nearest{Rule: h.Rule(n.Rule)}
	for _, fail := range n.Fails {
		near.Fails = append(near.Fails, Fail{fail.Text, h.place(fail.Key)})
	}
	return near
}

func verdictText(v hook.Verdict) string {
	return [...]string{hook.Pass: "pass", hook.Drop: "drop", hook.Reject: "reject", hook.Prohibit: "reject"}[v]
}

// conclude sets what became of the packet, by the worker's own count.
func (w *walk) conclude(c worker.Counts) {
	a := &w.answer
	a.Verdict = verdictText(hook.Pass)
	for site, n := range c.Dropped {
		if n > 0 {
			a.Site = hook.Site(site).String()
			a.Verdict = verdictText(hook.Drop)
			if w.rejected {
				a.Verdict = verdictText(hook.Reject)
			}
		}
	}
	for cause, n := range c.Causes {
		if cause := packet.Cause(cause); n > 0 && cause != packet.NotIP {
			a.Verdict, a.Why = "refuse", fmt.Sprintf("it cannot be judged: %v", cause)
		}
	}
	switch {
	case c.Causes[packet.NotIP] > 0:
		a.Why = "it is no IP packet, and no hook sees it"
	case c.Orphans > 0:
		a.Why = "a later fragment belongs to the session of the first one, which was not seen"
	case c.Strays > 0:
		a.Why = "it belongs to no session that was seen and begins none"
	case c.OutOfState > 0:
		a.Verdict = verdictText(hook.Drop) // what the policies say of it is not carried out
		a.Why = "it answers a packet that was not seen, and no session is made for it; nothing is logged of that"
	}
}

// zone returns the name of a zone, "" if it is not known.
func (w *walk) zone(id uint16) string {
	if id == 0 {
		return ""
	}
	return w.explainer.Zones.Name(id)
}

// seen notes what is known of every packet at the first and the last call site. It lets all pass. Where the zones of the packet are named it
// sets them, before any other hook has seen it.
type seen struct {
	*walk
	last bool
}

// Inspect implements [hook.Hook].
func (s seen) Inspect(p *hook.Packet, _ *hook.Finding) hook.Verdict {
	if s.named.from != zone.Unknown {
		p.InZone = s.named.from
	}
	if s.named.to != zone.Unknown {
		p.Leaves = s.named.to
	}
	s.answer.Interface, s.answer.Zone = s.explainer.Names.Interface(p.Interface), s.zone(p.InZone)
	if s.last {
		s.to(p)
	}
	return hook.Pass
}

// to notes where a packet goes to.
func (w *walk) to(p *hook.Packet) {
	w.answer.ToZone, w.answer.Application = w.zone(p.OutZone), w.explainer.Names.Application(p.App)
}

// begun notes what is known of the first packet of a flow. It lets all pass.
type begun struct{ *walk }

// Decide implements [hook.SessionHook].
func (b begun) Decide(p *hook.Packet, _ *hook.Permit, f *hook.Finding) hook.Verdict {
	if p.Tuple == b.headers.Tuple {
		b.to(p)
	}
	f.Remember = true
	return hook.Pass
}

// Denied implements [hook.SessionHook].
func (b begun) Denied(*hook.Packet, *hook.Finding) {}

// tracedHook is a hook of the configuration of which every call is noted.
type tracedHook struct {
	*walk
	of   *Hook
	site hook.Site
	hook.Hook
}

// Inspect implements [hook.Hook].
func (t tracedHook) Inspect(p *hook.Packet, f *hook.Finding) hook.Verdict {
	v := t.Hook.Inspect(p, f)
	t.add(t.site, t.of, t.Hook, p, v, f)
	return v
}

// tracedSession is a hook at the session site of which every call is noted.
type tracedSession struct {
	*walk
	of *Hook
	hook.SessionHook
}

// Decide implements [hook.SessionHook].
func (t tracedSession) Decide(p *hook.Packet, permit *hook.Permit, f *hook.Finding) hook.Verdict {
	v := t.SessionHook.Decide(p, permit, f)
	t.add(hook.Session, t.of, t.SessionHook, p, v, f)
	return v
}

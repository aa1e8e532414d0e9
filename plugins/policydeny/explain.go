package policydeny

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/sdk/event"
)

var _ hook.Explainer = (*engine)(nil)

// Explain implements [hook.Explainer].
func (e *engine) Explain(p *hook.Packet, v hook.Verdict, _ *hook.Finding) hook.Explanation {
	number, _ := e.find(p)
	x := hook.Explanation{
		Looked:  fmt.Sprintf("policies from %s to %s, application %s", e.zone(p.InZone), e.zone(p.OutZone), service(&p.Headers)),
		Matched: []hook.Rule{e.rule(number)},
	}
	if v != hook.Pass {
		x.Nearest = func() *hook.Nearest { return e.nearest(p, number) }
	}
	return x
}

// Rules implements [hook.Explainer].
func (e *engine) Rules() []hook.Rule {
	rules := make([]hook.Rule, 0, len(e.decisions))
	for number := range e.decisions {
		rules = append(rules, e.rule(number))
	}
	return rules
}

// rule describes the policy of that number, or the default.
func (e *engine) rule(number int) hook.Rule {
	d := &e.decisions[number]
	then := [...]string{event.ActionDeny: thenDeny, event.ActionPermit: thenPermit, event.ActionReject: thenReject}[d.action]
	if number == len(e.policies) {
		name := defaultDeny
		if d.action == event.ActionPermit {
			name = defaultPermit
		}
		return hook.Rule{Sort: "default", Name: name, Key: "default", Then: then}
	}
	p := &e.policies[number]
	return hook.Rule{Sort: "policy", Name: p.name, Key: policyKey{p.position, ""}.String(), Then: then}
}

// nearest returns the policy that would permit the packet and fails for the fewest reasons, of several the one that is asked first;
// decider is the number of what has denied the packet. It returns nil if no policy permits anything.
func (e *engine) nearest(p *hook.Packet, decider int) *hook.Nearest {
	var best *hook.Nearest
	for _, global := range []bool{false, true} {
		for number := range e.policies {
			q := &e.policies[number]
			if q.global() != global || e.decisions[number].action != event.ActionPermit {
				continue
			}
			fails := e.fails(q, p)
			if e.before(decider, number) {
				key := policyKey{q.position, ""}.String()
				fails = append(fails, hook.Fail{Key: key, Text: fmt.Sprintf("order: policy %s is asked first", e.policies[decider].name)})
			}
			if best == nil || len(fails) < len(best.Fails) {
				best = &hook.Nearest{Rule: e.rule(number), Fails: fails}
			}
		}
	}
	return best
}

// before reports whether the policy of number a is asked before that of number b. The default is asked last.
func (e *engine) before(a, b int) bool {
	if a == len(e.policies) {
		return false
	}
	if ga, gb := e.policies[a].global(), e.policies[b].global(); ga != gb {
		return gb
	}
	return a < b
}

// fails returns the conditions of a policy that a packet does not meet.
func (e *engine) fails(q *policy, p *hook.Packet) (fails []hook.Fail) {
	key := policyKey{q.position, ""}
	add := func(option, format string, args ...any) {
		fails = append(fails, hook.Fail{Key: key.option(option).String(), Text: option + ": " + fmt.Sprintf(format, args...)})
	}
	if q.from != nil && !slices.Contains(q.from, p.InZone) {
		add("from", "the packet comes from %s, not from %s", e.zone(p.InZone), e.zoneNames(q.from))
	}
	if q.to != nil && !slices.Contains(q.to, p.OutZone) {
		add("to", "the packet goes to %s, not to %s", e.zone(p.OutZone), e.zoneNames(q.to))
	}
	if !q.src.contains(&p.Src, p.Family) {
		add("source", "%v is not among the addresses", p.Src.Netip(p.Family))
	}
	if !q.dst.contains(&p.Dst, p.Family) {
		add("destination", "%v is not among the addresses", p.Dst.Netip(p.Family))
	}
	if q.terms != nil && !matches(q.terms, &p.Headers) {
		add("application", "%s is not in %s", service(&p.Headers), few(q.applications))
	}
	return fails
}

// contains reports whether an address is one that the side wants.
func (p *side) contains(a *packet.Addr, f packet.Family) bool {
	ip := a.Netip(f)
	if p.families&familyOf(ip) == 0 {
		return false
	}
	listed := slices.ContainsFunc(p.sets, func(set *set) bool { return set.ranges().Contains(ip) })
	return listed != p.excluded
}

// zone returns the name of a zone for people.
func (e *engine) zone(id uint16) string {
	if id == zone.Unknown {
		return "an unknown zone"
	}
	return e.zones.Name(id)
}

func (e *engine) zoneNames(ids []uint16) string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = e.zone(id)
	}
	return few(names)
}

// fewNames is how many names of a list an explanation prints.
const fewNames = 8

// few joins names, and says how many more there are of a long list.
func few(names []string) string {
	if len(names) <= fewNames {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:fewNames], ", "), len(names)-fewNames)
}

// service describes what an application is told by.
func service(h *packet.Headers) string {
	name := application.ProtocolText(h.Proto)
	switch {
	case !h.HasHead:
		return name
	case packet.IsICMP(h.Proto):
		return fmt.Sprintf("%s type %d code %d", name, h.ICMPType, h.ICMPCode)
	case h.Proto == packet.ProtoTCP, h.Proto == packet.ProtoUDP, h.Proto == packet.ProtoSCTP:
		return fmt.Sprintf("%s port %d", name, h.DstPort)
	}
	return name
}

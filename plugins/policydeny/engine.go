package policydeny

import (
	"slices"

	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

// engine is the compiled configuration. It is immutable but for its counters, and safe for concurrent use by workers that
// differ in Packet.Worker.
type engine struct {
	apps      *application.Table
	policies  []policy
	decisions []decision // by policy; behind them that of the default

	pairs  map[uint32][]gate // by zonePair: the policies between two zones, in order
	global []globalGate      // those for any zone on at least one side, in order

	counters counters
}

var _ hook.SessionHook = (*engine)(nil)

// globalGate is the gate of a global policy and the zones it asks for; nil = any, known or not.
type globalGate struct {
	gate
	from, to []uint16
}

func zonePair(from, to uint16) uint32 { return uint32(from)<<16 | uint32(to) }

// Decide judges the first packet of a flow: first match wins, the policies between the packet's two zones before the
// global ones, and the default if none matches.
func (e *engine) Decide(p *hook.Packet, permit *hook.Permit, f *hook.Finding) hook.Verdict {
	number, timeout := e.find(p)
	e.counters.add(p.Worker, number, p.IPLen)
	d := &e.decisions[number]
	if d.action == event.ActionPermit {
		if d.timeout != 0 {
			timeout = d.timeout
		} else if timeout == 0 {
			timeout = e.apps.Timeout(p.App)
		}
		*permit = hook.Permit{Policy: d.id, NoOpen: d.noOpen, NoClose: d.noClose, Timeout: timeout}
		return hook.Pass
	}
	if d.log {
		*f = hook.Finding{Found: true, Kind: event.PolicyDeny, Action: d.action, Policy: d.id}
	}
	if d.action == event.ActionReject && answerable(&p.Headers) {
		return hook.Reject
	}
	return hook.Drop
}

// answerable reports whether a rejected packet is answered: TCP with a RST, UDP with port unreachable, everything else is
// dropped silently (Junos), and so is a fragment without its transport header (RFC 1122 section 3.2.2).
func answerable(h *packet.Headers) bool {
	return h.HasHead && (h.Proto == packet.ProtoTCP || h.Proto == packet.ProtoUDP)
}

// find returns the number of the policy that decides, that of the default if none matches, and the timeout of the
// application that matched.
func (e *engine) find(p *hook.Packet) (number int, timeout uint32) {
	var f flow
	f.read(&p.Headers)
	chain := e.pairs[zonePair(p.InZone, p.OutZone)]
	for i := range chain {
		g := &chain[i]
		if !g.opens(f.features, p.DstPort) {
			continue
		}
		if seconds, ok := e.policies[g.policy].match(&f, &p.Headers); ok {
			return int(g.policy), seconds
		}
	}
	for i := range e.global {
		g := &e.global[i]
		if !g.opens(f.features, p.DstPort) || !hasZone(g.from, p.InZone) || !hasZone(g.to, p.OutZone) {
			continue
		}
		if seconds, ok := e.policies[g.policy].match(&f, &p.Headers); ok {
			return int(g.policy), seconds
		}
	}
	return len(e.policies), 0
}

func hasZone(zones []uint16, zone uint16) bool { return zones == nil || slices.Contains(zones, zone) }

// Counters returns how many packets, and bytes of IP, each policy and the default decided. A policy decides the first
// packet of a session it permits and every packet it denies.
func (e *engine) Counters() []hook.Counter { return e.counters.read() }

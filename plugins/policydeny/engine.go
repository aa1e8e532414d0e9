package policydeny

import (
	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/sdk/event"
)

// engine is the compiled configuration. It is immutable but for its tally and the scratch space of workers, and
// safe for concurrent use by workers that differ in Packet.Worker.
type engine struct {
	apps      *application.Table
	zones     *zone.Table
	index     *index
	policies  []policy
	decisions []decision // by policy; behind them that of the default. The index has a copy beside each policy's conditions
	ids       []uint32   // in records, of the policies and of the default. Those of an earlier generation of the names are in any order

	workers []worker
	tally   *hook.Tally // by policy; behind them the default. A policy counts the sessions it permits, and every packet it denies
}

// worker is what one worker alone uses.
type worker struct {
	scratch
	_ [128]byte // two cache lines, which processors fetch together
}

var (
	_ hook.Rematcher = (*engine)(nil)
	_ hook.Publisher = (*engine)(nil)
)

// hook returns the engine as a hook, which has its memory fetched if it is large. It returns the engine itself if the configuration
// has mistakes.
func (e *engine) hook() hook.SessionHook {
	if e.index != nil && e.index.size() > nearCache {
		return newPrefetching(e)
	}
	return e
}

// Decide judges the first packet of a flow: first match wins, the policies between the packet's two zones before the
// global ones, and the default if none matches.
func (e *engine) Decide(p *hook.Packet, permit *hook.Permit, f *hook.Finding) hook.Verdict {
	number, d := e.find(p)
	id := e.ids[number]
	if d.action == event.ActionPermit {
		e.tally.Count(p, number)
		*permit = hook.Permit{Policy: id, NoOpen: d.noOpen, NoClose: d.noClose, Timeout: e.timeout(d, number, p)}
		return hook.Pass
	}
	*f = hook.Finding{Rule: uint32(number), Remember: true}
	if !d.noOpen {
		f.Found, f.Kind, f.Action, f.Policy = true, event.PolicyDeny, d.action, id
	}
	if d.action == event.ActionReject && answerable(&p.Headers) {
		return hook.Reject
	}
	return hook.Drop
}

// Denied implements [hook.SessionHook].
func (e *engine) Denied(p *hook.Packet, f *hook.Finding) { e.tally.CountLater(p, int(f.Rule)) }

// Publish implements [hook.Publisher].
func (e *engine) Publish(worker int) { e.tally.Publish(worker) }

// answerable reports whether a rejected packet is answered: TCP with a RST, UDP with an ICMP error, everything else is
// dropped silently (Junos), and so is a fragment without its transport header (RFC 1122 section 3.2.2).
func answerable(h *packet.Headers) bool {
	return h.HasHead && (h.Proto == packet.ProtoTCP || h.Proto == packet.ProtoUDP)
}

// Rematch implements [hook.Rematcher].
func (e *engine) Rematch() func(p *hook.Packet) bool {
	s := e.index.newScratch()
	return func(p *hook.Packet) bool {
		d := &e.decisions[len(e.policies)]
		if found := e.index.find(p, &s); found != nil {
			d = &found.decision
		}
		return d.action == event.ActionPermit
	}
}

// find returns the number of the policy that decides and its decision, those of the default if none matches.
func (e *engine) find(p *hook.Packet) (number int, d *decision) {
	if found := e.index.find(p, &e.workers[p.Worker].scratch); found != nil {
		return int(found.policy), &found.decision
	}
	number = len(e.policies)
	return number, &e.decisions[number]
}

// timeout returns the inactivity timeout of a session: the policy's, or that of the application that the packet belongs
// to.
func (e *engine) timeout(d *decision, number int, p *hook.Packet) uint32 {
	seconds := d.timeout
	if d.byTerm {
		seconds = timeout(e.policies[number].terms, &p.Headers)
	}
	if seconds == 0 {
		seconds = e.apps.Timeout(p.App)
	}
	return seconds
}

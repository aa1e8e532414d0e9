package feed

import (
	"math"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/sdk/event"
)

// carry offers the events of what has happened.
func (f *Feed) carry(e *source.Event) {
	f.counts[e.What]++
	switch e.What {
	case source.Began:
		f.began(e)
	case source.Answered:
		f.answered(e)
	case source.Ended:
		f.ended(e)
	case source.Denied:
		f.packet(event.PolicyDeny, e)
	case source.Logged:
		f.packet(event.FilterLog, e)
	case source.Accepted:
		f.accepted(e)
	case source.Lost:
		f.flush()
		f.lane.Unread(&e.Lost, e.Created, e.Time)
	}
}

// began finds out what is kept of a session, and offers its open record. Forged addresses begin as many sessions as they like:
// what the limiter refuses, or no ring has room for, is owed until the session is answered.
func (f *Feed) began(e *source.Event) {
	kept := e.Kept
	if kept == nil {
		kept = &f.nothing
	}
	f.place(kept, e)
	kept.Carried, kept.Silent = true, e.Silent
	if !e.Silent { // else its rule has logged before it could be read; one that waits is for the session's second beginning
		f.join(kept, e, math.MaxInt64)
	}
	f.locate(kept, e)
	if e.Silent {
		f.counts[silent]++
		return
	}
	f.makeRoom()
	slot := f.lane.Slot(kept.InZone)
	if !f.lane.TryUnanswered(event.SessionOpen, slot, f.now) {
		f.owe(e, slot)
		return
	}
	open := f.add()
	*open = sessionEvent(event.SessionOpen, e, kept)
	open.Unanswered = true
	f.openings = append(f.openings, opening{event: e, slot: slot, index: len(f.events) - 1})
	kept.Waits = uint16(len(f.openings))
}

// place sets what the addresses and ports of a session tell, in an empty kept, but for where it comes from.
func (f *Feed) place(kept *source.Kept, e *source.Event) {
	*kept = source.Kept{
		InZone: e.Zone, OutZone: f.Zones.ByPrefix(&e.Reply.Src, e.Reply.Family), App: f.Apps.Service(e.Flow.Proto, e.Flow.DstPort),
	}
}

// locate sets where a session comes from, if nothing else has told it.
func (f *Feed) locate(kept *source.Kept, e *source.Event) {
	if kept.InZone == zone.Unknown {
		kept.InZone = f.Zones.ByPrefix(&e.Flow.Src, e.Flow.Family)
	}
}

// joinLate is join for a session that was told of before its rule. One that began before its source was opened has none, and a packet
// that was let through later than a rule waits begins another session of the same addresses and ports.
func (f *Feed) joinLate(kept *source.Kept, e *source.Event) {
	if kept.Policy == 0 && !kept.Silent {
		f.join(kept, e, e.Created+joinFor)
	}
}

// join takes over what the rule that has let a session through tells of it. The packet was let through at that Unix time or before.
func (f *Feed) join(kept *source.Kept, e *source.Event, until int64) {
	if f.joins == nil {
		return
	}
	entry := f.joins.take(e, f.now, until)
	if entry == nil {
		return
	}
	f.counts[joined]++
	kept.Policy = f.policy(entry.rule)
	if in, id := f.Zones.ByKernel(entry.in); id != 0 {
		kept.Interface = id
		if in != zone.Unknown && kept.InZone == zone.Unknown {
			kept.InZone = in
		}
	}
	if out, _ := f.Zones.ByKernel(entry.out); out != zone.Unknown {
		kept.OutZone = out
	}
	entry.rule = nil
}

// answered offers the open record that a session is owed. One that is on its way is from here on that of an answered session.
func (f *Feed) answered(e *source.Event) {
	if e.Kept == nil {
		return
	}
	f.joinLate(e.Kept, e)
	switch {
	case e.Kept.Owed:
		f.opened(e, e.Kept)
	case e.Kept.Waits != 0:
		o := &f.openings[e.Kept.Waits-1]
		f.events[o.index].Unanswered = false
		o.answered = true
	}
}

// opened offers the open record of an answered session, which was owed until now.
func (f *Feed) opened(e *source.Event, kept *source.Kept) {
	kept.Owed = false
	f.makeRoom()
	if f.lane.Offer(event.SessionOpen, 0, f.now) {
		open := f.add()
		*open = sessionEvent(event.SessionOpen, e, kept)
		open.Time = e.Created
	}
}

// ended offers the close record of a session. An open record that is still owed is offered before it if the session was answered, else
// refused for good.
func (f *Feed) ended(e *source.Event) {
	kept := e.Kept
	if kept == nil { // its source had no room for it: what only its beginning knew is not told
		kept = &f.nothing
		f.place(kept, e)
		f.locate(kept, e)
	}
	f.joinLate(kept, e)
	kept.Ended = true
	slot := f.lane.Slot(kept.InZone)
	switch {
	case kept.Owed && e.Answered:
		f.opened(e, kept)
	case kept.Owed:
		kept.Owed = false
		f.lane.Refuse(event.SessionOpen, slot, f.now)
	}
	f.makeRoom()
	offer := f.lane.OfferUnanswered
	if e.Answered {
		offer = f.lane.Offer
	}
	if !offer(event.SessionClose, slot, f.now) {
		return
	}
	end := f.add()
	*end = sessionEvent(event.SessionClose, e, kept)
	end.Unanswered = !e.Answered
	// The record has whole seconds for the creation: rounded so that the elapsed time comes out right.
	end.Created = uint32(e.Time/1e9 - max(e.Time-e.Created, 0)/1e9)
	end.Reason = e.Reason
	end.ClientPackets, end.ClientBytes = e.ClientPackets, e.ClientBytes
	end.ServerPackets, end.ServerBytes = e.ServerPackets, e.ServerBytes
}

// packet offers the event of a packet that a rule has denied or logged.
func (f *Feed) packet(k event.Kind, e *source.Event) {
	in, id := f.Zones.ByKernel(e.In)
	if e.Zone != zone.Unknown {
		in = e.Zone
	}
	if in == zone.Unknown {
		in = f.Zones.ByPrefix(&e.Flow.Src, e.Flow.Family)
	}
	out, _ := f.Zones.ByKernel(e.Out)
	if out == zone.Unknown {
		out = f.Zones.ByPrefix(&e.Flow.Dst, e.Flow.Family)
	}
	f.makeRoom()
	if !f.lane.Offer(k, f.lane.Slot(in), f.now) {
		return
	}
	ev := f.add()
	*ev = admission.Event{
		Kind: k, Time: e.Time, Flow: e.Flow, InZone: in, OutZone: out, Interface: id,
		App: f.Apps.Service(e.Flow.Proto, e.Flow.DstPort), Action: e.Action, ICMPType: e.ICMPType, ICMPCode: e.ICMPCode,
	}
	if k == event.PolicyDeny {
		ev.Policy = f.policy(e.Rule)
		return
	}
	ev.Filter, ev.At = f.filter(e.Rule), event.FilterInput
	if e.In == 0 && e.Out != 0 {
		ev.At = event.FilterOutput
	}
}

// accepted keeps the rule for the session that it lets through, or offers the event of the packet where nobody tells of
// sessions.
func (f *Feed) accepted(e *source.Event) {
	if f.joins == nil {
		f.packet(event.FilterLog, e)
		return
	}
	if f.joins.put(e, f.now) {
		f.counts[displaced]++
	}
}

// policy returns the policy id of a rule.
func (f *Feed) policy(r *source.Rule) uint32 {
	if r.Policy == 0 {
		r.Policy = f.Names.Policy(r.Name)
		f.named(r.Policy)
	}
	return r.Policy
}

// filter returns the filter id of a rule.
func (f *Feed) filter(r *source.Rule) uint32 {
	if r.Filter == 0 {
		r.Filter = f.Names.Filter(r.Name)
		f.named(r.Filter)
	}
	return r.Filter
}

// named notes that a rule was given an id, or that there was no room for its name, and so it is asked for again: id is 0.
func (f *Feed) named(id uint32) {
	if id == 0 {
		f.counts[unnamed]++
		return
	}
	f.renamed = true
}

// sessionEvent is the event of a session.
func sessionEvent(k event.Kind, e *source.Event, kept *source.Kept) admission.Event {
	return admission.Event{
		Kind: k, Time: e.Time, Flow: e.Flow, InZone: kept.InZone, OutZone: kept.OutZone, App: kept.App, Interface: kept.Interface,
		Action: event.ActionPermit, Policy: kept.Policy, SessionID: e.Session, NAT: packet.TranslationOf(&e.Flow, &e.Reply),
	}
}

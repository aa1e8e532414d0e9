package worker

import (
	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/internal/prefetch"
	"github.com/rtflow/pipelined/sdk/event"
)

// framesAhead is how many frames are asked for at once, while as many before them are decoded: about as many cache lines as a processor
// fetches at a time.
const framesAhead = 8

// decode reads the headers of all frames of the batch, finds their zones, and has their sessions fetched: what is not in a
// cache is then waited for once and not for each packet.
func (w *Worker) decode() {
	b := &w.batch
	var at entrance
	zone, n := uint16(zone.Unknown), 0 // packets in a row that came from it
	prefetch.Pointed(b.Frames[:min(b.N, framesAhead)])
	for i := range min(b.N, packet.BatchSize) { // the compiler then checks no bounds
		if i%framesAhead == 0 && i+framesAhead < b.N {
			prefetch.Pointed(b.Frames[i+framesAhead : min(i+2*framesAhead, b.N)])
		}
		f, p := &b.Frames[i], &w.packets[i]
		w.counts[bytes] += uint64(f.Wire)
		w.causes[i] = packet.DecodeLink(f.Link, f.Data, f.Wire, &p.Headers)
		if p.Family == 0 {
			continue
		}
		p.Time = f.Time
		p.Worker = w.Index
		p.OutZone, p.App = 0, 0
		w.locate(f, p, &at)
		if p.InZone != zone {
			w.zoned.add(zone, n)
			zone, n = p.InZone, 0
		}
		n++
		w.Sessions.SetKey(&w.keys[i], &p.Tuple, w.Separate.Domain(&p.Headers, p.InZone))
	}
	w.zoned.add(zone, n)
	w.counts[received] += uint64(b.N)
	w.Sessions.Prefetch(w.keys[:b.N])
	w.prefetch()
}

// frame carries the packet at hand: ingress hooks, session. What finish does follows. It returns what becomes of the packet,
// for a source that is in its path.
func (w *Worker) frame(p *hook.Packet, cause packet.Cause) hook.Verdict {
	if p.Family == 0 {
		w.counts[refused+counter(cause)]++ // no IP header to judge it by
		if cause != packet.NotIP {
			return hook.Drop
		}
		if w.forwarder != nil {
			w.counts[forwarded]++
		}
		return hook.Pass
	}
	if v := w.ingress(p); v != hook.Pass {
		w.flowDropped(p)
		w.counts[dropped+counter(hook.Ingress)]++
		return v
	}
	if cause != packet.OK {
		w.counts[refused+counter(cause)]++
		return hook.Drop
	}
	v, waits := w.session(p, false)
	if waits {
		return v
	}
	return w.finish(p, v)
}

// entrance is what the zone table says of frames that come in on an interface in a VLAN: most come as the one before.
type entrance struct {
	by         uint32 // index of the interface
	vlan, zone uint16
	id         uint32
}

// locate settles which zone a packet comes from and, if it was seen where it leaves, which it goes to. at is the entrance of the frame
// before.
func (w *Worker) locate(f *packet.Frame, p *hook.Packet, at *entrance) {
	if f.SegmentSize != 0 {
		p.Merge(f)
	}
	if f.Outgoing {
		p.InZone, p.Interface = w.zones.ByPrefix(&p.Src, p.Family), 0
		p.Leaves, _ = w.zones.Logical(f.Interface, p.VLAN)
		return
	}
	if f.Interface != at.by || p.VLAN != at.vlan {
		at.by, at.vlan = f.Interface, p.VLAN
		at.zone, at.id = w.zones.Logical(f.Interface, p.VLAN)
	}
	p.InZone, p.Interface, p.Leaves = at.zone, at.id, zone.Unknown
	if at.zone == zone.Unknown {
		p.InZone = w.zones.ByPrefix(&p.Src, p.Family)
	}
	if f.LeavesBy != 0 {
		p.Leaves, _ = w.zones.Logical(f.LeavesBy, p.VLAN)
	}
}

// egress returns the zone that a packet goes to.
func (w *Worker) egress(p *hook.Packet) uint16 {
	if p.Leaves != zone.Unknown {
		return p.Leaves
	}
	return w.zones.ByPrefix(&p.Dst, p.Family)
}

// inspect calls the hooks of a site until one does not let the packet pass.
func (w *Worker) inspect(hooks []hook.Hook, p *hook.Packet) hook.Verdict {
	for _, h := range hooks {
		v := h.Inspect(p, &w.finding)
		if w.finding.Found {
			w.offer(p, &w.finding, 0)
			w.finding = hook.Finding{}
		}
		if v != hook.Pass {
			return v
		}
	}
	return hook.Pass
}

// session finds or creates the packet's session. waits is true if the packet is kept for later, see [late]; last is set
// when it comes from there.
//
// Who is the client is decided by what the packet says: first its TCP flags or ICMP type, then its ports, then that it was
// the first. Only a packet that can begin a flow is judged by the policies; what answers one is never logged as denied.
func (w *Worker) session(p *hook.Packet, last bool) (v hook.Verdict, waits bool) {
	if !p.Plain { // which rules all of this out
		if p.ICMPError() {
			return w.icmpError(p, last)
		}
		if w.forwarder != nil && p.NeighbourDiscovery() {
			return hook.Pass, false // as ARP: without it no other packet would be sent
		}
		if !last && p.Fragment && !w.frags.resolve(p) {
			// A later fragment whose first was not seen: no ports, so no session can be named.
			w.counts[orphans]++
			return w.unclaimed(), false
		}
		if p.FragOff != 0 && !last { // it has ports now
			w.Sessions.SetKey(w.key, &p.Tuple, w.key.Domain())
		}
	}
	var hit session.Hit
	if w.Sessions.Lookup(w.key, &p.Headers, p.Time, &hit) {
		if hit.OpenDue {
			w.openDue(p.Time)
		}
		p.OutZone, p.App = hit.OutZone, hit.App
		if w.offloader != nil && !last && (hit.Carry || hit.Flow != 0) {
			w.cameUp(p, &hit)
		}
		return hook.Pass, false
	}
	if p.FragOff != 0 {
		// It begins nothing: the first fragment was denied, or the table had no room.
		w.counts[orphans]++
		return w.unclaimed(), false
	}
	if !answers(p) {
		return w.firstPacket(p, last)
	}
	if !last && w.late.wait(p, w.key, w.current) != nil {
		return hook.Pass, true
	}
	if p.Proto == packet.ProtoTCP && p.TCPFlags&packet.RST != 0 {
		// A reset begins nothing, and joins nothing.
		w.counts[strays]++
		return w.unclaimed(), false
	}
	return w.join(p), false
}

// unclaimed returns what becomes of a packet that belongs to no session and begins none: where the source is in its path it goes
// nowhere, since no policy has let it through; elsewhere there is nothing to hold against it.
func (w *Worker) unclaimed() hook.Verdict {
	if w.forwarder != nil {
		return hook.Drop
	}
	return hook.Pass
}

// icmpError lets an ICMP error pass if the session it quotes is there (RFC 792 errors never make a session).
func (w *Worker) icmpError(p *hook.Packet, last bool) (v hook.Verdict, waits bool) {
	var hit session.Hit
	if !w.quoted(p, &hit) {
		if p.HasInner && !last && w.late.wait(p, w.key, w.current) != nil {
			return hook.Pass, true
		}
		w.counts[strays]++
		return hook.Drop, false
	}
	p.OutZone = hit.OutZone
	return hook.Pass, false
}

// quoted finds the session of the packet that an ICMP error quotes.
func (w *Worker) quoted(p *hook.Packet, hit *session.Hit) bool {
	if !p.HasInner {
		return false
	}
	w.Sessions.SetKey(w.key, &p.Inner, w.key.Domain())
	return w.Sessions.Quoted(w.key, &p.Headers, p.Time, hit)
}

// openDue offers the open record of the session at hand, which has become due with the packet at hand.
func (w *Worker) openDue(now int64) {
	var s session.Session
	if w.Sessions.Get(w.key, now, &s) {
		w.openedLate(&s)
	}
}

// firstPacket asks the policies about the first packet of a flow and creates the session.
func (w *Worker) firstPacket(p *hook.Packet, last bool) (v hook.Verdict, waits bool) {
	d := w.judge(p)
	if d == nil {
		return w.create(p, p, false), false
	}
	if p.Proto != packet.ProtoTCP { // which says itself what is an answer
		if w.answersDoubtful(p) || w.answersUnkept(p) {
			return hook.Pass, false
		}
		if w.adopting() && w.fromService(p) {
			first := *d // the policies are asked again
			if v, permitted := w.joinAs(p, true); permitted {
				return v, false
			}
			d = &first
		}
		if !last && w.couldAnswer(p) {
			if e := w.late.wait(p, w.key, w.current); e != nil {
				e.denied, e.denial = true, *d
				return d.verdict, true
			}
		}
	}
	w.denied(p, d)
	return d.verdict, false
}

// service returns the predefined application of the packet's destination. Only echoes are called icmp.
func (w *Worker) service(p *hook.Packet) uint16 {
	if packet.IsICMP(p.Proto) && !p.Echo() {
		return application.None
	}
	return w.Apps.Service(p.Proto, p.DstPort)
}

// create creates the session of a packet, of whose flow first is the direction of the client, and offers its open record.
// w.created is 1 if the session is new, and 0 otherwise. It returns what becomes of the packet: where the source is in its path,
// one that the table has no room for is dropped, since what answers it would belong to no session.
func (w *Worker) create(p, first *hook.Packet, fromServer bool) hook.Verdict {
	if w.permit.Timeout == 0 {
		w.permit.Timeout = w.Apps.Timeout(first.App)
	}
	params := session.Params{
		ID: w.nextID, Policy: w.permit.Policy, Interface: first.Interface, InZone: first.InZone, OutZone: first.OutZone,
		App: first.App, Timeout: w.permit.Timeout, LogClose: !w.permit.NoClose,
		FromServer: fromServer, Exact: !w.coarse(), DropIfFull: w.forwarder != nil,
		Doubtful: w.coarse() && w.forwarder == nil && p.Proto != packet.ProtoTCP && w.fromService(p),
	}
	outcome := w.Sessions.Create(w.key, &p.Headers, p.Time, &params, &w.old)
	w.replaced(w.at)
	w.created = 0
	if outcome == session.Created {
		w.created = 1
		if w.Asker != nil {
			w.Asker.Ask(w.key, w.nextID, &first.Tuple)
		}
		if !w.permit.NoOpen {
			w.opened(first, w.nextID)
		}
		w.useID()
	}
	if outcome == session.Full && params.DropIfFull {
		return hook.Drop
	}
	return hook.Pass
}

// finish carries a packet on that has passed the session site with that verdict: egress hooks. It returns the last verdict.
func (w *Worker) finish(p *hook.Packet, v hook.Verdict) hook.Verdict {
	if v != hook.Pass {
		w.counts[dropped+counter(hook.Session)]++
		return v
	}
	if len(w.Egress) != 0 {
		if v = w.inspect(w.Egress, p); v != hook.Pass {
			w.counts[dropped+counter(hook.Egress)]++
			return v
		}
	}
	w.counts[w.let]++
	return v
}

// offer offers the event of what a hook has found. id is that of the session which a denied packet would have got.
func (w *Worker) offer(p *hook.Packet, f *hook.Finding, id uint64) {
	w.makeRoom()
	if !w.lane.Offer(f.Kind, w.lane.Slot(p.InZone), w.at) {
		return
	}
	e := w.event(f.Kind, p)
	e.Action, e.Screen, e.Policy, e.SessionID = f.Action, f.Screen, f.Policy, id
	e.Filter, e.Term, e.At = f.Filter, f.Term, f.At
	e.ICMPType, e.ICMPCode = p.ICMPType, p.ICMPCode
}

// opened offers the open record of a session that a packet has just created; id is that of the session, and first the
// packet as the client would have sent it. Forged addresses create as many sessions as they like: what the limiter refuses,
// or no ring has room for, is owed until both ends want the session.
func (w *Worker) opened(first *hook.Packet, id uint64) {
	w.makeRoom()
	slot := w.lane.Slot(first.InZone)
	if !w.lane.TryUnanswered(event.SessionOpen, slot, w.at) {
		w.Sessions.OweOpen(w.key)
		return
	}
	w.openings = append(w.openings, opening{*w.key, slot, id})
	e := w.event(event.SessionOpen, first)
	e.Unanswered = true
	e.Action, e.Policy, e.SessionID = event.ActionPermit, w.permit.Policy, id
}

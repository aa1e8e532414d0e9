package worker

import (
	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/session"
)

// session finds or creates the packet's session. waits is true if the packet is kept for later, see [late]; last is set
// when it comes from there.
//
// Who is the client is decided by what the packet says: first its TCP flags or ICMP type, then its ports, then that it was
// the first. Only a packet that can begin a flow is judged by the policies; what answers one is never logged as denied.
func (w *Worker) session(p *hook.Packet, last bool) (v hook.Verdict, waits bool) {
	if p.ICMPError() {
		return w.icmpError(p, last)
	}
	if !last && p.Fragment && !w.frags.resolve(p) {
		// A later fragment whose first was not seen: no ports, so no session can be named.
		w.counts.orphans++
		return hook.Pass, false
	}
	var hit session.Hit
	if w.lookup(p, &hit) {
		p.OutZone, p.App = hit.OutZone, hit.App
		return hook.Pass, false
	}
	if p.FragOff != 0 {
		// It begins nothing: the first fragment was denied, or the table had no room.
		w.counts.orphans++
		return hook.Pass, false
	}
	if !answers(p) {
		return w.firstPacket(p, last)
	}
	if !last && w.late.wait(p, w.domain) != nil {
		return hook.Pass, true
	}
	if p.Proto == packet.ProtoTCP && p.TCPFlags&packet.RST != 0 {
		// A reset begins nothing.
		w.counts.strays++
		return hook.Pass, false
	}
	return w.join(p), false
}

// answers reports whether the packet says itself that it does not begin a flow: TCP without a SYN, or with SYN and ACK, and
// an echo reply.
func answers(p *hook.Packet) bool {
	if p.Proto != packet.ProtoTCP {
		return p.EchoReply()
	}
	return p.HasL4 && p.TCPFlags&(packet.SYN|packet.ACK|packet.RST) != packet.SYN
}

// icmpError lets an ICMP error pass if the session it quotes is there (RFC 792 errors never make a session).
func (w *Worker) icmpError(p *hook.Packet, last bool) (v hook.Verdict, waits bool) {
	var hit session.Hit
	if !w.quoted(p, &hit) {
		if p.HasInner && !last && w.late.wait(p, w.domain) != nil {
			return hook.Pass, true
		}
		w.counts.strays++
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
	w.Sessions.SetKey(&w.key, &p.Inner, w.domain)
	return w.Sessions.Quoted(&w.key, &p.Headers, p.Time, hit)
}

// decide asks the policies about the first packet of a flow. What they say is in w.permit, or of a packet that does not pass
// in w.finding.
func (w *Worker) decide(p *hook.Packet) hook.Verdict {
	w.permit = hook.Permit{}
	for _, h := range w.Session {
		w.finding = hook.Finding{}
		if v := h.Decide(p, &w.permit, &w.finding); v != hook.Pass {
			return v
		}
		if w.finding.Found { // reported and let pass, as screens do with alarm-without-drop
			w.offer(p, found{kind: w.finding.Kind, finding: w.finding})
			if p == &w.reverse {
				w.flush(w.at) // it is used again
			}
		}
	}
	return hook.Pass
}

// firstPacket asks the policies about the first packet of a flow and creates the session.
func (w *Worker) firstPacket(p *hook.Packet, last bool) (v hook.Verdict, waits bool) {
	p.OutZone = w.Zones.ByPrefix(&p.Dst, p.Family)
	p.App = w.service(p)
	if v := w.decide(p); v != hook.Pass {
		if w.answersDoubtful(p) || w.answersUnkept(p) {
			return hook.Pass, false
		}
		if !last && w.couldAnswer(p) {
			if e := w.late.wait(p, w.domain); e != nil {
				e.denied, e.finding, e.verdict = true, w.finding, v
				return v, true
			}
		}
		w.denied(p, &w.finding)
		return v, false
	}
	if w.create(p, p, false) && !w.permit.NoOpen {
		w.opened(p, w.nextID)
	}
	w.nextID += w.created * w.idStride
	return hook.Pass, false
}

// answersDoubtful counts a denied packet into the session of its flow, if that was created by a packet that could have been
// an answer: the policies say which of the two is.
func (w *Worker) answersDoubtful(p *hook.Packet) bool {
	var hit session.Hit
	if p.Proto == packet.ProtoTCP || !w.coarse() || !w.Sessions.LookupDenied(&w.key, &p.Headers, p.Time, &hit) {
		return false
	}
	p.OutZone, p.App = hit.OutZone, hit.App
	return true
}

// answersUnkept reports, and counts, that a denied packet answers what the table had no room for.
func (w *Worker) answersUnkept(p *hook.Packet) bool {
	if p.Proto == packet.ProtoTCP || !w.Sessions.Unkept(&w.key, p.Time) {
		return false
	}
	w.counts.unkept++
	return true
}

// coarse reports whether the order in which packets are carried may be another than that in which they came: there are
// several workers, and packets have no receive times.
func (w *Worker) coarse() bool { return w.batch.Coarse && w.Workers > 1 }

// couldAnswer reports whether a packet that was denied as the first of a flow could be the answer to one that is carried
// later. Where the times of packets are those at which they were received, the session of the question tells: it began
// before. Where they are not, the ports must speak for it, since otherwise what a target answers to the first packet of a
// scan would be taken for its question.
func (w *Worker) couldAnswer(p *hook.Packet) bool {
	return p.Proto != packet.ProtoTCP && !p.EchoRequest() && (!w.coarse() || w.fromService(p))
}

// fromService reports whether the ports of a packet say that it comes from a server: the source is a known service or a
// port of the system, and the destination is neither.
func (w *Worker) fromService(p *hook.Packet) bool {
	return w.isService(p.Proto, p.SrcPort) && !w.isService(p.Proto, p.DstPort)
}

func (w *Worker) isService(proto uint8, port uint16) bool {
	switch proto {
	case packet.ProtoTCP, packet.ProtoUDP, packet.ProtoSCTP:
		return port < 1024 || w.Apps.Service(proto, port) != application.None
	default:
		return false
	}
}

// create creates the session of a packet, of whose flow first is the direction of the client, and reports whether it is
// new. w.created is then 1, and 0 otherwise.
func (w *Worker) create(p, first *hook.Packet, fromServer bool) bool {
	if w.permit.Timeout == 0 {
		w.permit.Timeout = w.Apps.Timeout(first.App)
	}
	params := session.Params{
		ID: w.nextID, Policy: w.permit.Policy, Interface: first.Interface, InZone: first.InZone, OutZone: first.OutZone,
		App: first.App, Timeout: w.permit.Timeout, LogClose: !w.permit.NoClose,
		FromServer: fromServer, Exact: !w.coarse(),
		Doubtful: w.coarse() && p.Proto != packet.ProtoTCP && w.fromService(p),
	}
	outcome := w.Sessions.Create(&w.key, &p.Headers, p.Time, &params, &w.old)
	w.replaced(w.at)
	w.created = 0
	if outcome == session.Created {
		w.created = 1
	}
	return outcome == session.Created
}

// join creates the session of a TCP packet that does not begin one, from the middle: the policies are asked about its
// direction, the other one, or both, as the packet tells who is the client, and their refusal is no event.
func (w *Worker) join(p *hook.Packet) hook.Verdict {
	if w.SynCheck || p.Proto != packet.ProtoTCP { // an echo reply alone is worth no session
		w.counts.outOfState++
		return hook.Drop
	}
	synAck := p.TCPFlags&packet.SYN != 0
	fromServer := synAck || w.fromService(p)
	if w.joinAs(p, fromServer) || !synAck && w.joinAs(p, !fromServer) {
		return hook.Pass
	}
	w.counts.outOfState++
	return hook.Drop
}

// joinAs creates the session of a packet from the client or from the server, if the policies permit it.
func (w *Worker) joinAs(p *hook.Packet, fromServer bool) bool {
	first := p
	if fromServer {
		first = &w.reverse
		*first = *p
		first.Tuple = p.Reverse()
		first.InZone = w.Zones.ByPrefix(&first.Src, p.Family)
		first.OutZone = p.InZone
		if w.Zones.HasZone(p.Interface) {
			first.Interface = 0 // the client's is another one, and not known
		}
	} else {
		first.OutZone = w.Zones.ByPrefix(&p.Dst, p.Family)
	}
	first.App = w.service(first)
	if w.decide(first) != hook.Pass {
		return false
	}
	isNew := w.create(p, first, fromServer)
	if isNew && !w.permit.NoOpen {
		w.opened(first, w.nextID)
	}
	w.nextID += w.created * w.idStride
	p.App = first.App
	if fromServer {
		p.OutZone = first.InZone
		w.flush(w.at) // the record is made from w.reverse
	}
	return true
}

// service returns the predefined application of the packet's destination. Only echoes are called icmp.
func (w *Worker) service(p *hook.Packet) uint16 {
	if packet.IsICMP(p.Proto) && !p.Echo() {
		return application.None
	}
	return w.Apps.Service(p.Proto, p.DstPort)
}

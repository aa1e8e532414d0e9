package worker

import (
	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/session"
)

// answers reports whether the packet says itself that it does not begin a flow: TCP without a SYN, or with SYN and ACK, and
// an echo reply.
func answers(p *hook.Packet) bool {
	if p.Proto != packet.ProtoTCP {
		return p.EchoReply()
	}
	return p.HasL4 && p.TCPFlags&(packet.SYN|packet.ACK|packet.RST) != packet.SYN
}

// flowDropped notes that a packet was dropped or rejected, if it begins a flow that another packet could join.
func (w *Worker) flowDropped(p *hook.Packet) {
	if p.Proto == packet.ProtoTCP && p.HasHead && !answers(p) {
		w.Sessions.FlowDropped(w.key, p.Time)
	}
}

// join creates the session of a TCP packet that does not begin one, from the middle: the policies are asked about its
// direction, the other one, or both, as the packet tells who is the client, and their refusal is no event. An echo reply
// alone is worth no session, and a flow of which the first packet was dropped has none.
func (w *Worker) join(p *hook.Packet) hook.Verdict {
	if !w.joinable() || p.Proto != packet.ProtoTCP || w.Sessions.IsDropped(w.key, p.Time) {
		w.counts[outOfState]++
		return hook.Drop
	}
	synAck := p.TCPFlags&packet.SYN != 0
	fromServer := synAck || w.fromService(p)
	v, permitted := w.joinAs(p, fromServer)
	if !permitted && !synAck {
		v, permitted = w.joinAs(p, !fromServer)
	}
	if !permitted {
		w.counts[outOfState]++
		return hook.Drop
	}
	return v
}

// joinable reports whether a TCP packet without SYN may join a session in the middle.
func (w *Worker) joinable() bool {
	check := w.forwarder != nil
	if w.SynCheck != nil {
		check = *w.SynCheck
	}
	return !check || w.adopting()
}

// adopting reports whether a packet may belong to a session that was there before the start: not long ago, in the path. What a server
// sends, by its ports, is then an answer if the policies permit the question.
func (w *Worker) adopting() bool { return w.at < w.adoptUntil }

// joinAs creates the session of a packet from the client or from the server, if the policies permit it, and returns what becomes of
// the packet.
func (w *Worker) joinAs(p *hook.Packet, fromServer bool) (v hook.Verdict, permitted bool) {
	first := p
	if fromServer {
		first = &w.reverse
		*first = *p
		first.Tuple = p.Reverse()
		first.InZone = w.egress(p)
		first.OutZone = p.InZone
		if w.zones.HasZone(p.Interface) {
			first.Interface = 0 // the client's is another one, and not known
		}
	} else {
		first.OutZone = w.egress(p)
	}
	first.App = w.service(first)
	if w.decide(first) != hook.Pass {
		return hook.Drop, false
	}
	v = w.create(p, first, fromServer)
	p.App = first.App
	if fromServer {
		p.OutZone = first.InZone
	}
	return v, true
}

// answersDoubtful counts a denied packet, not of TCP, into the session of its flow, if that was created by a packet that could have been
// an answer: the policies say which of the two is.
func (w *Worker) answersDoubtful(p *hook.Packet) bool {
	var hit session.Hit
	if !w.coarse() || !w.Sessions.LookupDenied(w.key, &p.Headers, p.Time, &hit) {
		return false
	}
	p.OutZone, p.App = hit.OutZone, hit.App
	return true
}

// answersUnkept reports, and counts, that a denied packet, not of TCP, answers what the table had no room for.
func (w *Worker) answersUnkept(p *hook.Packet) bool {
	if !w.Sessions.Unkept(w.key, p.Time) {
		return false
	}
	w.counts[unkept]++
	return true
}

// coarse reports whether the order in which packets are carried may be another than that in which they came: there are
// several workers, and packets have no receive times.
func (w *Worker) coarse() bool { return w.batch.Coarse && !w.Alone }

// couldAnswer reports whether a packet, not of TCP, that was denied as the first of a flow could be the answer to one that is carried
// later. Where the times of packets are those at which they were received, the session of the question tells: it began
// before. Where they are not, the ports must speak for it, since otherwise what a target answers to the first packet of a
// scan would be taken for its question.
func (w *Worker) couldAnswer(p *hook.Packet) bool {
	return !p.EchoRequest() && (!w.coarse() || w.fromService(p))
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

package session

import (
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

// start sets the state and the timeouts of a new session from the packet that creates it.
func (t *Table) start(e *entry, h *packet.Headers, who uint32) {
	e.timeout = e.idle
	switch {
	case h.Proto == packet.ProtoTCP && h.HasL4 && h.TCPFlags&(packet.SYN|packet.ACK) == packet.SYN:
		e.state |= synSeen
		e.timeout = t.seconds.Load().tcpInitial
	case h.Proto == packet.ProtoTCP && who == server && h.HasL4 && h.TCPFlags&(packet.SYN|packet.ACK) == packet.SYN|packet.ACK:
		e.state |= joined
		e.timeout = t.seconds.Load().tcpInitial
	case h.Proto == packet.ProtoTCP:
		// A tap joins in the middle: what begins without a SYN is taken for established.
		e.state |= joined | established
	}
	t.follow(e, h, who)
}

// idle returns the inactivity timeout of a session in seconds.
func (t *Table) idle(proto uint8, want uint32) uint32 {
	if want == Never {
		return Never
	}
	if want != 0 {
		return min(want, uint32(MaxTimeout.Seconds()))
	}
	switch proto {
	case packet.ProtoTCP:
		return t.seconds.Load().tcp
	case packet.ProtoUDP:
		return t.seconds.Load().udp
	case packet.ProtoICMP, packet.ProtoICMPv6:
		return t.seconds.Load().icmp
	case protoOSPF:
		return t.seconds.Load().ospf
	default:
		return t.seconds.Load().other
	}
}

const protoOSPF = 89

// follow moves the state of a session with one more packet of it and reports whether the session now has an earlier
// deadline than before. Where the order of packets is lost between workers the outcome is the same in the end.
func (t *Table) follow(e *entry, h *packet.Headers, who uint32) (sooner bool) {
	if h.Proto != packet.ProtoTCP || !h.HasL4 {
		e.state |= sentOf(who)
		return who == server && h.EchoReply() && t.end(e, event.CloseResponse)
	}
	if h.TCPFlags&packet.RST == 0 {
		e.state |= sentOf(who)
		if pureSYN(h) {
			t.syn(e, who)
		}
		e.track(h, who)
	}
	if e.state&established == 0 {
		sooner = t.handshake(e, h, who)
	}
	return t.ending(e, h, who) || sooner
}

// syn notes the SYN of the client. As long as nobody has answered, the last one counts.
func (t *Table) syn(e *entry, who uint32) {
	if who != client {
		return
	}
	e.state |= synSeen
	if e.packets[server] == 0 && e.state&established == 0 {
		e.state &^= clientSeq
	}
}

// handshake follows SYN, SYN-ACK, ACK. An ACK of the server completes it, too: a tap may not have seen all of the three.
func (t *Table) handshake(e *entry, h *packet.Headers, who uint32) (sooner bool) {
	switch {
	case h.TCPFlags&packet.RST != 0:
		return false
	case who == server && h.TCPFlags&(packet.SYN|packet.ACK) == packet.SYN|packet.ACK:
		e.state |= synAckSeen
	case h.TCPFlags&(packet.SYN|packet.ACK) == packet.ACK && who == client:
		e.state |= clientACK
	case h.TCPFlags&(packet.SYN|packet.ACK) == packet.ACK:
		e.state |= synAckSeen | clientACK
	}
	if e.state&(synAckSeen|clientACK) != synAckSeen|clientACK {
		return false
	}
	e.state |= established
	if e.state&bothFINs == bothFINs {
		return false // the end has been seen already
	}
	sooner = e.idle < e.timeout
	e.timeout = e.idle
	return sooner
}

// ending follows RST and FIN. After a RST the session waits Closed for stragglers; after both FINs TCPTimeWait, after
// the acknowledgement of the second FIN Closed. One FIN alone changes nothing: half-closed sessions may live long.
func (t *Table) ending(e *entry, h *packet.Headers, who uint32) (sooner bool) {
	if h.TCPFlags&(packet.RST|packet.FIN) != 0 && !e.believable(h, who) {
		return false
	}
	if h.TCPFlags&packet.RST != 0 {
		if who == client {
			return t.end(e, event.CloseClientRST)
		}
		return t.end(e, event.CloseServerRST)
	}
	had := e.state & bothFINs
	if h.TCPFlags&packet.FIN != 0 {
		e.state |= finOf(who)
		if e.state&bothFINs == bothFINs && had != bothFINs {
			if e.finished(h, who) {
				return t.end(e, event.CloseFIN) // the last ACK came before this FIN
			}
			e.setReason(event.CloseFIN)
			before := e.timeout
			e.timeout = t.seconds.Load().tcpTimeWait
			return e.timeout < before
		}
		return false
	}
	if had == bothFINs && h.TCPFlags&packet.ACK != 0 {
		return t.end(e, event.CloseFIN)
	}
	return false
}

// end makes a session wait for stragglers and then go, for that reason.
func (t *Table) end(e *entry, why event.CloseReason) (sooner bool) {
	if e.state&closing != 0 {
		return false
	}
	e.state |= closing
	e.state &^= unreachable
	e.setReason(why)
	e.timeout = t.seconds.Load().closed
	return true
}

package session

import (
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

// start sets the state and the timeouts of a new session from its first packet. want is the timeout in seconds that the
// policy or the application asks for, 0 = by protocol.
func (t *Table) start(e *entry, h *packet.Headers, want uint32) {
	e.idle = t.idle(h.Proto, want)
	e.timeout = e.idle
	if h.Proto != packet.ProtoTCP || !h.HasL4 {
		return
	}
	if h.TCPFlags&(packet.SYN|packet.ACK) == packet.SYN {
		e.timeout = t.seconds.tcpInitial
	} else {
		// A tap joins in the middle: what begins without a SYN is taken for established.
		e.state |= established
	}
	t.ending(e, h, true)
}

// idle returns the inactivity timeout of a session in seconds.
func (t *Table) idle(proto uint8, want uint32) uint16 {
	if want != 0 {
		return uint16(min(want, uint32(MaxTimeout.Seconds())))
	}
	switch proto {
	case packet.ProtoTCP:
		return t.seconds.tcp
	case packet.ProtoUDP:
		return t.seconds.udp
	case packet.ProtoICMP, packet.ProtoICMPv6:
		return t.seconds.icmp
	case protoOSPF:
		return t.seconds.ospf
	default:
		return t.seconds.other
	}
}

const protoOSPF = 89

// follow moves the state of a session with one more packet of it and reports whether the session now has an earlier
// deadline than before.
func (t *Table) follow(e *entry, h *packet.Headers, fromClient bool) (sooner bool) {
	if !fromClient {
		e.state |= answered
	}
	if !h.HasL4 {
		return false
	}
	switch h.Proto {
	case packet.ProtoTCP:
		if e.state&established == 0 {
			sooner = t.handshake(e, h, fromClient)
		}
		return t.ending(e, h, fromClient) || sooner
	case packet.ProtoICMP, packet.ProtoICMPv6:
		if !fromClient && h.EchoReply() {
			return t.end(e, event.CloseResponse)
		}
	}
	return false
}

// handshake follows SYN, SYN-ACK, ACK. An ACK of either side completes it: a tap may not have seen all of the three.
func (t *Table) handshake(e *entry, h *packet.Headers, fromClient bool) (sooner bool) {
	switch {
	case !fromClient && h.TCPFlags&(packet.SYN|packet.ACK) == packet.SYN|packet.ACK:
		e.state |= synAckSeen
	case h.TCPFlags&(packet.SYN|packet.ACK) == packet.ACK && (!fromClient || e.state&synAckSeen != 0):
		e.state |= established
		sooner = e.idle < e.timeout
		e.timeout = e.idle
	}
	return sooner
}

// ending follows RST and FIN. After a RST the session waits Closed for stragglers; after both FINs TCPTimeWait, after
// the acknowledgement of the second FIN Closed. One FIN alone changes nothing: half-closed sessions may live long.
func (t *Table) ending(e *entry, h *packet.Headers, fromClient bool) (sooner bool) {
	if h.TCPFlags&packet.RST != 0 {
		if fromClient {
			return t.end(e, event.CloseClientRST)
		}
		return t.end(e, event.CloseServerRST)
	}
	const both = clientFIN | serverFIN
	had := e.state & both
	if h.TCPFlags&packet.FIN != 0 {
		if fromClient {
			e.state |= clientFIN
		} else {
			e.state |= serverFIN
		}
		if e.state&both == both && had != both {
			e.setReason(event.CloseFIN)
			shorter := t.seconds.tcpTimeWait < e.timeout
			e.timeout = t.seconds.tcpTimeWait
			return shorter
		}
		return false
	}
	if had == both && h.TCPFlags&packet.ACK != 0 {
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
	e.setReason(why)
	e.timeout = t.seconds.closed
	return true
}

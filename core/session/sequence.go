package session

import "github.com/rtflow/pipelined/core/packet"

// slack is how far a sequence number may be from those that were seen: what can be on its way, or be lost before it is
// seen. Whoever guesses is near in one of two thousand tries.
const slack = 1 << 20

// fits reports whether a sequence number of that end is one that it can send now: between what the other end has
// acknowledged and what it has sent, and a little more. The session has numbers of the end.
func (e *entry) fits(who, seq uint32) bool {
	return int32(seq-e.acked[who]) >= -slack && int32(seq-e.end[who]) <= slack
}

// believable reports whether a RST or FIN of that end is one of the connection (RFC 5961 section 3.2). Where only one
// direction is seen there is nothing to hold it against, and it is believed. The packet is counted already.
func (e *entry) believable(h *packet.Headers, who uint32) bool {
	other := who ^ 1
	if e.packets[other] == 0 {
		return true
	}
	if e.state&seqOf(who) != 0 {
		return e.fits(who, h.TCPSeq)
	}
	// It answers a SYN and has no number of its own: it acknowledges the SYN (RFC 9293 section 3.10.7.3).
	return h.TCPFlags&packet.ACK == 0 || e.state&seqOf(other) == 0 || e.fits(other, h.TCPAck)
}

// track follows the sequence numbers of both ends with one more segment, which is no reset. A segment whose sequence number fits moves the
// number of what is acknowledged, and one whose acknowledgement fits that of what is sent, however far: packets may be
// lost before they are seen.
func (e *entry) track(h *packet.Headers, who uint32) {
	who &= 1 // the compiler then checks no bounds
	other := who ^ 1
	acks := h.TCPFlags&packet.ACK != 0
	if acks && e.state&(clientSeq|serverSeq|anyLost) == clientSeq|serverSeq && e.fits(who, h.TCPSeq) { // most segments
		e.sent(who, h.TCPNext)
		e.acknowledged(other, h.TCPAck)
		return
	}
	known, otherKnown := e.state&seqOf(who) != 0, e.state&seqOf(other) != 0
	if known && !e.fits(who, h.TCPSeq) && !(acks && (!otherKnown || e.fits(other, h.TCPAck))) {
		e.rejoin(h, who)
		return
	}
	e.state &^= anyLost
	if !known {
		e.state |= seqOf(who)
		e.acked[who], e.end[who] = h.TCPSeq, h.TCPNext
	} else {
		e.sent(who, h.TCPNext)
	}
	if !acks {
		return
	}
	if !otherKnown {
		e.state |= seqOf(other)
		e.acked[other], e.end[other] = h.TCPAck, h.TCPAck
	} else {
		e.acknowledged(other, h.TCPAck)
	}
}

// sent moves the number behind what an end has sent up to next.
func (e *entry) sent(who, next uint32) {
	if int32(next-e.end[who]) > 0 {
		e.end[who] = next
	}
}

// acknowledged moves the number of what is acknowledged to an end, who has sent it, up to ack.
func (e *entry) acknowledged(who, ack uint32) {
	if int32(ack-e.acked[who]) > 0 {
		e.acked[who] = ack
		e.sent(who, ack)
	}
}

// rejoin takes a segment of which nothing fits: it is forged, or more than slack was lost in both directions before it was
// seen. Its number becomes that of the connection if the next segment is one of the other end that acknowledges it, which
// the other end does not do with a number that is forged.
func (e *entry) rejoin(h *packet.Headers, who uint32) {
	other := who ^ 1
	ahead := int16(uint16(h.TCPAck>>16) - e.lost)
	if e.state&lostOf(other) == 0 || h.TCPFlags&packet.ACK == 0 || ahead < -(slack>>16) || ahead > slack>>16 {
		e.state = e.state&^anyLost | lostOf(who)
		e.lost = uint16(h.TCPNext >> 16)
		return
	}
	e.state &^= anyLost
	e.acked[other], e.end[other] = h.TCPAck, h.TCPAck
	e.acked[who], e.end[who] = h.TCPSeq, h.TCPNext
}

// finished reports whether each end has acknowledged the FIN of the other, of which h is the one that comes last. Without
// sequence numbers that move nothing can be told.
func (e *entry) finished(h *packet.Headers, who uint32) bool {
	const both = clientSeq | serverSeq
	return e.state&both == both && e.acked[client] == e.end[client] && e.acked[server] == e.end[server] &&
		e.end[who] == h.TCPNext && h.TCPNext != h.TCPSeq
}

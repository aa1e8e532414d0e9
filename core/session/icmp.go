package session

import (
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

// Quoted looks up the session that an ICMP error is about, by the packet the error quotes, of which k is the key. It reports whether there is
// one: a quoted TCP segment must be one that its sender can have sent (RFC 5927 section 4).
//
// An error that says the destination cannot be reached, or that the packet ran out of hops, ends a session that is not TCP
// if nothing more is heard of it: for Closed if nobody has answered, for half a minute if somebody has. An error alone
// proves little: anyone can send one, and a path may come back. TCP knows better.
func (t *Table) Quoted(k *Key, h *packet.Headers, now int64, hit *Hit) bool {
	s := t.lockOf(k)
	defer t.unlock(s)
	i := s.findQuoted(k)
	if i == 0 {
		return false
	}
	e := &s.entries[i]
	if e.isCarried() {
		s.take(i)
	}
	// The error goes against the direction of the packet it quotes.
	sender := e.side(k)
	if h.Inner.Proto == packet.ProtoTCP {
		if e.answered() && e.state&seqOf(sender) != 0 && !e.fits(sender, h.InnerSeq) {
			return false
		}
	} else if fatal(h) && e.state&closing == 0 {
		e.state |= unreachable
		e.lastSeen = max(e.lastSeen, now)
		e.timeout = t.seconds.Load().closed
		if e.answered() {
			e.timeout = max(e.timeout, min(e.idle, errorSilence))
		}
		s.refile(i, now)
	}
	hit.set(e, sender^1)
	return true
}

// fatal reports whether an ICMP error says that the packet did not arrive, and a repetition will not either.
// Fragmentation needed and packet too big ask for smaller packets; redirects and source quench are advice.
func fatal(h *packet.Headers) bool {
	const codeFragmentationNeeded = 4
	if h.Proto == packet.ProtoICMP {
		return h.ICMPType == packet.ICMPUnreachable && h.ICMPCode != codeFragmentationNeeded ||
			h.ICMPType == 11 || h.ICMPType == 12
	}
	return h.ICMPType == 1 || h.ICMPType == 3 || h.ICMPType == 4
}

// why returns the reason of a session whose timeout is over.
func (e *entry) why() event.CloseReason {
	switch {
	case e.reason() != event.CloseNone:
		return e.reason()
	case e.state&unreachable != 0:
		return event.CloseICMPError
	default:
		return event.CloseTimeout
	}
}

package session

import (
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

// Quoted looks up the session that an ICMP error is about, by the packet the error quotes. It reports whether there is
// one: a quoted TCP segment must be one that its sender can have sent (RFC 5927 section 4).
//
// An error that says the destination cannot be reached, or that the packet ran out of hops, ends a session that is not TCP
// if nothing more is heard of it: for Closed if nobody has answered, for half a minute if somebody has. An error alone
// proves little: anyone can send one, and a path may come back. TCP knows better.
func (t *Table) Quoted(h *packet.Headers, domain uint32, now int64, hit *Hit) bool {
	var k key
	forward := k.set(&h.Inner)
	hash := k.hash(&t.secret)
	s := t.shardOf(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.findQuoted(&k, hash, domain)
	if i == 0 {
		return false
	}
	e := &s.entries[i]
	// The error goes against the direction of the packet it quotes.
	fromClient := forward == (e.state&clientIsB != 0)
	sender := side(!fromClient)
	if h.Inner.Proto == packet.ProtoTCP {
		if e.answered() && e.state&seqOf(sender) != 0 && !e.fits(sender, h.InnerSeq) {
			return false
		}
	} else if fatal(h) && e.state&closing == 0 {
		e.state |= unreachable
		e.lastSeen = max(e.lastSeen, now)
		e.timeout = t.seconds.closed
		if e.answered() {
			e.timeout = max(e.timeout, min(e.idle, errorSilence))
		}
		s.refile(i, now)
	}
	*hit = e.hit(fromClient)
	return true
}

// findQuoted returns the session of a flow that has sent or received in the domain, or else any of the flow: a router that
// sends an error may stand anywhere.
func (s *shard) findQuoted(k *key, hash uint64, domain uint32) (best uint32) {
	for i := *s.bucket(hash); i != 0; i = s.entries[i].hashNext {
		e := &s.entries[i]
		if !e.equal(k) {
			continue
		}
		if e.domain[client] == domain || e.domain[server] == domain {
			return i
		}
		best = i
	}
	return best
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

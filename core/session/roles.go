package session

import "github.com/rtflow/pipelined/core/packet"

// pureSYN reports whether the packet asks for a TCP connection.
func pureSYN(h *packet.Headers) bool {
	return h.Proto == packet.ProtoTCP && h.HasL4 && h.TCPFlags&(packet.SYN|packet.ACK|packet.RST|packet.FIN) == packet.SYN
}

// mayBegin reports whether begins is to be asked about a packet: not for most.
func (e *entry) mayBegin(h *packet.Headers, who uint32, now int64) bool {
	if h.Proto == packet.ProtoTCP {
		return h.TCPFlags&packet.SYN != 0
	}
	return who != client && (now < e.lastSeen || e.state&doubtful != 0)
}

// begins reports whether a packet of the session's flow does not simply belong to it: it is its true first packet, which
// comes after a later one, or it begins another session in its place.
//
// A SYN begins another session if the old one has ended, or if both ends have sent and its sequence number is not near what
// its end has sent: a SYN that is repeated, or is late, is near it, and the numbers of a new connection are far from those
// of the old one (RFC 6528) but once in two thousand times. RFC 6191 lets an end in TIME-WAIT take a SYN in the same way;
// an established end asks back (RFC 9293 section 3.10.7.4), which nobody does who still has the connection.
func (s *shard) begins(i uint32, h *packet.Headers, who uint32, now int64) bool {
	e := &s.entries[i]
	if h.Proto != packet.ProtoTCP {
		switch {
		case who == client:
			return false
		case e.state&exact != 0:
			return now < s.cold[i].began && s.adoptable(i, now)
		default:
			return e.state&doubtful != 0 && s.adoptable(i, now)
		}
	}
	if !pureSYN(h) {
		return false
	}
	switch {
	case e.over(), e.state&synSeen == 0:
		return true
	case !e.answered():
		return false // repeated, or another attempt; or both ends open at the same time
	default:
		return e.state&seqOf(who) != 0 && !e.fits(who, h.TCPSeq)
	}
}

// adoptable reports whether the session was created so shortly before now, or after it, that a first packet which comes now
// can be its own.
func (s *shard) adoptable(i uint32, now int64) bool {
	if e := &s.entries[i]; e.proto() == packet.ProtoTCP && e.state&synSeen != 0 {
		return false // it has its first packet
	}
	began := s.cold[i].began
	return now-began <= int64(Late) && began-now <= int64(Late)
}

// adopt counts the true first packet into a session that a later one has created, and makes the session what it would be
// if it had come first. It keeps its id and its records.
func (t *Table) adopt(s *shard, i uint32, k *Key, h *packet.Headers, now int64, p *Params) {
	e, c := &s.entries[i], &s.cold[i]
	if (e.side(k) == client) == p.FromServer {
		if e.isCarried() {
			s.hold(i)
			s.forget(i)
		}
		e.swap()
	}
	e.state &^= joined | doubtful
	c.began = min(c.began, now)
	wasIdle := e.timeout == e.idle
	t.set(s, i, h.Proto, p)
	if wasIdle {
		e.timeout = e.idle
	}
	t.touch(e, h, e.side(k), k.domain, now)
	s.refile(i, e.lastSeen)
}

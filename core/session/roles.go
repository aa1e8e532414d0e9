package session

import "github.com/rtflow/pipelined/core/packet"

// pureSYN reports whether the packet asks for a TCP connection.
func pureSYN(h *packet.Headers) bool {
	return h.Proto == packet.ProtoTCP && h.HasL4 && h.TCPFlags&(packet.SYN|packet.ACK|packet.RST|packet.FIN) == packet.SYN
}

// begins reports whether a packet of the session's flow does not simply belong to it: it is its true first packet, which
// comes after a later one, or it begins another session in its place.
//
// A SYN begins another session if the old one has ended, or if both ends have sent and its sequence number is not near what
// its end has sent: a SYN that is repeated, or is late, is near it, and the numbers of a new connection are far from those
// of the old one (RFC 6528) but once in two thousand times. RFC 6191 lets an end in TIME-WAIT take a SYN in the same way;
// an established end asks back (RFC 9293 section 3.10.7.4), which nobody does who still has the connection.
func (e *entry) begins(h *packet.Headers, fromClient bool, now int64) bool {
	if h.Proto != packet.ProtoTCP {
		switch {
		case fromClient:
			return false
		case e.state&exact != 0:
			return now < e.began && e.adoptable(now)
		default:
			return e.state&doubtful != 0 && e.adoptable(now)
		}
	}
	if !pureSYN(h) {
		return false
	}
	switch who := side(fromClient); {
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
func (e *entry) adoptable(now int64) bool {
	if e.proto() == packet.ProtoTCP && e.state&synSeen != 0 {
		return false // it has its first packet
	}
	return now-e.began <= int64(Late) && e.began-now <= int64(Late)
}

// adopt counts the true first packet into a session that a later one has created, and makes the session what it would be
// if it had come first. It keeps its id and its records.
func (t *Table) adopt(s *shard, i uint32, h *packet.Headers, fromClient bool, now int64, p *Params) {
	e := &s.entries[i]
	if fromClient == p.FromServer {
		e.swap()
	}
	e.state &^= joined | doubtful
	e.began = min(e.began, now)
	wasIdle := e.timeout == e.idle
	t.set(e, h.Proto, p)
	if wasIdle {
		e.timeout = e.idle
	}
	t.touch(s, i, h, !p.FromServer, p.Domain, now)
	s.refile(i, e.lastSeen)
}

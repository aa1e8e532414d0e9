package session

import "time"

// Config sizes a table. Timeouts are at most 18 hours: the table keeps them as seconds in 16 bits.
type Config struct {
	Max      int // sessions, rounded up to a multiple of the number of shards
	Seed     uint64
	Workers  int // how many goroutines age the table, each its own shards; session ids are dealt out among them
	Timeouts Timeouts
}

// Timeouts are how long a session lives without a packet, by protocol and state.
type Timeouts struct {
	TCPInitial  time.Duration // until the handshake is complete
	TCP         time.Duration // established
	TCPTimeWait time.Duration // both sides have sent FIN
	Closed      time.Duration // after the last ACK, a RST, an echo reply or an ICMP error: for stragglers
	UDP         time.Duration
	ICMP        time.Duration
	OSPF        time.Duration
	Other       time.Duration
}

// DefaultTimeouts are those of Junos: 20 s for a handshake, 30 minutes for TCP, 150 s with both FINs seen, 2 s after the
// end, 60 s for UDP, ICMP and OSPF, 30 minutes for other protocols.
func DefaultTimeouts() Timeouts {
	return Timeouts{
		TCPInitial: 20 * time.Second, TCP: 30 * time.Minute, TCPTimeWait: 150 * time.Second, Closed: 2 * time.Second,
		UDP: time.Minute, ICMP: time.Minute, OSPF: time.Minute, Other: 30 * time.Minute,
	}
}

// MaxTimeout is the longest timeout a session can have.
const MaxTimeout = 18 * time.Hour

// seconds are Timeouts as the table keeps them.
type seconds struct {
	tcpInitial, tcp, tcpTimeWait, closed, udp, icmp, ospf, other uint16
}

func (t Timeouts) seconds() seconds {
	s := func(d time.Duration) uint16 {
		return uint16(min(max((d+time.Second-1)/time.Second, 1), MaxTimeout/time.Second))
	}
	return seconds{
		s(t.TCPInitial), s(t.TCP), s(t.TCPTimeWait), s(t.Closed), s(t.UDP), s(t.ICMP), s(t.OSPF), s(t.Other),
	}
}

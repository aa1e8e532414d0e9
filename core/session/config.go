package session

import (
	"math"
	"time"
)

// Config sizes a table.
type Config struct {
	Max      int // sessions, rounded up to a multiple of the number of shards
	Seed     uint64
	Workers  int    // how many goroutines age the table, those with the numbers from 0 on, until [Table.Share]
	FirstID  uint64 // lower than the ids that [Table.ReserveIDs] gives
	Timeouts Timeouts
	// Translations gives every session room for how it is translated.
	Translations bool
}

// Timeouts are how long a session lives without a packet, by protocol and state: whole seconds, at most [MaxTimeout].
type Timeouts struct {
	TCPInitial  time.Duration `toml:"tcp_initial_timeout"` // until the handshake is complete
	TCP         time.Duration `toml:"tcp_timeout"`         // established
	TCPTimeWait time.Duration `toml:"tcp_time_wait"`       // both sides have sent FIN
	// Closed is after the last ACK, a RST or an echo reply, for stragglers; and after an ICMP error if nobody has answered.
	Closed time.Duration `toml:"closed_timeout"`
	UDP    time.Duration `toml:"udp_timeout"`
	ICMP   time.Duration `toml:"icmp_timeout"`
	OSPF   time.Duration `toml:"ospf_timeout"`
	Other  time.Duration `toml:"other_timeout"`
}

// DefaultTimeouts are those of Junos: 20 s for a handshake, 30 minutes for TCP, 150 s with both FINs seen, 2 s after the
// end, 60 s for UDP, ICMP and OSPF, 30 minutes for other protocols.
func DefaultTimeouts() Timeouts {
	return Timeouts{
		TCPInitial: 20 * time.Second, TCP: 30 * time.Minute, TCPTimeWait: 150 * time.Second, Closed: 2 * time.Second,
		UDP: time.Minute, ICMP: time.Minute, OSPF: time.Minute, Other: 30 * time.Minute,
	}
}

const (
	// Never is a timeout in seconds that does not come. A session with it ends by its packets only, or is given up.
	Never = math.MaxUint32
	// MaxTimeout is the longest timeout that comes.
	MaxTimeout = 365 * 24 * time.Hour
	// Late is how much later than a packet that was sent after it the first packet of a session may come to the table,
	// because another worker had that one. Within it the first packet puts the roles of the session right.
	Late = 50 * time.Millisecond
	// errorSilence is how long a session that was answered may be silent after an ICMP error before it ends.
	errorSilence = 30
	// unkeptLife is how long the table remembers a flow that it had no room for.
	unkeptLife = int64(time.Minute)
	// droppedLife is how long the table remembers that the first packet of a flow was dropped.
	droppedLife = int64(time.Minute)
)

// seconds are Timeouts as the table keeps them.
type seconds struct {
	tcpInitial, tcp, tcpTimeWait, closed, udp, icmp, ospf, other uint32
}

func (t Timeouts) seconds() seconds {
	s := func(d time.Duration) uint32 {
		return uint32(min(max((d+time.Second-1)/time.Second, 1), MaxTimeout/time.Second))
	}
	return seconds{
		s(t.TCPInitial), s(t.TCP), s(t.TCPTimeWait), s(t.Closed), s(t.UDP), s(t.ICMP), s(t.OSPF), s(t.Other),
	}
}

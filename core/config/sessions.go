package config

import (
	"slices"
	"time"

	"github.com/rtflow/pipelined/internal/spelling"
)

// Sessions is [sessions]: the size of the flow table, and how long a session lives without a packet. The timeouts are
// MinTimeout to MaxTimeout, in whole seconds; the defaults are those of Junos.
type Sessions struct {
	Max        int           // sessions, MinSessions to MaxSessions; default 262144
	TCPInitial time.Duration // tcp_initial_timeout: until the handshake is complete; default 20 s
	TCP        time.Duration // tcp_timeout: established; default 30 min
	TimeWait   time.Duration // tcp_time_wait: both sides have sent FIN; default 150 s
	Closed     time.Duration // closed_timeout: after the last ACK or a RST, for stragglers; default 2 s
	UDP        time.Duration // udp_timeout; default 60 s
	ICMP       time.Duration // icmp_timeout; default 60 s
	OSPF       time.Duration // ospf_timeout; default 60 s
	Other      time.Duration // other_timeout: every other protocol; default 30 min
	SynCheck   bool          // syn_check: drop TCP without SYN that belongs to no session; default false
	Separate   string        // separate: what tells sessions of the same addresses and ports apart; default SeparateVLAN
}

// What can tell sessions apart.
const (
	SeparateVLAN = "vlan"
	SeparateZone = "zone"
	SeparateNone = "none"
)

// Limits of [Sessions].
const (
	MinSessions = 1 << 10
	MaxSessions = 1 << 24
	MinTimeout  = time.Second
	MaxTimeout  = 365 * 24 * time.Hour
)

func defaultSessions() Sessions {
	return Sessions{
		Max:        1 << 18,
		TCPInitial: 20 * time.Second, TCP: 30 * time.Minute, TimeWait: 150 * time.Second, Closed: 2 * time.Second,
		UDP: time.Minute, ICMP: time.Minute, OSPF: time.Minute, Other: 30 * time.Minute,
		Separate: SeparateVLAN,
	}
}

func readSessions(s *Section) Sessions {
	if s == nil {
		return defaultSessions()
	}
	t := struct {
		Max        int           `toml:"max"`
		TCPInitial time.Duration `toml:"tcp_initial_timeout"`
		TCP        time.Duration `toml:"tcp_timeout"`
		TimeWait   time.Duration `toml:"tcp_time_wait"`
		Closed     time.Duration `toml:"closed_timeout"`
		UDP        time.Duration `toml:"udp_timeout"`
		ICMP       time.Duration `toml:"icmp_timeout"`
		OSPF       time.Duration `toml:"ospf_timeout"`
		Other      time.Duration `toml:"other_timeout"`
		SynCheck   bool          `toml:"syn_check"`
		Separate   string        `toml:"separate"`
	}(defaultSessions())
	s.Decode(&t)
	if ways := []string{SeparateVLAN, SeparateZone, SeparateNone}; !slices.Contains(ways, t.Separate) {
		s.Errorf("separate", "%s", spelling.Unknown("way to tell sessions apart", t.Separate, ways))
	}
	inRange(s, "max", t.Max, MinSessions, MaxSessions)
	for _, v := range []struct {
		key     string
		timeout time.Duration
	}{
		{"tcp_initial_timeout", t.TCPInitial}, {"tcp_timeout", t.TCP}, {"tcp_time_wait", t.TimeWait},
		{"closed_timeout", t.Closed}, {"udp_timeout", t.UDP}, {"icmp_timeout", t.ICMP},
		{"ospf_timeout", t.OSPF}, {"other_timeout", t.Other},
	} {
		switch {
		case v.timeout < MinTimeout || v.timeout > MaxTimeout:
			s.Errorf(v.key, "must be %s to %s, not %s", span(MinTimeout), span(MaxTimeout), span(v.timeout))
		case v.timeout%time.Second != 0:
			s.Errorf(v.key, "must be whole seconds, not %s", span(v.timeout))
		}
	}
	return Sessions(t)
}

package session

import (
	"errors"
	"time"

	"github.com/rtflow/pipelined/internal/spelling"
	"github.com/rtflow/pipelined/internal/table"
)

// Options is the table [sessions]: the size of the flow table, what tells sessions apart, and how long they live.
type Options struct {
	Max int `toml:"max"` // sessions, MinSessions to MaxSessions
	Timeouts
	// SynCheck drops TCP without SYN that belongs to no session; nil: in a source that sends frames on.
	SynCheck *bool `toml:"syn_check"`
	// Adopt is for how long, from the start, such a source lets sessions go on whose beginning was not seen.
	Adopt    time.Duration `toml:"adopt"`
	Separate Separate      `toml:"separate"`
	// Rematch ends sessions that the policies of a configuration deny which is taken over while the daemon runs.
	Rematch bool `toml:"rematch"`
	// Log says whether the beginnings and ends of the sessions that packets make are told; nil: unless another source tells of
	// sessions.
	Log *bool `toml:"log"`
}

// Limits of Options.
const (
	MinSessions = 1 << 10
	MaxSessions = 1 << 24
	MinTimeout  = time.Second
	MaxAdopt    = time.Hour
)

// DefaultOptions returns what holds where the table sets nothing: 262144 sessions, told apart by VLAN, 30 s to adopt others, and
// [DefaultTimeouts].
func DefaultOptions() Options {
	return Options{Max: 1 << 18, Adopt: 30 * time.Second, Timeouts: DefaultTimeouts()}
}

// Read reads the table [sessions] and records its mistakes.
func Read(s table.Section) Options {
	o := DefaultOptions()
	s.Decode(&o)
	table.InRange(s, "max", o.Max, MinSessions, MaxSessions)
	table.DurationInRange(s, "adopt", o.Adopt, 0, MaxAdopt)
	for _, t := range []struct {
		key     string
		timeout time.Duration
	}{
		{"tcp_initial_timeout", o.TCPInitial}, {"tcp_timeout", o.TCP}, {"tcp_time_wait", o.TCPTimeWait},
		{"closed_timeout", o.Closed}, {"udp_timeout", o.UDP}, {"icmp_timeout", o.ICMP},
		{"ospf_timeout", o.OSPF}, {"other_timeout", o.Other},
	} {
		if table.DurationInRange(s, t.key, t.timeout, MinTimeout, MaxTimeout) && t.timeout%time.Second != 0 {
			s.Errorf(t.key, "must be whole seconds, not %s", table.FormatDuration(t.timeout))
		}
	}
	return o
}

var separateNames = [...]string{ByVLAN: "vlan", ByZone: "zone", ByNone: "none"}

// String returns the setting as it stands in the configuration.
func (s Separate) String() string { return separateNames[s] }

// UnmarshalText reads a setting.
func (s *Separate) UnmarshalText(text []byte) error {
	for i, name := range separateNames {
		if name == string(text) {
			*s = Separate(i)
			return nil
		}
	}
	return errors.New(spelling.Unknown("way to tell sessions apart", string(text), separateNames[:]).String())
}

package event

import (
	"fmt"
	"math/bits"
)

// Kind is the kind of an event. It indexes counters and credits.
type Kind uint8

// Values of Kind.
const (
	SessionOpen  Kind = iota // a session was created
	SessionClose             // a session ended
	PolicyDeny               // a policy denied or rejected a packet
	ScreenDrop               // a screen fired
	FilterLog                // a firewall-filter term with log or syslog matched
	Loss                     // events are missing here: how many of which kind, and why

	NumKinds = 6
)

var kindNames = [NumKinds]string{"session-open", "session-close", "policy-deny", "screen-drop", "filter-log", "loss"}

// Kinds lists every kind in order.
func Kinds() [NumKinds]Kind {
	return [NumKinds]Kind{SessionOpen, SessionClose, PolicyDeny, ScreenDrop, FilterLog, Loss}
}

// String returns the kind as it stands in the configuration, in metrics and in the ledger.
func (k Kind) String() string {
	if k < NumKinds {
		return kindNames[k]
	}
	return fmt.Sprintf("kind-%d", uint8(k))
}

// Telemetry reports whether k is one of the kinds whose rate an attack decides (deny, screen, filter). They share a ceiling in every
// ring; session and loss records do not count against it.
func (k Kind) Telemetry() bool { return k == PolicyDeny || k == ScreenDrop || k == FilterLog }

// ParseKind returns the kind of that name.
func ParseKind(s string) (Kind, bool) {
	for k, name := range kindNames {
		if s == name {
			return Kind(k), true
		}
	}
	return 0, false
}

// KindSet is a set of kinds. The zero value is empty.
type KindSet uint8

// AllKinds contains every kind.
const AllKinds KindSet = 1<<NumKinds - 1

// Has reports whether k is in s.
func (s KindSet) Has(k Kind) bool { return s&(1<<k) != 0 }

// First returns the first kind of s, which must not be empty.
func (s KindSet) First() Kind { return Kind(bits.TrailingZeros8(uint8(s))) }

// With returns s with k in it.
func (s KindSet) With(k Kind) KindSet { return s | 1<<k }

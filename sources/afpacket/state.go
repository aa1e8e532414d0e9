package afpacket

import "time"

// Condition is what becomes of an interface.
type Condition string

// Conditions.
const (
	Up      Condition = "up"
	Down    Condition = "down"                  // it is off or has no carrier; it recovers by itself
	Waiting Condition = "waiting for interface" // it is gone, or cannot be opened: see State.Error
	Closed  Condition = "closed"
)

// words says what an interface is doing that is not up.
func (c Condition) words() string {
	if c == Waiting {
		return "is gone or cannot be opened"
	}
	return "is " + string(c)
}

// State describes an interface for its operator.
type State struct {
	Interface string    `json:"interface"`
	Renamed   string    `json:"renamed,omitempty"` // what it is called now
	Condition Condition `json:"condition"`
	Since     time.Time `json:"since"`           // when the condition began
	Error     string    `json:"error,omitempty"` // while waiting: why the last attempt failed
	Opened    uint64    `json:"opened"`          // how often it was opened
	Index     int       `json:"index"`           // the kernel's
	MTU       int       `json:"mtu"`
}

// become changes the condition, and reports whether it or its reason is another one than before.
func (s *State) become(c Condition, reason error) bool {
	text := ""
	if reason != nil {
		text = reason.Error()
	}
	if s.Condition == c && s.Error == text {
		return false
	}
	if s.Condition != c {
		s.Condition, s.Since = c, time.Now()
	}
	s.Error = text
	return true
}

// States returns the present states of the interfaces.
func (s *Source) States() []State {
	s.mu.Lock()
	defer s.mu.Unlock()
	var states []State
	for _, l := range s.links {
		states = append(states, l.state)
	}
	return states
}

package unixsock

import (
	"fmt"
	"time"

	"github.com/rtflow/pipelined/internal/values"
)

// options is the table of the sink.
type options struct {
	Path        string        `toml:"path"`
	Mode        mode          `toml:"mode"`
	Sessions    sessions      `toml:"sessions"`
	Second      *second       `toml:"second"`
	Permissions *values.Mode  `toml:"permissions"`
	Silence     time.Duration `toml:"silence"`
	PeerUser    []string      `toml:"peer_user"`
	PeerGroup   []string      `toml:"peer_group"`
}

// mode says who connects.
type mode uint8

const (
	dial mode = iota
	listen
)

func (m mode) String() string { return [...]string{"dial", "listen"}[m] }

func (m *mode) UnmarshalText(text []byte) error { return oneOf(m, text, dial, listen) }

// sessions says in which layout session records are sent.
type sessions uint8

const (
	recordLayout sessions = iota // the whole record, and the session id behind it
	deltaLayout                  // as receivers of the existing protocol know it
)

func (s sessions) String() string { return [...]string{"record", "delta"}[s] }

func (s *sessions) UnmarshalText(text []byte) error { return oneOf(s, text, recordLayout, deltaLayout) }

// second says what becomes of a receiver that connects while there is one.
type second uint8

const (
	refuse second = iota
	takeover
)

func (s second) String() string { return [...]string{"refuse", "takeover"}[s] }

func (s *second) UnmarshalText(text []byte) error { return oneOf(s, text, refuse, takeover) }

// oneOf sets v to the one of two settings that is spelled like text.
func oneOf[T fmt.Stringer](v *T, text []byte, a, b T) error {
	switch string(text) {
	case a.String():
		*v = a
	case b.String():
		*v = b
	default:
		return fmt.Errorf("want %q or %q, got %q", a, b, text)
	}
	return nil
}

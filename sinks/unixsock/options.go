package unixsock

import (
	"fmt"
	"io/fs"
	"strconv"
	"time"
)

// options is the table of the sink.
type options struct {
	Path        string         `toml:"path"`
	Mode        mode           `toml:"mode"`
	Sessions    sessions       `toml:"sessions"`
	Second      *second        `toml:"second"`
	Permissions *permissions   `toml:"permissions"`
	Silence     durationOption `toml:"silence"`
	PeerUser    []string       `toml:"peer_user"`
	PeerGroup   []string       `toml:"peer_group"`
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

// permissions are a socket's permission bits in octal.
type permissions fs.FileMode

// UnmarshalTOML takes strings only: a number would be read as decimal here and as octal there.
func (p *permissions) UnmarshalTOML(value any) error {
	text, ok := value.(string)
	v, err := strconv.ParseUint(text, 8, 32)
	if !ok || err != nil || v > 0o777 {
		return fmt.Errorf(`want permission bits as a string such as "0660", got %v`, value)
	}
	*p = permissions(v)
	return nil
}

// durationOption is a time.Duration as text.
type durationOption time.Duration

func (d *durationOption) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf(`want a duration such as "30s", got %q`, text)
	}
	*d = durationOption(v)
	return nil
}

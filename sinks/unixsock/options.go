package unixsock

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rtflow/pipelined/internal/keypath"
	"github.com/rtflow/pipelined/internal/options"
	"github.com/rtflow/pipelined/internal/values"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/eventstream"
)

// Limits of the options.
const (
	minSilence = time.Second
	maxSilence = 10 * time.Minute

	defaultSilence = 30 * time.Second
)

// table is the table of the sink.
type table struct {
	Path        string        `toml:"path"`
	Mode        mode          `toml:"mode"`
	Sessions    sessions      `toml:"sessions"`
	Second      *second       `toml:"second"`
	Permissions *values.Mode  `toml:"permissions"`
	Silence     time.Duration `toml:"silence"`
	PeerUser    []string      `toml:"peer_user"`
	PeerGroup   []string      `toml:"peer_group"`
}

func defaults() table { return table{Silence: defaultSilence} }

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

// check records every mistake in the values.
func (t *table) check(cfg sdk.Config) bool {
	c := options.Check(cfg)
	switch abstract := strings.HasPrefix(t.Path, "@"); {
	case t.Path == "":
		c.Mistake(true, "path", "the path of the socket is missing")
	case strings.Contains(t.Path, "://"):
		c.Mistake(true, "path", "want the path of a socket, not a URL")
	case abstract:
		c.Mistake(t.Path == "@", "path", `want a name behind the "@"`)
		c.Mistake(t.Permissions != nil, "permissions", "an abstract socket has no permissions: anybody may connect")
	default:
		abs, err := filepath.Abs(t.Path)
		c.Mistake(err != nil, "path", "a relative path, and the working directory is not known: %v", err)
		t.Path = abs
	}
	c.Mistake(len(t.Path) > eventstream.MaxSocketPath, "path", "a socket's path may have %d bytes, this one has %d", eventstream.MaxSocketPath, len(t.Path))
	c.Mistake(t.Mode == dial && t.Second != nil, "second", `goes with mode = "listen"`)
	c.Mistake(t.Mode == dial && t.Permissions != nil, "permissions", `goes with mode = "listen": the receiver makes the socket`)
	if t.Permissions != nil && *t.Permissions&0o002 != 0 {
		cfg.Warnf("permissions", "every user of this host may connect")
	}
	t.checkPeers(cfg, c)
	c.Duration(t.Silence, "silence", minSilence, maxSilence)
	return c.OK()
}

// checkPeers checks who may be at the other end, and warns where anybody may be.
func (t *table) checkPeers(cfg sdk.Config, c *options.Checker) {
	for key, list := range map[string][]string{"peer_user": t.PeerUser, "peer_group": t.PeerGroup} {
		lookup := userID
		if key == "peer_group" {
			lookup = groupID
		}
		for i, name := range list {
			at := keypath.Element(key, i)
			if name == "" {
				c.Mistake(true, at, "want a name or a number")
			} else if _, err := lookup(name); err != nil {
				cfg.Warnf(at, "this host does not know it: %v", err)
			}
		}
		c.Mistake(list != nil && len(list) == 0, key, "an empty list lets nobody connect; leave it out to let everybody")
	}
	switch {
	case t.PeerUser != nil || t.PeerGroup != nil || t.Path == "":
	case strings.HasPrefix(t.Path, "@"):
		if t.Mode == dial {
			cfg.Warnf("path", "any process of this host can listen there in the receiver's place: set peer_user or peer_group")
		} else {
			cfg.Warnf("path", "any process of this host can connect: set peer_user or peer_group")
		}
	case everybodyWrites(filepath.Dir(t.Path)):
		cfg.Warnf("path", "every user of this host may make a socket in %s: use another directory, or set peer_user or peer_group", filepath.Dir(t.Path))
	}
}

// everybodyWrites reports whether every user may write to a directory. One that is not there yet is nobody's.
func everybodyWrites(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && info.Mode().Perm()&0o002 != 0
}

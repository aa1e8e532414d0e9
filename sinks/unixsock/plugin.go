package unixsock

import (
	_ "embed"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/eventstream"
)

//go:embed sample.toml
var sample string

// Limits of the options.
const (
	minSilence     = time.Second
	maxSilence     = 10 * time.Minute
	defaultSilence = 30 * time.Second
)

// Plugin returns the sink "unixsock".
func Plugin() sdk.SinkPlugin {
	return sdk.SinkPlugin{
		Name:      "unixsock",
		Summary:   "streams to a receiver on a Unix socket, with acknowledgements and replay",
		Sample:    sample,
		Configure: newPlugin,
	}
}

func newPlugin(cfg sdk.Config, env sdk.Env) sdk.Sink {
	o := options{Silence: durationOption(defaultSilence)}
	decoded := cfg.Decode(&o)
	if !o.check(cfg) || !decoded { // all mistakes at once
		return nil
	}
	warn := env.Warn
	if warn == nil {
		warn = func(string, ...any) {}
	}
	var c Connector = Dialer(o.Path)
	if o.Mode == listen {
		l := ListenConfig{Path: o.Path, Permissions: 0o660, Warn: warn}
		if o.Permissions != nil {
			l.Permissions = fs.FileMode(*o.Permissions)
		}
		l.Takeover = o.Second != nil && *o.Second == takeover
		c = Listener(l)
	}
	return New(Config{
		Connector: c, Delta: o.Sessions == deltaLayout, Silence: time.Duration(o.Silence), Warn: warn,
		Mode: o.Mode.String(), Path: o.Path,
	})
}

// check records every mistake in the values.
func (o *options) check(cfg sdk.Config) bool {
	good := true
	mistake := func(wrong bool, key, form string, args ...any) {
		if wrong {
			cfg.Errorf(key, form, args...)
			good = false
		}
	}
	switch abstract := strings.HasPrefix(o.Path, "@"); {
	case o.Path == "":
		mistake(true, "path", "the path of the socket is missing")
	case strings.Contains(o.Path, "://"):
		mistake(true, "path", "want the path of a socket, not a URL")
	case abstract:
		mistake(o.Path == "@", "path", `want a name behind the "@"`)
		mistake(o.Permissions != nil, "permissions", "an abstract socket has no permissions: anybody may connect")
	default:
		abs, err := filepath.Abs(o.Path)
		mistake(err != nil, "path", "a relative path, and the working directory is not known: %v", err)
		o.Path = abs
	}
	mistake(len(o.Path) > eventstream.MaxSocketPath, "path", "a socket's path may have %d bytes, this one has %d", eventstream.MaxSocketPath, len(o.Path))
	mistake(o.Mode == dial && o.Second != nil, "second", `goes with mode = "listen"`)
	mistake(o.Mode == dial && o.Permissions != nil, "permissions", `goes with mode = "listen": the receiver makes the socket`)
	if o.Permissions != nil && *o.Permissions&0o002 != 0 {
		cfg.Warnf("permissions", "every user of this host may connect")
	}
	silence := time.Duration(o.Silence)
	mistake(silence < minSilence || silence > maxSilence, "silence", "want %v to %v, got %v", minSilence, maxSilence, silence)
	return good
}

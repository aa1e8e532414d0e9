package unixsock

import (
	_ "embed"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rtflow/pipelined/internal/keypath"
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
	o := options{Silence: defaultSilence}
	decoded := cfg.Decode(&o)
	if !o.check(cfg) || !decoded { // all mistakes at once
		return nil
	}
	warn := env.Warn
	if warn == nil {
		warn = func(string, ...any) {}
	}
	peers := Peers{Users: o.PeerUser, Groups: o.PeerGroup}
	c := DialerTo(o.Path, peers)
	if o.Mode == listen {
		l := ListenConfig{Path: o.Path, Permissions: 0o660, Peers: peers, Warn: warn}
		if o.Permissions != nil {
			l.Permissions = fs.FileMode(*o.Permissions)
		}
		l.Takeover = o.Second != nil && *o.Second == takeover
		c = Listener(l)
	}
	return New(Config{
		Connector: c, Delta: o.Sessions == deltaLayout, Silence: o.Silence, Warn: warn,
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
	o.checkPeers(cfg, mistake)
	mistake(o.Silence < minSilence || o.Silence > maxSilence, "silence", "want %v to %v, got %v", minSilence, maxSilence, o.Silence)
	return good
}

// checkPeers checks who may be at the other end, and warns where anybody may be.
func (o *options) checkPeers(cfg sdk.Config, mistake func(wrong bool, key, form string, args ...any)) {
	for key, list := range map[string][]string{"peer_user": o.PeerUser, "peer_group": o.PeerGroup} {
		lookup := userID
		if key == "peer_group" {
			lookup = groupID
		}
		for i, name := range list {
			at := keypath.Element(key, i)
			if name == "" {
				mistake(true, at, "want a name or a number")
			} else if _, err := lookup(name); err != nil {
				cfg.Warnf(at, "this host does not know it: %v", err)
			}
		}
		mistake(list != nil && len(list) == 0, key, "an empty list lets nobody connect; leave it out to let everybody")
	}
	switch {
	case o.PeerUser != nil || o.PeerGroup != nil || o.Path == "":
	case strings.HasPrefix(o.Path, "@"):
		if o.Mode == dial {
			cfg.Warnf("path", "any process of this host can listen there in the receiver's place: set peer_user or peer_group")
		} else {
			cfg.Warnf("path", "any process of this host can connect: set peer_user or peer_group")
		}
	case everybodyWrites(filepath.Dir(o.Path)):
		cfg.Warnf("path", "every user of this host may make a socket in %s: use another directory, or set peer_user or peer_group", filepath.Dir(o.Path))
	}
}

// everybodyWrites reports whether every user may write to a directory. One that is not there yet is nobody's.
func everybodyWrites(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && info.Mode().Perm()&0o002 != 0
}

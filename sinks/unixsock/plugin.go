package unixsock

import (
	_ "embed"
	"io/fs"

	"github.com/rtflow/pipelined/internal/options"
	"github.com/rtflow/pipelined/sdk"
)

//go:embed sample.toml
var sample string

// Plugin returns the sink "unixsock".
func Plugin() sdk.SinkPlugin {
	return sdk.SinkPlugin{
		Name:      "unixsock",
		Summary:   "streams to a receiver on a Unix socket, with acknowledgements and replay",
		Sample:    sample,
		Configure: newSink,
	}
}

func newSink(cfg sdk.Config, env sdk.Env) sdk.Sink {
	t := defaults()
	read := cfg.Decode(&t) // what could be read is checked all the same, so that one run shows every mistake
	if !t.check(cfg) || !read {
		return nil
	}
	peers := Peers{Users: t.PeerUser, Groups: t.PeerGroup}
	c := Dialer(t.Path, peers)
	if t.Mode == listen {
		l := ListenConfig{Path: t.Path, Permissions: 0o660, Peers: peers, Warn: options.Warn(env)}
		if t.Permissions != nil {
			l.Permissions = fs.FileMode(*t.Permissions)
		}
		l.Takeover = t.Second != nil && *t.Second == takeover
		c = Listener(l)
	}
	return New(Config{
		Connector: c, Delta: t.Sessions == deltaLayout, Silence: t.Silence, Warn: options.Warn(env),
		Mode: t.Mode.String(), Path: t.Path,
	})
}

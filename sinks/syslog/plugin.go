package syslog

import (
	_ "embed"

	"github.com/rtflow/pipelined/internal/options"
	"github.com/rtflow/pipelined/sdk"
)

//go:embed sample.toml
var sample string

// Plugin returns the sink "syslog".
func Plugin() sdk.SinkPlugin {
	return sdk.SinkPlugin{
		Name:      "syslog",
		Summary:   "sends to syslog collectors: UDP, TCP, TLS, RELP, Unix datagrams",
		Sample:    sample,
		Configure: newSink,
	}
}

func newSink(cfg sdk.Config, env sdk.Env) sdk.Sink {
	t := defaults()
	read := cfg.Decode(&t) // what could be read is checked all the same, so that one run shows every mistake
	addresses, formats, good := t.check(cfg, env)
	if !good || !read {
		return nil
	}
	t.warnIdle(cfg, addresses)
	k := &Sink{
		format: formats, strategy: t.Strategy, returnAfter: t.ReturnAfter, warn: options.Warn(env),
		limits: limits{
			connect: t.ConnectTimeout, write: t.WriteTimeout, close: t.CloseTimeout, keepalive: t.Keepalive, userTimeout: t.UserTimeout,
		},
	}
	for _, a := range addresses {
		k.links = append(k.links, &link{
			address: a, dialer: k.dialer(a, &t), counts: &k.counts, shown: AddressStatus{Address: a.String(), State: Standby},
			maxRefusals: t.MaxRefusals, search: search{most: t.MaxRefusals},
			stall: stall{within: t.UserTimeout, brief: t.Strategy == failover && len(addresses) > 1},
		})
	}
	return k
}

func (k *Sink) dialer(a address, t *table) dialer {
	over := tcpDialer{address: a, limits: k.limits}
	if a.encrypted() {
		over.tls = &tlsFiles{options: t.TLS}
	}
	switch a.scheme {
	case "udp", "unixgram":
		return &datagramDialer{address: a, limits: k.limits, counts: &k.counts, lookup: lookupHost}
	case "relp", "relps":
		return &relpDialer{tcpDialer: over, window: t.Window}
	default:
		return &streamDialer{tcpDialer: over, framing: t.Framing}
	}
}

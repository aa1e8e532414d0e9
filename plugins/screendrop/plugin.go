package screendrop

import (
	_ "embed"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/sdk"
)

//go:embed sample.toml
var sample string

// Plugin returns the hook "screendrop".
func Plugin() hook.Plugin {
	return hook.Plugin{
		Name:      "screendrop",
		Summary:   "Junos screens: floods, scans, sweeps and malformed packets, by ingress zone",
		Sample:    sample,
		Configure: configure,
	}
}

func configure(cfg sdk.Config, env hook.Env) hook.Instance {
	return instance(decode(cfg, env.Zones), env, large())
}

// instance returns screens that have seen no packet.
func instance(o options, env hook.Env, size sizes) hook.Instance {
	s := newScreens(o, env, size)
	inst := hook.Instance{Ingress: s, Counters: s.counters, Fresh: func() hook.Instance { return instance(o, env, small()) }}
	if s.udpScan != nil || s.udpSweep != nil {
		inst.Session = beginnings{s}
	}
	return inst
}

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
	former := env.Former
	env.Former = nil // Fresh keeps env
	o := decode(cfg, env.Zones)
	s := newScreens(o, env, large())
	if former != nil {
		if f, ok := former.Ingress.(*screens); ok {
			s.goOn(f)
		}
	}
	return instance(s, o, env)
}

// instance returns the hook of screens.
func instance(s *screens, o options, env hook.Env) hook.Instance {
	inst := hook.Instance{Ingress: s, Counters: s.counters, Fresh: func() hook.Instance { return instance(newScreens(o, env, small()), o, env) }}
	if s.udpScan != nil || s.udpSweep != nil {
		inst.Session = beginnings{s}
	}
	return inst
}

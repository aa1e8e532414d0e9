package screendrop

import (
	_ "embed"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/sdk"
)

//go:embed sample.toml
var sample string

// Plugin returns the hook as a program registers it.
func Plugin() hook.Plugin {
	return hook.Plugin{
		Name:    "screendrop",
		Summary: "Junos screens: floods, scans, sweeps and malformed packets, by ingress zone",
		Sample:  sample,
		Configure: func(cfg sdk.Config, env hook.Env) hook.Instance {
			s := newScreens(read(cfg, env.Zones), env)
			inst := hook.Instance{Ingress: s, Counters: s.counters}
			if s.udpScan != nil || s.udpSweep != nil {
				inst.Session = beginnings{s}
			}
			return inst
		},
	}
}

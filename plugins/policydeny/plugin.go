package policydeny

import (
	_ "embed"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/sdk"
)

//go:embed sample.toml
var sample string

// Plugin returns what a program registers to offer the hook "policydeny".
func Plugin() hook.Plugin {
	return hook.Plugin{
		Name:      "policydeny",
		Summary:   "zone policies for the first packet of a flow: permit, deny or reject, and log",
		Sample:    sample,
		Configure: newInstance,
	}
}

func newInstance(cfg sdk.Config, env hook.Env) hook.Instance {
	s := defaults()
	w := &watched{Config: cfg}
	w.Decode(&s) // what could be read is checked all the same, so that one run shows every mistake
	e := compile(&s, w, env)
	return hook.Instance{Session: e, Permits: true, Counters: e.Counters, Holds: []hook.Held{{N: len(s.Policies), One: "policy", Many: "policies"}}}
}

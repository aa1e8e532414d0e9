package policydeny

import (
	_ "embed"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/sdk"
)

//go:embed sample.toml
var sample string

// Plugin returns the hook "policydeny".
func Plugin() hook.Plugin {
	return hook.Plugin{
		Name:      "policydeny",
		Summary:   "zone policies for the first packet of a flow: permit, deny or reject, and log",
		Sample:    sample,
		Configure: configure,
	}
}

func configure(cfg sdk.Config, env hook.Env) hook.Instance {
	tracked := &trackedConfig{Config: cfg}
	o := decode(tracked) // what could be read is checked all the same, so that one run shows every mistake
	e := compile(&o, tracked, env)
	return hook.Instance{
		Session: e.hook(), Permits: true, Counters: e.tally.Counters,
		Holds: []hook.Held{{N: len(o.Policies), One: "policy", Many: "policies"}},
	}
}

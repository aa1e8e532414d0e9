package filterlog

import (
	_ "embed"
	"slices"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/sdk"
)

//go:embed sample.toml
var sample string

// Plugin returns the hook "filterlog".
func Plugin() hook.Plugin {
	return hook.Plugin{
		Name:      "filterlog",
		Summary:   "Junos firewall filters: ordered terms, on what comes in on interfaces or goes to zones",
		Sample:    sample,
		Configure: configure,
	}
}

func configure(cfg sdk.Config, env hook.Env) hook.Instance {
	o := decode(cfg, env.Zones)
	if len(o.Terms) > maxTerms {
		return hook.Instance{} // recorded; not worth compiling
	}
	f := newFilter(o, env.Names.Filter(cfg.Name(), o.names()), env.Workers)
	inst := hook.Instance{
		Counters: f.tally.Counters, Holds: []hook.Held{{N: len(o.Terms), One: "term", Many: "terms"}},
	}
	if o.Attach == nil {
		inst.Ingress = &input{filter: f, everywhere: true}
		return inst
	}
	if len(o.Attach.Input) > 0 {
		in := &input{filter: f}
		for _, name := range o.Attach.Input {
			id, _ := env.Zones.InterfaceID(name)
			in.interfaces = append(in.interfaces, id)
		}
		slices.Sort(in.interfaces)
		inst.Ingress = in
	}
	if len(o.Attach.OutputZone) > 0 {
		out := &output{filter: f}
		for _, name := range o.Attach.OutputZone {
			id, _ := env.Zones.Lookup(name)
			out.zones = append(out.zones, id)
		}
		slices.Sort(out.zones)
		inst.Egress = out
	}
	return inst
}

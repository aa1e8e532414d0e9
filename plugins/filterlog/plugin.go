package filterlog

import (
	_ "embed"
	"slices"

	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/sdk"
)

//go:embed sample.toml
var sample string

// Plugin returns the hook as a program registers it.
func Plugin() hook.Plugin {
	return hook.Plugin{
		Name:    "filterlog",
		Summary: "Junos firewall filters: ordered terms, on what comes in on interfaces or goes to zones",
		Sample:  sample,
		Configure: func(cfg sdk.Config, env hook.Env) hook.Instance {
			s := read(cfg, env.Zones)
			if len(s.Terms) > maxTerms {
				return hook.Instance{} // recorded; not worth compiling
			}
			f := newFilter(s, env.Names.Filter(cfg.Name(), s.names()), env.Workers)
			inst := hook.Instance{Counters: f.sum, Holds: []hook.Held{{N: len(s.Terms), One: "term", Many: "terms"}}}
			if s.Attach == nil {
				inst.Ingress = &input{filter: f, everywhere: true}
				return inst
			}
			if len(s.Attach.Input) > 0 {
				in := &input{filter: f}
				for _, name := range s.Attach.Input {
					id, _ := env.Zones.InterfaceID(name)
					in.interfaces = append(in.interfaces, id)
				}
				slices.Sort(in.interfaces)
				inst.Ingress = in
			}
			if len(s.Attach.OutputZone) > 0 {
				out := &output{filter: f}
				for _, name := range s.Attach.OutputZone {
					id, _ := env.Zones.Lookup(name)
					out.zones = append(out.zones, id)
				}
				slices.Sort(out.zones)
				inst.Egress = out
			}
			return inst
		},
	}
}

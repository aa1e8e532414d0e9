package afpacket

import (
	"context"
	_ "embed"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/internal/machine"
	"github.com/rtflow/pipelined/sdk"
)

//go:embed sample.toml
var sample string

// Plugin returns the source "afpacket".
func Plugin() source.Plugin {
	return source.Plugin{
		Name:      "afpacket",
		Summary:   "looks at copies of the packets of network interfaces, and takes none",
		Sample:    sample,
		Configure: configure,
	}
}

func configure(cfg sdk.Config, env source.Env) source.Configured {
	o := decode(cfg)
	return source.Configured{
		Interfaces: o.names(),
		Optional:   o.Optional,
		Live:       true,
		Incoming:   o.Direction == in,
		Translator: o.NAT.Translator(),
		Examine: func(m *machine.Machine) []machine.Finding {
			return append(examineConfig(m, o.config()), o.NAT.Examine(m)...)
		},
		Open: func(_ context.Context, zones *zone.Table) (source.Source, error) {
			c := o.config()
			c.Warn, c.Info = env.Warn, env.Info
			for i := range c.Interfaces {
				c.Interfaces[i].ID = zones.Index(c.Interfaces[i].Name)
			}
			s, err := Open(c)
			if err != nil {
				return nil, err
			}
			return plugged{s}, nil
		},
	}
}

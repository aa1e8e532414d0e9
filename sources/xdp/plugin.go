package xdp

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

// Plugin returns the source "xdp".
func Plugin() source.Plugin {
	return source.Plugin{
		Name:      "xdp",
		Summary:   "taps a network interface through AF_XDP, where its packets end, or bridges two",
		Sample:    sample,
		Configure: configure,
	}
}

func configure(cfg sdk.Config, env source.Env) source.Configured {
	o := decode(cfg)
	c := Config{Device: o.device(), TakeTraffic: o.TakeTraffic, LinkPropagation: o.LinkPropagation, Flows: o.flows(), Warn: env.Warn}
	return source.Configured{
		Interfaces: []string{o.Interface},
		Live:       true,
		Incoming:   o.Mode == tap, // a bridge knows the interface by which a packet leaves
		Peer:       o.Peer,
		Examine:    func(m *machine.Machine) []machine.Finding { return examine(m, c, true) },
		Open: func(ctx context.Context, zones *zone.Table) (source.Source, error) {
			named := c
			named.ID = zones.Index(o.Interface)
			s, err := Open(ctx, named)
			if err != nil {
				return nil, err
			}
			for _, note := range s.State().Notes {
				env.Warn(note)
			}
			return plugged{s}, nil
		},
	}
}

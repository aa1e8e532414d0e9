package nflog

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/internal/machine"
	"github.com/rtflow/pipelined/sdk"
)

//go:embed sample.toml
var sample string

// Plugin returns the source "nflog".
func Plugin() source.Plugin {
	return source.Plugin{
		Name:      "nflog",
		Summary:   "reads what the rules of nftables or iptables log: the packet, the rule, its verdict",
		Sample:    sample,
		Configure: configure,
	}
}

func configure(cfg sdk.Config, env source.Env) source.Configured {
	c := decode(cfg)
	c.Warn = env.Warn
	groups := make([]source.Exclusive, len(c.Groups))
	for i, group := range c.Groups {
		groups[i] = source.Exclusive{Key: fmt.Sprintf("groups[%d]", i), What: fmt.Sprintf("NFLOG group %d", group)}
	}
	return source.Configured{
		Live:      true,
		Incoming:  true,
		Events:    true,
		Rules:     true,
		Exclusive: groups,
		Examine:   func(m *machine.Machine) []machine.Finding { return examine(m, c.Groups, c.Buffer, true) },
		Open: func(context.Context, *zone.Table) (source.Source, error) {
			s, err := Open(c)
			if err != nil {
				return nil, err
			}
			warnUnused(machine.This(), c.Groups, env.Warn)
			return plugged{s}, nil
		},
	}
}

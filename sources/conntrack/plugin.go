package conntrack

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

// Plugin returns the source "conntrack".
func Plugin() source.Plugin {
	return source.Plugin{
		Name:      "conntrack",
		Summary:   "reads the sessions of this host's firewall from the kernel, with their translations and counters",
		Sample:    sample,
		Configure: configure,
	}
}

func configure(cfg sdk.Config, env source.Env) source.Configured {
	o, zones := decode(cfg, env)
	c := Config{AtEnd: o.Close == atEnd, Max: o.Max, Accounting: o.Accounting, Buffer: int(o.Buffer), zones: zones, Warn: env.Warn}
	return source.Configured{
		Live:     true,
		Incoming: true,
		Events:   true,
		Sessions: true,
		Open:     func(context.Context, *zone.Table) (source.Source, error) { return Open(c) },
		Examine:  func(m *machine.Machine) []machine.Finding { return examine(m, c, true) },
	}
}

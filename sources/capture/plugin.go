package capture

import (
	"context"
	_ "embed"
	"io"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/sdk"
)

//go:embed sample.toml
var sample string

// Plugin returns the source "pcap". stdin is what file = "-" reads.
func Plugin(stdin io.Reader) source.Plugin {
	return source.Plugin{
		Name:    "pcap",
		Summary: "reads a capture: pcap or pcapng, plain or compressed, in the time of its packets",
		Sample:  sample,
		Configure: func(cfg sdk.Config, env source.Env) source.Configured {
			o := decode(cfg)
			return Configure(Config{Path: o.File, Stdin: stdin, Interface: o.Interface, Warn: env.Warn}, nil)
		},
	}
}

// Configure returns a source that opens a capture. Config.Index is set when it opens; opened, if not nil, is called with
// the open source.
func Configure(cfg Config, opened func(*Source)) source.Configured {
	c := source.Configured{
		Open: func(_ context.Context, zones *zone.Table) (source.Source, error) {
			cfg.Index = zones.Index
			s, err := Open(cfg)
			if err != nil {
				return nil, err
			}
			if opened != nil {
				opened(s)
			}
			return plugged{s}, nil
		},
	}
	if cfg.Interface != "" {
		c.Interfaces = []string{cfg.Interface}
	}
	return c
}

package capture

import (
	"context"
	"io"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/sdk"
)

// Plugin returns the source "pcap". stdin is what file = "-" reads.
func Plugin(stdin io.Reader) source.Plugin {
	return source.Plugin{
		Name:    "pcap",
		Summary: "reads a capture: pcap or pcapng, plain or compressed, in the time of its packets",
		Sample:  Sample,
		Configure: func(cfg sdk.Config, _ source.Env) source.Configured {
			var o struct {
				File      string `toml:"file"`
				Interface string `toml:"interface"`
			}
			if cfg.Decode(&o) && o.File == "" {
				cfg.Errorf("file", "the path of the capture is missing")
			}
			return Configure(Config{Path: o.File, Stdin: stdin, Interface: o.Interface}, nil)
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

// plugged is a Source as the pipeline sees it: with one queue.
type plugged struct{ *Source }

var _ source.Source = plugged{}

func (p plugged) Queues() []source.FrameSource { return []source.FrameSource{p.Source} }

func (p plugged) Status() any { return p.Stats() }

func (p plugged) Counters() []source.Counter {
	st := p.Stats()
	return []source.Counter{
		{Name: "packets", Queue: -1, Value: st.Packets},
		{Name: "bytes", Queue: -1, Value: st.Bytes},
		{Name: "out_of_order", Queue: -1, Value: st.OutOfOrder},
		{Name: "clock_set_back", Queue: -1, Value: st.ClockSetBack},
		{Name: "other_link_type", Queue: -1, Value: st.OtherLinkType},
	}
}

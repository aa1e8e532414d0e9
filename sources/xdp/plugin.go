package xdp

import (
	"context"
	_ "embed"
	"strconv"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/xsk"
)

//go:embed sample.toml
var sample string

// Plugin returns the source "xdp".
func Plugin() source.Plugin {
	return source.Plugin{
		Name:      "xdp",
		Summary:   "taps all queues of a network interface through AF_XDP; the packets end here",
		Sample:    sample,
		Configure: configure,
	}
}

// settings is the table of a source.
type settings struct {
	Interface   string   `toml:"interface"`
	Attach      string   `toml:"attach"`
	Frames      int      `toml:"frames"`
	FrameSize   int      `toml:"frame_size"`
	PassPorts   []uint16 `toml:"pass_ports"`
	Promiscuous bool     `toml:"promiscuous"`
	Mode        string   `toml:"mode"`
	TakeTraffic bool     `toml:"take_traffic"`
}

func configure(cfg sdk.Config, env source.Env) source.Configured {
	o := settings{Attach: xsk.Auto.String(), Frames: xsk.DefaultFrames, Promiscuous: true, Mode: "tap"}
	cfg.Decode(&o) // what could be read is checked all the same, so that one run shows every mistake
	if o.Frames == 0 {
		o.Frames = -1 // not the default: somebody wrote it
	}
	if o.Mode != "tap" {
		cfg.Errorf("mode", `%q is not a mode; there is "tap"`, o.Mode)
	}
	device := xsk.Config{
		Interface: o.Interface, Frames: o.Frames, FrameSize: o.FrameSize, PassPorts: o.PassPorts, Promiscuous: o.Promiscuous,
	}
	switch o.Attach {
	case xsk.Auto.String():
		device.Attach = xsk.Auto
	case xsk.Native.String():
		device.Attach = xsk.Native
	case xsk.Generic.String():
		device.Attach = xsk.Generic
	default:
		cfg.Errorf("attach", `%q is not a way to attach; there are "auto", "native" and "generic"`, o.Attach)
	}
	for _, bad := range device.Mistakes() {
		cfg.Errorf(bad.Option, "%s", bad.Reason)
	}
	for i, port := range o.PassPorts {
		if port == 0 {
			cfg.Errorf("pass_ports["+strconv.Itoa(i)+"]", "no packet goes to port 0")
		}
	}
	if o.TakeTraffic && len(o.PassPorts) == 0 {
		cfg.Warnf("take_traffic", "takes every IPv4 and IPv6 packet from this host, those of remote logins too; leave some with pass_ports, such as [22]")
	}
	return source.Configured{
		Interfaces: []string{o.Interface},
		Live:       true,
		Open: func(_ context.Context, zones *zone.Table) (source.Source, error) {
			s, err := Open(Config{Device: device, TakeTraffic: o.TakeTraffic, ID: zones.Index(o.Interface), Warn: env.Warn})
			if err != nil {
				return nil, err
			}
			state := s.State()
			for _, note := range state.Notes {
				env.Warn(note)
			}
			return plugged{s}, nil
		},
	}
}

// plugged is a Source as the pipeline sees it.
type plugged struct{ *Source }

var _ source.Source = plugged{}

func (p plugged) Queues() []source.FrameSource {
	var queues []source.FrameSource
	for _, q := range p.Source.Queues() {
		queues = append(queues, q)
	}
	return queues
}

func (p plugged) Status() any {
	stats, err := p.Stats()
	status := struct {
		State
		Kernel     xsk.Counters `json:"kernel"`
		Sockets    []xsk.Stats  `json:"sockets"`
		StatsError string       `json:"stats_error,omitempty"`
	}{State: p.State(), Kernel: stats.Program, Sockets: stats.Queues}
	if err != nil {
		status.StatsError = err.Error()
	}
	return status
}

// Counters returns what could be read: a counter that could not keeps its last value at the scraper.
func (p plugged) Counters() []source.Counter {
	stats, _ := p.Stats() // the error is in the status
	k := &stats.Program
	counters := []source.Counter{
		{Name: "redirected", Queue: -1, Value: k.Redirected},
		{Name: "pass_not_ip", Queue: -1, Value: k.PassNotIP},
		{Name: "pass_port", Queue: -1, Value: k.PassPort},
		{Name: "pass_neighbour", Queue: -1, Value: k.PassNeighbour},
		{Name: "pass_no_socket", Queue: -1, Value: k.PassNoSocket},
		{Name: "reopened", Queue: -1, Value: p.State().Reopened},
	}
	for i := range stats.Queues {
		q := &stats.Queues[i]
		counters = append(counters,
			source.Counter{Name: "received", Queue: i, Value: q.Received},
			source.Counter{Name: "bytes", Queue: i, Value: q.Bytes},
			source.Counter{Name: "malformed_descriptors", Queue: i, Value: q.Malformed},
			source.Counter{Name: "wakeups", Queue: i, Value: q.Wakeups},
			source.Counter{Name: "rx_dropped", Queue: i, Value: q.RxDropped, Lost: true},
			source.Counter{Name: "rx_invalid_descriptors", Queue: i, Value: q.RxInvalidDescs},
			source.Counter{Name: "rx_ring_full", Queue: i, Value: q.RxRingFull, Lost: true},
			source.Counter{Name: "fill_ring_empty", Queue: i, Value: q.FillRingEmpty},
		)
	}
	return counters
}

package xdp

import (
	"fmt"
	"strconv"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/xsk"
)

// options is the table of the source.
type options struct {
	Interface   string   `toml:"interface"`
	Mode        mode     `toml:"mode"`
	Attach      attach   `toml:"attach"`
	Promiscuous bool     `toml:"promiscuous"`
	TakeTraffic bool     `toml:"take_traffic"`
	PassPorts   []uint16 `toml:"pass_ports"`
	Frames      int      `toml:"frames"`
	FrameSize   int      `toml:"frame_size"`
}

// mode says what becomes of the packets.
type mode uint8

const tap mode = 0 // looked at, and recycled

func (m *mode) UnmarshalText(text []byte) error {
	if string(text) != "tap" {
		return fmt.Errorf(`want "tap", got %q`, text)
	}
	*m = tap
	return nil
}

// attach says where on the receive path the XDP program runs.
type attach xsk.Mode

func (a *attach) UnmarshalText(text []byte) error {
	for _, m := range []xsk.Mode{xsk.Auto, xsk.Native, xsk.Generic} {
		if string(text) == m.String() {
			*a = attach(m)
			return nil
		}
	}
	return fmt.Errorf("want %q, %q or %q, got %q", xsk.Auto, xsk.Native, xsk.Generic, text)
}

// decode reads the table and records every mistake in it.
func decode(cfg sdk.Config) options {
	o := options{Attach: attach(xsk.Auto), Promiscuous: true, Frames: xsk.DefaultFrames}
	cfg.Decode(&o) // what could be read is checked all the same, so that one run shows every mistake
	if o.Frames == 0 {
		o.Frames = -1 // not the default: somebody wrote it
	}
	for _, mistake := range o.device().Mistakes() {
		cfg.Errorf(mistake.Option, "%s", mistake.Reason)
	}
	for i, port := range o.PassPorts {
		if port == 0 {
			cfg.Errorf("pass_ports["+strconv.Itoa(i)+"]", "no packet goes to port 0")
		}
	}
	if o.TakeTraffic && len(o.PassPorts) == 0 {
		cfg.Warnf("take_traffic", "takes every IPv4 and IPv6 packet from this host, those of remote logins too; leave some with pass_ports, such as [22]")
	}
	return o
}

// device returns what the options say about the interface.
func (o *options) device() xsk.Config {
	return xsk.Config{
		Interface: o.Interface, Attach: xsk.Mode(o.Attach), Frames: o.Frames, FrameSize: o.FrameSize, PassPorts: o.PassPorts,
		Promiscuous: o.Promiscuous,
	}
}

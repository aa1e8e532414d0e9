package xdp

import (
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/xsk"
)

// options is the table of the source.
type options struct {
	Interface   string   `toml:"interface"`
	Mode        mode     `toml:"mode"`
	Peer        string   `toml:"peer"`
	Attach      attach   `toml:"attach"`
	Promiscuous bool     `toml:"promiscuous"`
	TakeTraffic bool     `toml:"take_traffic"`
	PassPorts   []uint16 `toml:"pass_ports"`
	PassTypes   []uint16 `toml:"pass_types"` // nil: the default
	Frames      int      `toml:"frames"`
	FrameSize   int      `toml:"frame_size"`

	LinkPropagation bool `toml:"link_propagation"`

	OnFailure      *onFailure     `toml:"on_failure"`       // nil: closed
	OnFailureAfter *time.Duration `toml:"on_failure_after"` // nil: the default
	BPFFS          string         `toml:"bpffs"`

	Offload *bool `toml:"offload"`       // nil: in a bridge
	Flows   *int  `toml:"offload_flows"` // nil: the default
}

// mode says what becomes of the packets.
type mode uint8

const (
	tap    mode = iota // looked at, and recycled
	bridge             // sent on by the peer, if they are let through

	misspelled // which was reported: nothing is known about options that depend on the mode
)

var modeNames = [...]string{tap: "tap", bridge: "bridge"}

func (m *mode) UnmarshalText(text []byte) error {
	for i, name := range modeNames {
		if string(text) == name {
			*m = mode(i)
			return nil
		}
	}
	*m = misspelled
	return fmt.Errorf("want %q or %q, got %q", modeNames[tap], modeNames[bridge], text)
}

const (
	// Limits of on_failure_after. A worker that is only busy comes back far sooner.
	minOnFailureAfter = 100 * time.Millisecond
	maxOnFailureAfter = time.Minute

	// defaultFlows is how many flows the XDP program carries at most: 128 bytes each of memory of the kernel.
	defaultFlows = 1 << 16
	minFlows     = 16

	// pauseFrames is the Ethernet type of MAC control frames, which are for the other end of a cable alone (IEEE 802.3 annex 31A).
	pauseFrames = 0x8808
	// firstType is the lowest Ethernet type: what is below is the length of an IEEE 802.3 frame.
	firstType = 0x0600
)

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

// onFailure says what becomes of frames that nobody reads.
type onFailure xsk.Failure

func (f *onFailure) UnmarshalText(text []byte) error {
	for _, failure := range []xsk.Failure{xsk.FailClosed, xsk.FailOpen} {
		if string(text) == failure.String() {
			*f = onFailure(failure)
			return nil
		}
	}
	return fmt.Errorf("want %q or %q, got %q", xsk.FailOpen, xsk.FailClosed, text)
}

// decode reads the table and records every mistake in it.
func decode(cfg sdk.Config) options {
	o := options{Attach: attach(xsk.Auto), Promiscuous: true, Frames: xsk.DefaultFrames, BPFFS: xsk.DefaultBPFFS}
	cfg.Decode(&o) // what could be read is checked all the same, so that one run shows every mistake
	if o.Frames == 0 {
		o.Frames = -1 // not the default: somebody wrote it
	}
	for _, mistake := range o.device().Mistakes() {
		cfg.Errorf(mistake.Option, "%s", mistake.Reason)
	}
	if o.BPFFS != "" && !filepath.IsAbs(o.BPFFS) {
		cfg.Errorf("bpffs", "%q is no absolute path; empty, the program of a bridge leaves with the daemon", o.BPFFS)
	}
	for i, port := range o.PassPorts {
		if port == 0 {
			cfg.Errorf("pass_ports["+strconv.Itoa(i)+"]", "no packet goes to port 0")
		}
	}
	for i, ethernet := range o.PassTypes {
		if ethernet < firstType {
			cfg.Errorf("pass_types["+strconv.Itoa(i)+"]", "an Ethernet type is %#04x or more", firstType)
		}
	}
	switch n := o.Flows; {
	case n == nil:
	case *n < minFlows || *n > xsk.MaxFlows:
		cfg.Errorf("offload_flows", "%d is not between %d and %d", *n, minFlows, xsk.MaxFlows)
	case o.Mode != misspelled && !o.offload():
		cfg.Errorf("offload_flows", "is for offload = true: the XDP program carries no flows")
	}
	switch o.Mode {
	case bridge:
		o.checkBridge(cfg)
	case tap:
		o.checkTap(cfg)
	}
	return o
}

// checkTap checks what a tap has of its own, and that it has nothing of a bridge.
func (o *options) checkTap(cfg sdk.Config) {
	if o.Peer != "" {
		cfg.Errorf("peer", `is for mode = "bridge": the packets of a tap end there`)
	}
	if o.PassTypes != nil {
		cfg.Errorf("pass_types", `is for mode = "bridge": a tap takes IPv4 and IPv6 alone`)
	}
	if o.LinkPropagation {
		cfg.Errorf("link_propagation", `is for mode = "bridge": a tap has no peer`)
	}
	for key, there := range map[string]bool{"on_failure": o.OnFailure != nil, "on_failure_after": o.OnFailureAfter != nil} {
		if there {
			cfg.Errorf(key, `is for mode = "bridge": nobody waits for the packets of a tap`)
		}
	}
	if o.TakeTraffic && len(o.PassPorts) == 0 {
		cfg.Warnf("take_traffic", "takes every IPv4 and IPv6 packet from this host, those of remote logins too; leave some with pass_ports, such as [22]")
	}
}

// checkBridge checks what a bridge has of its own, and sets its defaults.
func (o *options) checkBridge(cfg sdk.Config) {
	if o.Peer == "" {
		cfg.Errorf("peer", `missing: the name of the source by whose interface packets leave, which has mode = "bridge" and peer = %q`, cfg.Name())
	}
	if len(o.PassPorts) > 0 {
		cfg.Errorf("pass_ports", "is for mode = \"tap\": the hosts behind a bridge would lose these ports. Reach this host by another interface")
	}
	if !o.Promiscuous {
		cfg.Errorf("promiscuous", "a bridge must receive what is addressed to others")
	}
	if after := o.OnFailureAfter; after != nil {
		if o.OnFailure == nil || xsk.Failure(*o.OnFailure) != xsk.FailOpen {
			cfg.Errorf("on_failure_after", `is for on_failure = "open": otherwise nothing goes past, however long nobody reads`)
		} else if *after < minOnFailureAfter || *after > maxOnFailureAfter {
			cfg.Errorf("on_failure_after", "%v is not between %v and %v", *after, minOnFailureAfter, maxOnFailureAfter)
		}
	}
	if o.PassTypes == nil {
		o.PassTypes = []uint16{pauseFrames}
	}
}

// offload reports whether the XDP program is to carry packets of sessions by itself.
func (o *options) offload() bool {
	if o.Offload != nil {
		return *o.Offload
	}
	return o.Mode == bridge
}

// flows returns how many flows the program may carry.
func (o *options) flows() int {
	switch {
	case !o.offload():
		return 0
	case o.Flows != nil:
		return *o.Flows
	}
	return defaultFlows
}

// device returns what the options say about the interface.
func (o *options) device() xsk.Config {
	c := xsk.Config{
		Interface: o.Interface, Attach: xsk.Mode(o.Attach), Frames: o.Frames, FrameSize: o.FrameSize, PassPorts: o.PassPorts,
		Promiscuous: o.Promiscuous, Bridge: o.Mode == bridge, PassTypes: o.PassTypes, BPFFS: o.BPFFS,
	}
	if o.OnFailure != nil {
		c.OnFailure = xsk.Failure(*o.OnFailure)
	}
	if o.OnFailureAfter != nil {
		c.OnFailureAfter = *o.OnFailureAfter
	}
	return c
}

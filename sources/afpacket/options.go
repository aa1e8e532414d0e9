package afpacket

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"

	"github.com/rtflow/pipelined/internal/spelling"
	"github.com/rtflow/pipelined/internal/translation"
	"github.com/rtflow/pipelined/internal/values"
	"github.com/rtflow/pipelined/sdk"
)

// Limits of the options.
const (
	maxWorkers    = 64
	minBlocks     = 64 // of a ring: half a second, see blockSize
	maxRing       = 1 << 30
	minSnapLength = 96 // the headers of most packets
	maxSnapLength = 65535
	maxName       = 127 // of an alternative name (ALTIFNAMSIZ, with its zero byte)
)

// options is the table of the source.
type options struct {
	Interfaces  []string           `toml:"interfaces"`
	Optional    []string           `toml:"optional"`
	Direction   direction          `toml:"direction"`
	Workers     int                `toml:"workers"`
	Ring        values.Size        `toml:"ring"`
	SnapLength  int                `toml:"snaplen"`
	Promiscuous bool               `toml:"promiscuous"`
	NAT         translation.Option `toml:"nat"`
}

// direction says which packets of an interface are read.
type direction uint8

const (
	automatic direction = iota // both of one interface, in of several: see [options.direct]
	in                         // those that come in
	both                       // those that leave, too
)

func (d *direction) UnmarshalText(text []byte) error {
	switch string(text) {
	case "in":
		*d = in
	case "both":
		*d = both
	default:
		return fmt.Errorf(`want "in" or "both", got %q`, text)
	}
	return nil
}

// decode reads the table and records every mistake in it.
func decode(cfg sdk.Config) options {
	o := options{Workers: min(runtime.GOMAXPROCS(0), 8), Ring: 16 << 20, SnapLength: 256}
	cfg.Decode(&o) // what could be read is checked all the same, so that one run shows every mistake
	names := o.names()
	if len(names) == 0 {
		cfg.Errorf("interfaces", `names no interface; such as ["lan0", "wan0"]`)
	}
	for i, name := range names {
		key := "interfaces[" + strconv.Itoa(i) + "]"
		if i >= len(o.Interfaces) {
			key = "optional[" + strconv.Itoa(i-len(o.Interfaces)) + "]"
		}
		if name == "" || len(name) > maxName {
			cfg.Errorf(key, "%q is no name of an interface: 1 to %d characters", name, maxName)
		} else if slices.Contains(names[:i], name) {
			cfg.Errorf(key, "%q is listed twice", name)
		}
	}
	o.direct(cfg)
	if o.Workers < 1 || o.Workers > maxWorkers {
		cfg.Errorf("workers", "%d is not between 1 and %d", o.Workers, maxWorkers)
	}
	if o.SnapLength < minSnapLength || o.SnapLength > maxSnapLength {
		cfg.Errorf("snaplen", "%d is not between %d and %d", o.SnapLength, minSnapLength, maxSnapLength)
	} else if least := minBlocks * blockSize(o.SnapLength); o.Ring < values.Size(least) || o.Ring > maxRing {
		cfg.Errorf("ring", "%d bytes are not between %dMiB, the least for this snaplen, and %dMiB", o.Ring, least>>20, maxRing>>20)
	}
	return o
}

// direct decides which direction is read where the table does not say. Optional interfaces have no say in it, unless there are no others: one
// that is added must not end the reading of what leaves by the interface that is there.
func (o *options) direct(cfg sdk.Config) {
	several := len(o.Interfaces)+len(o.Optional) > 1
	counted := len(o.Interfaces)
	if counted == 0 {
		counted = len(o.Optional)
	}
	switch {
	case o.Direction == automatic && counted > 1:
		o.Direction = in
	case o.Direction == automatic:
		o.Direction = both
		if several {
			cfg.Warnf("optional", `there is no direction, so that "both" is read as with %s alone: a packet that is forwarded from one of `+
				`these interfaces to another is read and counted twice. direction = "in" reads it once, and not what leaves`, spelling.Quote(o.Interfaces[0]))
		}
	case o.Direction == both && several:
		cfg.Warnf("direction", `a packet that is forwarded from one of these interfaces to another is read and counted twice; "in" reads it once`)
	}
}

// names returns all interfaces.
func (o *options) names() []string { return slices.Concat(o.Interfaces, o.Optional) }

// config returns what the options say. The interfaces have no ids.
func (o *options) config() Config {
	c := Config{
		Workers: o.Workers, RingSize: int(o.Ring), SnapLength: o.SnapLength, Incoming: o.Direction == in, Promiscuous: o.Promiscuous,
	}
	for _, name := range o.Interfaces {
		c.Interfaces = append(c.Interfaces, Interface{Name: name})
	}
	for _, name := range o.Optional {
		c.Interfaces = append(c.Interfaces, Interface{Name: name, Optional: true})
	}
	return c
}

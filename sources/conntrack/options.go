package conntrack

import (
	"fmt"
	"strconv"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/spelling"
	"github.com/rtflow/pipelined/internal/values"
	"github.com/rtflow/pipelined/sdk"
)

// Limits of the options.
const (
	minSessions = 1024
	maxSessions = 1 << 24
	minBuffer   = 64 << 10
	maxBuffer   = 1 << 30

	defaultBuffer = 16 << 20
)

// options is the table of the source.
type options struct {
	Close      end          `toml:"close"`
	Max        int          `toml:"max"`
	Accounting bool         `toml:"accounting"`
	Buffer     values.Size  `toml:"buffer"`
	ZoneByMark []zoneByMark `toml:"zone_by_mark"`
}

// end says when a TCP connection ends.
type end uint8

const (
	atEnd     end = iota // when its state says so
	atDestroy            // when its entry is destroyed
)

func (e *end) UnmarshalText(text []byte) error {
	names := []string{"at-end", "at-destroy"}
	for i, name := range names {
		if name == string(text) {
			*e = end(i)
			return nil
		}
	}
	return fmt.Errorf(`want "at-end" or "at-destroy", got %q%s`, text, spelling.Suggest(string(text), names))
}

// zoneByMark is a table [[zone_by_mark]].
type zoneByMark struct {
	Mark          *uint32 `toml:"mark"`
	Mask          *uint32 `toml:"mask"`
	ConntrackZone *uint16 `toml:"conntrack_zone"`
	Zone          string  `toml:"zone"`
}

// zoneRule says which zone a session comes from, by its mark and its conntrack zone.
type zoneRule struct {
	mark, mask      uint32
	byConntrackZone bool
	conntrackZone   uint16
	zone            uint16
}

// decode reads the table and records every mistake in it.
func decode(cfg sdk.Config, env source.Env) (options, []zoneRule) {
	o := options{Buffer: defaultBuffer}
	cfg.Decode(&o) // what could be read is checked all the same, so that one run shows every mistake
	if o.Max != 0 && (o.Max < minSessions || o.Max > maxSessions) {
		cfg.Errorf("max", "%d is not between %d and %d", o.Max, minSessions, maxSessions)
	}
	if o.Buffer < minBuffer || o.Buffer > maxBuffer {
		cfg.Errorf("buffer", "%d bytes are not between %dKiB and %dMiB", o.Buffer, minBuffer>>10, maxBuffer>>20)
	}
	var rules []zoneRule
	for i, z := range o.ZoneByMark {
		rules = append(rules, z.check(cfg, env, "zone_by_mark["+strconv.Itoa(i)+"]"))
	}
	return o, rules
}

// check reads one rule, and records mistakes in it.
func (z *zoneByMark) check(cfg sdk.Config, env source.Env, key string) zoneRule {
	var r zoneRule
	if z.Mark == nil && z.ConntrackZone == nil {
		cfg.Errorf(key, "has neither mark nor conntrack_zone: every session would be of this zone")
	}
	switch {
	case z.Mark != nil && z.Mask != nil:
		r.mark, r.mask = *z.Mark, *z.Mask
		if r.mark&^r.mask != 0 {
			cfg.Errorf(key+".mark", "%#x has bits outside of the mask %#x: no session has this mark", r.mark, r.mask)
		}
	case z.Mark != nil:
		r.mark, r.mask = *z.Mark, ^uint32(0)
	case z.Mask != nil:
		cfg.Errorf(key+".mask", "is nothing without mark")
	}
	if z.ConntrackZone != nil {
		r.byConntrackZone, r.conntrackZone = true, *z.ConntrackZone
	}
	if z.Zone == "" {
		cfg.Errorf(key+".zone", "names no zone")
		return r
	}
	id, err := env.Zone(z.Zone)
	if err != nil {
		cfg.Errorf(key+".zone", "%s", err)
	}
	r.zone = id
	return r
}

package screendrop

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/internal/keypath"
	"github.com/rtflow/pipelined/internal/spelling"
	"github.com/rtflow/pipelined/sdk"
)

// Defaults of the thresholds. Junos manuals agree on all of them but two: source-threshold is 4000 in one generation and
// 1024 in another, destination-threshold 4000 and 2048. The larger ones drop less.
const (
	defaultFlood       = 1000 // packets per second
	defaultAttack      = 200  // SYN segments per second
	defaultSource      = 4000
	defaultDestination = 4000
	defaultInterval    = 5 * time.Millisecond
)

// Limits of the thresholds.
const (
	maxThreshold = 4_000_000
	minInterval  = time.Millisecond
	maxInterval  = time.Second
)

// options is the table of a set of screens. Keys are the statements of `security screen ids-option`.
type options struct {
	Zones            []string `toml:"zones"`
	AlarmWithoutDrop bool     `toml:"alarm-without-drop"`

	TCP struct {
		SYNFlood synFlood `toml:"syn-flood"`
		PortScan interval `toml:"port-scan"`
		TCPSweep interval `toml:"tcp-sweep"`
		SYNFIN   bool     `toml:"syn-fin"`
		NoFlag   bool     `toml:"tcp-no-flag"`
		FINNoACK bool     `toml:"fin-no-ack"`
		Land     bool     `toml:"land"`
		WinNuke  bool     `toml:"winnuke"`
		SYNFrag  bool     `toml:"syn-frag"`
	} `toml:"tcp"`
	UDP struct {
		Flood    flood    `toml:"flood"`
		PortScan interval `toml:"port-scan"`
		UDPSweep interval `toml:"udp-sweep"`
	} `toml:"udp"`
	ICMP struct {
		Flood     flood    `toml:"flood"`
		IPSweep   interval `toml:"ip-sweep"`
		PingDeath bool     `toml:"ping-death"`
		Fragment  bool     `toml:"fragment"`
		Large     bool     `toml:"large"`
	} `toml:"icmp"`
	IP struct {
		BlockFrag       bool `toml:"block-frag"`
		BadOption       bool `toml:"bad-option"`
		SourceRoute     bool `toml:"source-route-option"`
		LooseSource     bool `toml:"loose-source-route-option"`
		StrictSource    bool `toml:"strict-source-route-option"`
		RecordRoute     bool `toml:"record-route-option"`
		Timestamp       bool `toml:"timestamp-option"`
		Security        bool `toml:"security-option"`
		Stream          bool `toml:"stream-option"`
		UnknownProtocol bool `toml:"unknown-protocol"`
		TearDrop        bool `toml:"tear-drop"`
	} `toml:"ip"`
}

// decode reads the table and checks what the types cannot.
func decode(cfg sdk.Config, zones *zone.Table) (o options) {
	cfg.Decode(&o)
	if len(o.Zones) == 0 {
		cfg.Errorf("zones", "name at least one zone whose packets are to be screened")
	}
	known := zones.ZoneNames()
	for i, name := range o.Zones {
		if _, ok := zones.Lookup(name); !ok {
			cfg.Errorf(keypath.Element("zones", i), "%s", spelling.Unknown("zone", name, known))
		}
	}
	return o
}

// flood is the value of a flood screen: true, or { threshold = packets per second }.
type flood struct{ limit uint64 } // 0 is off

// UnmarshalTOML implements toml.Unmarshaler.
func (f *flood) UnmarshalTOML(v any) error {
	t, on, err := statement(v, "threshold")
	if err != nil || !on {
		return err
	}
	f.limit, err = count(t, "threshold", defaultFlood)
	return err
}

// synFlood is the value of syn-flood: true, or a table of thresholds in SYN segments per second. A threshold that the
// table leaves out has its default; one that is false is off.
type synFlood struct{ attack, source, destination uint64 } // 0 is off

// UnmarshalTOML implements toml.Unmarshaler.
func (f *synFlood) UnmarshalTOML(v any) error {
	t, on, err := statement(v, "attack-threshold", "source-threshold", "destination-threshold")
	if err != nil || !on {
		return err
	}
	var e1, e2, e3 error
	f.attack, e1 = count(t, "attack-threshold", defaultAttack)
	f.source, e2 = count(t, "source-threshold", defaultSource)
	f.destination, e3 = count(t, "destination-threshold", defaultDestination)
	return errors.Join(e1, e2, e3)
}

// interval is the value of a scan or sweep screen: true, or { threshold = duration }.
type interval struct{ us int64 } // microseconds; 0 is off

// UnmarshalTOML implements toml.Unmarshaler.
func (i *interval) UnmarshalTOML(v any) error {
	t, on, err := statement(v, "threshold")
	if err != nil || !on {
		return err
	}
	d := defaultInterval
	if raw, ok := t["threshold"]; ok {
		text, ok := raw.(string)
		if !ok {
			return errors.New(`threshold must be a duration such as "5ms" or "5000us"`)
		}
		if d, err = time.ParseDuration(text); err != nil {
			return fmt.Errorf("threshold: %w", err)
		}
	}
	if d < minInterval || d > maxInterval {
		return fmt.Errorf("threshold must be %v to %v, not %v", minInterval, maxInterval, d)
	}
	i.us = d.Microseconds()
	return nil
}

// statement takes the value of a screen apart: a switch, or a table with no keys but these.
func statement(v any, keys ...string) (table map[string]any, on bool, err error) {
	switch v := v.(type) {
	case bool:
		return nil, v, nil
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if !slices.Contains(keys, key) {
				return nil, false, fmt.Errorf("unknown key %q; the keys are: %s", key, strings.Join(keys, ", "))
			}
		}
		return v, true, nil
	}
	return nil, false, fmt.Errorf("must be true, false or a table with the keys %s", strings.Join(keys, ", "))
}

// count returns the threshold at key, def if there is none, 0 if it is false.
func count(table map[string]any, key string, def uint64) (uint64, error) {
	switch v := table[key].(type) {
	case nil:
		return def, nil
	case bool:
		if v {
			return def, nil
		}
		return 0, nil
	case int64:
		if v >= 1 && v <= maxThreshold {
			return uint64(v), nil
		}
	}
	return 0, fmt.Errorf("%s must be an integer from 1 to %d", key, maxThreshold)
}

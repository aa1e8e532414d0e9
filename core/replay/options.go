package replay

import (
	"fmt"

	"github.com/rtflow/pipelined/internal/spelling"
	"github.com/rtflow/pipelined/internal/table"
)

// Options is the table [replay], and `replay` of a sink: its ring.
type Options struct {
	Limits
	Overflow Overflow `toml:"overflow"`

	perKindSet bool // per_kind was set: it is not just a quarter of telemetry
}

// Limits of Limits.Slots. A slot is about 180 bytes: the largest ring takes some 750 MB.
const (
	MinSlots = 64
	MaxSlots = 1 << 22
)

// DefaultOptions returns the options for a sink where neither [replay] nor its table sets any.
func DefaultOptions() Options {
	return Options{Limits: Limits{Slots: 8192, Telemetry: 4096, PerKind: 1024}}
}

// Overflow says what a ring does with an event it has no credit for.
type Overflow uint8

const (
	Refuse Overflow = iota // the new event is refused
	Evict                  // the oldest are evicted, see [Ring.MakeRoom]
)

// String returns the setting as it stands in the configuration.
func (o Overflow) String() string {
	if o == Evict {
		return "evict"
	}
	return "refuse"
}

// UnmarshalText reads a setting.
func (o *Overflow) UnmarshalText(text []byte) error {
	switch string(text) {
	case "refuse":
		*o = Refuse
	case "evict":
		*o = Evict
	default:
		return fmt.Errorf(`must be "refuse" or "evict", not %s`, spelling.Quote(string(text)))
	}
	return nil
}

// Override returns the options with a table on top, and records the table's mistakes. What the table leaves out follows what
// it sets: telemetry keeps its share of the slots, per_kind its share of telemetry. A mistake leaves the option as it was.
func (o Options) Override(s table.Section) Options {
	var set struct { // nil is missing, or cannot be read
		Slots     *int      `toml:"slots"`
		Telemetry *int      `toml:"telemetry"`
		PerKind   *int      `toml:"per_kind"`
		Overflow  *Overflow `toml:"overflow"`
	}
	s.Decode(&set)
	out := o
	out.perKindSet = o.perKindSet || s.Has("per_kind")
	if set.Overflow != nil {
		out.Overflow = *set.Overflow
	}
	// A value that cannot be read is no contradiction to the others: they are checked against the widest limits.
	slots, telemetry := MaxSlots, MaxSlots
	if set.Slots != nil && checkSlots(s, *set.Slots) {
		out.Slots = *set.Slots
		slots = out.Slots
	} else if !s.Has("slots") {
		slots = out.Slots
	}
	out.Telemetry = min(share(o.Telemetry, out.Slots, o.Slots), out.Slots-1)
	if set.Telemetry != nil && checkTelemetry(s, *set.Telemetry, slots) {
		out.Telemetry = *set.Telemetry
		telemetry = out.Telemetry
	} else if !s.Has("telemetry") && slots == out.Slots {
		telemetry = out.Telemetry
	}
	out.PerKind = share(1, out.Telemetry, 4)
	if o.perKindSet {
		out.PerKind = share(o.PerKind, out.Telemetry, o.Telemetry)
	}
	if set.PerKind != nil && checkPerKind(s, *set.PerKind, telemetry) {
		out.PerKind = *set.PerKind
	}
	return out
}

func checkSlots(s table.Section, slots int) bool {
	if !table.InRange(s, "slots", slots, MinSlots, MaxSlots) {
		return false
	}
	if slots&(slots-1) == 0 {
		return true
	}
	below := MinSlots
	for below*2 < slots {
		below *= 2
	}
	s.Errorf("slots", "must be a power of two, not %d: %d or %d", slots, below, below*2)
	return false
}

func checkTelemetry(s table.Section, telemetry, slots int) bool {
	ok := telemetry >= 1 && telemetry < slots
	if !ok {
		s.Errorf("telemetry", "must be 1 to %d, not %d: less than slots (%d), the rest is kept for sessions",
			slots-1, telemetry, slots)
	}
	return ok
}

func checkPerKind(s table.Section, perKind, telemetry int) bool {
	ok := perKind >= 1 && perKind <= telemetry
	if !ok {
		s.Errorf("per_kind", "must be 1 to %d (telemetry), not %d", telemetry, perKind)
	}
	return ok
}

// share returns part × whole / of, rounded up.
func share(part, whole, of int) int {
	return int((int64(part)*int64(whole) + int64(of) - 1) / int64(of))
}

package config

import (
	"fmt"

	"github.com/rtflow/pipelined/internal/spelling"
)

// Replay is [replay]: the size and the ceilings of a sink's ring, in records.
type Replay struct {
	Slots     int      // a power of two, MinSlots to MaxSlots; default 8192
	Telemetry int      // of them deny, screen and filter records, and those of unanswered sessions; below Slots; default half of Slots
	PerKind   int      // of one of these four, at most Telemetry; default a quarter of Telemetry, rounded up
	Overflow  Overflow // what gives way when the ring is full; default Refuse
}

// Limits of Replay.Slots. A slot is about 180 bytes: the largest ring takes some 750 MB.
const (
	MinSlots = 64
	MaxSlots = 1 << 22
)

// Overflow says what gives way when a ring is full.
type Overflow uint8

const (
	Refuse Overflow = iota // new events are refused
	Evict                  // the oldest events are evicted
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
		return fmt.Errorf(`must be "refuse" or "evict", not %q`, spelling.Shorten(string(text)))
	}
	return nil
}

func defaultReplay() Replay { return Replay{Slots: 8192, Telemetry: 4096, PerKind: 1024} }

// ring is a Replay that others inherit from.
type ring struct {
	Replay
	perKindSet bool // per_kind was set: it is not just a quarter of telemetry
}

func readReplay(s *Section) ring {
	r := ring{Replay: defaultReplay()}
	if s == nil {
		return r
	}
	return ring{r.override(s), s.Has("per_kind")}
}

// ofSink returns the ring of the sink with that table.
func (r ring) ofSink(sink *Section) Replay {
	if !sink.Has("replay") {
		return r.Replay
	}
	own := sink.table("replay")
	if own == nil {
		return r.Replay // no table, already recorded
	}
	return r.override(own)
}

// override returns the ring with a table on top. What the table leaves out follows what it sets: telemetry keeps its
// share of the slots, per_kind its share of telemetry.
func (r ring) override(s *Section) Replay {
	var t struct {
		Slots     *int      `toml:"slots"`
		Telemetry *int      `toml:"telemetry"`
		PerKind   *int      `toml:"per_kind"`
		Overflow  *Overflow `toml:"overflow"`
	}
	s.Decode(&t)
	out := r.Replay
	if t.Overflow != nil {
		out.Overflow = *t.Overflow
	}
	// What cannot be read contradicts nothing: beside it only the widest limits hold.
	slots, telemetry := MaxSlots, MaxSlots
	if t.Slots != nil && checkSlots(s, *t.Slots) {
		out.Slots = *t.Slots
		slots = out.Slots
	} else if !s.Has("slots") {
		slots = out.Slots
	}
	out.Telemetry = min(share(r.Telemetry, out.Slots, r.Slots), out.Slots-1)
	if t.Telemetry != nil && checkTelemetry(s, *t.Telemetry, slots) {
		out.Telemetry = *t.Telemetry
		telemetry = out.Telemetry
	} else if !s.Has("telemetry") && slots == out.Slots {
		telemetry = out.Telemetry
	}
	out.PerKind = share(1, out.Telemetry, 4)
	if r.perKindSet {
		out.PerKind = share(r.PerKind, out.Telemetry, r.Telemetry)
	}
	if t.PerKind != nil && checkPerKind(s, *t.PerKind, telemetry) {
		out.PerKind = *t.PerKind
	}
	return out
}

func checkSlots(s *Section, slots int) bool {
	if !inRange(s, "slots", slots, MinSlots, MaxSlots) {
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

func checkTelemetry(s *Section, telemetry, slots int) bool {
	ok := telemetry >= 1 && telemetry < slots
	if !ok {
		s.Errorf("telemetry", "must be 1 to %d, not %d: less than slots (%d), the rest is kept for sessions",
			slots-1, telemetry, slots)
	}
	return ok
}

func checkPerKind(s *Section, perKind, telemetry int) bool {
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

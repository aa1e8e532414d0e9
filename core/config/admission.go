package config

import (
	"slices"
	"strings"

	"github.com/rtflow/pipelined/sdk/event"
)

// Admission is [admission]: how many events of a kind each ingress zone may make.
type Admission struct {
	// Rates holds the limits of the telemetry kinds, each [admission] with the kind's own table on top. Session and loss
	// records are not limited; their Rate is zero.
	Rates [event.NumKinds]Rate
	// Unanswered limits the records of sessions that nobody has answered, all of a zone together.
	Unanswered Rate
}

// Rate is a limit.
type Rate struct {
	PerSecond int64 // sustained, 1 to MaxRate, or 0: no limit; default 1000
	Burst     int64 // at once, 1 to MaxRate; default 1024
}

// MaxRate is the highest rate and the highest burst: the limiter counts in nanoseconds.
const MaxRate = 1_000_000_000

func defaultRate() Rate { return Rate{PerSecond: 1000, Burst: 1024} }

func readAdmission(s *Section) (a Admission) {
	general := defaultRate()
	a.Unanswered = general
	if s != nil {
		own := s.only(func(key string) bool { return !slices.Contains(kindNames(), key) && key != unanswered })
		own.core = limitedKinds()
		general = readRate(own, general)
		a.Unanswered = general
		if s.Has(unanswered) {
			if sub := s.table(unanswered); sub != nil {
				a.Unanswered = readRate(sub, general)
			}
		}
	}
	for _, kind := range event.Kinds() {
		if kind.Telemetry() {
			a.Rates[kind] = general
		}
		if s == nil || !s.Has(kind.String()) {
			continue
		}
		if !kind.Telemetry() {
			s.Errorf(kind.String(), "%s events have no limit of their own: only %s have", kind, strings.Join(limitedKinds(), ", "))
		} else if sub := s.table(kind.String()); sub != nil {
			a.Rates[kind] = readRate(sub, general)
		}
	}
	return a
}

// limitedKinds names what has a limit.
func limitedKinds() (names []string) {
	for _, kind := range event.Kinds() {
		if kind.Telemetry() {
			names = append(names, kind.String())
		}
	}
	return append(names, unanswered)
}

// unanswered is the table of the records of sessions that nobody has answered.
const unanswered = "unanswered"

// readRate reads rate and burst on top of what holds without them.
func readRate(s *Section, r Rate) Rate {
	var t struct {
		Rate  *int64 `toml:"rate"`
		Burst *int64 `toml:"burst"`
	}
	s.Decode(&t)
	if t.Rate != nil && inRange(s, "rate", *t.Rate, 0, MaxRate) {
		r.PerSecond = *t.Rate
	}
	if t.Burst != nil && inRange(s, "burst", *t.Burst, 1, MaxRate) {
		r.Burst = *t.Burst
	}
	return r
}

package admission

import (
	"github.com/rtflow/pipelined/internal/tally"
	"github.com/rtflow/pipelined/sdk/event"
)

// published are a lane's counters as other goroutines see them. The lane counts in plain words and publishes once per
// batch: an atomic store per event would cost more than a refusal does.
type published struct {
	offered [event.NumKinds]tally.Number
	limited []tally.Number
	perSink []publishedSink
}

type publishedSink struct {
	filtered, queued, overBudget, disconnected, closed [event.NumKinds]tally.Number
}

func newPublished(limited, sinks int) published {
	return published{limited: make([]tally.Number, limited), perSink: make([]publishedSink, sinks)}
}

// publish copies the counters of the kinds that have changed.
func (l *Lane) publish() {
	for kinds := l.changed; kinds != 0; kinds &= kinds - 1 {
		k := kinds.First()
		l.published.offered[k].Set(l.offered[k])
		for i := range l.perSink {
			from, to := &l.perSink[i], &l.published.perSink[i]
			to.filtered[k].Set(from.filtered[k])
			to.queued[k].Set(from.queued[k])
			to.overBudget[k].Set(from.overBudget[k])
			to.disconnected[k].Set(from.disconnected[k])
			to.closed[k].Set(from.closed[k])
		}
	}
	l.changed = 0
}

// Ledger is what the gate did with the events offered to it.
type Ledger struct {
	Offered, RateLimited, Admitted [event.NumKinds]uint64

	// LimitedByZone counts what the limiter refused, by kind and zone id; zone 0 is unknown.
	LimitedByZone map[event.Kind]map[uint16]uint64
	Sinks         []SinkLedger
}

// SinkLedger is what the gate did with the admitted events for one sink. For kinds other than loss, admitted = Filtered
// + Queued + OverBudget + Disconnected + Closed.
type SinkLedger struct {
	Name                                               string
	Filtered, Queued, OverBudget, Disconnected, Closed [event.NumKinds]uint64
}

// Ledger adds up what the lanes have published. At rest it is exact; while workers run, it is exact for each worker at
// the end of some batch. Safe for concurrent use.
func (g *Gate) Ledger() Ledger {
	led := Ledger{LimitedByZone: make(map[event.Kind]map[uint16]uint64), Sinks: make([]SinkLedger, len(g.sinks))}
	for i, s := range g.sinks {
		led.Sinks[i].Name = s.Name
		led.Sinks[i].Queued[event.Loss] = g.last[i].Load()
	}
	for _, l := range g.lanes {
		addKinds(&led.Offered, &l.published.offered)
		for i := range l.published.limited {
			n := l.published.limited[i].Load()
			if n == 0 {
				continue
			}
			k, zone := limitKind[i/g.slots], g.zones[i%g.slots]
			led.RateLimited[k] += n
			if led.LimitedByZone[k] == nil {
				led.LimitedByZone[k] = make(map[uint16]uint64)
			}
			led.LimitedByZone[k][zone] += n
		}
		for i := range l.published.perSink {
			from, to := &l.published.perSink[i], &led.Sinks[i]
			addKinds(&to.Filtered, &from.filtered)
			addKinds(&to.Queued, &from.queued)
			addKinds(&to.OverBudget, &from.overBudget)
			addKinds(&to.Disconnected, &from.disconnected)
			addKinds(&to.Closed, &from.closed)
		}
	}
	for k := range led.Admitted {
		led.Admitted[k] = led.Offered[k] - led.RateLimited[k]
	}
	return led
}

func addKinds(to *[event.NumKinds]uint64, from *[event.NumKinds]tally.Number) {
	for k := range from {
		to[k] += from[k].Load()
	}
}

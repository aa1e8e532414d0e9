package admission

import (
	"sync/atomic"

	"github.com/rtflow/pipelined/sdk/event"
)

// published are a lane's counters as other goroutines see them. The lane counts in plain words and publishes once per
// batch: an atomic store per event would cost more than a refusal does.
type published struct {
	offered [event.NumKinds]atomic.Uint64
	limited []atomic.Uint64
	perSink []publishedSink
}

type publishedSink struct {
	filtered, queued, overBudget, closed [event.NumKinds]atomic.Uint64
}

func newPublished(limited, sinks int) published {
	return published{limited: make([]atomic.Uint64, limited), perSink: make([]publishedSink, sinks)}
}

func (l *Lane) publish() {
	publishKinds(&l.published.offered, &l.offered)
	for i := range l.perSink {
		from, to := &l.perSink[i], &l.published.perSink[i]
		publishKinds(&to.filtered, &from.filtered)
		publishKinds(&to.queued, &from.queued)
		publishKinds(&to.overBudget, &from.overBudget)
		publishKinds(&to.closed, &from.closed)
	}
}

func publishKinds(to *[event.NumKinds]atomic.Uint64, from *[event.NumKinds]uint64) {
	for k, n := range from {
		if to[k].Load() != n {
			to[k].Store(n)
		}
	}
}

// Ledger is what the gate did with the events offered to it.
type Ledger struct {
	Offered, RateLimited, Admitted [event.NumKinds]uint64

	// LimitedByZone counts what the limiter refused, by kind and zone id; zone 0 is unknown.
	LimitedByZone map[event.Kind]map[uint16]uint64
	Sinks         []SinkLedger
}

// SinkLedger is what the gate did with the admitted events for one sink. For kinds other than loss, admitted = Filtered
// + Queued + OverBudget + Closed.
type SinkLedger struct {
	Name                                 string
	Filtered, Queued, OverBudget, Closed [event.NumKinds]uint64
}

// Ledger adds up what the lanes have published. At rest it is exact; while workers run, it is exact for each worker at
// the end of some batch. Any goroutine.
func (g *Gate) Ledger() Ledger {
	led := Ledger{LimitedByZone: make(map[event.Kind]map[uint16]uint64), Sinks: make([]SinkLedger, len(g.sinks))}
	for i, s := range g.sinks {
		led.Sinks[i].Name = s.Name
	}
	for _, l := range g.lanes {
		addKinds(&led.Offered, &l.published.offered)
		for i := range l.published.limited {
			n := l.published.limited[i].Load()
			if n == 0 {
				continue
			}
			k, zone := telemetry[i/g.slots], g.zones[i%g.slots]
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
			addKinds(&to.Closed, &from.closed)
		}
	}
	for k := range led.Admitted {
		led.Admitted[k] = led.Offered[k] - led.RateLimited[k]
	}
	return led
}

func addKinds(to *[event.NumKinds]uint64, from *[event.NumKinds]atomic.Uint64) {
	for k := range from {
		to[k] += from[k].Load()
	}
}

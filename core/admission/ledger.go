package admission

import (
	"slices"
	"sync/atomic"

	"github.com/rtflow/pipelined/internal/tally"
	"github.com/rtflow/pipelined/sdk/event"
)

// published are a lane's counters as other goroutines see them. The lane counts in plain words and publishes once per
// batch: an atomic store per event would cost more than a refusal does.
type published struct {
	offered [event.NumKinds]tally.Number
	limited atomic.Pointer[[]*tally.Number] // by slot and limit
	perSink atomic.Pointer[[]*publishedSink]
}

type publishedSink struct {
	filtered, queued, overBudget, disconnected, closed [event.NumKinds]tally.Number

	// absent counts what was admitted while the sink was not there: before it came the last time, if here is set; else before it
	// left, when the lane had admitted left.
	here         atomic.Bool
	absent, left [event.NumKinds]tally.Number
}

func (p *published) init() {
	p.limited.Store(new([]*tally.Number))
	p.perSink.Store(new([]*publishedSink))
}

// grow makes room for more counters. Those that there are stay where they are.
func (p *published) grow(limited, sinks int) {
	if now := *p.limited.Load(); len(now) < limited {
		next := slices.Clone(now)
		for range limited - len(now) {
			next = append(next, new(tally.Number))
		}
		p.limited.Store(&next)
	}
	if now := *p.perSink.Load(); len(now) < sinks {
		next := slices.Clone(now)
		for range sinks - len(now) {
			next = append(next, new(publishedSink))
		}
		p.perSink.Store(&next)
	}
}

// limitedAt returns what the limiter has refused at that slot and limit.
func (p *published) limitedAt(i int) uint64 {
	if list := *p.limited.Load(); i < len(list) {
		return list[i].Load()
	}
	return 0
}

// admitted returns how many events of each kind the lane has let through.
func (p *published) admitted() (n [event.NumKinds]uint64) {
	var refused [event.NumKinds]uint64
	for i, limited := range *p.limited.Load() {
		refused[limitKind[i%numLimits]] += limited.Load()
	}
	for k := range n {
		n[k] = less(p.offered[k].Load(), refused[k])
	}
	return n
}

// less returns a - b, 0 if b is greater: what was read while a lane published.
func less(a, b uint64) uint64 { return a - min(a, b) }

// comes notes that a sink gets events from here on. The lane has published.
func (l *Lane) comes(index int) {
	p := (*l.published.perSink.Load())[index]
	for k, n := range l.published.admitted() {
		p.absent[k].Add(n - p.left[k].Load())
	}
	p.here.Store(true)
}

// leaves notes that a sink gets none any more. The lane has published.
func (l *Lane) leaves(index int) {
	p := (*l.published.perSink.Load())[index]
	for k, n := range l.published.admitted() {
		p.left[k].Set(n)
	}
	p.here.Store(false)
}

// publish copies the counters of the kinds that have changed.
func (l *Lane) publish() {
	for kinds := l.changed; kinds != 0; kinds &= kinds - 1 {
		k := kinds.First()
		if k >= event.NumKinds { // so that the compiler sees the bound
			break
		}
		l.published.offered[k].Set(l.offered[k])
		for i := range l.ways {
			w := &l.ways[i]
			w.published.queued[k].Set(w.counts.queued[k])
			if l.partly {
				w.publishRefused(k)
			}
		}
	}
	l.changed, l.partly = 0, false
}

// publishRefused copies the counters of what did not go into the ring.
func (w *way) publishRefused(k event.Kind) {
	w.published.filtered[k].Set(w.counts.filtered[k])
	w.published.overBudget[k].Set(w.counts.overBudget[k])
	w.published.disconnected[k].Set(w.counts.disconnected[k])
	w.published.closed[k].Set(w.counts.closed[k])
}

// Ledger is what the gate did with the events offered to it.
type Ledger struct {
	Offered, RateLimited, Admitted [event.NumKinds]uint64

	// LimitedByZone counts what the limiter refused, by kind and zone id; zone 0 is unknown.
	LimitedByZone map[event.Kind]map[uint16]uint64
	Sinks         []SinkLedger
}

// SinkLedger is what the gate did with the admitted events for one sink. For kinds other than loss, admitted = Absent + Filtered
// + Queued + OverBudget + Disconnected + Closed.
type SinkLedger struct {
	Name                                                       string
	Absent, Filtered, Queued, OverBudget, Disconnected, Closed [event.NumKinds]uint64
}

// Ledger adds up what the lanes have published. At rest it is exact; while workers run, it is exact for each worker at
// the end of some batch. Safe for concurrent use.
func (g *Gate) Ledger() Ledger {
	v, lanes := g.view.Load(), *g.lanes.Load()
	led := Ledger{LimitedByZone: make(map[event.Kind]map[uint16]uint64), Sinks: make([]SinkLedger, len(v.sinks))}
	for i, s := range v.sinks {
		led.Sinks[i].Name = s.Name
		led.Sinks[i].Queued[event.Loss] = s.last.Load()
	}
	for _, l := range lanes {
		for i := range led.Sinks {
			l.published.addSink(&led.Sinks[i], i)
		}
		addKinds(&led.Offered, &l.published.offered)
		limited := *l.published.limited.Load()
		zones := g.view.Load().limiter.zones // loaded after it, it has every zone that is in it
		for i := range limited {
			n := limited[i].Load()
			if n == 0 {
				continue
			}
			k, zone := limitKind[i%numLimits], zones[i/numLimits]
			led.RateLimited[k] += n
			if led.LimitedByZone[k] == nil {
				led.LimitedByZone[k] = make(map[uint16]uint64)
			}
			led.LimitedByZone[k][zone] += n
		}
	}
	for k := range led.Admitted {
		led.Admitted[k] = less(led.Offered[k], led.RateLimited[k])
	}
	return led
}

// addSink adds what a lane has done with events for the sink of an index.
func (p *published) addSink(to *SinkLedger, index int) {
	list := *p.perSink.Load()
	if index >= len(list) { // the lane has not heard of it
		for k, n := range p.admitted() {
			to.Absent[k] += n
		}
		return
	}
	from := list[index]
	addKinds(&to.Absent, &from.absent)
	if !from.here.Load() {
		for k, n := range p.admitted() {
			to.Absent[k] += less(n, from.left[k].Load())
		}
	}
	addKinds(&to.Filtered, &from.filtered)
	addKinds(&to.Queued, &from.queued)
	addKinds(&to.OverBudget, &from.overBudget)
	addKinds(&to.Disconnected, &from.disconnected)
	addKinds(&to.Closed, &from.closed)
}

func addKinds(to *[event.NumKinds]uint64, from *[event.NumKinds]tally.Number) {
	for k := range from {
		to[k] += from[k].Load()
	}
}

package admission

import (
	"context"
	"slices"
	"time"

	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/sdk/event"
)

// view is what a lane works with between two calls of Sync. It does not change.
type view struct {
	sinks   []*sink // all that there were, by index: one that has been removed is there still
	targets []target
	limiter *limiter
	limited []*window // by slot of the limiter and limit
}

// target is a sink that gets events, and how.
type target struct {
	*sink
	index  int // among all
	only   event.KindSet
	rows   rowSet // of those kinds
	evicts bool   // a ring without a credit makes room
}

// wants reports whether the sink wants records of the kind.
func (t *target) wants(k event.Kind) bool { return t.only.Has(k) }

// addWindows adds the windows for that many slots more of the limiter.
func (v *view) addWindows(slots int) {
	more := make([]window, slots*numLimits)
	v.limited = slices.Grow(slices.Clone(v.limited), len(more))
	for i := range more {
		more[i].index = len(v.limited)
		more[i].since.Store(never)
		v.limited = append(v.limited, &more[i])
	}
}

// clone returns a view that may be changed.
func (v *view) clone() *view {
	return &view{sinks: slices.Clone(v.sinks), targets: slices.Clone(v.targets), limiter: v.limiter, limited: v.limited}
}

// add adds a sink and returns its index.
func (v *view) add(s Sink) int {
	i := slices.IndexFunc(v.sinks, func(former *sink) bool { return former.Name == s.Name })
	added := &sink{Sink: s}
	if i < 0 {
		i = len(v.sinks)
		v.sinks = append(v.sinks, added)
	} else {
		added.last.Store(v.sinks[i].last.Load())
		v.sinks[i] = added
	}
	v.targets = append(v.targets, target{sink: added, index: i, only: s.Only, rows: wantedRows(s.Only), evicts: s.Overflow == replay.Evict})
	return i
}

// target returns the target of that index among all sinks, nil if it gets no events.
func (v *view) target(index int) *target {
	i := slices.IndexFunc(v.targets, func(t target) bool { return t.index == index })
	if i < 0 {
		return nil
	}
	return &v.targets[i]
}

// Add gives events to one more sink, from the next [Lane.Sync] of each lane on. It returns the sink's index, which is that of the one
// that had its name before, if it was removed: its counters go on.
func (g *Gate) Add(s Sink) (index int) {
	v := g.view.Load().clone()
	index = v.add(s)
	g.view.Store(v)
	return index
}

// Change changes which kinds a sink gets, and what happens when its ring is full, from the next [Lane.Sync] of each lane on.
func (g *Gate) Change(index int, only event.KindSet, overflow replay.Overflow) {
	v := g.view.Load().clone()
	t := v.target(index)
	t.only, t.rows, t.evicts = only, wantedRows(only), overflow == replay.Evict
	g.view.Store(v)
}

// Remove gives a sink no more events, from the next [Lane.Sync] of each lane on.
func (g *Gate) Remove(index int) {
	v := g.view.Load().clone()
	v.targets = slices.DeleteFunc(v.targets, func(t target) bool { return t.index == index })
	g.view.Store(v)
}

// AddZones gives zones buckets of their own, from the next [Lane.Sync] of each lane on. Those that have one are left out.
func (g *Gate) AddZones(ids []uint16) error {
	v := g.view.Load().clone()
	ids = slices.DeleteFunc(slices.Clone(ids), func(id uint16) bool { return v.limiter.slot(id) != 0 })
	if len(ids) == 0 {
		return nil
	}
	limiter, err := v.limiter.with(ids)
	if err != nil {
		return err
	}
	v.limiter = limiter
	v.addWindows(len(ids))
	g.view.Store(v)
	return nil
}

// settleEvery is how often Settled looks whether the lanes have taken over what has changed.
const settleEvery = 5 * time.Millisecond

// Settled waits until every lane that is used has taken over what has changed before the call: a ring that was removed gets nothing
// any more. It returns false if ctx ends before.
func (g *Gate) Settled(ctx context.Context) bool {
	v := g.view.Load()
	for {
		if !slices.ContainsFunc(*g.lanes.Load(), func(l *Lane) bool { at := l.at.Load(); return at != nil && at != v && at != g.view.Load() }) {
			return true
		}
		timer := time.NewTimer(settleEvery)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
}

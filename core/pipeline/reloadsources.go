package pipeline

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/core/worker"
	"github.com/rtflow/pipelined/internal/monotonic"
	"github.com/rtflow/pipelined/sdk/event"
)

// sourceChange is what becomes of the sources of another configuration. One that keeps its name keeps its options, too.
type sourceChange struct {
	before *readers
	list   []*openSource    // of the configuration, in its order
	opened []*openSource    // of these, the new ones
	closed []*openSource    // that are not in it any more
	feed   *runningFeed     // for what sources of events there are; nil: they are the same as before
	clock  *monotonic.Clock // for who ages sessions where no source of frames is left
}

// sameSource reports whether two sources have one name.
func sameSource(a, b plannedSource) bool { return a.name == b.name }

// prepareSources opens the sources that are new.
func (t *transition) prepareSources() error {
	pl, c := t.pl, &t.sources
	c.before = pl.readers.Load()
	for _, s := range c.before.sources {
		if !slices.ContainsFunc(t.next.sources, func(next plannedSource) bool { return sameSource(s.plannedSource, next) }) {
			c.closed = append(c.closed, s)
		}
	}
	for i := range t.next.sources {
		next := &t.next.sources[i]
		at := slices.IndexFunc(c.before.sources, func(s *openSource) bool { return sameSource(s.plannedSource, *next) })
		if at >= 0 {
			c.list = append(c.list, c.before.sources[at])
			continue
		}
		if err := c.collides(next); err != nil {
			return err
		}
		s, err := pl.open(context.Background(), *next, t.next.zones)
		if err != nil {
			return err
		}
		c.list, c.opened = append(c.list, s), append(c.opened, s)
	}
	if len(c.closed) > 0 { // the sessions of their packets may be left to nobody
		clock, err := monotonic.New()
		if err != nil {
			return err
		}
		c.clock = &clock
	}
	if streams := streamsOf(c.list); c.changes() && !slices.Equal(streams, streamsOf(c.before.sources)) {
		var err error
		if c.feed, err = pl.newFeed(c.before, streams, t.next.zones); err != nil {
			return err
		}
	}
	return pair(c.opened)
}

// changes reports whether sources come or go. Another order changes nothing.
func (c *sourceChange) changes() bool { return len(c.opened)+len(c.closed) > 0 }

// collides returns an error if a source that is to be opened reads what one reads that is closed only after that.
func (c *sourceChange) collides(next *plannedSource) error {
	what := func(s *plannedSource) (list []string) {
		list = slices.Clone(s.Interfaces)
		for _, e := range s.Exclusive {
			list = append(list, e.What)
		}
		if s.Sessions {
			list = append(list, "the sessions of this host")
		}
		return list
	}
	for _, s := range c.closed {
		taken := what(&s.plannedSource)
		for _, name := range what(next) {
			if slices.Contains(taken, name) {
				return fmt.Errorf("sources.%s reads %s, which sources.%s reads until it is closed: reload without either first, or restart", next.name, name, s.name)
			}
		}
	}
	return nil
}

// undo closes the sources that were opened.
func (c *sourceChange) undo() error {
	var errs []error
	for _, s := range c.opened {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}

// leaves reports whether a worker ends: its source is closed, or there is one again where it ages the sessions of those that were.
func (c *sourceChange) leaves(w *runningWorker) bool {
	if w.source == nil {
		return slices.ContainsFunc(c.list, func(s *openSource) bool { return len(s.queues) > 0 })
	}
	return slices.Contains(c.closed, w.source)
}

// staying returns the workers that stay.
func (c *sourceChange) staying() (list []*runningWorker) {
	for _, w := range c.before.workers {
		if !c.leaves(w) {
			list = append(list, w)
		}
	}
	return list
}

// leaving iterates over the workers of a source that end.
func (c *sourceChange) leaving(s *openSource) iter.Seq[*runningWorker] {
	return func(yield func(*runningWorker) bool) {
		for _, w := range c.before.workers {
			if w.source == s && c.leaves(w) && !yield(w) {
				return
			}
		}
	}
}

// workers returns how many workers there will be, and for how many hooks must have room: their numbers are below it.
func (c *sourceChange) workers() (n, capacity int) {
	next := readers{workers: c.staying()}
	taken := next.numbers()
	for _, s := range c.opened {
		for range s.queues {
			taken = append(taken, lowest(func(n int) bool { return slices.Contains(taken, n) }))
		}
	}
	if len(taken) == 0 {
		return 1, 1 // who ages sessions
	}
	return len(taken), slices.Max(taken) + 1
}

// commitSources lets sources that are new be read, and closes those that are gone.
func (t *transition) commitSources(rules *worker.Rules) {
	pl, c := t.pl, &t.sources
	if !c.changes() {
		return
	}
	next := &readers{sources: c.list, workers: c.staying(), feed: c.before.feed, closing: c.closed, former: c.before.former}
	c.endWorkers()
	next.former.now, next.former.offset = c.before.clock()
	if c.feed != nil {
		if next.feed != nil {
			next.feed.loop.end()
			c.feed.Succeed(next.feed.Feed)
		}
		next.feed = c.feed
	}
	for _, s := range c.closed {
		t.settle(s)
		next.former = next.former.with(s, c.leaving(s))
	}
	for _, s := range c.opened {
		pl.addCarrier(s)
		pl.addWorkers(next, s, rules, t.next.zones)
	}
	if len(next.workers) == 0 && len(c.before.workers) > 0 {
		next.workers = append(next.workers, pl.worker(next, nil, noFrames{c.clock}, rules, t.next.zones))
	}
	if len(next.workers) > 0 {
		pl.sessions.Share(next.numbers())
	}
	pl.readers.Store(next)
	if pl.running.begun {
		for _, one := range next.loops() {
			if !one.started.Load() {
				pl.running.loops.start(one)
			}
		}
	}
	for _, s := range c.closed {
		if err := s.close(); err != nil {
			pl.plan.options.Log.Warn("a source that is not configured any more does not close", "err", err)
		}
	}
	if len(c.closed) > 0 {
		pl.readers.Store(next.closed())
	}
}

// endWorkers ends the workers that are to end, all at once.
func (c *sourceChange) endWorkers() {
	for _, w := range c.before.workers {
		if c.leaves(w) {
			w.loop.stop()
		}
	}
	for _, w := range c.before.workers {
		if c.leaves(w) {
			w.loop.end()
		}
	}
}

// settle is for a source that is to be closed, whose workers have ended. What it has carried is counted; that the ends of the sessions
// that it has told of will not come is told.
func (t *transition) settle(s *openSource) {
	pl := t.pl
	pl.watch.forget(s.name)
	if s.place != noCarrier {
		pl.sessions.DropCarrier(s.place)
	}
	keeper, ok := s.Source.(source.Keeper)
	if !ok {
		return
	}
	untold := keeper.Keep(func([]byte) bool { return true })
	if untold == 0 {
		return
	}
	pl.plan.options.Log.Warn("the ends of sessions that a source has told of will not come; a loss record says so", "source", s.name, "sessions", untold)
	now := time.Now().UnixNano()
	owed := admission.Owed{Reason: event.LossAbandoned, Counts: event.LossCounts{event.SessionClose: untold}, Since: now, Until: now}
	for i := range t.sinks {
		if !t.sinks[i].new {
			pl.gate.Owe(t.sinks[i].out.index, owed)
		}
	}
}

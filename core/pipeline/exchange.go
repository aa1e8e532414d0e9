package pipeline

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/rtflow/pipelined/core/worker"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/internal/monotonic"
)

// exchange is a change of the readers that is prepared: some sources are closed, and others, which are open, are read. Those that stay are not
// touched.
type exchange struct {
	before *readers
	list   []*openSource    // that are read from then on, in the order of the configuration
	away   []*awaySource    // that are not read and are to be
	opened []*openSource    // of the list, those that were not read before
	closed []*openSource    // that were, and are not in the list
	feed   *runningFeed     // for what sources of events there are; nil: they are the same as before
	clock  *monotonic.Clock // for who ages sessions where no source of frames is left
}

// newExchange prepares that these sources are read in the place of those that are. zones are for a feed.
func (pl *Pipeline) newExchange(list []*openSource, away []*awaySource, zones *zone.Table) (*exchange, error) {
	x := &exchange{before: pl.readers.Load(), list: list, away: away}
	for _, s := range list {
		if !slices.Contains(x.before.sources, s) {
			x.opened = append(x.opened, s)
		}
	}
	for _, s := range x.before.sources {
		if !slices.Contains(list, s) {
			x.closed = append(x.closed, s)
		}
	}
	if len(x.closed) > 0 { // the sessions of their packets may be left to nobody
		clock, err := monotonic.New()
		if err != nil {
			return nil, err
		}
		x.clock = &clock
	}
	streams := streamsOf(list)
	awaits := slices.ContainsFunc(away, func(s *awaySource) bool { return s.Sessions && s.err == nil })
	if f := x.before.feed; x.changes() && (!slices.Equal(streams, streamsOf(x.before.sources)) || f != nil && f.AwaitsSessions != awaits) {
		var err error
		if x.feed, err = pl.newFeed(x.before, streams, zones, awaits); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// changes reports whether sources come or go. Another order changes nothing.
func (x *exchange) changes() bool {
	return len(x.opened)+len(x.closed) > 0 || !slices.Equal(x.away, x.before.away)
}

// leaves reports whether a worker ends: its source is closed, or there is one again where it ages the sessions of those that were.
func (x *exchange) leaves(w *runningWorker) bool {
	if w.source == nil {
		return slices.ContainsFunc(x.list, func(s *openSource) bool { return len(s.queues) > 0 })
	}
	return slices.Contains(x.closed, w.source)
}

// staying returns the workers that stay.
func (x *exchange) staying() (list []*runningWorker) {
	for _, w := range x.before.workers {
		if !x.leaves(w) {
			list = append(list, w)
		}
	}
	return list
}

// leaving iterates over the workers of a source that end.
func (x *exchange) leaving(s *openSource) iter.Seq[*runningWorker] {
	return func(yield func(*runningWorker) bool) {
		for _, w := range x.before.workers {
			if w.source == s && x.leaves(w) && !yield(w) {
				return
			}
		}
	}
}

// progressPeriod is how often it is looked whether a worker makes progress.
const progressPeriod = 5 * time.Millisecond

// leavingLoop is a loop that is to end, and what cannot be done while it does not.
type leavingLoop struct {
	*loop

	reads bool // otherwise nobody can hang in what it reads
	beats func() uint64
	what  string
}

// loops returns the loops that are to end.
func (x *exchange) loops() (list []leavingLoop) {
	for _, w := range x.before.workers {
		if !x.leaves(w) {
			continue
		}
		one := leavingLoop{w.loop, w.source != nil, w.Beats, fmt.Sprintf("%s, which ages sessions,", w.loop.name)}
		if one.reads {
			one.what = fmt.Sprintf("sources.%s cannot be closed: %s, which reads it,", w.source.Name, w.loop.name)
		}
		list = append(list, one)
	}
	if f := x.before.feed; x.feed != nil && f != nil {
		list = append(list, leavingLoop{f.loop, len(f.streams) > 0, f.Beats, "the sources of events cannot be changed: the feed, which reads them,"})
	}
	return list
}

// awaitProgress returns an error if a loop that is to end makes no progress, since it would not end in time, or if ctx ends. An idle
// one looks up once a second.
func (x *exchange) awaitProgress(ctx context.Context) error {
	list := x.loops()
	seen := make([]uint64, len(list)) // all are looked at from now on, and wait at the same time
	for i, one := range list {
		seen[i] = one.beats()
	}
	late := time.NewTimer(stuckAfter)
	defer late.Stop()
	look := time.NewTicker(progressPeriod)
	defer look.Stop()
	for i, one := range list {
		for hasEnded := !one.reads || !one.started.Load(); !hasEnded && one.beats() == seen[i]; {
			select {
			case <-look.C:
			case <-one.ended:
				hasEnded = true
			case <-ctx.Done():
				return errEnding
			case <-late.C:
				return fmt.Errorf("%s has made no progress for %s, and would not end: a restart ends it", one.what, stuckAfter)
			}
		}
	}
	return nil
}

// end ends the loops that are to end, all at once. It returns an error if one has not ended in time, though it has made progress before: the
// exchange cannot be made then, and the caller revives those that have ended.
func (x *exchange) end() error {
	list := x.loops()
	for _, one := range list {
		one.stop()
		one.told = true
	}
	late := time.NewTimer(stuckAfter)
	defer late.Stop()
	for _, one := range list {
		if !one.started.Load() { // it is not started any more
			continue
		}
		select {
		case <-one.ended:
		case <-late.C:
			return fmt.Errorf("%s was told to end, and has not for %s: a restart ends it", one.what, stuckAfter)
		}
	}
	return nil
}

// workers returns how many workers there will be, with more besides, and for how many hooks must have room: their numbers are below it.
func (x *exchange) workers(more int) (n, capacity int) {
	next := readers{workers: x.staying()}
	taken := next.numbers()
	for _, s := range x.opened {
		more += len(s.queues)
	}
	for range more {
		taken = append(taken, lowest(func(n int) bool { return slices.Contains(taken, n) }))
	}
	if len(taken) == 0 {
		return 1, 1 // who ages sessions
	}
	return len(taken), slices.Max(taken) + 1
}

// exchange makes an exchange, whose loops that are to end have ended. Workers that are new judge by these rules, in these zones.
func (pl *Pipeline) exchange(x *exchange, rules *worker.Rules, zones *zone.Table) {
	if !x.changes() {
		return
	}
	next := &readers{
		sources: x.list, away: x.away, workers: x.staying(), feed: x.before.feed, closing: x.closed, former: x.before.former,
	}
	next.former.now, next.former.offset = x.before.clock()
	if x.feed != nil {
		if next.feed != nil {
			x.feed.Succeed(next.feed.Feed)
		}
		next.feed = x.feed
	}
	for _, s := range x.closed {
		if s.place != noCarrier { // what it has carried is counted
			pl.sessions.DropCarrier(s.place)
		}
		next.former = next.former.with(x.leaving(s))
	}
	for _, s := range x.opened {
		pl.addCarrier(s)
		pl.addWorkers(next, s, rules, zones)
	}
	if len(next.workers) == 0 && len(x.before.workers) > 0 {
		next.workers = append(next.workers, pl.worker(next, nil, noFrames{x.clock}, rules, zones))
	}
	if len(next.workers) > 0 {
		pl.sessions.Share(next.numbers())
	}
	pl.publish(next)
	for _, s := range x.closed {
		if err := s.close(); err != nil {
			pl.log.Warn("a source does not close", "err", err)
		}
	}
	if len(x.closed) > 0 {
		pl.readers.Store(next.closed())
	}
}

// publish makes these the readers of the pipeline, and starts those of their loops that do not run yet, if it runs.
func (pl *Pipeline) publish(next *readers) {
	pl.readers.Store(next)
	if !pl.running.begun {
		return
	}
	for _, one := range next.loops() {
		if !one.started.Load() {
			pl.running.loops.start(one)
		}
	}
}

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

// awaySource is a source of the configuration that is closed: while it is opened again, or since that failed.
type awaySource struct {
	*openSource           // as it was; it still knows the sessions that it has told of
	since       time.Time // nothing was read from then on
	err         error     // why it is not open; nil: it is being opened
}

// AwayStatus is what the status says of a source that is closed: while it is opened again, or since that failed.
type AwayStatus struct {
	Open  bool      `json:"open"`            // false
	Since time.Time `json:"since"`           // nothing was read from then on
	Error string    `json:"error,omitempty"` // why it cannot be opened; empty: it is being opened
}

func (s *awaySource) status() AwayStatus {
	st := AwayStatus{Since: s.since}
	if s.err != nil {
		st.Error = s.err.Error()
	}
	return st
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

// awaitProgress returns an error if a loop that is to end makes no progress, since nobody could wait for its end, or if ctx ends. An idle
// one looks up once a second.
func (x *exchange) awaitProgress(ctx context.Context) error {
	type leaving struct {
		*loop
		beats func() uint64
		seen  uint64
		what  string
	}
	var list []leaving // all are looked at from now on, and wait at the same time
	add := func(one *loop, beats func() uint64, what string) {
		if one.started.Load() {
			list = append(list, leaving{one, beats, beats(), what})
		}
	}
	for _, w := range x.before.workers {
		if w.source != nil && x.leaves(w) {
			add(w.loop, w.Beats, fmt.Sprintf("sources.%s cannot be closed: %s, which reads it,", w.source.Name, w.loop.name))
		}
	}
	if f := x.before.feed; x.feed != nil && f != nil && len(f.streams) > 0 {
		add(f.loop, f.Beats, "the sources of events cannot be changed: the feed, which reads them,")
	}
	late := time.NewTimer(stuckAfter)
	defer late.Stop()
	look := time.NewTicker(progressPeriod)
	defer look.Stop()
	for _, one := range list {
		for hasEnded := false; !hasEnded && one.beats() == one.seen; {
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

// exchange makes an exchange. Workers that are new judge by these rules, in these zones.
func (pl *Pipeline) exchange(x *exchange, rules *worker.Rules, zones *zone.Table) {
	if !x.changes() {
		return
	}
	next := &readers{
		sources: x.list, away: x.away, workers: x.staying(), feed: x.before.feed, closing: x.closed, former: x.before.former,
	}
	x.endWorkers()
	next.former.now, next.former.offset = x.before.clock()
	if x.feed != nil {
		if next.feed != nil {
			next.feed.loop.end()
			x.feed.Succeed(next.feed.Feed)
		}
		next.feed = x.feed
	}
	for _, s := range x.closed {
		pl.watch.forget(s.Name)
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
	pl.readers.Store(next)
	if pl.running.begun {
		for _, one := range next.loops() {
			if !one.started.Load() {
				pl.running.loops.start(one)
			}
		}
	}
	for _, s := range x.closed {
		if err := s.close(); err != nil {
			pl.log.Warn("a source does not close", "err", err)
		}
	}
	if len(x.closed) > 0 {
		pl.readers.Store(next.closed())
	}
}

// endWorkers ends the workers that are to end, all at once.
func (x *exchange) endWorkers() {
	for _, w := range x.before.workers {
		if x.leaves(w) {
			w.loop.stop()
		}
	}
	for _, w := range x.before.workers {
		if x.leaves(w) {
			w.loop.end()
		}
	}
}

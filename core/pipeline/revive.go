package pipeline

import (
	"slices"
)

// revive lets others go on with what workers, and the feed, have read that were told to end for an exchange that is not made. One that has not
// ended yet is replaced when it has: until then nobody reads what it has read, and the health says so. The lock of reloads is held, and the
// pipeline kept from ending.
func (pl *Pipeline) revive() {
	rules := pl.rules.Load()
	zones := rules.plan.Zones
	before := pl.readers.Load()
	next := *before
	next.former.now, next.former.offset = before.clock()
	next.workers = nil
	var ended []*runningWorker
	for _, w := range before.workers {
		if pl.gone(w.loop) {
			ended = append(ended, w)
		} else {
			next.workers = append(next.workers, w)
		}
	}
	next.former = next.former.with(slices.Values(ended))
	for _, w := range ended { // the numbers and lanes of those are free
		next.workers = append(next.workers, pl.worker(&next, w.source, w.Source, rules.judged, zones))
	}
	if len(ended) > 0 {
		pl.sessions.Share(next.numbers())
	}
	if f := before.feed; f != nil && pl.gone(f.loop) {
		again, err := pl.newFeed(&next, f.streams, zones, f.AwaitsSessions)
		if err != nil {
			pl.log.Error("sources of events are not read until a reload", "err", err)
		} else {
			again.Succeed(f.Feed)
			next.feed = again
		}
	}
	pl.publish(&next)
}

// gone reports whether a loop was told to end, and has. One that has not is waited for.
func (pl *Pipeline) gone(one *loop) bool {
	if !one.told || !one.started.Load() || one.hasEnded() {
		return one.told
	}
	if one.awaited || !pl.hold() {
		return false
	}
	one.awaited = true
	stop := pl.untilStop()
	pl.running.beside.Go(func() {
		defer pl.release()
		select {
		case <-one.ended:
		case <-stop.Done():
			return
		}
		pl.reloading.Lock()
		defer pl.reloading.Unlock()
		pl.log.Warn("what a reload has told to end, and hung, has ended: what is still configured goes on in its place", "what", one.name)
		pl.revive()
	})
	return false
}

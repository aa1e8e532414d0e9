package admission

import (
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/sdk/event"
)

// noteLimited publishes what this lane's limiter refused and opens the loss windows of the buckets concerned.
func (l *Lane) noteLimited() {
	published := *l.published.limited.Load()
	for _, i := range l.newly {
		r, k := &l.limited[i], limitKind[i%numLimits]
		l.offered[k] += r.n - published[i].Load()
		l.changed |= 1 << k
		published[i].Set(r.n)
		l.view.limited[i].since.CompareAndSwap(never, r.since)
		r.since = never
	}
	l.newly = l.newly[:0]
}

// announceLimited puts out a loss record for every bucket whose window is over, or for all that refused anything. One
// lane does it for all: the window is taken by compare-and-swap.
func (l *Lane) announceLimited(now, wall int64, all bool) {
	g := l.gate
	for i, w := range l.view.limited {
		since := w.since.Load()
		if since == never || !all && now-since < LossWindow {
			continue
		}
		if all {
			w.mu.Lock() // whoever holds it may have summed before this lane's last refusals were published
		} else if !w.mu.TryLock() {
			continue
		}
		if w.since.CompareAndSwap(since, never) {
			var total uint64
			for _, lane := range *g.lanes.Load() {
				total += lane.published.limitedAt(i)
			}
			if n := total - w.reported; n > 0 {
				w.reported = total
				var counts event.LossCounts
				kind := limitKind[i%numLimits]
				counts[kind] = n
				l.putLimited(kind, l.view.limiter.zones[i/numLimits], &counts, wall-(now-since), wall)
			}
		}
		w.mu.Unlock()
	}
}

// putLimited brings a loss record for what the limiter refused to every sink that wants the kind.
func (l *Lane) putLimited(k event.Kind, zone uint16, counts *event.LossCounts, since, until int64) {
	l.putLoss(event.LossRateLimited, event.KindSet(0).With(k), zone, counts, since, until)
}

// Unread brings a loss record for what could not be read, from since to until in Unix nanoseconds, to every sink that wants
// one of the kinds. The worker has flushed what was before it.
func (l *Lane) Unread(counts *event.LossCounts, since, until int64) {
	var kinds event.KindSet
	for k, n := range counts {
		if n > 0 {
			kinds = kinds.With(event.Kind(k))
		}
	}
	l.putLoss(event.LossUnread, kinds, 0, counts, since, until)
	l.publish()
}

// putLoss brings a loss record to every sink that wants one of the kinds. A ring without a credit for it merges it into the
// loss records for what it missed itself.
func (l *Lane) putLoss(why event.LossReason, kinds event.KindSet, zone uint16, counts *event.LossCounts, since, until int64) {
	rec := &l.loss[0]
	rec.Reset(event.Loss)
	rec.Generation = l.gate.generation.Load()
	rec.SetLoss(why, zone, counts, since, until)
	if l.tail.Begin(1) == 1 {
		l.tail.Put(rec)
		l.tail.End()
	}
	for i := range l.ways {
		w := &l.ways[i]
		if w.only&kinds == 0 {
			continue
		}
		switch {
		case w.ring.Acquire(replay.Announcement, 1) == 1 || l.gate.wait && l.waitFor(w.target, replay.Announcement):
			w.ring.Put(w.ring.Claim(1), replay.Announcement, rec)
			w.ring.Wake()
			w.counts.queued[event.Loss]++
			l.changed = l.changed.With(event.Loss)
		case !w.ring.Closed():
			w.miss(why, counts, until)
		}
	}
}

package admission

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/sdk/event"
)

// window is the loss window of a bucket's limit. It opens with a refusal, and ends with the loss record that tells of it.
type window struct {
	index    int          // of the slot and limit
	since    atomic.Int64 // when it opened, on the lanes' clock; never: it is not open
	next     *window      // in windows; of whoever has it
	mu       sync.Mutex
	reported uint64 // of what the lanes have refused, how much loss records have told
	_        [24]byte
}

// windows are a stack, from which all is taken at once. It is as short as few buckets refuse anything, however many there are. Safe for
// concurrent use.
type windows struct{ top atomic.Pointer[window] }

// push puts windows onto the stack, of which each is the next of the one before.
func (w *windows) push(first, last *window) {
	for {
		last.next = w.top.Load()
		if w.top.CompareAndSwap(last.next, first) {
			return
		}
	}
}

// take takes all and returns the first.
func (w *windows) take() *window {
	if w.top.Load() == nil {
		return nil
	}
	return w.top.Swap(nil)
}

// noteLimited publishes what this lane's limiter refused and opens the loss windows of the buckets concerned.
func (l *Lane) noteLimited() {
	published := *l.published.limited.Load()
	for _, i := range l.newly {
		r, k := &l.limited[i], limitKind[i%numLimits]
		l.offered[k] += r.n - published[i].Load()
		l.changed |= 1 << k
		published[i].Set(r.n)
		if w := l.view.limited[i]; w.since.CompareAndSwap(never, r.since) {
			l.gate.open.push(w, w)
		}
		r.since = never
	}
	l.newly = l.newly[:0]
}

// announceLimited puts out a loss record for every bucket whose window is over, or for all that are open. What another lane looks at in
// this moment, that lane tells, or gives back.
func (l *Lane) announceLimited(now, wall int64, all bool) {
	over := l.over[:0]
	var young, last *window
	for w := l.gate.open.take(); w != nil; {
		next := w.next
		switch {
		case all || now-w.since.Load() >= LossWindow:
			over = append(over, w)
		case young == nil:
			young, last = w, w
		default:
			w.next, young = young, w
		}
		w = next
	}
	if young != nil {
		l.gate.open.push(young, last)
	}
	slices.SortFunc(over, func(a, b *window) int { return a.index - b.index })
	for _, w := range over {
		l.announce(w, now, wall)
	}
	clear(over)
	l.over = over
}

// announce ends an open window, which this lane has taken, with a loss record.
func (l *Lane) announce(w *window, now, wall int64) {
	w.mu.Lock() // it may be open again, and taken by another lane, as soon as since is never
	since := w.since.Swap(never)
	var total uint64
	for _, lane := range *l.gate.lanes.Load() {
		total += lane.published.limitedAt(w.index)
	}
	n := total - w.reported
	w.reported = total
	w.mu.Unlock()
	if n == 0 {
		return // the window before has told of it
	}
	var counts event.LossCounts
	kind := limitKind[w.index%numLimits]
	counts[kind] = n
	zones := l.gate.view.Load().limiter.zones // this lane may not know the zone yet
	l.putLimited(kind, zones[w.index/numLimits], &counts, wall-(now-since), wall)
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

// Package tail hands copies of what the gate admits to those who look, without a sink.
//
// While nobody looks it costs a lane one atomic load per batch. While somebody does, a lane copies the records of a batch into a buffer
// of its own, which a goroutine takes away twenty times a second and hands to every [Watcher]. A lane never waits: what its buffer has no
// room for, and what comes in the moment in which the buffer is taken, is left out and counted. Nor does a watcher hold anything up: it
// has a queue of its own, of which the oldest records are given up. So the cost is bounded, whatever there is to see.
//
// Records have no sequence number: they are in nobody's stream, and in none of the sums.
package tail

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rtflow/pipelined/sdk/event"
)

const (
	// Interval is how often the lanes' buffers are taken.
	Interval = 50 * time.Millisecond
	// LaneRecords is how many records of a lane are shown in an interval.
	LaneRecords = 2048
	// QueueRecords is how many records wait for a watcher, but for those of the newest batch.
	QueueRecords = 1 << 14
	// MaxWatchers is how many may look at a time.
	MaxWatchers = 16
)

// ErrBusy is the error of one watcher too many.
var ErrBusy = errors.New("too many look already")

// Tail is what lanes show to watchers. Safe for concurrent use.
type Tail struct {
	watched atomic.Bool

	mu       sync.Mutex
	lanes    []*Lane
	watchers []*Watcher
	end      chan struct{} // closed to end the goroutine that takes; nil if there is none
	ended    chan struct{} // closed by it
	leftOut  atomic.Uint64
}

// New returns a tail without a lane, that nobody looks at.
func New() *Tail { return new(Tail) }

// Add returns one lane more, for a worker.
func (t *Tail) Add() *Lane {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := &Lane{watched: &t.watched}
	if t.end != nil {
		l.buffer = make([]event.Record, LaneRecords)
	}
	t.lanes = append(t.lanes, l)
	return l
}

// Lane takes the records of one lane of the gate. Begin, Put and End are called by its worker only.
type Lane struct {
	watched *atomic.Bool

	missed atomic.Uint64 // while the buffer was taken
	mu     sync.Mutex
	buffer []event.Record // as long as there is room for; nil while nobody looks
	n      int
	full   uint64 // records that came when it was full
	_      [64]byte
}

// Begin begins a batch of n records and returns how many of them may be put, the first ones. Unless that is 0, the caller puts them and
// calls End.
func (l *Lane) Begin(n int) int {
	if !l.watched.Load() {
		return 0
	}
	if !l.mu.TryLock() {
		l.missed.Add(uint64(n))
		return 0
	}
	room := min(n, len(l.buffer)-l.n)
	if l.buffer != nil {
		l.full += uint64(n - room)
	}
	if room == 0 {
		l.mu.Unlock()
	}
	return room
}

// Watched reports whether somebody looks; where nobody does, Begin returns 0.
func (l *Lane) Watched() bool { return l.watched.Load() }

// Put shows a copy of a record.
func (l *Lane) Put(rec *event.Record) { *l.Next() = *rec }

// Next shows a record that the caller makes in the memory it returns, before End.
func (l *Lane) Next() *event.Record {
	l.n++
	return &l.buffer[l.n-1]
}

// End ends the batch.
func (l *Lane) End() { l.mu.Unlock() }

// swap takes what there is and gives the lane an empty buffer, or nil.
func (l *Lane) swap(empty []event.Record) (records []event.Record, leftOut uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	records, leftOut = l.buffer[:l.n], l.full+l.missed.Swap(0)
	l.buffer, l.n, l.full = empty, 0, 0
	return records, leftOut
}

// Batch is what was admitted in an interval, by time. The records are shared: nobody changes them.
type Batch struct {
	LeftOut uint64 // how many events more there were, before or among these
	Records []event.Record
}

// Watcher gets what is admitted while it looks.
type Watcher struct {
	t *Tail

	mu      sync.Mutex
	queue   []Batch
	held    int // records in it
	leftOut uint64
	wake    chan struct{} // holds one token
}

// Watch begins to look. The caller closes the watcher. The error is [ErrBusy].
func (t *Tail) Watch() (*Watcher, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.watchers) >= MaxWatchers {
		return nil, ErrBusy
	}
	w := &Watcher{t: t, wake: make(chan struct{}, 1)}
	t.watchers = append(t.watchers, w)
	if t.end == nil {
		for _, l := range t.lanes {
			l.swap(make([]event.Record, LaneRecords))
		}
		t.end, t.ended = make(chan struct{}), make(chan struct{})
		t.watched.Store(true)
		go t.run(t.end, t.ended)
	}
	return w, nil
}

// Watchers returns how many look, and how many events were left out so far, for one of them or for all.
func (t *Tail) Watchers() (n int, leftOut uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.watchers), t.leftOut.Load()
}

// Close ends looking. When it was the last watcher, nothing of the tail runs any more, nor does it hold memory.
func (w *Watcher) Close() {
	t := w.t
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.watchers, w)
	if i < 0 {
		return
	}
	t.watchers = slices.Delete(t.watchers, i, i+1)
	if len(t.watchers) > 0 {
		return
	}
	t.watched.Store(false)
	close(t.end)
	ended := t.ended
	t.end, t.ended = nil, nil
	t.mu.Unlock() // which the goroutine may wait for
	<-ended
	t.mu.Lock()
	if t.end == nil { // nobody has begun to look meanwhile
		for _, l := range t.lanes {
			l.swap(nil)
		}
	}
}

// run takes the lanes' buffers until end.
func (t *Tail) run(end <-chan struct{}, ended chan<- struct{}) {
	defer close(ended)
	ticker := time.NewTicker(Interval)
	defer ticker.Stop()
	var spare [][]event.Record // by lane
	for {
		select {
		case <-end:
			return
		case <-ticker.C:
			spare = t.take(spare)
		}
	}
}

// take hands out what the lanes have. The spare buffers, of which there may be too few, take the place of the lanes', which are the next
// spare ones. Nobody begins to look meanwhile: what is taken goes to all who were there before it was put.
func (t *Tail) take(spare [][]event.Record) [][]event.Record {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(spare) < len(t.lanes) {
		spare = append(spare, make([]event.Record, LaneRecords))
	}
	var b Batch
	taken := make([][]event.Record, len(t.lanes))
	total := 0
	for i, l := range t.lanes {
		records, leftOut := l.swap(spare[i])
		spare[i], taken[i] = records[:cap(records)], records
		b.LeftOut += leftOut
		total += len(records)
	}
	if total == 0 && b.LeftOut == 0 {
		return spare
	}
	if total > 0 {
		b.Records = merge(taken, total)
	}
	t.leftOut.Add(b.LeftOut)
	for _, w := range t.watchers {
		w.give(b)
	}
	return spare
}

// merge puts the records of all lanes, total in number, in the order of their times. Those of a lane stay in order.
func merge(lanes [][]event.Record, total int) []event.Record {
	merged := make([]event.Record, 0, total)
	for len(merged) < total {
		first := -1
		for i, records := range lanes {
			if len(records) > 0 && (first < 0 || records[0].Time() < lanes[first][0].Time()) {
				first = i
			}
		}
		merged = append(merged, lanes[first][0])
		lanes[first] = lanes[first][1:]
	}
	return merged
}

// give queues a batch, and gives up the oldest where they are too many.
func (w *Watcher) give(b Batch) {
	w.mu.Lock()
	if n := len(w.queue); n > 0 && len(b.Records) == 0 {
		w.queue[n-1].LeftOut += b.LeftOut
		w.mu.Unlock()
		return
	}
	for len(w.queue) > 0 && w.held+len(b.Records) > QueueRecords {
		oldest := w.queue[0]
		w.queue = slices.Delete(w.queue, 0, 1)
		w.held -= len(oldest.Records)
		w.leftOut += oldest.LeftOut + uint64(len(oldest.Records))
		w.t.leftOut.Add(uint64(len(oldest.Records)))
	}
	w.queue = append(w.queue, b)
	w.held += len(b.Records)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Next waits for what is admitted next. The error is that of ctx. Called by one goroutine.
func (w *Watcher) Next(ctx context.Context) (Batch, error) {
	for {
		if b, ok := w.pop(); ok {
			return b, nil
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
			return Batch{}, ctx.Err()
		}
	}
}

func (w *Watcher) pop() (b Batch, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		return b, false
	}
	b = w.queue[0]
	w.queue = slices.Delete(w.queue, 0, 1)
	w.held -= len(b.Records)
	b.LeftOut += w.leftOut
	w.leftOut = 0
	return b, true
}

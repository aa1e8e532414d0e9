package inflight

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

// Window keeps account of the records of one sink that are on their way. Begin, Add, Wait, Drain and End are called only by
// the goroutine that Run was called on; the other methods are safe for concurrent use. After End nothing is acknowledged to
// the stream of the run, nor rejected.
type Window struct {
	mu    sync.Mutex
	floor event.Seq     // the destination has this one and all before it, or they are given up
	top   event.Seq     // the highest that was ever added
	done  []bool        // of those above floor up to top, by sequence number modulo the length
	moved chan struct{} // holds a token after floor has moved; for the one goroutine that waits

	stream sdk.Stream // nil between two runs
	epoch  uint64     // of the stream of the last run
	added  event.Seq  // the last of this run
	acked  event.Seq  // to this run's stream
}

// StallError says that nothing was confirmed for a while although records are on their way.
type StallError struct {
	Waited time.Duration
	First  event.Seq // the record that everything waits for
}

func (e *StallError) Error() string {
	return fmt.Sprintf("nothing was confirmed for %v; record %d is the first that is missing", e.Waited, e.First)
}

// New returns a window for at most size records on their way, at least 1: from the oldest that is not confirmed to the
// newest.
func New(size int) *Window {
	return &Window{done: make([]bool, max(size, 1)), moved: make(chan struct{}, 1)}
}

// Begin starts a run: acknowledgements go to s. A stream of another epoch than the one before has numbers of its own: nothing of it is
// known.
func (w *Window) Begin(s sdk.Stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if epoch := s.Epoch(); epoch != w.epoch {
		w.epoch, w.floor, w.top = epoch, 0, 0
		clear(w.done)
	}
	w.stream, w.added, w.acked = s, 0, 0
}

// End ends the run: nothing is acknowledged afterwards.
func (w *Window) End() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stream = nil
}

// Fits reports whether a record may be added now.
func (w *Window) Fits(seq event.Seq) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fits(seq)
}

// fits also takes a record from behind a gap that is wider than the window, once nothing of this run is on its way.
func (w *Window) fits(seq event.Seq) bool {
	return seq <= w.floor+event.Seq(len(w.done)) || w.floor >= w.added
}

// Wait waits until a record fits, or returns ctx's error.
func (w *Window) Wait(ctx context.Context, seq event.Seq) error {
	return w.until(ctx, func() bool { return w.fits(seq) })
}

// Drain waits until everything that was added is confirmed or rejected, or returns ctx's error.
func (w *Window) Drain(ctx context.Context) error {
	return w.until(ctx, func() bool { return w.floor >= w.added })
}

func (w *Window) until(ctx context.Context, reached func() bool) error {
	for {
		w.mu.Lock()
		ok := reached()
		w.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-w.moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Add notes that a record, which fits, was handed out. Records that the stream has skipped were evicted and count as
// confirmed. It returns false if the destination is known to have the record from an earlier run: then it must not be sent.
// The error is that of the stream's Ack.
func (w *Window) Add(seq event.Seq) (send bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if seq > w.floor+event.Seq(len(w.done)) {
		// Nothing of this run is on its way and everything up to here was evicted.
		clear(w.done)
		w.floor, w.top = seq-1, seq-1
	}
	for gap := max(w.added, w.floor) + 1; gap < seq; gap++ {
		w.set(gap, true)
	}
	w.added = seq
	if send = seq > w.top || seq > w.floor && !*w.at(seq); send {
		w.set(seq, false)
	}
	return send, w.advance()
}

func (w *Window) at(seq event.Seq) *bool { return &w.done[uint64(seq)%uint64(len(w.done))] }

func (w *Window) set(seq event.Seq, done bool) {
	*w.at(seq) = done
	w.top = max(w.top, seq)
}

// advance moves floor over what is confirmed and acknowledges it, as far as this run has seen it.
func (w *Window) advance() error {
	before := w.floor
	for w.floor < w.top && *w.at(w.floor + 1) {
		w.floor++
	}
	if w.floor != before {
		select {
		case w.moved <- struct{}{}:
		default:
		}
	}
	through := min(w.floor, w.added)
	if w.stream == nil || through <= w.acked {
		return nil
	}
	w.acked = through
	return w.stream.Ack(through)
}

// Done notes that the destination has these records. The error is that of the stream's Ack.
func (w *Window) Done(seqs ...event.Seq) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, seq := range seqs {
		if seq > w.floor && seq <= w.top {
			*w.at(seq) = true
		}
	}
	return w.advance()
}

// Reject notes that a record can never be delivered and tells the stream why. Outside of a run it does nothing.
func (w *Window) Reject(seq event.Seq, why string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stream == nil || seq <= w.floor || seq > w.added {
		return nil
	}
	w.stream.Reject(seq, why)
	*w.at(seq) = true
	return w.advance()
}

// Has reports whether the destination is known to have the record, or it was given up.
func (w *Window) Has(seq event.Seq) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return seq <= w.floor || seq <= w.top && *w.at(seq)
}

// Len returns how many records of this run are on their way: from the oldest that is not confirmed to the newest.
func (w *Window) Len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stream == nil || w.added <= w.floor {
		return 0
	}
	return int(w.added - w.floor)
}

// Watch waits until ctx ends and returns nil, or until records have been on their way for limit and the oldest is still not
// confirmed: then it returns a [*StallError]. It looks four times in that time.
func (w *Window) Watch(ctx context.Context, limit time.Duration) error {
	tick := time.NewTicker(max(limit/4, 1))
	defer tick.Stop()
	var since time.Time
	var at event.Seq
	idle := true
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			w.mu.Lock()
			floor, waiting := w.floor, w.added > w.floor
			w.mu.Unlock()
			if idle || floor != at {
				since, at = now, floor
			}
			idle = !waiting
			if waited := now.Sub(since); waiting && waited >= limit {
				return &StallError{Waited: waited.Round(time.Millisecond), First: floor + 1}
			}
		}
	}
}

package sinktest

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

// Stream is a fake ring. The test appends records at any time and from any goroutine; the sink under test sees them through
// the [sdk.Stream] that Run hands it.
type Stream struct {
	mu       sync.Mutex
	changed  chan struct{} // closed and replaced when something happens
	records  []event.Record
	repeat   event.Seq // if set, the records are handed out over and over up to this sequence number
	floor    event.Seq // acknowledged or evicted up to here
	acked    event.Seq
	handed   event.Seq          // in the present run
	ever     event.Seq          // handed out in any run
	gone     map[event.Seq]bool // numbers that stand for no record any more
	marker   event.Seq          // the loss record that counts what is evicted; 0: there is none
	maxBatch int
	drained  bool
	drain    chan struct{} // closed when drained
	running  bool
	names    map[uint32]*event.Names
	fallback *event.Names
	sessions []event.Record
	rejected map[event.Seq]string
	breaches []string
}

// Epoch is the epoch of every stream of this package.
const Epoch = 1

// NewStream returns an empty stream. At the end of the test, breaches of the contract that nobody asked for with
// [Stream.Breaches] fail it; without a test, nil, asking is all there is.
func NewStream(tb testing.TB) *Stream {
	s := newStream()
	if tb == nil {
		return s
	}
	tb.Cleanup(func() {
		for _, b := range s.Breaches() {
			tb.Errorf("sinktest: %s", b)
		}
	})
	return s
}

func newStream() *Stream {
	return &Stream{
		changed:  make(chan struct{}),
		drain:    make(chan struct{}),
		maxBatch: 256,
		gone:     map[event.Seq]bool{},
		names:    map[uint32]*event.Names{},
		fallback: Names(),
		rejected: map[event.Seq]string{},
	}
}

// Append adds records at the end; their sequence numbers are set.
func (s *Stream) Append(records ...event.Record) {
	s.change(func() { s.records = append(s.records, records...) })
}

// Repeat makes the stream hand out what was appended over and over, n records in all: a benchmark needs more records than
// memory holds.
func (s *Stream) Repeat(n int) { s.change(func() { s.repeat = event.Seq(n) }) }

// SetBatch sets how many records a batch may hold; 256 at first.
func (s *Stream) SetBatch(n int) { s.change(func() { s.maxBatch = n }) }

// SetNames sets the names of one configuration generation. Other generations get [Names].
func (s *Stream) SetNames(n *event.Names) { s.change(func() { s.names[n.Generation] = n }) }

// SetSessions sets the sessions that live now, see [sdk.SessionLister].
func (s *Stream) SetSessions(records ...event.Record) { s.change(func() { s.sessions = records }) }

// Drain says that no more records come: when all are handed out, Next returns [sdk.ErrDrained].
func (s *Stream) Drain() {
	s.change(func() {
		if !s.drained {
			s.drained = true
			close(s.drain)
		}
	})
}

// Acked returns the last acknowledged sequence number.
func (s *Stream) Acked() event.Seq {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acked
}

// Rejected returns what the sink rejected and why.
func (s *Stream) Rejected() map[event.Seq]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[event.Seq]string{}
	maps.Copy(all, s.rejected)
	return all
}

// WaitAcked waits until through is acknowledged, or returns ctx's error.
func (s *Stream) WaitAcked(ctx context.Context, through event.Seq) error {
	for {
		s.mu.Lock()
		done, changed := s.acked >= through, s.changed
		s.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Breaches returns the breaches of the contract so far and forgets them.
func (s *Stream) Breaches() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.breaches
	s.breaches = nil
	return b
}

// Run runs the sink once, from the first record that is not acknowledged on, and returns what it returned.
func (s *Stream) Run(ctx context.Context, sink sdk.Sink) error {
	s.mu.Lock()
	if s.running {
		s.mu.Unlock()
		return sdk.Error("sinktest: a run is in progress")
	}
	s.running = true
	r := &run{stream: s, handed: s.floor}
	s.handed = s.floor
	s.mu.Unlock()
	err := sink.Run(ctx, r)
	s.change(func() { s.running, r.over = false, true })
	return err
}

// change does something under the lock and wakes whoever waits.
func (s *Stream) change(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
	close(s.changed)
	s.changed = make(chan struct{})
}

// last returns the highest sequence number there is. The lock is held.
func (s *Stream) last() event.Seq {
	if s.repeat > 0 {
		return s.repeat
	}
	return event.Seq(len(s.records))
}

func (s *Stream) breach(form string, args ...any) error {
	text := fmt.Sprintf(form, args...)
	s.breaches = append(s.breaches, text)
	return sdk.Error("sinktest: " + text)
}

// run is the stream as one call of Run sees it.
type run struct {
	stream *Stream
	next   sync.Mutex     // held during Next: two at once are a breach
	lent   []event.Record // overwritten by the next call of Next, so that a sink that keeps a batch is found out
	handed event.Seq
	over   bool
}

var (
	_ sdk.Stream        = (*run)(nil)
	_ sdk.SessionLister = (*run)(nil)
	_ sdk.DrainNotifier = (*run)(nil)
)

func (r *run) Next(ctx context.Context, wait time.Duration) (sdk.Batch, error) {
	s := r.stream
	if !r.next.TryLock() {
		s.mu.Lock()
		defer s.mu.Unlock()
		return sdk.Batch{}, s.breach("Next was called by two goroutines at once")
	}
	defer r.next.Unlock()
	clear(r.lent)

	var timeout <-chan time.Time
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		timeout = t.C
	}
	for {
		b, changed, err := r.take(ctx)
		if err != nil || b.Len() > 0 || wait == 0 {
			return b, err
		}
		select {
		case <-changed:
		case <-timeout:
			return sdk.Batch{}, nil
		case <-ctx.Done():
			return sdk.Batch{}, ctx.Err()
		}
	}
}

// take hands out what is there.
func (r *run) take(ctx context.Context) (sdk.Batch, <-chan struct{}, error) {
	s := r.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.over {
		return sdk.Batch{}, nil, s.breach("Next was called after Run had returned")
	}
	if err := ctx.Err(); err != nil {
		return sdk.Batch{}, nil, err
	}
	from := max(r.handed, s.floor) + 1
	last := s.last()
	if from > last {
		if s.drained {
			return sdk.Batch{}, nil, sdk.ErrDrained
		}
		return sdk.Batch{}, s.changed, nil
	}
	n := min(int(last-from)+1, s.maxBatch)
	if cap(r.lent) < n {
		r.lent = make([]event.Record, 0, n)
	}
	r.lent = r.lent[:0]
	for seq := from; seq <= last && len(r.lent) < n; seq++ {
		if s.gone[seq] {
			continue
		}
		r.lent = append(r.lent, s.records[int(seq-1)%len(s.records)])
		r.lent[len(r.lent)-1].SetSeq(seq)
		r.handed = seq
	}
	s.handed, s.ever = r.handed, max(s.ever, r.handed)
	return sdk.Batch{Records: r.lent}, nil, nil
}

func (r *run) Ack(through event.Seq) error {
	s := r.stream
	var err error
	s.change(func() {
		switch {
		case r.over:
			err = s.breach("Ack(%d) after Run had returned", through)
		case through > r.handed:
			err = s.breach("Ack(%d), but %d was the last record handed out", through, r.handed)
		case through > s.acked:
			s.acked = through
			s.floor = max(s.floor, through)
		}
	})
	return err
}

func (r *run) Reject(seq event.Seq, why string) {
	s := r.stream
	s.change(func() {
		switch _, twice := s.rejected[seq]; {
		case r.over:
			_ = s.breach("Reject(%d) after Run had returned", seq)
		case seq == 0 || seq > r.handed:
			_ = s.breach("Reject(%d), but %d was the last record handed out", seq, r.handed)
		case twice:
			_ = s.breach("Reject(%d) twice", seq)
		case why == "":
			_ = s.breach("Reject(%d) without a reason", seq)
		default:
			s.rejected[seq] = why
		}
	})
}

func (r *run) Names(generation uint32) *event.Names {
	s := r.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, ok := s.names[generation]; ok {
		return n
	}
	return s.fallback
}

func (r *run) Epoch() uint64 { return Epoch }

func (r *run) Draining() <-chan struct{} { return r.stream.drain }

// Sessions iterates over copies of what SetSessions has set, one at a time in the same place.
func (r *run) Sessions() iter.Seq[*event.Record] {
	r.stream.mu.Lock()
	sessions := r.stream.sessions
	r.stream.mu.Unlock()
	return func(yield func(*event.Record) bool) {
		for _, rec := range sessions {
			if !yield(&rec) {
				return
			}
		}
	}
}

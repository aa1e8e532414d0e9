package replay

import (
	"errors"
	"fmt"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/rtflow/pipelined/sdk/event"
)

// Limits are a ring's size and ceilings, in records.
type Limits struct {
	Slots int `toml:"slots"` // a power of two
	// Telemetry is for the telemetry classes together, below Slots: the rest is kept for answered sessions and loss records.
	Telemetry int `toml:"telemetry"`
	PerKind   int `toml:"per_kind"` // for one of those classes, at most Telemetry
}

// announcements returns how many loss records a ring may hold: an eighth of what telemetry leaves.
func announcements(l Limits) int { return max((l.Slots-l.Telemetry)/8, 1) }

// Check returns an error if no ring can have those limits.
func (l Limits) Check() error {
	if l.Slots < 2 || l.Slots&(l.Slots-1) != 0 {
		return fmt.Errorf("replay: %d slots, want a power of two", l.Slots)
	}
	if l.PerKind < 1 || l.PerKind > l.Telemetry || l.Telemetry >= l.Slots {
		return fmt.Errorf("replay: need 1 <= per kind (%d) <= telemetry (%d) < slots (%d)", l.PerKind, l.Telemetry, l.Slots)
	}
	return nil
}

// Window returns how many records may be in flight whatever their kinds: the lowest of the ceilings.
func (l Limits) Window() int { return min(l.PerKind, announcements(l)) }

// What Ring.states holds of a record beside its kind.
const (
	kindMask   = 0x0f
	evicted    = 0x20 // given up; the slot is about to be freed. Only within an eviction
	unanswered = 0x40 // the record is of a session that nobody has answered
	rejected   = 0x80 // the sink rejected the record: at release it counts as rejected, not as acknowledged
)

func kindOf(state uint8) event.Kind { return event.Kind(state & kindMask) }

func classIn(state uint8) Class {
	if state&unanswered != 0 {
		return Unanswered
	}
	return classOf[state&kindMask]
}

// Ring is one sink's ring. Workers append to it, and one goroutine, the reader, takes records out. Methods say who may call them.
type Ring struct {
	store   atomic.Pointer[store] // replaced under mu
	credits *credits
	closed  atomic.Bool
	owes    atomic.Bool // owed is not all zero

	_    [64]byte
	next atomic.Uint64 // next position to claim
	_    [56]byte

	waiting atomic.Bool   // the reader is about to sleep or asleep
	wake    chan struct{} // holds one token

	mu       sync.Mutex
	floor    uint64 // oldest position held
	known    uint64 // every position before it is published; it is where a run begins, at floor or behind it
	sent     uint64 // next position to hand out
	handed   uint64 // highest sequence number ever handed out
	acked    uint64 // highest one that was acknowledged to this ring
	straight uint64 // from this position on, a record's sequence number is its position; before it, at most that
	marker   uint64 // position of the loss record that counts what is evicted; 0: there is none that may still change
	owed     loss   // evicted, and no record in the ring says so; one credit is kept for the record that will
	draining bool
	drain    chan struct{} // closed when draining begins
	room     chan struct{} // closed when credits come back; nil if nobody waits
	released Released
	untold   counts
	limits   Limits // those that it has, or will have when there is room
	resizing bool   // it does not have them yet
	frozen   bool   // what is held stays, for the next run
	// takenOver are the records of an earlier run, by kind. Not changed after the ring was made.
	takenOver [event.NumKinds]uint64
}

// Released counts the records that left the ring, by kind, by why they left. Announced counts the loss records that
// the ring made itself, for what it evicted.
type Released struct {
	Acknowledged, Rejected, Evicted, Abandoned [event.NumKinds]uint64

	Kept [event.NumKinds]uint64 // for the ring of the next run

	Announced uint64
}

// New returns an empty ring whose first record will have sequence number 1.
func New(l Limits) (*Ring, error) {
	if err := l.Check(); err != nil {
		return nil, err
	}
	r := &Ring{
		credits: newCredits(l),
		wake:    make(chan struct{}, 1),
		drain:   make(chan struct{}),
		floor:   1,
		known:   1,
		sent:    1,
		limits:  l,
	}
	r.next.Store(1)
	r.hold(newStore(l.Slots), 1)
	return r, nil
}

// hold makes a store that of all positions from the first one on.
func (r *Ring) hold(s *store, first uint64) {
	s.from.Store(first)
	r.store.Store(s)
}

// Acquire takes up to n credits for records of the class and returns how many it got: 0 from a closed ring. Called only by
// workers.
func (r *Ring) Acquire(c Class, n int) int {
	if r.closed.Load() {
		return 0
	}
	return r.credits.acquire(c, n)
}

// AcquireLoss takes a credit for a loss record that must stand before what is about to go in. Loss records have a
// ceiling of their own, an eighth of what telemetry leaves, so that storms do not fill with them what the ring keeps for
// sessions; above says that it may be passed by one, for the sake of a session record. Called only by workers.
func (r *Ring) AcquireLoss(above bool) bool {
	if r.Acquire(Announcement, 1) == 1 {
		return true
	}
	return above && !r.credits.aboveCeiling() && r.Acquire(Priority, 1) == 1 && r.AnnounceWith(Priority)
}

// AnnounceWith turns a credit of the class into one for a loss record and reports whether it did: one for telemetry only
// below the ceiling of loss records. Called only by workers.
func (r *Ring) AnnounceWith(c Class) bool {
	if c.Telemetry() {
		return r.credits.announceBelow(c)
	}
	r.credits.announce(c)
	return true
}

// Closed reports whether the ring takes no more records.
func (r *Ring) Closed() bool { return r.closed.Load() }

// Claim takes the next n positions and returns the first. The caller holds n credits and must Put every one of them.
// Called only by workers.
func (r *Ring) Claim(n int) event.Seq { return event.Seq(r.next.Add(uint64(n)) - uint64(n)) }

// Put writes a copy of rec, for which the caller holds a credit of the class, at a claimed position and publishes it.
// Called only by workers.
func (r *Ring) Put(pos event.Seq, c Class, rec *event.Record) {
	p := uint64(pos)
	s := r.at(p)
	to := s.record(p)
	*to = *rec
	s.number(p, to, c)
	s.publish(p, 1)
}

// Run is a run of records that one worker appends: claimed together, and published together. The publication is what costs: an atomic
// store, which waits until every write before it has reached the cache.
type Run struct {
	store *store // of all its positions: where the ring goes over to another store, no run is torn
	first uint64
	n     int
}

// Begin claims the next n positions, for n records that follow. The caller holds n credits, makes the records from 0 to n-1, and then
// calls Publish. Called only by workers.
func (r *Ring) Begin(n int) Run {
	first := uint64(r.Claim(n))
	return Run{r.at(first), first, n}
}

// Slot returns the memory of record i, of which the caller sets every field, [event.Record.Reset] first, before it calls Made.
func (w Run) Slot(i int) *event.Record { return w.store.record(w.first + uint64(i)) }

// Made completes record i, which the caller has made in its Slot, and holds a credit of the class for.
func (w Run) Made(i int, rec *event.Record, c Class) { w.store.number(w.first+uint64(i), rec, c) }

// Publish lets the reader have the records.
func (w Run) Publish() { w.store.publish(w.first, w.n) }

// Wake wakes the sink if it sleeps. Workers call it once per batch, when all is published.
func (r *Ring) Wake() {
	if r.waiting.Load() && r.waiting.CompareAndSwap(true, false) {
		r.signal()
	}
}

func (r *Ring) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Room returns a channel that is closed when credits come back, or when the ring closes. A worker that waits for room
// gets the channel first, tries Acquire again, and only then waits.
func (r *Ring) Room() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.room == nil {
		r.room = make(chan struct{})
		if r.closed.Load() {
			close(r.room)
		}
	}
	return r.room
}

func (r *Ring) roomMade() {
	if r.room != nil && !r.closed.Load() {
		close(r.room)
		r.room = nil
	}
}

// Next lends the sink the published records that follow those of the last call, at most limit and as far as they stand
// contiguously in memory; nil if there is none. The records are valid until they are acknowledged, or until Rewind. Called
// only by the reader.
func (r *Ring) Next(limit int) []event.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = max(r.sent, r.floor) // what was evicted is skipped
	lo := r.sent
	s := r.at(lo)
	hi := min(lo+uint64(limit), (lo|s.mask)+1, r.behind(s))
	r.published(hi - 1)
	end := min(hi, r.known)
	if end <= lo {
		return nil
	}
	r.sent = end
	r.handed = max(r.handed, r.seqAt(end-1))
	return s.records[lo&s.mask : lo&s.mask+(end-lo)]
}

// Sleep tells the ring that the reader is about to wait on the returned channel. It returns false if there is something
// to read after all, or if the reader should look again. Called only by the reader.
func (r *Ring) Sleep() (<-chan struct{}, bool) {
	r.waiting.Store(true)
	r.mu.Lock()
	sent := max(r.sent, r.floor)
	ready := r.published(sent) || r.drained()
	r.mu.Unlock()
	if ready {
		r.waiting.Store(false)
		return nil, false
	}
	return r.wake, true
}

// Drained reports whether the ring is draining and everything in it has been handed out. Called only by the reader.
func (r *Ring) Drained() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.drained()
}

func (r *Ring) drained() bool {
	return (r.draining || r.closed.Load()) && max(r.sent, r.floor) == r.next.Load()
}

// Ack releases every record up to and including through. Going backwards does nothing. It is an error, and nothing is
// released, to acknowledge what was never handed out. Safe for concurrent use.
func (r *Ring) Ack(through event.Seq) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if uint64(through) > r.handed {
		return fmt.Errorf("replay: acknowledgement of %d, but the last record handed out is %d", through, r.handed)
	}
	if r.frozen {
		return errors.New("replay: the acknowledgement is too late: the next run has the record")
	}
	r.acked = max(r.acked, uint64(through))
	r.release(r.after(uint64(through)), &r.released.Acknowledged)
	return nil
}

// seqAt returns the sequence number of the record at a position that is held or next.
func (r *Ring) seqAt(p uint64) uint64 {
	if p >= r.straight {
		return p
	}
	return uint64(r.record(p).Seq())
}

// after returns the first position held whose sequence number is greater than seq, which was handed out.
func (r *Ring) after(seq uint64) uint64 {
	if seq+1 >= r.straight || r.floor >= r.straight {
		return seq + 1
	}
	n := sort.Search(int(r.straight-r.floor), func(i int) bool { return r.seqAt(r.floor+uint64(i)) > seq })
	return r.floor + uint64(n)
}

// release moves floor up to end and gives the credits back. Records marked as rejected count as such, all others in
// count.
func (r *Ring) release(end uint64, count *[event.NumKinds]uint64) {
	if end <= r.floor {
		return
	}
	var byClass [numClasses]int
	for p := r.floor; p < end; {
		run := r.statesFrom(p, end)
		p += uint64(len(run))
		for len(run) > 0 {
			state, n := run[0], 1
			for n < len(run) && run[n] == state {
				n++
			}
			run = run[n:]
			byClass[classIn(state)] += n
			if k := kindOf(state); state&rejected != 0 {
				r.released.Rejected[k] += uint64(n)
			} else {
				count[k] += uint64(n)
			}
		}
	}
	r.floor = end
	r.known = max(r.known, end)
	for class, n := range byClass {
		r.credits.release(Class(class), n)
	}
	r.resize()
	r.roomMade()
}

// Reject marks one handed-out record as rejected: when it is acknowledged it counts as rejected. It reports whether the
// record was there to be marked. Safe for concurrent use.
func (r *Ring) Reject(seq event.Seq) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if seq == 0 || uint64(seq) > r.handed {
		return false
	}
	p := r.after(uint64(seq)) - 1
	if p < r.floor || r.seqAt(p) != uint64(seq) || *r.state(p)&rejected != 0 {
		return false
	}
	*r.state(p) |= rejected
	return true
}

// Rewind makes the next call of Next start at the first record that is not acknowledged, and ends every loan. The owner
// of the reader calls it when the sink's Run has returned.
func (r *Ring) Rewind() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = r.floor
}

// Drain makes Drained true once everything has been handed out. The workers have stopped. Safe for concurrent use.
func (r *Ring) Drain() {
	r.mu.Lock()
	if !r.draining {
		r.draining = true
		close(r.drain)
	}
	r.mu.Unlock()
	r.signal()
}

// Draining returns a channel that is closed when Drain is called. Safe for concurrent use.
func (r *Ring) Draining() <-chan struct{} { return r.drain }

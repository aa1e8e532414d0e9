package replay

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/rtflow/pipelined/sdk/event"
)

// Limits are a ring's size and ceilings, in records.
type Limits struct {
	Slots     int // a power of two
	Telemetry int // deny, screen and filter records together; below Slots: the rest is kept for session and loss records
	PerKind   int // one of those kinds
}

// announcements returns how many loss records a ring may hold: an eighth of what telemetry leaves.
func announcements(l Limits) int { return max((l.Slots-l.Telemetry)/8, 1) }

// Window returns how many records may be in flight whatever their kinds: the lowest of the ceilings.
func (l Limits) Window() int { return min(l.PerKind, announcements(l)) }

// slot states beside the kind, in Ring.kinds.
const (
	kindMask = 0x0f
	rejected = 0x80 // the sink rejected the record: at release it counts as rejected, not as acknowledged
)

// Ring is one sink's ring. See the methods for who may call them.
type Ring struct {
	records []event.Record
	seqs    []atomic.Uint64 // the sequence number published in the slot
	kinds   []uint8         // kind and state of the slot's record; written before it is published, then under mu
	mask    uint64
	credits *credits
	closed  atomic.Bool

	_    [64]byte
	next atomic.Uint64 // next position to claim
	_    [56]byte

	waiting atomic.Bool   // the reader is about to sleep or asleep
	wake    chan struct{} // holds one token

	mu       sync.Mutex
	floor    uint64 // oldest position held
	sent     uint64 // next position to hand out
	handed   uint64 // highest position ever handed out
	draining bool
	drain    chan struct{} // closed when draining begins
	room     chan struct{} // closed when credits come back; nil if nobody waits
	released Released
}

// Released counts the records that left the ring, by kind, by why they left. Announced counts the loss records that
// the ring made itself, for what it evicted.
type Released struct {
	Acknowledged, Rejected, Evicted, Abandoned [event.NumKinds]uint64

	Announced uint64
}

// New returns an empty ring whose first record will have sequence number 1.
func New(l Limits) (*Ring, error) {
	if l.Slots < 2 || l.Slots&(l.Slots-1) != 0 {
		return nil, fmt.Errorf("replay: %d slots, want a power of two", l.Slots)
	}
	credits, err := newCredits(l)
	if err != nil {
		return nil, err
	}
	r := &Ring{
		records: make([]event.Record, l.Slots),
		seqs:    make([]atomic.Uint64, l.Slots),
		kinds:   make([]uint8, l.Slots),
		mask:    uint64(l.Slots - 1),
		credits: credits,
		wake:    make(chan struct{}, 1),
		drain:   make(chan struct{}),
		floor:   1,
		sent:    1,
	}
	r.next.Store(1)
	return r, nil
}

// Acquire takes up to n credits for records of the kind and returns how many it got: 0 from a closed ring. Loss records
// have a ceiling of their own, an eighth of what telemetry leaves, so that storms do not fill the ring with them. Workers.
func (r *Ring) Acquire(k event.Kind, n int) int {
	if r.closed.Load() {
		return 0
	}
	return r.credits.acquire(classOf[k], n)
}

// Closed reports whether the ring takes no more records.
func (r *Ring) Closed() bool { return r.closed.Load() }

// Claim takes the next n positions and returns the first. The caller holds n credits and must Put every one of them.
// Workers.
func (r *Ring) Claim(n int) event.Seq { return event.Seq(r.next.Add(uint64(n)) - uint64(n)) }

// Put writes a copy of rec at a claimed position and publishes it. Workers.
func (r *Ring) Put(pos event.Seq, rec *event.Record) {
	i := uint64(pos) & r.mask
	r.records[i] = *rec
	r.records[i].SetSeq(pos)
	r.kinds[i] = uint8(rec.Kind())
	r.seqs[i].Store(uint64(pos))
}

// Wake wakes the sink if it sleeps. Workers call it once per batch, after their last Put.
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
// contiguously in memory; nil if there is none. The records are valid until the next call, or until they are
// acknowledged. Reader.
func (r *Ring) Next(limit int) []event.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = max(r.sent, r.floor) // what was evicted is skipped
	lo := r.sent
	hi := min(lo+uint64(limit), (lo|r.mask)+1)
	end := lo
	for end < hi && r.seqs[end&r.mask].Load() == end {
		end++
	}
	r.sent = end
	r.handed = max(r.handed, end-1)
	if end == lo {
		return nil
	}
	return r.records[lo&r.mask : lo&r.mask+(end-lo)]
}

// Sleep tells the ring that the reader is about to wait on the returned channel. It returns false if there is something
// to read after all, or if the reader should look again. Reader.
func (r *Ring) Sleep() (<-chan struct{}, bool) {
	r.waiting.Store(true)
	r.mu.Lock()
	sent := max(r.sent, r.floor)
	ready := r.seqs[sent&r.mask].Load() == sent || r.drained()
	r.mu.Unlock()
	if ready {
		r.waiting.Store(false)
		return nil, false
	}
	return r.wake, true
}

// Drained reports whether the ring is draining and everything in it has been handed out. Reader.
func (r *Ring) Drained() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.drained()
}

func (r *Ring) drained() bool {
	return (r.draining || r.closed.Load()) && max(r.sent, r.floor) == r.next.Load()
}

// Ack releases every record up to and including through. Going backwards does nothing. It is an error, and nothing is
// released, to acknowledge what was never handed out. Sink, any goroutine.
func (r *Ring) Ack(through event.Seq) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if uint64(through) > r.handed {
		return fmt.Errorf("replay: acknowledgement of %d, but the last record handed out is %d", through, r.handed)
	}
	r.release(uint64(through)+1, &r.released.Acknowledged)
	return nil
}

// release moves floor up to end and gives the credits back. Records marked as rejected count as such, all others in
// count.
func (r *Ring) release(end uint64, count *[event.NumKinds]uint64) {
	if end <= r.floor {
		return
	}
	var byClass [numClasses]int
	for p := r.floor; p < end; p++ {
		state := r.kinds[p&r.mask]
		k := event.Kind(state & kindMask)
		byClass[classOf[k]]++
		if state&rejected != 0 {
			r.released.Rejected[k]++
		} else {
			count[k]++
		}
	}
	r.floor = end
	for class, n := range byClass {
		r.credits.release(Class(class), n)
	}
	r.roomMade()
}

// Reject marks one handed-out record as rejected: when it is acknowledged it counts as rejected. It reports whether the
// record was there to be marked. Sink, any goroutine.
func (r *Ring) Reject(seq event.Seq) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := uint64(seq)
	if p < r.floor || p > r.handed || r.kinds[p&r.mask]&rejected != 0 {
		return false
	}
	r.kinds[p&r.mask] |= rejected
	return true
}

// Rewind makes the next call of Next start at the first record that is not acknowledged, and ends every loan. The owner of the reader, when the sink's Run has returned.
func (r *Ring) Rewind() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = r.floor
}

// Drain makes Drained true once everything has been handed out. The workers have stopped. Any goroutine.
func (r *Ring) Drain() {
	r.mu.Lock()
	if !r.draining {
		r.draining = true
		close(r.drain)
	}
	r.mu.Unlock()
	r.signal()
}

// Draining returns a channel that is closed when Drain is called. Any goroutine.
func (r *Ring) Draining() <-chan struct{} { return r.drain }

// Abandon closes the ring and releases what is left in it as abandoned. The workers have stopped. Any goroutine.
func (r *Ring) Abandon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.roomMade()
	r.closed.Store(true)
	r.release(r.next.Load(), &r.released.Abandoned)
	r.sent = r.floor
	r.signal()
}

// State is a ring at one moment.
type State struct {
	Floor, Sent, Next event.Seq // oldest held, next to hand out, next to claim
	// OldestTime is the time of the oldest record held, in Unix nanoseconds; 0 if the ring is empty.
	OldestTime int64
	InFlight   [event.NumKinds]uint64 // counted slot by slot, not derived from other counters
	Released   Released
}

// stateChunk is how many slots State looks at before it lets others at the ring.
const stateChunk = 1024

// State counts what the ring holds. It walks the ring in pieces: for status and metrics, not for the event path. While
// workers append and the sink acknowledges, InFlight and Released may be a moment apart, and records claimed and not yet
// published are missing. Any goroutine.
func (r *Ring) State() State {
	r.mu.Lock()
	s := State{
		Floor: event.Seq(r.floor), Sent: event.Seq(max(r.sent, r.floor)), Next: event.Seq(r.next.Load()), Released: r.released,
	}
	r.mu.Unlock()
	for p := uint64(s.Floor); p < uint64(s.Next); {
		r.mu.Lock()
		end := min(p+stateChunk, uint64(s.Next))
		for p = max(p, r.floor); p < end; p++ {
			i := p & r.mask
			if r.seqs[i].Load() != p {
				continue
			}
			if s.OldestTime == 0 {
				s.OldestTime = r.records[i].Time()
			}
			s.InFlight[r.kinds[i]&kindMask]++
		}
		r.mu.Unlock()
	}
	return s
}

// Floor returns the oldest position held, or the next to claim if there is none. Any goroutine.
func (r *Ring) Floor() event.Seq {
	r.mu.Lock()
	defer r.mu.Unlock()
	return event.Seq(r.floor)
}

// Taken returns how many records were released because the sink acknowledged them, rejected ones among them. Any
// goroutine.
func (r *Ring) Taken() (n uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k := range r.released.Acknowledged {
		n += r.released.Acknowledged[k] + r.released.Rejected[k]
	}
	return n
}

// Credits returns the credits in use: all, and those of telemetry kinds.
func (r *Ring) Credits() (all, telemetry int) { return r.credits.inFlight() }

// ReturnCredits gives back credits for which no position was claimed. Workers.
func (r *Ring) ReturnCredits(k event.Kind, n int) { r.credits.release(classOf[k], n) }

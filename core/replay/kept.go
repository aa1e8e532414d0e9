package replay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/rtflow/pipelined/sdk/event"
)

// KeptVersion is the version of what [AppendHeld] appends and of [Position]. It changes with the layout, and with what any value means.
const KeptVersion = 1

// Position is where a ring stands: what the ring of the next run needs to go on with the same numbers, beside the records.
type Position struct {
	Floor    uint64 `json:"floor"` // position of the oldest record held
	Next     uint64 `json:"next"`  // the one behind the newest
	Handed   uint64 `json:"handed"`
	Straight uint64 `json:"straight"`
	Marker   uint64 `json:"marker"`
	// Owed is what was evicted and no record in the ring says, from Since to Until in Unix nanoseconds.
	Owed  event.LossCounts `json:"owed"`
	Since int64            `json:"since"`
	Until int64            `json:"until"`
}

// Held is a record of a ring.
type Held struct {
	Record     event.Record
	Unanswered bool // it is of a session that nobody has answered
	Rejected   bool // the sink has rejected it
}

// Freeze returns where the ring stands, and keeps it there: no acknowledgement changes it any more. The workers have ended, and everything
// that was claimed is published. Keep or Abandon follows. Safe for concurrent use.
func (r *Ring) Freeze() Position {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frozen = true
	return Position{
		Floor: r.floor, Next: r.next.Load(), Handed: r.handed, Straight: r.straight, Marker: r.marker,
		Owed: r.owed.counts, Since: r.owed.since, Until: r.owed.until,
	}
}

// Held calls yield for the records that a frozen ring holds, from the oldest on. They stay the ring's.
func (r *Ring) Held(yield func(rec *event.Record, unanswered, rejected bool) bool) {
	for p, end := r.floor, r.next.Load(); p < end; p++ {
		if s := *r.state(p); !yield(r.record(p), s&unanswered != 0, s&rejected != 0) {
			return
		}
	}
}

// Layout of a record that is held: flags, generation, frame.
const (
	heldUnanswered = 1 << iota
	heldRejected
	heldHead = 5
)

// AppendHeld appends a record to b, for [DecodeHeld].
func AppendHeld(b []byte, rec *event.Record, unanswered, rejected bool) []byte {
	var flags byte
	if unanswered {
		flags |= heldUnanswered
	}
	if rejected {
		flags |= heldRejected
	}
	return append(binary.LittleEndian.AppendUint32(append(b, flags), rec.Generation), rec.Frame()...)
}

// DecodeHeld reads a record into h and returns what follows it.
func (h *Held) DecodeHeld(b []byte) (rest []byte, err error) {
	if len(b) < heldHead || b[0] >= heldRejected<<1 {
		return nil, errors.New("not a record of a ring")
	}
	n, err := h.Record.Decode(b[heldHead:])
	if err != nil {
		return nil, err
	}
	h.Unanswered, h.Rejected = b[0]&heldUnanswered != 0, b[0]&heldRejected != 0
	h.Record.Generation = binary.LittleEndian.Uint32(b[1:])
	if k := h.Record.Kind(); h.Unanswered && k != event.SessionOpen && k != event.SessionClose {
		return nil, fmt.Errorf("a record of kind %v of a session that nobody has answered", k)
	}
	return b[heldHead+n:], nil
}

// Check returns an error if a ring cannot stand at p with these records.
func (p *Position) Check(held []Held) error {
	switch {
	case p.Floor == 0, p.Next < p.Floor, p.Next-p.Floor != uint64(len(held)), p.Next > 1<<62, len(held) > MaxSlots:
		return fmt.Errorf("%d records from position %d to %d", len(held), p.Floor, p.Next)
	case p.Handed >= p.Next || p.Straight > p.Next:
		return fmt.Errorf("positions %d and %d behind the next one, %d", p.Handed, p.Straight, p.Next)
	}
	if m := p.Marker; m >= p.Floor && (m >= p.Next || held[m-p.Floor].Record.Kind() != event.Loss) {
		return fmt.Errorf("no loss record at position %d", m)
	}
	last := uint64(0)
	for i := range held {
		at, seq := p.Floor+uint64(i), uint64(held[i].Record.Seq())
		if seq <= last || seq > at || at >= p.Straight && seq != at {
			return fmt.Errorf("record %d at position %d, behind %d", seq, at, last)
		}
		last = seq
	}
	return nil
}

// Restore returns the ring of a sink whose last ring stood at p and held these records. It goes on with the same numbers; none was
// handed out in this run, and what was in the last is not changed by an eviction. It holds all of the records also where the limits
// allow less, and takes no more until they fit.
func Restore(l Limits, p *Position, held []Held) (*Ring, error) {
	if err := p.Check(held); err != nil {
		return nil, fmt.Errorf("replay: %w", err)
	}
	r, err := New(l)
	if err != nil {
		return nil, err
	}
	slots := max(l.Slots, 1<<bits.Len(uint(len(held)))) // one more than the records at least, for what is owed
	s := r.store.Load()
	if slots != l.Slots {
		s = newStore(slots)
	}
	r.floor, r.sent, r.handed, r.straight, r.marker = p.Floor, p.Floor, p.Handed, p.Straight, p.Marker
	r.next.Store(p.Next)
	r.known = p.Next
	for i := range held {
		h, at := &held[i], p.Floor+uint64(i)
		state := uint8(h.Record.Kind())
		if h.Unanswered {
			state |= unanswered
		}
		r.credits.hold(classIn(state))
		r.takenOver[h.Record.Kind()]++
		if h.Rejected {
			state |= rejected
		}
		s.records[at&s.mask], s.states[at&s.mask] = h.Record, state
	}
	if r.owed = (loss{p.Owed, p.Since, p.Until}); r.owed.counts.Total() > 0 {
		r.credits.hold(Announcement)
		r.owes.Store(true)
	}
	r.hold(s, p.Floor)
	r.resizing = slots != l.Slots
	r.resize()
	return r, nil
}

// Keep closes the ring and counts what is left in it as kept: the next run has it. Safe for concurrent use.
func (r *Ring) Keep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.close(&r.released.Kept)
}

// close closes the ring and releases what is left in it, under that count. The lock is held.
func (r *Ring) close(count *[event.NumKinds]uint64) {
	r.roomMade()
	r.closed.Store(true)
	r.release(r.next.Load(), count)
	if r.owes.Swap(false) {
		r.owed = loss{}
		r.credits.release(Announcement, 1)
	}
	r.sent = r.floor
	r.signal()
}

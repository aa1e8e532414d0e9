package replay

import "github.com/rtflow/pipelined/sdk/event"

// Abandon closes the ring and releases what is left in it as abandoned. The workers have stopped. Safe for concurrent use.
func (r *Ring) Abandon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.untold = r.missing()
	r.close(&r.released.Abandoned)
}

// Untold returns what a ring that nobody appends to any more loses if it is abandoned, or has lost if it was, and no delivered loss
// record tells: what is in it, what the loss records in it count, and what was evicted and is not announced. Safe for concurrent use.
func (r *Ring) Untold() event.LossCounts {
	r.mu.Lock()
	defer r.mu.Unlock()
	return event.LossCounts(r.missing())
}

// missing is Untold. The lock is held.
func (r *Ring) missing() counts {
	sum := r.untold
	for p, end := r.floor, r.next.Load(); p < end; p++ {
		if k := kindOf(*r.state(p)); k == event.Loss {
			sum.add(r.record(p).LossCounts())
		} else {
			sum[k]++
		}
	}
	sum.add(r.owed.counts)
	return sum
}

// State is a snapshot of a ring.
type State struct {
	Floor, Sent, Next event.Seq // sequence numbers: oldest held, next to hand out, next to claim
	Held, Unsent      uint64    // records held, and of these those not handed out in this run
	// OldestTime is the time of the oldest record held, in Unix nanoseconds; 0 if the ring is empty.
	OldestTime int64
	InFlight   [event.NumKinds]uint64 // counted slot by slot, independently of other counters
	Unanswered uint64                 // of InFlight, the records of unanswered sessions
	Released   Released
	// TakenOver are the records of an earlier run that the ring began with.
	TakenOver [event.NumKinds]uint64
}

// stateChunk is how many slots State looks at before it releases the lock for a moment.
const stateChunk = 1024

// State counts what the ring holds. It walks the ring in pieces: for status and metrics, not for the event path. While
// workers append and the sink acknowledges, InFlight and Released may be a moment apart, and records claimed and not yet
// published are missing. Safe for concurrent use.
func (r *Ring) State() State {
	r.mu.Lock()
	floor, sent, next := r.floor, max(r.sent, r.floor), r.next.Load()
	s := State{
		Floor: event.Seq(r.seqAt(floor)), Sent: event.Seq(r.seqAt(sent)), Next: event.Seq(next), Released: r.released,
		Held: next - floor, Unsent: next - sent, TakenOver: r.takenOver,
	}
	r.mu.Unlock()
	for p := floor; p < next; {
		r.mu.Lock()
		end := min(p+stateChunk, next)
		for p = max(p, r.floor); p < end; p++ {
			if !r.published(p) {
				continue
			}
			if s.OldestTime == 0 {
				s.OldestTime = r.record(p).Time()
			}
			state := *r.state(p)
			s.InFlight[kindOf(state)]++
			if state&unanswered != 0 {
				s.Unanswered++
			}
		}
		r.mu.Unlock()
	}
	return s
}

// Add adds what another ring has released.
func (r *Released) Add(o *Released) {
	for k := range r.Acknowledged {
		r.Acknowledged[k] += o.Acknowledged[k]
		r.Rejected[k] += o.Rejected[k]
		r.Evicted[k] += o.Evicted[k]
		r.Abandoned[k] += o.Abandoned[k]
		r.Kept[k] += o.Kept[k]
	}
	r.Announced += o.Announced
}

// Released returns how many records have left the ring. Safe for concurrent use.
func (r *Ring) Released() Released {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.released
}

// Floor returns the sequence number of the oldest record held, or the next to claim if there is none. Safe for concurrent use.
func (r *Ring) Floor() event.Seq {
	r.mu.Lock()
	defer r.mu.Unlock()
	return event.Seq(r.seqAt(r.floor))
}

// NothingLent reports whether every record that was handed out in this run is released. Safe for concurrent use.
func (r *Ring) NothingLent() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sent <= r.floor
}

// Last returns the sequence number of the record that was put in last, 0 if there was none. Called while nobody appends.
func (r *Ring) Last() event.Seq {
	r.mu.Lock()
	defer r.mu.Unlock()
	return event.Seq(r.next.Load()) - 1
}

// Acked returns the highest sequence number that was acknowledged to this ring, 0 if none was. Safe for concurrent use.
func (r *Ring) Acked() event.Seq {
	r.mu.Lock()
	defer r.mu.Unlock()
	return event.Seq(r.acked)
}

// Taken returns how many records were released because the sink acknowledged them, rejected ones among them. Safe for
// concurrent use.
func (r *Ring) Taken() (n uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k := range r.released.Acknowledged {
		n += r.released.Acknowledged[k] + r.released.Rejected[k]
	}
	return n
}

// Credits returns the credits in use: all, and those of the telemetry classes.
func (r *Ring) Credits() (all, telemetry int) { return r.credits.inFlight() }

// ReturnCredits gives back credits for which no position was claimed. Called only by workers.
func (r *Ring) ReturnCredits(c Class, n int) { r.credits.release(c, n) }

package replay

import "github.com/rtflow/pipelined/sdk/event"

// counts adds up losses.
type counts event.LossCounts

func (c *counts) add(o event.LossCounts) {
	for k, n := range o {
		c[k] += n
	}
}

// loss is what was evicted, and from when to when, in Unix nanoseconds.
type loss struct {
	counts       event.LossCounts
	since, until int64
}

// include adds a record that is given up. What a loss record has counted is counted again here: its announcement is
// merged, not lost.
func (l *loss) include(rec *event.Record) {
	since, until := rec.Time(), rec.Time()
	first := *l == (loss{})
	if k := rec.Kind(); k == event.Loss {
		since = rec.LossSince()
		(*counts)(&l.counts).add(rec.LossCounts())
	} else {
		l.counts[k]++
	}
	if first || since < l.since {
		l.since = since
	}
	l.until = max(l.until, until)
}

// moveCost is how many records may be moved for each record that is evicted.
const moveCost = 64

// AcquireEvicting is Acquire for a ring whose overflow evicts, and MakeRoom for what it did not get. Called only by workers.
func (r *Ring) AcquireEvicting(c Class, n int) int {
	got := r.Acquire(c, n)
	if got < n {
		got += r.MakeRoom(c, n-got)
	}
	return got
}

// MakeRoom takes up to n credits, which Acquire did not get, and returns how many it got: it gives up records of the class
// that is short, oldest first. A class at its own ceiling gives up records of that class; telemetry at its ceiling, or in
// a full ring, the oldest telemetry, and of either only what no sink has ever had; a session record in a full ring the
// oldest record, whatever it is. Loss records never evict. Nothing is evicted while the sink has records in hand: its
// destination may have them already. Called only by workers.
//
// The first record given up that no sink has ever had becomes the loss record for all that are given up until the sink
// is handed that record; its slot is kept. The number of a record that an earlier run has had stands for what was in it:
// where there is no other, a credit is kept, and [Ring.AnnounceOwed] puts in the loss record that counts
// for them, and for what is given up after them.
//
// Records that are older than what is given up, and stay, move up to close the gap. Those that no sink has had are numbered
// anew, so that what is missing is one run of numbers, and the loss record stands at its end. To bound that work, one more
// record is given up for every 64 that have to move.
func (r *Ring) MakeRoom(c Class, n int) (got int) {
	if c == Announcement || r.closed.Load() {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for got < n && r.sent <= r.floor {
		from, slots := r.victims(c)
		if !r.evict(from, n-got, slots) {
			break
		}
		got += r.credits.acquire(c, n-got)
	}
	return got
}

// classes is a set of classes.
type classes uint8

const (
	everyClass     classes = 1<<numClasses - 1
	everyTelemetry classes = everyClass &^ (1<<firstTelemetry - 1)
)

// victims returns what may be given up for a record of the class, and whether slots are what is short.
func (r *Ring) victims(c Class) (from classes, slots bool) {
	if !c.Telemetry() {
		return everyClass, true
	}
	own, telemetry := r.credits.full(c)
	if own {
		return 1 << c, false
	}
	return everyTelemetry, !telemetry
}

// evict gives up records of those classes, oldest first, until n credits or, if it is to make slots, n slots are free, and
// reports whether it could give up any.
func (r *Ring) evict(from classes, n int, slots bool) bool {
	r.findMarker()
	var byClass [numClasses]int
	end := r.floor // behind the last victim
	moves, made := 0, 0
	for p := r.floor; made < n && r.published(p); p++ {
		class := classIn(*r.state(p))
		if p == r.marker || from&(1<<class) == 0 || from != everyClass && r.seqAt(p) <= r.handed {
			if end == r.floor {
				moves++
			}
			continue
		}
		if end == r.floor {
			n += moves / moveCost
		}
		end = p + 1
		free := r.giveUp(p)
		if free {
			byClass[class]++
		}
		if free || !slots {
			made++
		}
	}
	if end == r.floor {
		return false
	}
	r.closeGaps(max(end, r.marker+1))
	for class, k := range byClass {
		r.credits.release(Class(class), k)
	}
	r.roomMade()
	return true
}

// findMarker forgets the loss record of earlier evictions when it may no longer change, or cannot be moved: it was handed
// out, or has left the ring, or a worker is still writing a record before it.
func (r *Ring) findMarker() {
	if r.marker < r.floor || r.seqAt(r.marker) <= r.handed {
		r.marker = 0
	}
	for p := r.floor; p < r.marker; p++ {
		if !r.published(p) {
			r.marker = 0
		}
	}
}

// giveUp counts the record at p as evicted and reports whether that frees its slot and its credit: not, if the slot
// becomes the loss record, nor if the credit is kept for one.
func (r *Ring) giveUp(p uint64) (free bool) {
	state := *r.state(p)
	r.released.Evicted[kindOf(state)]++
	l := r.owed
	if r.marker != 0 {
		m := r.record(r.marker)
		l = loss{counts: m.LossCounts(), since: m.LossSince(), until: m.Time()}
	}
	l.include(r.record(p))
	switch {
	case r.marker != 0:
		r.record(r.marker).SetLoss(event.LossEvicted, 0, &l.counts, l.since, l.until)
	case r.seqAt(p) > r.handed:
		r.mark(p, l)
		return false
	default:
		r.owed = l
		if !r.owes.Swap(true) {
			// The slot is freed, and its credit is kept.
			r.credits.announce(classIn(state))
			*r.state(p) = evicted
			return false
		}
	}
	*r.state(p) = evicted
	return true
}

// mark makes the record at p, which is given up, the loss record for what is evicted.
func (r *Ring) mark(p uint64, l loss) {
	rec := r.record(p)
	generation, seq := rec.Generation, rec.Seq()
	r.credits.announce(classIn(*r.state(p)))
	rec.Reset(event.Loss)
	rec.Generation = generation
	rec.SetSeq(seq)
	rec.SetLoss(event.LossEvicted, 0, &l.counts, l.since, l.until)
	*r.state(p) = uint8(event.Loss)
	r.marker = p
	r.released.Announced++
	if r.owes.Swap(false) {
		r.owed = loss{}
		r.credits.release(Announcement, 1)
	}
}

// closeGaps moves the records before end that are not given up together, towards end, and floor behind what is freed. Those
// that were handed out keep their numbers. The others take those of their new places, so that the numbers that are gone
// stand together, with the loss record, if there is one, at their end.
func (r *Ring) closeGaps(end uint64) {
	var m event.Record
	marker := r.marker
	if marker != 0 {
		m = *r.record(marker)
	}
	to := end
	place := func(rec *event.Record, state uint8, number bool) {
		to--
		*r.record(to), *r.state(to) = *rec, state
		if number {
			r.record(to).SetSeq(event.Seq(to))
		}
	}
	for p := end; p > r.floor; {
		p--
		if *r.state(p) == evicted || p == marker {
			continue
		}
		had := r.seqAt(p) <= r.handed
		if had && m.Seq() != 0 {
			place(&m, uint8(event.Loss), true)
			r.marker, m = to, event.Record{}
		}
		if to-1 == p {
			to--
		} else {
			place(r.record(p), *r.state(p), !had)
		}
	}
	if m.Seq() != 0 {
		place(&m, uint8(event.Loss), true)
		r.marker = to
	}
	r.straight = max(r.straight, end)
	r.floor = to
}

// Owes reports whether AnnounceOwed has a loss record to put in. Called only by workers.
func (r *Ring) Owes() bool { return r.owes.Load() }

// AnnounceOwed puts in the loss record for what was evicted and is not announced, if there is anything; the ring holds the
// credit for it. Called only by workers, before the records that fit again.
func (r *Ring) AnnounceOwed(generation uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.owes.Swap(false) {
		return
	}
	p := uint64(r.Claim(1))
	s := r.at(p)
	rec := s.record(p)
	rec.Reset(event.Loss)
	rec.Generation = generation
	rec.SetLoss(event.LossEvicted, 0, &r.owed.counts, r.owed.since, r.owed.until)
	s.number(p, rec, Announcement)
	s.publish(p, 1)
	r.owed = loss{}
	r.marker = p
	r.released.Announced++
}

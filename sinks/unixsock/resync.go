package unixsock

import (
	"iter"
	"math"
	"time"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
)

const (
	// resyncEvery is the shortest time between two FullResyncs for losses: a receiver that drops its sessions for each of
	// many losses has none at all.
	resyncEvery = time.Second
	// tableSize is how many bytes of the session table are written at once. Records wait for that long.
	tableSize = 16 << 10
)

// owed are resyncs that the receiver is not known to have: the first before the record from, the last before the record
// until. Only an acknowledgement of that record, sent behind the table, ends the debt. While the table is still to be sent,
// until is out of reach. The zero value owes nothing.
type owed struct{ from, until event.Seq }

// outOfReach is a number that no record has.
const outOfReach event.Seq = math.MaxUint64

// resync is how far a connection has come in telling the receiver what lives: a FullResync, its acknowledgement, the session
// table. Records go out at every stage; the table is written while there are none. It belongs to the goroutine that writes.
type resync struct {
	wanted bool      // sessions were lost behind the last FullResync
	told   bool      // a FullResync was sent, and its table is not complete
	at     time.Time // of the last FullResync; zero: none on this connection
	before event.Seq // number of the record before which it stands

	next func() (*event.Record, bool) // of the table that is being written, else nil
	stop func()
	// widen gives the socket its buffer back.
	widen func()
}

// loseTrack notes that sessions were lost before the record that comes next, and begins a resync unless one is under way
// or has just been. Otherwise it begins later: one table covers every loss before it. It reports whether it has begun.
func (l *link) loseTrack() (begun bool) {
	l.owe(l.next)
	l.track.wanted = true
	return l.resyncIfDue(false)
}

// owe notes that the receiver needs a session table before the record of that number.
func (l *link) owe(next event.Seq) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.owed.from == 0 {
		l.owed.from = next
	}
	l.owed.until = outOfReach
}

// resyncIfDue begins a resync that is wanted, and reports whether it has. It waits for the one before to end, and for some
// time after it began, unless the stream is at its end.
func (l *link) resyncIfDue(atEnd bool) bool {
	t := &l.track
	if !t.wanted || t.told {
		return false
	}
	if wait := time.Until(t.at.Add(resyncEvery)); wait > 0 && !t.at.IsZero() && !atEnd {
		l.timers[resyncTimer].Reset(wait)
		return false
	}
	l.resyncBefore(l.next)
	return true
}

// resyncBefore appends a FullResync that stands before the record of that number. A table that is being written is over: it
// will be sent again.
func (l *link) resyncBefore(next event.Seq) {
	l.owe(next)
	l.endTable()
	t := &l.track
	t.wanted, t.told, t.at, t.before = false, true, time.Now(), next
	number := next - 1
	l.mu.Lock()
	l.resync = &number
	l.mu.Unlock()
	l.counters.resyncs.Add(1)
	l.last = max(l.last, number)
	l.out = eventstream.AppendControl(l.out, eventstream.FullResync, number)
}

// covered reports whether a loss that is told by the record of that number needs no other resync: a FullResync stands
// directly before the record, and its table is not begun. The loss record at the end of a gap says nothing new then.
func (l *link) covered(seq event.Seq) bool {
	return l.track.told && l.track.next == nil && seq == l.track.before
}

// tableDue reports whether there is something of the session table to be sent: the receiver has acknowledged the FullResync.
func (l *link) tableDue() bool {
	if !l.track.told {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.resync == nil
}

// writeTable writes the next part of the session table.
func (l *link) writeTable() error {
	t := &l.track
	if t.next == nil {
		sessions := iter.Seq[*event.Record](func(func(*event.Record) bool) {})
		if lister, ok := l.stream.(sdk.SessionLister); ok {
			sessions = lister.Sessions()
		}
		t.next, t.stop = iter.Pull(sessions)
		t.widen = narrow(l.conn)
	}
	for len(l.out) < tableSize {
		rec, more := t.next()
		if !more {
			l.tableWritten()
			break
		}
		l.counters.sessions.Add(1)
		if l.Delta {
			l.out = eventstream.AppendOpen(l.out, eventstream.SessionUpdate, 0, rec)
		} else {
			rec.SetSeq(0)
			l.out = append(l.out, rec.Frame()...)
		}
	}
	return l.flush()
}

// tableWritten ends a table that is complete. The next acknowledgement of a record behind it ends the debt, unless sessions
// were lost meanwhile.
func (l *link) tableWritten() {
	if !l.Delta {
		l.out = eventstream.AppendControl(l.out, eventstream.TableEnd, 0)
	}
	l.endTable()
	l.track.told = false
	if l.track.wanted {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.owed.until = l.next
}

// endTable gives up the iteration over the sessions.
func (l *link) endTable() {
	if l.track.stop != nil {
		l.track.stop()
		l.track.widen()
	}
	l.track.next, l.track.stop = nil, nil
}

// owesTable reports whether a connection broke after the receiver had understood that it has lost track, and it is not
// known to have the sessions. Where it had not understood yet, what told it so is in the ring and will again.
func (l *link) owesTable() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.owed.until != 0 && l.next >= l.owed.from
}

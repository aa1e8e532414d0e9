package conntrack

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/ctnetlink"
	"github.com/rtflow/pipelined/internal/nfnetlink"
)

// resync is what a stream knows of dumps.
//
// A dump goes through the kernel's table while it changes. It is applied in pieces, each of them after the events that were sent
// before the piece was made have been read:
//
//   - An entry that is not known becomes a session. If there was an event about an entry of that tuple since the dump began, the
//     kernel is asked for it, since the dump may be older than the event.
//   - A session that is known is brought up to date; if there was an event about another entry of its tuple, by asking, too.
//   - When the dump is through, the kernel is asked for each session that the dump did not have, and that no event was about. The
//     kernel sends the event of its end before it removes an entry: the event about a session whose entry is gone has been lost, if it
//     is not among those that can be read then.
type resync struct {
	dial   func() (socket, error) // opens the socket for dumps again
	opened int64                  // Unix time
	since  int64                  // Unix time: an entry that began later, and is not known, was not told of; opened, or that of an earlier run

	wanted    bool
	first     bool  // the next dump, or this one, is that of the start
	notBefore int64 // of the next dump

	active      bool // the kernel is dumping
	stalled     bool // and has nothing to say, for want of memory
	request     []byte
	seq         uint32
	began       int64
	progress    int64
	cursor      cursor
	interrupted bool
	// round counts dumps. A session of another round was not seen since the last dump began.
	round uint8
	// changedBits has a bit for the hash of each entry that was not known and was changed, or was destroyed, since the dump began.
	changedBits []uint64

	sweep  uint32   // the next session to be looked at after a dump; 0 if none
	missed []uint32 // sessions that are missing

	mute   int   // how many sessions the kernel may send no events about
	muteAt int64 // when the next dump is due for their sake
}

// changedWords is the size of changedBits, a million bits: a thousand entries that change make the kernel be asked for one in a
// thousand others.
const changedWords = 1 << 14

const (
	retryPeriod  = int64(time.Second)      // between attempts to dump
	stallPeriod  = 10 * time.Millisecond   // between looks at a dump that has stalled
	mutePeriod   = 30 * int64(time.Second) // between dumps for the sake of mute sessions, at least
	muteShare    = 100                     // so many times as long as a dump takes, at least
	sweptAtATime = 4096                    // sessions that one Read looks at
)

func newResync(dial func() (socket, error), opened int64) resync {
	return resync{
		dial: dial, opened: opened, since: opened, wanted: true, first: true, changedBits: make([]uint64, changedWords), missed: make([]uint32, 0, 2*maxAsks),
	}
}

// again returns in how long Read has to go on with dumps; negative if not at all.
func (r *resync) again(now int64) time.Duration {
	switch {
	case r.active && r.stalled:
		return stallPeriod
	case r.active, r.sweep != 0, len(r.missed) > 0:
		return 0
	case r.wanted:
		return time.Duration(max(r.notBefore-now, 0))
	case r.mute > 0:
		return time.Duration(max(r.muteAt-now, 0))
	}
	return -1
}

// changed notes that what a dump says of an entry may be too old.
func (r *resync) changed(hash uint64) {
	if r.active {
		r.changedBits[hash>>32%changedWords] |= 1 << (hash >> 58)
	}
}

func (r *resync) mayBeChanged(hash uint64) bool {
	return r.changedBits[hash>>32%changedWords]>>(hash>>58)&1 != 0
}

// miss notes that the kernel has no entry of a session. An event that says so may be on its way.
func (r *resync) miss(x *session, n uint32) {
	if len(r.missed) == cap(r.missed) {
		r.wanted = true // the next dump misses it again
		return
	}
	x.flags |= missing
	r.missed = append(r.missed, n)
}

// goOn goes on with what is to be done about dumps. All events have been read.
func (s *Stream) goOn() {
	r := &s.resync
	for len(r.missed) > 0 && s.room() {
		n := r.missed[len(r.missed)-1]
		r.missed = r.missed[:len(r.missed)-1]
		if x := &s.sessions.slots[n]; x.has(live) && x.has(missing) {
			s.gone(n)
		}
	}
	if !r.active && r.sweep == 0 && r.mute > 0 && s.now >= r.muteAt {
		r.wanted = true
	}
	switch {
	case r.active:
		s.readDump()
	case r.sweep != 0:
		s.sweepOn()
	case r.wanted && s.now >= r.notBefore:
		s.startDump()
	}
}

func (s *Stream) startDump() {
	r := &s.resync
	r.wanted = false
	r.seq = s.dumping.NextSeq()
	r.request = ctnetlink.AppendDump(r.request[:0], r.seq)
	if err := s.dumping.Send(r.request); err != nil {
		s.dumpFailed()
		return
	}
	s.counters.dumps.Add(1)
	clear(r.changedBits)
	r.active, r.stalled, r.interrupted, r.began, r.progress = true, false, false, s.now, s.now
	r.cursor = cursor{}
	r.round++
}

// dumpFailed gives a dump up. The kernel may not have ended it, and begins no other on the same socket.
func (s *Stream) dumpFailed() {
	r := &s.resync
	s.counters.dumpsFailed.Add(1)
	r.active, r.wanted, r.notBefore = false, true, s.now+retryPeriod
	replacement, err := r.dial()
	if err != nil {
		return // the old one serves for another attempt
	}
	_ = s.dumping.Close() // nothing is left in it that anybody wants
	s.dumping = replacement
}

// readDump applies what was received of the dump, or else receives a piece, which the next Read applies: when the events that were
// sent before it have been read.
func (s *Stream) readDump() {
	r := &s.resync
	var m nfnetlink.Message
	applied := false
	for r.active && s.room() {
		wellFormed, ok := r.cursor.message(s.dumping, &m)
		if !ok {
			break
		}
		s.dumped(&m, wellFormed)
		applied = true
	}
	if applied || !r.active || !s.room() {
		return
	}
	n, err := r.cursor.take(s.dumping)
	r.stalled = n == 0
	switch {
	case errors.Is(err, nfnetlink.ErrOverrun):
		s.dumpFailed()
	case err != nil:
		s.failed = err
	case n > 0:
		r.progress = s.now
	case s.now-r.progress >= retryPeriod:
		s.dumpFailed()
	}
}

// dumped handles a message of a dump.
func (s *Stream) dumped(m *nfnetlink.Message, wellFormed bool) {
	r := &s.resync
	e := &s.entry
	if wellFormed && m.Seq == r.seq && m.Flags&unix.NLM_F_DUMP_INTR != 0 {
		r.interrupted = true
	}
	switch {
	case !wellFormed || m.Seq != r.seq:
		s.counters.badAnswers.Add(1)
	case m.Type == unix.NLMSG_ERROR:
		s.dumpFailed()
	case m.Type == unix.NLMSG_DONE:
		s.dumpDone()
	case ctnetlink.KindOf(m) == ctnetlink.Update && ctnetlink.Decode(m, e):
		s.counters.dumped.Add(1)
		s.compare(e)
	default:
		s.counters.badAnswers.Add(1)
	}
}

// dumpDone ends a dump that the kernel has ended.
func (s *Stream) dumpDone() {
	r := &s.resync
	r.active = false
	if r.interrupted { // it may lack entries
		r.wanted, r.notBefore = true, s.now+retryPeriod/10
		return
	}
	r.first = false
	r.sweep = 1
}

// compare handles an entry that a dump has brought.
func (s *Stream) compare(e *ctnetlink.Entry) {
	r := &s.resync
	hash := s.sessions.hash(&e.Orig, e.ICMPType, e.ICMPCode, e.Zone)
	n := s.sessions.find(hash, e)
	if n == 0 {
		if r.mayBeChanged(hash) {
			s.ask(e, ask{why: whetherThere, hash: hash, first: r.first})
		} else {
			s.begin(hash, e, s.foundAs(e, r.first)|brought)
		}
		return
	}
	x := &s.sessions.slots[n]
	switch {
	case x.entry() == e.ID && (r.mayBeChanged(hash) || isNext(x, e)): // or the dump is older
		s.askFor(n, ask{why: whetherGone})
	case x.entry() == e.ID:
		s.updated(n, e, true)
	case x.round != r.round: // an older entry of the same tuple; its end, and the beginning of this one, may be on their way
		r.wanted = true
		r.miss(x, n)
	}
	// Otherwise it is the dump that is older.
}

// foundAs returns what a session is, beside, that a dump brings; first says that it is the dump of the start.
func (s *Stream) foundAs(e *ctnetlink.Entry, first bool) flags {
	switch {
	case e.Start > s.resync.opened: // there was somebody for the kernel to send events to
		return 0
	case !first, e.Start > s.resync.since: // while no run was there
		return mute
	case s.atEnd && hasEnded(e):
		return told | silent
	}
	return mute | silent
}

// found handles an entry that the kernel was asked for because a dump had it.
func (s *Stream) found(hash uint64, e *ctnetlink.Entry, first bool) {
	n := s.sessions.find(hash, e)
	switch {
	case n == 0:
		s.begin(hash, e, s.foundAs(e, first)|brought|byAnswer)
	case s.sessions.slots[n].entry() == e.ID:
		s.there(n, e)
	}
}

// there handles an answer about a session: an entry of its number.
func (s *Stream) there(n uint32, e *ctnetlink.Entry) {
	x := &s.sessions.slots[n]
	if isNext(x, e) { // events may be on their way
		s.resync.wanted = true
		s.resync.miss(x, n)
		return
	}
	s.updated(n, e, true)
}

// isNext reports whether the entry of a connection that has ended is known to be another one, which the kernel gave the same number.
func isNext(x *session, e *ctnetlink.Entry) bool {
	return x.has(told) && (e.Start != 0 && e.Start != x.created || !hasEnded(e))
}

// sweepOn looks for sessions that the dump did not have.
func (s *Stream) sweepOn() {
	r := &s.resync
	end := min(r.sweep+sweptAtATime, s.sessions.fresh)
	for ; r.sweep < end; r.sweep++ {
		if !s.room() || len(r.missed)+len(s.asks) >= maxAsks {
			return
		}
		if x := &s.sessions.slots[r.sweep]; x.has(live) && x.round != r.round {
			s.askFor(r.sweep, ask{why: whetherGone})
		}
	}
	if r.sweep == s.sessions.fresh {
		r.sweep = 0
		r.muteAt = s.now + max(mutePeriod, muteShare*(s.now-r.began))
	}
}

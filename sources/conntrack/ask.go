package conntrack

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/ctnetlink"
	"github.com/rtflow/pipelined/internal/nfnetlink"
	"github.com/rtflow/pipelined/sdk/event"
)

// maxAsks is how many entries are asked for at a time.
const maxAsks = 64

// ask is a request for an entry.
type ask struct {
	why     why
	done    bool
	seq     uint32
	session uint32            // of forCounters and whetherGone
	hash    uint64            // of whetherThere
	first   bool              // of whetherThere: by the dump of the start
	reason  event.CloseReason // of forCounters
	at      int64             // the same: when it ended
}

// why says what an entry is asked for.
type why uint8

const (
	forCounters  why = iota // the session has ended
	whetherGone             // a dump did not have the entry of a session
	whetherThere            // a dump had an entry that may have changed since
)

// ask asks for an entry. There must be room.
func (s *Stream) ask(e *ctnetlink.Entry, a ask) {
	a.seq = s.asking.NextSeq()
	s.requests = ctnetlink.AppendGet(s.requests, a.seq, e)
	s.asks = append(s.asks, a)
}

// askFor asks for the entry of a session.
func (s *Stream) askFor(n uint32, a ask) {
	x := &s.sessions.slots[n]
	e := &s.entry
	e.Orig, e.ICMPType, e.ICMPCode, e.Zone = x.orig, x.icmpType, x.icmpCode, x.ctZone
	a.session = n
	s.ask(e, a)
}

// answerAll sends what was asked for, and handles the answers: the kernel gives them while the requests are sent.
func (s *Stream) answerAll() {
	if len(s.asks) == 0 || s.failed != nil {
		return
	}
	s.counters.gets.Add(uint64(len(s.asks)))
	left := len(s.asks)
	if err := s.asking.Send(s.requests); err == nil {
		left -= s.receiveAnswers()
	}
	s.counters.unanswered.Add(uint64(left))
	if left > 0 {
		s.askAgain()
	}
	s.asks, s.requests = s.asks[:0], s.requests[:0]
}

// askAgain has another dump settle what a dump wanted to know, and was not answered.
func (s *Stream) askAgain() {
	for i := range s.asks {
		if a := &s.asks[i]; !a.done && a.why != forCounters {
			s.resync.wanted, s.resync.notBefore = true, s.now+retryPeriod
			return
		}
	}
}

// receiveAnswers returns how many requests were answered.
func (s *Stream) receiveAnswers() (answered int) {
	var m nfnetlink.Message
	var c cursor
	for {
		n, err := c.take(s.asking)
		switch {
		case errors.Is(err, nfnetlink.ErrOverrun):
			continue // some were not answered
		case err != nil:
			s.failed = err
			return answered
		case n == 0:
			return answered
		}
		for {
			wellFormed, ok := c.message(s.asking, &m)
			if !ok {
				break
			}
			i := m.Seq - s.asks[0].seq // they were numbered one after the other
			if !wellFormed || i >= uint32(len(s.asks)) || s.asks[i].done {
				s.counters.badAnswers.Add(1)
				continue
			}
			s.asks[i].done = true
			answered++
			s.answer(&s.asks[i], &m)
		}
	}
}

// answer handles what the kernel says of an entry.
func (s *Stream) answer(a *ask, m *nfnetlink.Message) {
	e := &s.entry
	there := false
	switch {
	case m.Type == unix.NLMSG_ERROR && m.Errno() == unix.ENOENT:
	case ctnetlink.KindOf(m) == ctnetlink.Update && ctnetlink.Decode(m, e):
		there = true
	default:
		s.counters.badAnswers.Add(1)
		return
	}
	if a.why == whetherThere {
		if there {
			s.found(a.hash, e, a.first)
		}
		return
	}
	x := &s.sessions.slots[a.session]
	if !x.has(live) {
		return // an event has ended it meanwhile
	}
	same := there && x.entry() == e.ID
	switch {
	case a.why == forCounters && same && !x.has(told) && hasEnded(e):
		s.end(x, e, a.reason, a.at)
	case a.why == whetherGone && same:
		s.there(a.session, e)
	case a.why == whetherGone:
		s.resync.miss(x, a.session) // an event may be on its way
	}
	// Otherwise its entry was destroyed, though the next one may have its number, and the event that says so is on its way.
}

package conntrack

import (
	"errors"
	"sync"
	"time"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/ctnetlink"
	"github.com/rtflow/pipelined/internal/nfnetlink"
	"github.com/rtflow/pipelined/sdk/event"
)

// socket is what a stream needs of a [nfnetlink.Socket].
type socket interface {
	FD() int
	NextSeq() uint32
	Send(b []byte) error
	Receive() (n int, err error)
	Datagram(i int) []byte
	Drops() (uint32, error)
	Skipped() uint64
	Close() error
}

// Stream is the sessions as they begin, are answered and end. It implements [source.EventStream] and [source.SessionLister].
type Stream struct {
	events, asking, dumping socket
	atEnd                   bool // a TCP connection ends when its state says so, not when its entry is destroyed
	zones                   []zoneRule
	counters                counters

	// The mutex is held while Read works, by the feed while it uses what it keeps with sessions, and while Sessions looks at some.
	sync.Mutex
	sessions *sessions

	// The rest is Read's.
	batch     *source.EventBatch
	now, wall int64
	entry     ctnetlink.Entry // the message in hand
	cursor    cursor          // of the events
	drained   bool            // the events were read until there were no more
	emptied   uint32          // how often they were
	serial    uint32          // of the session that began last
	unkept    uint64          // sessions that the table had no room for, and whose end was not read yet
	asks      []ask
	requests  []byte
	resync    resync
	overrun   bool   // the kernel dropped events, and has not been asked yet how many
	drops     uint32 // the kernel's count when it was asked last
	quiet     int64  // Unix time of the last event that was read before the loss, at first of the opening
	failed    error  // of a socket, for ever
}

var (
	_ source.EventStream   = (*Stream)(nil)
	_ source.SessionLister = (*Stream)(nil)
)

// cursor goes through the messages of what a socket received last.
type cursor struct {
	datagrams, next int // how many there are, and which one follows
	rest            []byte
}

// take receives more, when the cursor has gone through everything.
func (c *cursor) take(s socket) (n int, err error) {
	n, err = s.Receive()
	*c = cursor{datagrams: n}
	return n, err
}

// message fills m with the next message; it is not well formed where the rest of a datagram is passed over. ok is false at the end.
func (c *cursor) message(s socket, m *nfnetlink.Message) (wellFormed, ok bool) {
	for len(c.rest) == 0 {
		if c.next == c.datagrams {
			return false, false
		}
		c.rest = s.Datagram(c.next)
		c.next++
	}
	*m, c.rest, wellFormed = nfnetlink.NextMessage(c.rest)
	return wellFormed, true
}

// FD returns the descriptor of the socket for events. What is asked for is there at once.
func (s *Stream) FD() int { return s.events.FD() }

// Numbers of events that one step may make.
const (
	perMessage = 3 // an older session of the same tuple ends; one begins and is answered
	perAsk     = 3 // one begins, is answered and ends
)

// room reports whether the batch has room for what one more message makes, and for an ask that it makes.
func (s *Stream) room() bool {
	return source.EventBatchSize-s.batch.N-perAsk*len(s.asks) >= perMessage+perAsk && len(s.asks) < cap(s.asks)
}

// Read implements [source.EventStream]. It reads events until there are no more; only then it goes on with a dump, and only so far
// that events are read again soon.
func (s *Stream) Read(b *source.EventBatch, now, wall int64) (again time.Duration, err error) {
	s.Lock()
	defer s.Unlock()
	b.N = 0
	s.batch, s.now, s.wall = b, now, wall
	s.sessions.release()

	s.readEvents()
	if s.drained && s.failed == nil {
		if s.overrun && s.room() {
			s.tellLoss()
		}
		s.goOn()
	}
	s.answerAll()
	s.batch = nil
	s.counters.sessions.Store(uint64(s.sessions.live))
	if s.failed != nil {
		return 0, s.failed
	}
	if !s.drained || s.overrun {
		return 0, nil
	}
	return s.resync.again(now), nil
}

// readAtATime is how many events one Read reads, at most: many of them take no room in the batch.
const readAtATime = 4096

// readEvents reads events while there is room for what they make.
func (s *Stream) readEvents() {
	s.drained = false
	var m nfnetlink.Message
	for read := 0; read < readAtATime && s.room(); {
		wellFormed, ok := s.cursor.message(s.events, &m)
		if ok {
			read++
			s.event(&m, wellFormed)
			continue
		}
		n, err := s.cursor.take(s.events)
		switch {
		case errors.Is(err, nfnetlink.ErrOverrun):
			s.counters.overruns.Add(1)
			s.overrun = true
		case err != nil:
			s.failed = err
			return
		case n == 0:
			s.drained = true
			s.emptied++
			return
		}
	}
}

// tellLoss says how many events the kernel dropped. It has stopped to drop them: all that was queued has been read.
func (s *Stream) tellLoss() {
	s.overrun = false
	s.resync.wanted = true
	var lost uint32
	if drops, err := s.events.Drops(); err == nil {
		lost = drops - s.drops
		s.drops = drops
	}
	s.counters.lost.Add(uint64(lost))
	lost = max(lost, 1) // messages that the kernel had no memory for are not counted
	e := s.batch.Add()
	e.What, e.Time, e.Created = source.Lost, s.wall, s.quiet
	e.Lost[event.SessionOpen], e.Lost[event.SessionClose] = uint64(lost), uint64(lost) // nobody knows which they were
	s.quiet = s.wall
}

// sessionsAtATime is how many sessions Sessions copies at a time.
const sessionsAtATime = 64

// Sessions implements [source.SessionLister].
func (s *Stream) Sessions(yield func(e *source.Event) bool) {
	var some [sessionsAtATime]source.Event
	var kept [sessionsAtATime]source.Kept
	for next := uint32(1); next != 0; {
		var n int
		n, next = s.copySessions(next, &some, &kept)
		for i := range n {
			if !yield(&some[i]) {
				return
			}
		}
	}
}

// copySessions copies the next sessions of the table, and returns how many, and where to go on; 0 at the end.
func (s *Stream) copySessions(from uint32, some *[sessionsAtATime]source.Event, kept *[sessionsAtATime]source.Kept) (n int, next uint32) {
	s.Lock()
	defer s.Unlock()
	for looked := 0; from < s.sessions.fresh; from, looked = from+1, looked+1 {
		if n == sessionsAtATime || looked == sweptAtATime {
			return n, from
		}
		x := &s.sessions.slots[from]
		if !x.has(live) || x.has(told) {
			continue
		}
		e := &some[n]
		describe(x, e)
		kept[n] = x.kept
		e.What, e.Time, e.Silent, e.Kept = source.Began, x.created, x.has(silent), &kept[n]
		n++
	}
	return n, 0
}

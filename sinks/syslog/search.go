package syslog

import (
	"errors"
	"io"
	"math"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/sdk/event"
)

const (
	// standAfter is how long a connection must stand after the peer's kernel has taken records, before a search believes
	// that the collector has read them and does not end the connection at them.
	standAfter = 250 * time.Millisecond
	// searchSize is how many records a try of a search may have: when so many were taken at once, it is over.
	searchSize = 1024
	// proveAfter is the same of a record whose taking speaks against another.
	proveAfter = time.Second
	// otherWait is how long a search waits for a record behind the one that it suspects.
	otherWait = time.Second
	// maxDoubt bounds how much more it takes to begin a search after one that has found nothing.
	maxDoubt = 64
)

// search finds the record at which a collector ends the connection, when connections end again and again and nothing is
// acknowledged any more. It sends a few records at a time, and fewer when the connection ends, until one is left that ends a
// connection on its own. That record is given up only when the collector has taken one behind it in between: one that takes
// nothing is down, and everything waits for it. It outlives a connection and a run, and belongs to the goroutine of Run.
type search struct {
	most int // ends without progress that begin it, and ends at one record that give it up; 0: it never begins

	head  event.Seq // first record of the connection that ended last
	ends  int       // connections in a row that ended without progress and began with it
	doubt int       // how many times as many must end: peers that end a connection at no record in particular

	on      bool
	size    int       // records of the next try
	bad     event.Seq // a connection ended with records up to here on their way; 0: not known
	suspect event.Seq // the record that has ended a connection on its own
	times   int       // how often
	other   bool      // the next try is a record behind the suspect
	ahead   event.Seq // how far behind it
	proof   bool      // the collector has taken that one since

	// Of the open connection: the records on their way.
	first, last event.Seq
	n           int
	sent        bool
	arrived     time.Time // when the peer's kernel had all of them; zero: not yet
}

// errOtherTaken ends a connection that has shown that the collector takes others than the suspect.
var errOtherTaken = errors.New("the collector takes other records: trying once more the one at which it ended the connection")

// errNoOther ends a connection on which there was no other record to try.
var errNoOther = errors.New("no other record came: trying again the one at which the collector ended the connection")

// peerEnded is an end of a connection that the peer has wanted.
type peerEnded string

func (e peerEnded) Error() string { return string(e) }

// endedByPeer reports whether the peer has ended the connection: not that it is silent or cannot be reached.
func endedByPeer(err error) bool {
	if _, ok := errors.AsType[peerEnded](err); ok {
		return true
	}
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE)
}

// begin is called when a connection begins.
func (s *search) begin() { s.first, s.last, s.n, s.sent, s.arrived = 0, 0, 0, false, time.Time{} }

// full reports whether no more records may be framed until those on their way were taken.
func (s *search) full() bool { return s.on && (s.sent || s.n >= s.size) }

// add notes n records that were framed.
func (s *search) add(first, last event.Seq, n int) {
	if s.n == 0 {
		s.first = first
	}
	s.last = last
	s.n += n
}

// holds reports whether a record is held back, neither sent nor over.
func (s *search) holds(seq event.Seq) bool {
	return s.on && s.other && seq >= s.suspect && seq < s.suspect+s.ahead
}

// held is the position of records that are held back: no connection gets there.
const held = math.MaxUint64

// believe returns up to where what a kernel has acknowledged is believed. While a search is on that is all or nothing of a try.
func (s *search) believe(acked, framed uint64, now time.Time) uint64 {
	switch {
	case !s.on || s.n == 0:
		return acked
	case !s.sent || acked < framed:
		return 0
	case s.arrived.IsZero():
		s.arrived = now
		return 0
	case now.Sub(s.arrived) < standAfter, s.other && now.Sub(s.arrived) < proveAfter:
		return 0
	}
	return acked
}

// stood is called when all records on their way were taken. The connection goes on unless it returns an error.
func (s *search) stood() error {
	last := s.last
	s.begin()
	switch {
	case s.other:
		s.other, s.proof = false, true
		return errOtherTaken
	case s.bad > last:
		s.size = max(1, int(s.bad-last)/2)
	case s.bad != 0: // it takes what it has ended connections at
		s.doubt = min(2*s.doubt, maxDoubt)
		s.stop()
	default:
		if s.size *= 2; s.size > searchSize {
			s.doubt = 1
			s.stop()
		}
	}
	return nil
}

// noOther is called when no record behind the suspect has come.
func (s *search) noOther() error {
	s.other, s.ahead = false, 1
	return errNoOther
}

// ended is called when the peer has ended the connection whose first record was head. took says whether something was
// acknowledged on it. It returns the record to give up, 0 for none.
func (s *search) ended(head event.Seq, took bool) (giveUp event.Seq) {
	switch {
	case s.most == 0 || head == 0:
	case !s.on:
		if took || head != s.head {
			s.head, s.ends = head, 0
		}
		if !took {
			s.ends++
		}
		if s.ends >= s.most*max(1, s.doubt) {
			s.start()
		}
	case !s.sent: // between two tries
	case s.other:
		s.other, s.ahead = false, min(2*s.ahead, searchSize)
	case s.n == 1:
		return s.alone(s.first)
	default:
		s.bad, s.size = s.last, s.n/2
	}
	return 0
}

// alone notes that a record has ended a connection on its own.
func (s *search) alone(seq event.Seq) (giveUp event.Seq) {
	if s.suspect != seq {
		s.suspect, s.times, s.ahead, s.proof = seq, 0, 1, false
	}
	s.times++
	s.bad, s.size = seq, 1
	switch {
	case s.proof && s.times >= s.most:
		s.start()
		return seq
	case s.times >= s.most-1:
		s.other, s.proof = true, false
	}
	return 0
}

// start begins to look for the next such record.
func (s *search) start() {
	*s = search{most: s.most, doubt: max(1, s.doubt), on: true, size: 1}
}

func (s *search) stop() { *s = search{most: s.most, doubt: s.doubt} }

package syslog

import (
	"errors"
	"time"
)

// hangsAfter is how long an address that has hung before, and that another can stand in for, may take nothing.
const hangsAfter = 3 * time.Second

// errHangs is an address that has come back and hangs as before.
var errHangs = errors.New("the peer takes nothing, as before")

// stall remembers that a collector has stood still: its kernel took what fits its buffer, and nothing of it may have been read.
// The next connection fills a buffer again. What the kernel acknowledges of that is not believed until it is more than the
// buffer held, or the connection has stood for longer than a collector that stands still is given. It outlives a connection and
// a run, and belongs to the goroutine of Run.
type stall struct {
	within time.Duration // for which the kernel bears a peer that takes nothing
	brief  bool          // another address can stand in

	held uint64 // the most that the peer's kernel had taken when it stood still; 0: it did not
	hung bool   // it did, and no connection has stood for long since
	// Of the open connection.
	since, moved time.Time
	position     uint64
	waits        bool // something is not acknowledged
}

func (s *stall) begin(now time.Time) { s.since, s.moved, s.position, s.waits = now, now, 0, false }

// look notes what the peer's kernel has acknowledged. It fails if the peer stands still again and that was not borne.
func (s *stall) look(position, framed uint64, now time.Time) error {
	if position > s.position || !s.waits {
		s.moved = now
	}
	s.position, s.waits = position, position < framed
	if s.hung && now.Sub(s.since) > s.within {
		s.hung = false
	}
	if s.brief && s.hung && s.waits && now.Sub(s.moved) > hangsAfter {
		return errHangs
	}
	return nil
}

// doubts reports whether what the kernel has acknowledged may be in its buffer only.
func (s *stall) doubts(position uint64, now time.Time) bool {
	if s.held == 0 {
		return false
	}
	if position > s.held || !s.waits && now.Sub(s.since) > s.within+time.Second {
		s.held = 0
		return false
	}
	return true
}

// ended notes whether the peer stood still when the connection ended: the kernel has given it up for that, or it was seen. Whoever
// looks late, or bears it for a short time only, does not see it.
func (s *stall) ended(givenUp bool, now time.Time) {
	if s.waits && (givenUp || now.Sub(s.moved) > stalledAfter) {
		s.held, s.hung = max(s.held, s.position, 1), true
	}
}

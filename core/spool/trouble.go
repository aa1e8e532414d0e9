package spool

import (
	"errors"
	"time"
)

// failed notes an error of the disk. It logs the first of several in a row, and each that is another than the one before.
func (s *Spool) failed(what string, err error) {
	s.mu.Lock()
	text := what + ": " + err.Error()
	s.state.errors++
	news := !s.state.failing || s.state.lastError != text
	s.state.failing, s.state.lastError = true, text
	s.mu.Unlock()
	if news {
		s.c.Log.Error("the spool fails; it is tried again, and records wait in the ring", "what", what, "err", err)
	}
}

// works notes that a record was written, and logs it after a failure or a time without room.
func (s *Spool) works() {
	s.mu.Lock()
	failing, full := s.state.failing, s.state.full
	s.state.failing, s.state.full = false, ""
	s.mu.Unlock()
	if failing {
		s.c.Log.Info("the spool works again")
	}
	if full != "" {
		s.c.Log.Info("the spool has room again")
	}
}

// slow is how long an operation takes that is counted as slow.
const slow = time.Second

// timed runs an operation of the disk, and counts it if it is slow.
func (s *Spool) timed(op func() error) error {
	begin := s.c.Now()
	err := op()
	if s.c.Now().Sub(begin) > slow {
		s.counterUp(&s.state.slow)
	}
	return err
}

// errFull says that a record does not fit.
type errFull struct{ why string }

func (e *errFull) Error() string { return e.why }

// full notes that there is no room.
func (s *Spool) full(e *errFull) {
	s.mu.Lock()
	news := s.state.full != e.why
	s.state.full = e.why
	s.mu.Unlock()
	if news {
		s.c.Log.Warn("the spool has no room; records wait in the ring", "why", e.why)
	}
}

// isFull says whether an error is for want of room by the spool's own bounds.
func isFull(err error) (*errFull, bool) {
	var full *errFull
	ok := errors.As(err, &full)
	return full, ok
}

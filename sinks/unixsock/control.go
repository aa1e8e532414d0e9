package unixsock

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
)

// readBuffer is how many bytes of what the receiver says are read at once: some hundred acknowledgements.
const readBuffer = 4 << 10

// listen reads what the receiver says until the connection ends, and returns why.
func (l *link) listen() error {
	r := eventstream.NewReader(l.conn, readBuffer)
	warned := false
	for {
		f, err := r.Next()
		if err != nil {
			if err = l.readError(err); err != nil {
				return err
			}
			continue
		}
		known, err := l.obey(f)
		if err != nil {
			return err
		}
		if !known {
			l.counters.unknownFrames.Add(1)
			if !warned {
				warned = true
				l.Warn("the receiver sends frames that mean nothing to a producer; they are counted and ignored", "type", uint8(f.Type()))
			}
		}
	}
}

// readError returns why the connection ends, or nil if reading can go on: a deadline has come and the receiver owes
// nothing, or not for long enough.
func (l *link) readError(err error) error {
	var bad *event.FrameError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return l.silence()
	case errors.As(err, &bad):
		l.counters.malformed.Add(1)
		return fmt.Errorf("unixsock: the receiver does not speak the protocol: %w", err)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET): // reset: it had not read everything
		return errClosed
	case errors.Is(err, errTakenOver):
		return err
	default:
		return fmt.Errorf("unixsock: read: %w", err)
	}
}

// silence returns an error if the receiver owes an acknowledgement and has said nothing for too long. Otherwise it sets the
// next deadline; where nothing is owed, none: a receiver with nothing to say is well.
func (l *link) silence() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.awaiting.IsZero() {
		return l.conn.SetReadDeadline(time.Time{})
	}
	since := l.heard
	if l.awaiting.After(since) {
		since = l.awaiting
	}
	if quiet := time.Since(since); quiet >= l.Silence {
		return &silentError{fmt.Sprintf("has said nothing for %v and owes acknowledgements: %d to %d",
			quiet.Round(time.Second), l.acked+1, l.offered)}
	}
	return l.conn.SetReadDeadline(since.Add(l.Silence))
}

// obey does what a frame of the receiver says, and reports whether it is one that a receiver sends. What stands behind the
// header is ignored.
func (l *link) obey(f eventstream.Frame) (known bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch f.Type() {
	case eventstream.Ack:
		err = l.ack(f.Seq())
	case eventstream.Pause:
		if !l.paused {
			l.counters.pauses.Add(1)
			l.paused = true
			l.poke()
		}
	case eventstream.Resume:
		l.paused = false
		l.poke()
	case eventstream.DrainRequest:
		l.requestDrain(f.Seq())
	case eventstream.Keepalive:
	default:
		return false, nil // it does not count as a sign of life either
	}
	l.heard = time.Now()
	return true, err
}

// ack takes an acknowledgement. One for a number that was never sent is a lie, or that of another stream: nothing
// that this receiver says can be believed. The lock is held.
func (l *link) ack(seq event.Seq) error {
	l.counters.acks.Add(1)
	switch {
	case seq > l.offered:
		l.counters.badAcks.Add(1)
		return fmt.Errorf("unixsock: the receiver acknowledges %d, and the last number sent is %d", seq, l.offered)
	case l.resync != nil && seq >= *l.resync: // which may be lower than what was acknowledged without a frame
		l.resync = nil
		l.poke()
	case seq < l.acked:
		l.counters.staleAcks.Add(1)
		return nil
	}
	if seq >= l.owed.until {
		l.owed = owed{}
	}
	return l.acknowledge(seq)
}

// acknowledge releases records. The lock is held.
func (l *link) acknowledge(seq event.Seq) error {
	seq = l.skipped.through(seq)
	if seq > l.acked {
		if err := l.stream.Ack(seq); err != nil {
			return err
		}
		l.acked = seq
	}
	if l.acked >= l.offered && l.resync == nil {
		l.awaiting = time.Time{}
	}
	if l.stopping {
		l.poke()
	}
	return nil
}

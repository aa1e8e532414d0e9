package syslog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/sdk/event"
)

const (
	// writePiece is how much is written at once.
	writePiece = 1 << 20
	// tlsPiece is the plaintext of one TLS record (RFC 8446, 5.1): a piece is one record, so that it is known where its
	// ciphertext ends.
	tlsPiece = 16 << 10
	// maxMarks is how many messages may be unacknowledged: more than any socket buffer holds.
	maxMarks = 1 << 16
)

// streamDialer opens connections of the schemes tcp and tls.
type streamDialer struct {
	tcpDialer
	framing framing
}

// stream is syslog over TCP (RFC 6587) or TLS (RFC 5425). Its position counts bytes of plaintext.
type stream struct {
	*opened
	framing framing
	limits  limits
	framed  uint64
	start   int // of the last frame, in what is not sent
	length  lengthField

	// Of TLS: how much plaintext was written, and where the ciphertext of each record ends that is not acknowledged.
	plain  uint64
	pieces []piece
	taken  uint64 // plaintext that the peer has: of TLS, in whole records

	broken *breakage
}

type piece struct{ plain, cipher uint64 }

var _ conn = (*stream)(nil)

func (d *streamDialer) dial(ctx context.Context, wake func()) (conn, error) {
	o, err := d.tcpDialer.dial(ctx)
	if err != nil {
		return nil, err
	}
	s := &stream{opened: o, framing: d.framing, limits: d.limits, broken: newBreakage()}
	go s.read(wake)
	return s, nil
}

// read waits for the end of the connection. Collectors of plain syslog say nothing; what one says all the same is ignored.
func (s *stream) read(wake func()) {
	defer close(s.broken.done)
	var sink [512]byte
	for {
		if _, err := s.rw.Read(sink[:]); err != nil {
			s.broken.set(explainTimeout(explainRead(err, s.tls != nil), s.limits))
			wake()
			return
		}
	}
}

func (s *stream) head(b []byte, k event.Kind) []byte {
	s.start = len(b)
	if s.framing == octetCounting {
		b = s.length.head(b, k)
	}
	return b
}

func (s *stream) tail(b []byte) ([]byte, uint64) {
	if s.framing == octetCounting {
		b = s.length.tail(b)
	} else {
		b = append(b, '\n')
	}
	s.framed += uint64(len(b) - s.start)
	return b, s.framed
}

func (s *stream) position() uint64         { return s.framed }
func (s *stream) limit() int               { return maxMarks }
func (s *stream) changed() <-chan struct{} { return nil }
func (s *stream) patience() time.Duration  { return 0 }
func (s *stream) answers() bool            { return false }
func (s *stream) failed() error            { return s.broken.get() }
func (s *stream) peer() peerInfo           { return s.info() }

func (s *stream) send(b []byte) error {
	size, wrote := writePiece, func(int) {}
	if s.tls != nil {
		size, wrote = tlsPiece, s.sealed
	}
	err := s.writePieces(b, size, wrote)
	if err == nil {
		return nil
	}
	return explainWrite(err, s.broken, s.limits)
}

// sealed notes where the ciphertext of a TLS record ends.
func (s *stream) sealed(n int) {
	s.plain += uint64(n)
	s.pieces = append(s.pieces, piece{s.plain, s.written.Load()})
}

func (s *stream) acked() (uint64, error) {
	acked, err := s.counted.acked()
	if err != nil {
		return 0, err
	}
	if s.tls == nil {
		s.taken = acked
	}
	n := 0
	for n < len(s.pieces) && s.pieces[n].cipher <= acked {
		s.taken = s.pieces[n].plain
		n++
	}
	s.pieces = s.pieces[:copy(s.pieces, s.pieces[n:])]
	if !s.trust.IsZero() && time.Now().Before(s.trust) {
		return 0, nil
	}
	return s.taken, nil
}

func (s *stream) finish() error {
	err := s.opened.close(s.limits.close)
	<-s.broken.done
	return err
}

func (s *stream) drop() {
	s.abort()
	<-s.broken.done
}

// explainRead says why a peer that need not say anything has ended the connection.
func explainRead(err error, encrypted bool) error {
	if errors.Is(err, io.EOF) {
		return peerEnded("the peer closed the connection")
	}
	if encrypted {
		return explainAlert(err)
	}
	return err
}

// explainWrite prefers what the reading side knows of the end of the connection, unless that has only seen the connection end:
// the kernel tells why to whoever asks first.
func explainWrite(err error, broken *breakage, within limits) error {
	var reason syscall.Errno
	switch {
	case errors.Is(err, errStuck):
		return fmt.Errorf("the peer has taken nothing for %v", within.write)
	case errors.Is(err, errHangs):
		return errHangs
	case errors.As(err, &reason) && reason != unix.EPIPE && reason != unix.ECONNRESET:
		return explainTimeout(err, within)
	}
	if better := broken.within(100 * time.Millisecond); better != nil {
		return better
	}
	return err
}

// explainTimeout says which time was over when the kernel has given a connection up.
func explainTimeout(err error, within limits) error {
	if errors.Is(err, unix.ETIMEDOUT) {
		return fmt.Errorf("the peer has taken or acknowledged nothing for %v (user_timeout): %w", within.userTimeout, unix.ETIMEDOUT)
	}
	return err
}

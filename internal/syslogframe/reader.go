// Package syslogframe splits a stream into the syslog messages that it holds, whichever way they were framed.
//
// It does not know what a message says.
package syslogframe

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

const (
	// MaxMessage is the longest message that is read, in bytes.
	MaxMessage = 64 << 10
	// maxDigits is how many digits a length has at most.
	maxDigits = 9
)

// Reader splits a stream into messages: octet-counted ones (RFC 6587, 3.4.1) and lines may alternate. A length is one only where
// a blank and the '<' of a message follow it: lines may begin with a time. Not safe for concurrent use.
type Reader struct {
	in   *bufio.Reader
	msg  []byte
	line int
}

// NewReader returns a reader of r.
func NewReader(r io.Reader) *Reader { return &Reader{in: bufio.NewReaderSize(r, 4*MaxMessage)} }

// FramingError is a message that cannot be read as a whole.
type FramingError struct {
	Line   int // its number, from 1
	Reason string
}

func (e *FramingError) Error() string { return fmt.Sprintf("message %d: %s", e.Line, e.Reason) }

// Next returns the next message, without its framing, and its number, counted from 1: in a file of lines that of the line. The
// message is valid until the next call. The error is io.EOF at the end, a [*FramingError], after which the next call goes on
// behind the message, or the stream's.
func (r *Reader) Next() (msg []byte, line int, err error) {
	if _, err := r.in.Peek(1); err != nil {
		return nil, r.line, err
	}
	r.line++
	length, head, err := r.length()
	switch {
	case err != nil:
	case head > 0:
		msg, err = r.counted(length, head)
	default:
		msg, err = r.untilNewline()
	}
	return msg, r.line, err
}

// length returns the length that stands before a message, and how many bytes it takes with the blank; none in front of a line. It
// looks no further than it has to: the sender may be waiting for what becomes of the message.
func (r *Reader) length() (n, head int, err error) {
	blank := false
	for at := 0; ; at++ {
		b, err := r.in.Peek(at + 1)
		if err != nil {
			_, discardErr := r.in.Discard(at)
			return 0, 0, errors.Join(r.cut(err), discardErr)
		}
		switch c := b[at]; {
		case c >= '0' && c <= '9' && !blank && at < maxDigits && (at > 0 || c != '0'):
			n = n*10 + int(c-'0')
		case c == ' ' && !blank && at > 0:
			blank = true
		case c == '<' && blank:
			return n, at, nil
		default:
			return 0, 0, nil
		}
	}
}

// counted returns the message of n bytes behind a head.
func (r *Reader) counted(n, head int) ([]byte, error) {
	if _, err := r.in.Discard(head); err != nil {
		return nil, r.cut(err)
	}
	if n > MaxMessage {
		if _, err := r.in.Discard(n); err != nil {
			return nil, r.cut(err)
		}
		return nil, r.tooLong()
	}
	if cap(r.msg) < n {
		r.msg = make([]byte, n)
	}
	r.msg = r.msg[:n]
	if _, err := io.ReadFull(r.in, r.msg); err != nil {
		return nil, r.cut(err)
	}
	return r.msg, nil
}

// untilNewline returns the rest of the line. The last one need not be ended.
func (r *Reader) untilNewline() ([]byte, error) {
	msg, err := r.in.ReadSlice('\n')
	long := errors.Is(err, bufio.ErrBufferFull)
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = r.in.ReadSlice('\n')
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if msg = bytes.TrimSuffix(msg, []byte{'\n'}); long || len(msg) > MaxMessage {
		return nil, r.tooLong()
	}
	return msg, nil
}

func (r *Reader) tooLong() error {
	return &FramingError{r.line, fmt.Sprintf("longer than %d bytes", MaxMessage)}
}

// cut turns the end of the stream inside a message into a framing error.
func (r *Reader) cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &FramingError{r.line, "the stream ends in the middle of it"}
	}
	return err
}

package logverify

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// MaxMessage is the longest message that is read, in bytes.
const MaxMessage = 64 << 10

// Reader splits a stream into messages: octet-counted ones (RFC 6587, 3.4.1) and lines may alternate.
type Reader struct {
	in   *bufio.Reader
	msg  []byte
	line int
}

// NewReader returns a reader of r.
func NewReader(r io.Reader) *Reader { return &Reader{in: bufio.NewReaderSize(r, 256<<10)} }

// FramingError is a place where no message begins.
type FramingError struct {
	Line   int
	Reason string
}

func (e *FramingError) Error() string { return fmt.Sprintf("message %d: %s", e.Line, e.Reason) }

// Next returns the next message, without its framing, and its number, counted from 1: in a file of lines that of the line. The
// message is valid until the next call. The error is io.EOF at the end, a [*FramingError], after which reading cannot go on, or
// the stream's.
func (r *Reader) Next() (msg []byte, line int, err error) {
	first, err := r.in.ReadByte()
	if err != nil {
		return nil, r.line, err
	}
	r.line++
	if first >= '1' && first <= '9' {
		return r.counted(int(first - '0'))
	}
	r.msg = r.msg[:0]
	for c := first; c != '\n'; {
		if len(r.msg) == MaxMessage {
			return nil, r.line, &FramingError{r.line, fmt.Sprintf("longer than %d bytes", MaxMessage)}
		}
		r.msg = append(r.msg, c)
		if c, err = r.in.ReadByte(); errors.Is(err, io.EOF) {
			return r.msg, r.line, nil // the last line need not be ended
		} else if err != nil {
			return nil, r.line, err
		}
	}
	return r.msg, r.line, nil
}

func (r *Reader) counted(n int) ([]byte, int, error) {
	for {
		c, err := r.in.ReadByte()
		switch {
		case err != nil:
			return nil, r.line, r.cut(err)
		case c == ' ':
			if cap(r.msg) < n {
				r.msg = make([]byte, n)
			}
			r.msg = r.msg[:n]
			if _, err := io.ReadFull(r.in, r.msg); err != nil {
				return nil, r.line, r.cut(err)
			}
			return r.msg, r.line, nil
		case c < '0' || c > '9':
			return nil, r.line, &FramingError{r.line, fmt.Sprintf("begins with neither '<' nor a length: %q behind %d", c, n)}
		}
		if n = n*10 + int(c-'0'); n > MaxMessage {
			return nil, r.line, &FramingError{r.line, fmt.Sprintf("a length of more than %d bytes", MaxMessage)}
		}
	}
}

// cut turns the end of the stream inside a message into a framing error.
func (r *Reader) cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &FramingError{r.line, "the stream ends in the middle of it"}
	}
	return err
}

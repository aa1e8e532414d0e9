package eventstream

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/rtflow/pipelined/sdk/event"
)

// Frame is one frame as it came: header and payload. It is valid until the next call of [Reader.Next].
type Frame []byte

// Type returns the frame's type.
func (f Frame) Type() event.FrameType { return event.FrameType(f[4]) }

// Seq returns the frame's sequence number.
func (f Frame) Seq() event.Seq { return event.Seq(binary.LittleEndian.Uint64(f[8:])) }

// Payload returns what stands behind the header.
func (f Frame) Payload() []byte { return f[event.HeaderSize:] }

// Reader cuts a stream of bytes into frames. It is used by one goroutine.
type Reader struct {
	r      io.Reader
	buf    []byte
	lo, hi int // buf[lo:hi] was read and is not handed out
}

// minBuffer is the smallest buffer of a Reader in bytes: it holds any frame.
const minBuffer = event.HeaderSize + event.MaxPayload

// NewReader returns a reader with a buffer of that many bytes, or of 1040, which is the largest frame, if that
// is more. It allocates nothing else.
func NewReader(r io.Reader, buffer int) *Reader {
	return &Reader{r: r, buf: make([]byte, max(buffer, minBuffer))}
}

// Reset makes r read from another stream, with the buffer it has. What was read and not handed out is gone.
func (r *Reader) Reset(from io.Reader) { r.r, r.lo, r.hi = from, 0, 0 }

// Next returns the next frame, of whatever type. It reads only if the buffer does not hold a whole frame, and keeps half a
// frame when the reader returns an error: after a timeout the caller may call it again. At the end of the stream it
// returns io.EOF, or io.ErrUnexpectedEOF in the middle of a frame, and an
// [*event.FrameError] with Size 0 for a length that cannot be one: where the next frame begins is not known then.
func (r *Reader) Next() (Frame, error) {
	for {
		size, err := r.peek()
		if err != nil {
			return nil, err
		}
		if size > 0 {
			f := Frame(r.buf[r.lo : r.lo+size : r.lo+size])
			r.lo += size
			return f, nil
		}
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
}

// Buffered reports whether Next will return without reading.
func (r *Reader) Buffered() bool {
	size, err := r.peek()
	return size > 0 || err != nil
}

// peek returns the size of the frame at the beginning of the buffer, 0 if it is not all there.
func (r *Reader) peek() (int, error) {
	b := r.buf[r.lo:r.hi]
	if len(b) < event.HeaderSize {
		return 0, nil
	}
	n := binary.LittleEndian.Uint32(b)
	if n > event.MaxPayload {
		return 0, &event.FrameError{Type: event.FrameType(b[4]), Reason: fmt.Sprintf("length %d is above the limit of %d bytes", n, event.MaxPayload)}
	}
	if size := event.HeaderSize + int(n); size <= len(b) {
		return size, nil
	}
	return 0, nil
}

// emptyReads is how often a reader may return nothing and no error before it is given up, as in bufio.
const emptyReads = 100

// fill reads once.
func (r *Reader) fill() error {
	if r.lo > 0 { // at most one frame is moved
		r.hi = copy(r.buf, r.buf[r.lo:r.hi])
		r.lo = 0
	}
	for range emptyReads {
		n, err := r.r.Read(r.buf[r.hi:])
		r.hi += n
		switch {
		case n > 0:
			return nil // an error comes again with the next call
		case err == io.EOF && r.hi > 0:
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
	}
	return io.ErrNoProgress
}

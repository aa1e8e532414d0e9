package event

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// Reader reads records from a file of frames, as the file sink writes it with format = "frames".
type Reader struct {
	r       *bufio.Reader
	n       int64 // bytes consumed
	skipped int
	names   namesReader
}

// NewReader returns a reader of the frames in r.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, 1<<18)} }

// Next reads the next record into rec. It skips frames that are not records, such as the control frames of a recorded
// stream, and malformed frames of a valid length, see [Reader.Skipped]. Frames of names set what [Reader.Names] returns for
// the records that follow. It returns io.EOF at the end. For a frame that is cut off, and for an invalid length, it returns
// an error with the offset in bytes.
func (r *Reader) Next(rec *Record) error {
	for {
		head, err := r.r.Peek(HeaderSize)
		if err != nil {
			return r.end(len(head), err)
		}
		whole := head
		size, err := rec.Decode(head)
		if errors.Is(err, ErrShort) {
			var peekErr error
			whole, peekErr = r.r.Peek(HeaderSize + payloadLen(head))
			if peekErr != nil {
				return r.end(len(whole), peekErr)
			}
			size, err = rec.Decode(whole)
		}
		var bad *FrameError
		named := errors.As(err, &bad) && bad.Type == FrameNames && bad.Size > 0 && r.names.add(whole[HeaderSize:bad.Size]) == nil
		if bad != nil && bad.Size == 0 {
			return fmt.Errorf("byte %d: %w", r.n, err)
		}
		discarded, discardErr := r.r.Discard(size)
		r.n += int64(discarded)
		if discardErr != nil {
			return discardErr
		}
		switch {
		case err == nil:
			if r.names.names != nil {
				rec.Generation = r.names.names.Generation
			}
			return nil
		case !named:
			r.skipped++
		}
	}
}

// end returns io.EOF for an end between two frames, and an error for a frame that is cut off.
func (r *Reader) end(have int, err error) error {
	if !errors.Is(err, io.EOF) {
		return err
	}
	if have == 0 {
		return io.EOF
	}
	return fmt.Errorf("byte %d: a frame is cut off after %d bytes: %w", r.n, have, io.ErrUnexpectedEOF)
}

// Names returns the names for the last record, and where it comes from. The names are nil if the file holds none, as files of
// earlier versions do not. They do not change when Next is called again.
func (r *Reader) Names() (*Names, Origin) { return r.names.names, r.names.from }

// Skipped returns how many frames were neither records nor names.
func (r *Reader) Skipped() int { return r.skipped }

// hasNames reports whether b, the beginning of a file, begins with names.
func hasNames(b []byte) bool {
	return len(b) >= HeaderSize && FrameType(b[4]) == FrameNames && payloadLen(b) >= namesHead+9 && payloadLen(b) <= MaxPayload &&
		b[5] == 0 && b[6] == 0 && b[7] == 0
}

// LooksLikeFrames reports whether b, the beginning of a file, begins with the frame of a record, or with names.
func LooksLikeFrames(b []byte) bool {
	if len(b) < HeaderSize {
		return false
	}
	if hasNames(b) {
		return true
	}
	_, ok := kindOf(FrameType(b[4]))
	n := payloadLen(b)
	return ok && n >= RecordSize && n <= RecordSize+sessionTail && b[5] == 0 && b[6] == 0 && b[7] == 0
}

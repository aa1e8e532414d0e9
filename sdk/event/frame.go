package event

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// MaxPayload is the largest payload of a frame in bytes. A larger length is invalid.
const MaxPayload = 1024

// ErrShort is returned for bytes that end inside a frame.
var ErrShort = errors.New("event: frame is not complete")

// A FrameError is returned for a frame that is complete and is not a valid record. Size is the frame's size in bytes, by
// which a reader can skip it; it is 0 if the length itself is invalid, and then the next frame cannot be found.
type FrameError struct {
	Size   int
	Type   FrameType
	Reason string
}

func (e *FrameError) Error() string {
	return fmt.Sprintf("event: frame of type %d: %s", e.Type, e.Reason)
}

// Decode reads the frame at the start of b into r and returns the frame's size. It returns [ErrShort] if b ends before
// the frame does, and a [*FrameError] if the frame is not a record of a known kind with the right length, event type and
// family. r is undefined after an error. The reserved header bytes are ignored, as the protocol requires.
func (r *Record) Decode(b []byte) (int, error) {
	if len(b) < HeaderSize {
		return 0, ErrShort
	}
	n, typ := binary.LittleEndian.Uint32(b), FrameType(b[4])
	if n > MaxPayload {
		return 0, &FrameError{Type: typ, Reason: fmt.Sprintf("length %d is above the limit of %d bytes", n, MaxPayload)}
	}
	size := HeaderSize + int(n)
	if len(b) < size {
		return 0, ErrShort
	}
	kind, ok := kindOf(typ)
	if !ok {
		return size, &FrameError{size, typ, "not a record"}
	}
	want := RecordSize
	if kind == SessionOpen || kind == SessionClose {
		want += sessionTail
	}
	// Longer is allowed for the telemetry types of the reference protocol, whose receiver takes it too.
	if int(n) < want || int(n) > want && !kind.Telemetry() {
		return size, &FrameError{size, typ, fmt.Sprintf("length %d, want %d", n, want)}
	}
	r.Reset(kind)
	copy(r.frame[HeaderSize:], b[HeaderSize:HeaderSize+want])
	copy(r.frame[8:16], b[8:16])
	if got := r.frame[HeaderSize+offType]; got != eventTypes[kind] {
		return size, &FrameError{size, typ, fmt.Sprintf("event type %d, want %d", got, eventTypes[kind])}
	}
	if f := r.Family(); kind != Loss && f != FamilyIPv4 && f != FamilyIPv6 {
		return size, &FrameError{size, typ, fmt.Sprintf("address family %d", f)}
	}
	return size, nil
}

// payloadLen returns the payload length that a frame header claims.
func payloadLen(header []byte) int { return int(binary.LittleEndian.Uint32(header)) }

func kindOf(t FrameType) (Kind, bool) {
	for k, ft := range frameTypes {
		if ft == t {
			return Kind(k), true
		}
	}
	return 0, false
}

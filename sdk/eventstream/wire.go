package eventstream

import (
	"encoding/binary"
	"fmt"

	"github.com/rtflow/pipelined/sdk/event"
)

// Frame types beside those that carry a record of 136 bytes, which are in package event. The existing protocol has those
// up to 13; 14 to 18 are extensions of pipelined.
const (
	SessionOpen   event.FrameType = 1  // producer: a session, delta layout
	SessionClose  event.FrameType = 2  // producer: the end of a session, delta layout
	SessionUpdate event.FrameType = 3  // producer: a session that lives, delta layout, sequence 0
	Ack           event.FrameType = 4  // receiver: every record up to this number is handled
	Pause         event.FrameType = 5  // receiver: send no records
	Resume        event.FrameType = 6  // receiver: go on
	DrainRequest  event.FrameType = 7  // receiver: asks for DrainComplete when every record up to this number is sent
	DrainComplete event.FrameType = 8  // producer: answers DrainRequest; the number is the highest sent
	FullResync    event.FrameType = 9  // producer: records are missing before the next one; forget the sessions
	Keepalive     event.FrameType = 10 // either: shows that it lives; sequence 0
	HelloFrame    event.FrameType = 17 // producer, extension: first frame of a connection, sequence 0
	TableEnd      event.FrameType = 18 // producer, extension: every session that lived at the last FullResync was sent; sequence 0
)

// Version is the protocol version in a hello.
const Version = 1

// helloSize is the payload of a hello in bytes:
//
//	0  u16  version      2  6 bytes  zero
//	8  u64  epoch       16  u64      first sequence number that follows
//
// A receiver ignores what follows in the payload.
const helloSize = 24

// Hello says which stream this is and where it goes on.
type Hello struct {
	Version uint16
	Epoch   uint64    // identifies a numbering: a producer that begins with 1 again has another
	First   event.Seq // of the first record on this connection
}

// AppendFrame appends the header of a frame with a payload of n bytes.
func AppendFrame(b []byte, t event.FrameType, n int, seq event.Seq) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(n))
	b = append(b, byte(t), 0, 0, 0)
	return binary.LittleEndian.AppendUint64(b, uint64(seq))
}

// AppendControl appends a frame without payload.
func AppendControl(b []byte, t event.FrameType, seq event.Seq) []byte {
	return AppendFrame(b, t, 0, seq)
}

// AppendHello appends a hello.
func AppendHello(b []byte, h Hello) []byte {
	b = AppendFrame(b, HelloFrame, helloSize, 0)
	b = binary.LittleEndian.AppendUint16(b, h.Version)
	b = append(b, 0, 0, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, h.Epoch)
	return binary.LittleEndian.AppendUint64(b, uint64(h.First))
}

// ParseHello reads the hello in a frame of type [HelloFrame]. A version above [Version] is an error: what it means is not
// known.
func ParseHello(f Frame) (Hello, error) {
	p := f.Payload()
	if len(p) < helloSize {
		return Hello{}, fmt.Errorf("eventstream: hello of %d bytes, want %d", len(p), helloSize)
	}
	h := Hello{
		Version: binary.LittleEndian.Uint16(p),
		Epoch:   binary.LittleEndian.Uint64(p[8:]),
		First:   event.Seq(binary.LittleEndian.Uint64(p[16:])),
	}
	if h.Version == 0 || h.Version > Version {
		return h, fmt.Errorf("eventstream: protocol version %d, this is version %d", h.Version, Version)
	}
	return h, nil
}

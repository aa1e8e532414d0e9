package format

import "github.com/rtflow/pipelined/sdk/event"

// frames copies the frame of the event stream: header and payload, as [event.Record.Decode] reads it back.
type frames struct{}

func (frames) Append(dst []byte, r *event.Record, _ *event.Names) []byte {
	return append(dst, r.Frame()...)
}

func (frames) Terminator() string { return "" }

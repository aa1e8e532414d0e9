package format

import "github.com/rtflow/pipelined/sdk/event"

// frames copies the frame of the event stream: header and payload, as [event.Record.Decode] reads it back.
type frames struct{ from event.Origin }

var _ Prefacer = (*frames)(nil)

func (frames) Append(dst []byte, r *event.Record, _ *event.Names) []byte {
	return append(dst, r.Frame()...)
}

func (frames) Terminator() string { return "" }

// AppendPreface appends the names, as [event.Reader] reads them back.
func (f *frames) AppendPreface(dst []byte, n *event.Names) []byte {
	return event.AppendNames(dst, n, f.from)
}

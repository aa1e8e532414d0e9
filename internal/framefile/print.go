package framefile

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
)

// HasNames reports whether the file that r is at the beginning of has the names for its records. The buffer of r must hold
// a whole frame.
func HasNames(r *bufio.Reader) bool {
	head, err := r.Peek(event.HeaderSize + event.MaxPayload)
	return (err == nil || errors.Is(err, io.EOF)) && event.HasNames(head)
}

// Print reads frames from r and writes their records to w in the format that o describes. Names, hostname and epoch are those
// that stand before a record in the file, and names and o's in a file that has none. skipped is the number of frames that are
// not records. An error leaves what was read before it printed.
func Print(w io.Writer, r io.Reader, o format.Options, names *event.Names) (skipped int, err error) {
	enc, err := format.New(o)
	if err != nil {
		return 0, err
	}
	out := bufio.NewWriterSize(w, 1<<18)
	records := event.NewReader(r)
	var rec event.Record
	var line []byte
	for {
		if err := records.Next(&rec); err != nil {
			if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				err = nil
			}
			return records.Skipped(), errors.Join(err, out.Flush())
		}
		line = line[:0]
		if own, from := records.Names(); own != nil && own != names {
			names = own
			if enc, err = encoderFor(o, from); err != nil {
				return records.Skipped(), err
			}
			if p, ok := enc.(format.Prefacer); ok {
				line = p.AppendPreface(line, names)
			}
		}
		line = append(enc.Append(line, &rec, names), enc.Terminator()...)
		if _, err := out.Write(line); err != nil {
			return records.Skipped(), fmt.Errorf("standard output: %w", err)
		}
	}
}

// encoderFor returns an encoder for records of that origin. A host name that no encoder takes is left out.
func encoderFor(o format.Options, from event.Origin) (format.Encoder, error) {
	o.Hostname, o.Epoch = from.Host, from.Epoch
	enc, err := format.New(o)
	if err != nil {
		o.Hostname = ""
		return format.New(o)
	}
	return enc, nil
}

package framefile

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
)

// Print reads frames from r and writes their records to w in the format that o describes. Names, hostname and epoch are those
// that stand before a record in the file. For records without them, as files of earlier versions have, Print calls missing,
// once. skipped is the number of frames that are not records. The records before an error are printed.
func Print(w io.Writer, r io.Reader, o format.Options, missing func() (names *event.Names, hostname string, err error)) (skipped int, err error) {
	out := bufio.NewWriterSize(w, 1<<18)
	records := event.NewReader(r)
	var rec event.Record
	var line []byte
	var names *event.Names
	var enc format.Encoder
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
		if enc == nil {
			if names, o.Hostname, err = missing(); err != nil {
				return records.Skipped(), err
			}
			if enc, err = format.New(o); err != nil {
				return records.Skipped(), err
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

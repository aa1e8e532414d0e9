package capture

import (
	"errors"
	"io"
)

// input reads a capture from its first byte to its last, keeps its time from going back, and says in its errors where it
// was. It belongs to one goroutine.
type input struct {
	raw     io.Reader
	cfg     *Config
	count   *counters
	records records
	packets uint64
	others  uint64 // packets of other link types already counted
	last    int64  // time of the last record
}

// open reads the file's header.
func (in *input) open() (err error) {
	if in.records, err = openRecords(in.raw, in.cfg); err != nil {
		return &Error{Path: in.cfg.Path, Err: err}
	}
	return nil
}

// next reads one record and sets last to its time. At the end it returns io.EOF as it is, anything else as an *Error.
func (in *input) next(rec *record) error {
	err := in.records.next(rec)
	if others := in.records.otherLink(); others != in.others {
		in.count.otherLinkType.Add(others - in.others)
		in.others = others
	}
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	if err != nil {
		return &Error{Path: in.cfg.Path, Packet: in.packets + in.others + 1, Offset: in.records.offset(), Err: err}
	}
	in.packets++
	if rec.stamp < in.last {
		in.count.outOfOrder.Add(1)
	} else {
		in.last = rec.stamp
	}
	return nil
}

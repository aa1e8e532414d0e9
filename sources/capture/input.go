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
	clock   clock
	wait    bool  // for what follows the first packet: it is there, or the capture has ended
	end     error // what the packets that are held are followed by
}

func newInput(raw io.Reader, cfg *Config, count *counters) *input {
	return &input{raw: raw, cfg: cfg, count: count, clock: clock{count: count}}
}

// open reads the file's header.
func (in *input) open() (err error) {
	if in.records, err = openRecords(in.raw, in.cfg, in.garbage); err != nil {
		return &Error{Path: in.cfg.Path, Err: err}
	}
	return nil
}

// garbage tells of what is behind the end of the capture.
func (in *input) garbage() {
	in.count.garbage.Add(1)
	if in.cfg.Warn != nil {
		in.cfg.Warn("what follows the compressed capture in its file is none, and is not read", "capture", in.cfg.Path)
	}
}

// next reads one record and sets last to its time. At the end it returns io.EOF as it is, anything else as an *Error.
func (in *input) next(rec *record) error {
	for {
		if held, ok := in.clock.take(in.end != nil); ok {
			*rec, in.last = *held, in.clock.now
			return nil
		}
		if in.end != nil {
			return in.end
		}
		if in.end = in.read(rec); in.end != nil {
			continue
		}
		if !in.wait {
			in.clock.start(rec)
		}
		if in.clock.empty() && in.clock.direct(rec) {
			in.last = in.clock.now
			return nil
		}
		in.clock.hold(rec)
	}
}

// read reads one record.
func (in *input) read(rec *record) error {
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
	return nil
}

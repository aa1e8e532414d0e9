package spool

import (
	"errors"
	"io"
	"io/fs"

	"github.com/rtflow/pipelined/sdk/event"
)

const (
	// window is how many bytes of a file are read at once.
	window = 256 << 10
	// sector is how far a scanner goes on behind bytes that the disk cannot read.
	sector = 4096
)

// damage is a place of a segment that cannot be read.
type damage struct {
	from, to int64 // offsets
	lost     Tally // the records that were there, as far as that is known
	last     event.Seq
	tail     bool // it reaches to the end: the write that it was part of may never have ended
}

// scanner reads the blocks of a segment in their order, and tells what it cannot read. What it returns is valid until the next call.
type scanner struct {
	f    io.ReaderAt
	salt uint32
	off  int64     // of the next block
	end  int64     // how much is written
	from event.Seq // records before this one are not of interest: their blocks are passed without a look

	seen Tally     // records passed
	last event.Seq // the highest number passed

	failed bool // the disk has refused to read something

	bad   damage // collected since the last good block
	isBad bool

	buf []byte // holds the bytes of the file from at on
	at  int64
}

// tries is how often a disk is asked for what it has refused once.
const tries = 5

// readAt reads what there is, and asks again where the disk refuses. The end of the file is no error.
func readAt(f io.ReaderAt, p []byte, off int64) (n int, err error) {
	for range tries {
		if n, err = f.ReadAt(p, off); err == nil || errors.Is(err, io.EOF) {
			return n, nil
		}
	}
	return n, err
}

// openToRead opens a file, and asks again where the disk refuses.
func openToRead(d directory, name string) (f file, err error) {
	for range tries {
		if f, err = d.Open(name, false); err == nil || errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	return nil, err
}

// newScanner reads a segment from its first block on.
func newScanner(f io.ReaderAt, number, epoch uint64, end int64) *scanner {
	return &scanner{f: f, salt: salt(number, epoch), off: fileHeader, end: end}
}

// found is what a scanner has come to: damage, or a block with its payload.
type found struct {
	block

	at      int64
	payload []byte
	damage  *damage
}

// next returns what comes next, and io.EOF at the end. What a disk cannot read is damage, and no error.
func (s *scanner) next() (found, error) {
	for s.off < s.end {
		var h block
		head := s.bytes(s.off, blockHeader)
		if !h.decode(head, s.salt) || s.off+h.size() > s.end {
			if s.blank() {
				break
			}
			s.spoilt(s.off)
			if h.kind != 0 && h.records > 0 && h.length <= maxPayload { // only its end is missing
				s.bad.lost.Add(&h.own)
				s.bad.last = h.last()
			}
			s.search()
			continue
		}
		if lost := h.before; s.isBad || lost != s.seen {
			lost.sub(&s.seen)
			s.spoilt(s.off)
			s.bad.to, s.bad.lost, s.bad.last, s.bad.tail = s.off, lost, h.first, false
			if h.kind != blockSeal {
				s.bad.last--
			}
			s.isBad, s.seen = false, h.before
			if s.bad.last > s.last {
				s.last = s.bad.last
			}
			return found{at: s.bad.from, damage: &s.bad}, nil
		}
		f := found{block: h, at: s.off}
		if h.kind != blockRecords || h.last() >= s.from {
			payload := s.bytes(s.off, int(blockHeader+h.length))
			if len(payload) < int(blockHeader+h.length) || checksum(payload[blockHeader:]) != h.sum {
				s.spoilt(s.off)
				s.bad.lost.Add(&h.own)
				s.bad.last = h.last()
				s.off += h.size()
				continue
			}
			f.payload = payload[blockHeader:]
		}
		s.seen.Add(&h.own)
		s.last = max(s.last, h.last())
		s.off += h.size()
		return f, nil
	}
	if s.isBad {
		s.isBad = false
		s.bad.to, s.bad.tail = s.end, true
		return found{at: s.bad.from, damage: &s.bad}, nil
	}
	return found{}, io.EOF
}

// spoilt notes that what is at an offset cannot be read.
func (s *scanner) spoilt(at int64) {
	if !s.isBad {
		s.bad, s.isBad = damage{from: at}, true
	}
}

// search goes to the next offset at which a block begins, or to the end.
func (s *scanner) search() {
	var h block
	for s.off += align; s.off < s.end; s.off += align {
		b := s.bytes(s.off, blockHeader)
		if len(b) < align { // unreadable, or the end
			s.off = (s.off + sector) &^ (sector - 1)
			s.off -= align
			continue
		}
		if h.decode(b, s.salt) {
			return
		}
	}
	s.off = s.end
}

// blank reports whether there are only zeros from here on: room that a file system has added and nobody has written to.
func (s *scanner) blank() bool {
	for off := s.off; off < s.end; {
		b := s.bytes(off, int(min(window, s.end-off)))
		if len(b) == 0 {
			return false
		}
		for _, c := range b {
			if c != 0 {
				return false
			}
		}
		off += int64(len(b))
	}
	return true
}

// bytes returns n bytes at an offset, fewer if there are no more or the disk cannot read them.
func (s *scanner) bytes(off int64, n int) []byte {
	if off+int64(n) > s.end {
		n = int(s.end - off)
	}
	if i := off - s.at; i >= 0 && i+int64(n) <= int64(len(s.buf)) {
		return s.buf[i : i+int64(n)]
	}
	want := int(min(max(int64(n), window), s.end-off))
	if cap(s.buf) < want {
		s.buf = make([]byte, want)
	}
	read, err := readAt(s.f, s.buf[:want], off)
	if err != nil && want > n && read < n { // the rest of the window may be what cannot be read
		read, err = readAt(s.f, s.buf[:n], off)
	}
	s.failed = s.failed || err != nil && read < n
	s.buf, s.at = s.buf[:read], off
	return s.buf[:min(read, n)]
}

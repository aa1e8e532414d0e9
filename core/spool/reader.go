package spool

import (
	"errors"
	"io"
	"io/fs"
	"sync"

	"github.com/rtflow/pipelined/sdk/event"
)

// reader reads records from the disk for the sink. It is used by the goroutine of the reader, but for nameOf.
type reader struct {
	s      *Spool
	number uint64 // of the segment that is open
	f      file   // nil: none
	sc     *scanner
	batch  []event.Record
	rest   []event.Record // of batch: not handed out yet
	loss   *loss          // not handed out yet, comes behind the batch

	refusals int // of the disk, to open the segment

	stuck bool // the disk could not be read; it is tried again. Under Spool.mu
	over  bool // read has come to the end of the segment

	mu    sync.Mutex
	names map[uint32]*event.Names // of the stream, from segments of earlier runs
}

// maxRefusals is how often a disk may refuse to open a segment, which is tried every second or so, until it is given up.
const maxRefusals = 60

// loss is a loss record for what cannot be read.
type loss struct {
	record [1]event.Record
	lost   Tally
}

// nameOf returns the names of a generation that a segment of an earlier run holds, nil if none does. Safe for concurrent use.
func (r *reader) nameOf(generation uint32) *event.Names {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.names[generation]
}

// rewind forgets where it was. The spool's lock is held.
func (r *reader) rewind() {
	r.close()
	r.mu.Lock()
	r.names = nil // the next run begins with a segment, whose names come first
	r.mu.Unlock()
}

func (r *reader) close() {
	if r.f != nil {
		_ = r.f.Close() // nothing was written
	}
	r.f, r.sc, r.batch, r.rest, r.loss = nil, nil, r.batch[:0], nil, nil
}

// read returns records of a segment that follow that number, at most limit. end is how much of it is written, whole says that no
// more is. Of a loss record it also returns what that stands for; it comes alone. With no records it has come to the end, or is stuck.
func (r *reader) read(g *segment, after event.Seq, end int64, whole bool, limit int) ([]event.Record, *Tally) {
	r.over = false
	if r.f == nil || r.number != g.number {
		if !r.open(g, after, end) {
			return r.unreadable(g, after)
		}
	}
	r.sc.end, r.sc.from = end, after+1
	r.pass(after) // the sink may have had it from memory
	for len(r.rest) == 0 && r.loss == nil && !r.over {
		r.over = !r.fill(g, after, whole, limit)
	}
	if len(r.rest) > 0 {
		n := min(len(r.rest), limit)
		out := r.rest[:n]
		r.rest = r.rest[n:]
		return out, nil
	}
	if l := r.loss; l != nil {
		r.loss = nil
		return l.record[:], &l.lost
	}
	return nil, nil
}

// open opens the file of a segment.
func (r *reader) open(g *segment, after event.Seq, end int64) bool {
	r.close()
	f, err := openToRead(r.s.d, g.name())
	if r.number != g.number || err == nil {
		r.refusals = 0
	}
	r.number = g.number
	gone := errors.Is(err, fs.ErrNotExist)
	if err != nil && !gone {
		r.refusals++
		gone = r.refusals == maxRefusals
	}
	if err != nil && !gone {
		r.s.failed("read", err)
	}
	r.s.mu.Lock()
	r.stuck = err != nil && !gone
	r.s.mu.Unlock()
	if err != nil {
		return false
	}
	r.f = f
	r.sc = newScanner(f, g.number, g.epoch, end)
	r.sc.from = after + 1
	if g.missing.Total() > 0 && after+1 < g.first {
		r.spoilt(g, after, Tally{}, g.missing, g.first-1, g.since)
	}
	return true
}

// unreadable returns the loss record for a segment whose file is gone.
func (r *reader) unreadable(g *segment, after event.Seq) ([]event.Record, *Tally) {
	r.s.mu.Lock()
	stuck, lost := r.stuck, g.counts
	r.s.mu.Unlock()
	if stuck {
		return nil, nil
	}
	r.spoilt(g, after, Tally{}, lost, g.last, 0)
	l := r.loss
	r.loss = nil
	if l == nil {
		r.over = true
		return nil, nil
	}
	return l.record[:], &l.lost
}

// fill reads more blocks, and reports whether there may be more.
func (r *reader) fill(g *segment, after event.Seq, whole bool, limit int) bool {
	r.batch = r.batch[:0]
	more := true
	for more && len(r.batch) < limit && r.loss == nil {
		it, err := r.sc.next()
		if errors.Is(err, io.EOF) {
			more = false
			if lost := r.s.left(g, &r.sc.seen); whole && lost.Total() > 0 {
				r.spoilt(g, after, r.sc.seen, lost, g.last, 0)
				r.sc.seen.Add(&lost)
			}
			break
		}
		switch d := it.damage; {
		case d != nil && d.tail:
			if !whole {
				continue // it is being written
			}
			lost := r.s.left(g, &r.sc.seen)
			r.spoilt(g, after, r.sc.seen, lost, g.last, 0)
			r.sc.seen.Add(&lost)
		case d != nil:
			seen := r.sc.seen
			seen.sub(&d.lost)
			r.spoilt(g, after, seen, d.lost, d.last, it.time)
		case it.kind == blockNames:
			r.addNames(g, it.payload)
		case it.kind == blockRecords && it.payload != nil:
			n := len(r.batch)
			r.batch, err = it.appendDecoded(r.batch, it.payload)
			if err != nil {
				r.batch = r.batch[:n]
				seen := r.sc.seen
				seen.sub(&it.own)
				r.spoilt(g, after, seen, it.own, it.last(), it.time)
			}
		}
	}
	r.rest = r.batch
	r.pass(after)
	return more
}

// pass drops what comes up to a number.
func (r *reader) pass(after event.Seq) {
	for len(r.rest) > 0 && r.rest[0].Seq() <= after {
		r.rest = r.rest[1:]
	}
	if l := r.loss; l != nil && l.record[0].Seq() <= after {
		r.loss = nil
	}
}

// left returns what a segment is said to have and was not seen in it.
func (s *Spool) left(g *segment, seen *Tally) Tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := g.counts
	n.sub(&g.missing)
	n.sub(seen)
	return n
}

// handedOf counts what the sink was handed of a segment. The lock is held.
func (s *Spool) handedOf(g *segment) Tally {
	n := g.released
	if g.epoch == s.stream {
		s.out.countFrom(g.first, &n)
	}
	return n
}

// spoilt makes a loss record for what cannot be read and was not handed out before. seen counts what is in the segment before it, and
// until is the time of what comes behind, 0 if that is not known.
func (r *reader) spoilt(g *segment, after event.Seq, seen, lost Tally, last event.Seq, until int64) {
	if n := len(r.batch); n > 0 {
		after = max(after, r.batch[n-1].Seq())
	}
	r.s.mu.Lock()
	news := !g.broken
	g.broken = true
	since := g.since
	if until == 0 {
		until = g.until
	}
	left, had := g.counts, r.s.handedOf(g)
	r.s.mu.Unlock()
	if news {
		r.s.c.Log.Error("a segment of the spool is damaged: the records that it has lost are announced, the others are delivered",
			"file", g.name(), "records", lost.Total())
	}
	left.sub(&had)
	had.sub(&seen)
	lost.sub(&had)
	for k := range lost {
		lost[k] = min(lost[k], left[k])
	}
	if lost.Total() == 0 || last <= after {
		return
	}
	l := &loss{lost: lost}
	rec := &l.record[0]
	rec.Reset(event.Loss)
	rec.SetSeq(last)
	if n := len(r.batch); n > 0 {
		rec.Generation, since = r.batch[n-1].Generation, r.batch[n-1].Time()
	}
	var counts event.LossCounts
	copy(counts[:], lost[:])
	rec.SetLoss(event.LossDamaged, 0, &counts, since, max(since, until))
	r.loss = l
}

// addNames keeps the names of a generation, if they are those of an earlier run.
func (r *reader) addNames(g *segment, payload []byte) {
	if g.ours {
		return
	}
	n, _, err := event.DecodeNames(payload)
	if err != nil {
		return // ids are told without names
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.names == nil {
		r.names = make(map[uint32]*event.Names)
	}
	r.names[n.Generation] = n
}

package spool

import (
	"errors"
	"io/fs"
	"sync"

	"github.com/rtflow/pipelined/sdk/event"
)

// writer appends to the newest segment. It is used by the goroutine of Run, but for sync.
type writer struct {
	s   *Spool
	buf []byte

	seg         *segment // nil: the next record begins one
	generations map[uint32]bool
	end         mark             // of what is written
	waiting     [][]event.Record // written, and not told to the reader: they are the ring's until they are where they are to be
	own         Tally            // of these
	last        event.Seq        // written
	published   event.Seq        // and told to the reader
	earlier     Tally            // records that earlier runs have written, of this epoch
	ragged      bool             // behind the end may be what a failed write has left
	spare       int64            // bytes that may be written until the file system is asked how much is free

	syncing sync.Mutex // held to sync f, and to change it
	f       file
	dirty   bool // something was written since the last sync began, under syncing
	writing sync.Mutex
}

// mark is the end of what is written to a segment.
type mark struct {
	size   int64
	last   event.Seq
	counts Tally
	until  int64
}

// append writes records to the segment. After an error some of them may be written.
func (w *writer) append(records []event.Record) error {
	for len(records) > 0 && records[0].Seq() <= w.last {
		records = records[1:] // an earlier try has written it
	}
	for len(records) > 0 {
		n := alike(records)
		if err := w.block(records[:n]); err != nil {
			return err
		}
		records = records[n:]
	}
	return nil
}

// alike returns how many records from the first on are of one generation, and their numbers without a gap. Numbers grow from record to record.
func alike(records []event.Record) int {
	first, last := &records[0], &records[len(records)-1]
	whole := last.Seq() == first.Seq()+event.Seq(len(records)-1)
	for i := range records {
		if r := &records[i]; r.Generation != first.Generation || !whole && r.Seq() != first.Seq()+event.Seq(i) {
			return i
		}
	}
	return len(records)
}

// block writes a block of records that are alike, and the names of their generation where the segment does not have them.
func (w *writer) block(records []event.Record) error {
	s := w.s
	if w.ragged {
		if err := w.cut(); err != nil {
			if s.c.Sync == SyncInterval { // nobody syncs it later
				err = errors.Join(err, s.timed(w.sync))
			}
			w.leave()
			return err
		}
	}
	if w.seg != nil && w.end.size >= s.segment {
		if err := w.finish(); err != nil {
			return err
		}
	}
	first := &records[0]
	if w.seg == nil {
		if err := w.begin(first.Seq(), first.Time()); err != nil {
			return err
		}
	}
	sum := salt(w.seg.number, w.seg.epoch)
	w.buf = w.buf[:0]
	if !w.generations[first.Generation] {
		h := block{kind: blockNames, generation: first.Generation, first: first.Seq(), time: first.Time(), before: w.end.counts}
		var at int
		w.buf, at = begin(w.buf)
		w.buf = event.AppendNames(w.buf, s.names(first.Generation), event.Origin{Host: s.c.Host, Epoch: s.epoch})
		w.buf = h.end(w.buf, at, sum)
	}
	if need := len(w.buf) + blockHeader + len(records)*maxRecord + align; cap(w.buf) < need {
		w.buf = append(make([]byte, 0, need), w.buf...)
	}
	h := block{
		kind: blockRecords, generation: first.Generation, first: first.Seq(), time: first.Time(), records: uint32(len(records)), before: w.end.counts,
	}
	var at int
	w.buf, at = begin(w.buf)
	w.buf = appendRecords(w.buf, records, &h.own)
	w.buf = h.end(w.buf, at, sum)

	n := int64(len(w.buf))
	if err := s.reserve(n + blockHeader); err != nil {
		return err
	}
	if err := s.timed(func() error { return w.write() }); err != nil {
		w.ragged, w.spare = true, 0
		return err
	}
	w.generations[first.Generation] = true
	last := &records[len(records)-1]
	w.end.size += n
	w.end.counts.Add(&h.own)
	w.end.last, w.end.until = last.Seq(), last.Time()
	w.last = last.Seq()
	w.waiting = append(w.waiting, records)
	w.own.Add(&h.own)
	s.mu.Lock()
	s.used += n
	s.mu.Unlock()
	return nil
}

// write writes what is collected behind the end of the segment.
func (w *writer) write() error {
	if _, err := w.f.WriteAt(w.buf, w.end.size); err != nil {
		return err
	}
	w.writing.Lock()
	w.dirty = true
	w.writing.Unlock()
	return nil
}

// commit acknowledges what is written to the ring, and tells the reader of it. A ring that takes no acknowledgement any more has handed its
// records to the next run: what is written of them is taken back.
func (w *writer) commit() error {
	if len(w.waiting) == 0 {
		return nil
	}
	s, g := w.s, w.seg
	s.mu.Lock()
	if t := s.oldestInMemory(); t != 0 && s.floor.epoch == s.epoch {
		s.since = t // it may be in memory no more afterwards
	}
	for _, records := range w.waiting { // what is acknowledged is the ring's no more
		s.tail.add(records)
	}
	if err := s.ring.Ack(w.last); err != nil {
		s.tail.clear(w.published)
		s.mu.Unlock()
		w.undo()
		return err
	}
	g.size, g.last, g.counts, g.until = w.end.size, w.end.last, w.end.counts, w.end.until
	s.counts.Spooled.Add(&w.own)
	s.mu.Unlock()
	w.published = w.last
	clear(w.waiting)
	w.waiting, w.own = w.waiting[:0], Tally{}
	s.wakeReader()
	return nil
}

// begin begins a segment, whose first record has that number and time.
func (w *writer) begin(first event.Seq, since int64) error {
	s := w.s
	if err := s.reserve(fileHeader + blockHeader); err != nil {
		return err
	}
	s.mu.Lock()
	g := &segment{number: s.next, epoch: s.epoch, first: first, last: first - 1, since: since, until: since, size: fileHeader, ours: true}
	g.earlier = s.w.earlier
	g.earlier.Add(&s.counts.Spooled)
	s.next++
	s.mu.Unlock()
	f, err := s.d.Create(g.name())
	if errors.Is(err, fs.ErrExist) {
		return err // the next try takes the next number
	}
	if err != nil {
		return err
	}
	h := header{number: g.number, epoch: g.epoch, first: g.first, before: g.earlier}
	_, err = f.WriteAt(h.append(nil), 0)
	if err == nil && s.c.Sync != SyncNone {
		err = s.d.Sync()
	}
	if err != nil {
		return errors.Join(err, f.Close(), s.d.Remove(g.name()))
	}
	w.generations, w.ragged = make(map[uint32]bool), false
	w.syncing.Lock()
	w.f = f
	w.syncing.Unlock()
	w.writing.Lock()
	w.dirty = true
	w.writing.Unlock()
	s.mu.Lock()
	w.seg = g // under the lock: the reader compares with it
	s.segments = append(s.segments, g)
	s.used += g.size
	s.mu.Unlock()
	w.end = mark{g.size, g.last, g.counts, g.until}
	return nil
}

// finish seals the segment. The next record begins another.
func (w *writer) finish() error {
	s, g := w.s, w.seg
	if s.c.Sync != SyncNone { // first, or a crash could leave a seal that tells of records which are not there
		if err := s.timed(w.sync); err != nil {
			if s.c.Sync == SyncBatch {
				w.undo()
				return err
			}
			w.ragged = true
			s.failed("sync", err)
		}
	}
	if err := w.commit(); err != nil {
		return err
	}
	seal := g.seal()
	w.buf = append(w.buf[:0], seal...)
	if w.write() == nil { // without it the next run reads the whole segment
		s.mu.Lock()
		g.size += int64(len(seal))
		s.used += int64(len(seal))
		s.mu.Unlock()
	}
	w.leave()
	return nil
}

// leave ends the segment as it is. One of which nothing is told to the reader is released at once: it stands for no number that an
// eviction could give to its loss record.
func (w *writer) leave() {
	s, g := w.s, w.seg
	if g == nil {
		return
	}
	w.syncing.Lock()
	if err := w.f.Close(); err != nil {
		s.failed("close", err)
	}
	w.f = nil
	w.syncing.Unlock()
	w.ragged = false
	s.mu.Lock()
	w.seg = nil
	g.sealed = true
	if g.counts.Total() == 0 {
		s.segments = s.segments[:len(s.segments)-1]
		s.done = append(s.done, g)
	}
	s.settle()
	s.mu.Unlock()
	s.wakeReader()
}

// leaveGone leaves a segment whose file somebody has removed. Nothing of it waits to be told to the reader.
func (w *writer) leaveGone() {
	w.s.mu.Lock()
	gone := w.seg != nil && w.seg.gone
	w.s.mu.Unlock()
	if gone {
		w.leave()
	}
}

// cut removes what a failed write has left behind the end.
func (w *writer) cut() error {
	if err := w.f.Truncate(w.seg.size); err != nil {
		return err
	}
	w.ragged = false
	return nil
}

// sync puts the segment on the disk. Safe for concurrent use.
func (w *writer) sync() error {
	w.syncing.Lock()
	defer w.syncing.Unlock()
	w.writing.Lock()
	dirty := w.dirty && w.f != nil
	w.dirty = false
	w.writing.Unlock()
	if !dirty {
		return nil
	}
	err := w.f.Sync()
	if err != nil {
		w.writing.Lock()
		w.dirty = true
		w.writing.Unlock()
	}
	return err
}

// undo takes back what is written and not acknowledged to the ring, which gives it once more or gives it up.
func (w *writer) undo() {
	g := w.seg
	if g == nil {
		return
	}
	s := w.s
	s.mu.Lock()
	s.used -= w.end.size - g.size
	s.mu.Unlock()
	w.end = mark{g.size, g.last, g.counts, g.until}
	w.last, w.ragged = w.published, true
	clear(w.waiting)
	w.waiting, w.own = w.waiting[:0], Tally{}
	clear(w.generations)
}

// close seals the segment. Run has ended.
func (w *writer) close() error {
	if w.seg == nil {
		return nil
	}
	if w.ragged {
		_ = w.cut() // the next run does it
	}
	err := w.finish()
	if err != nil {
		w.leave()
	}
	return err
}

package spool

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/rtflow/pipelined/sdk/event"
)

// evict gives up the oldest segment that the sink has nothing of in hand, and reports whether there was one. In its place comes a loss
// record, which has the number of its last record. Called only by the writer.
//
// A loss record of an earlier eviction that stands right before it is taken into the new one. Where the sink may have had the last
// record already, in this run or in one before it, the next segment is given up, too: no number that was handed out stands for anything
// else later. At the end of an earlier epoch, where there is none, the loss record has the number behind the last.
func (s *Spool) evict() (bool, error) {
	s.mu.Lock()
	victims, behind := s.victims()
	for _, g := range victims {
		g.evicting = true
	}
	floor, since := s.floor, int64(0)
	if len(victims) > 0 {
		if since = victims[0].since; s.entered(victims[0]) { // and some of it is delivered
			since = max(since, s.since)
		}
	}
	s.mu.Unlock()
	if len(victims) == 0 {
		return false, nil
	}
	err := s.giveUp(victims, behind, floor, since)
	if err != nil {
		s.mu.Lock()
		for _, g := range victims {
			g.evicting = false
		}
		s.mu.Unlock()
		s.wakeReader()
	}
	return err == nil, err
}

// victims returns the segments that are given up together, and whether the loss record for them has the number behind their last. The
// lock is held.
func (s *Spool) victims() (list []*segment, behind bool) {
	begin := 0
	for s.active && begin < len(s.segments) && s.segments[begin].number <= s.cursor.number {
		begin++
	}
	for i := begin; i < len(s.segments); i++ {
		g := s.segments[i]
		if g == s.w.seg || !g.sealed {
			return nil, false
		}
		if g.epoch != s.segments[begin].epoch {
			begin = i
		}
		followed := g.epoch == s.epoch || i+1 < len(s.segments) && s.segments[i+1].epoch == g.epoch
		if isLoss(g) || s.wasHanded(g) && followed {
			continue
		}
		for begin < i && !isLoss(s.segments[begin]) && !s.wasHanded(s.segments[begin]) {
			begin++
		}
		return slices.Clone(s.segments[begin : i+1]), s.wasHanded(g)
	}
	return nil, false
}

// isLoss reports whether there is nothing in a segment but a loss record.
func isLoss(g *segment) bool { return g.counts.Total() == 1 && g.counts[event.Loss] == 1 }

// wasHanded reports whether anything of a segment may ever have been handed out.
func (s *Spool) wasHanded(g *segment) bool { return g.number <= s.handed }

// giveUp puts a loss record in the place of segments, of which the first record that is not delivered is no older than since.
func (s *Spool) giveUp(victims []*segment, behind bool, floor place, since int64) error {
	first, last := victims[0], victims[len(victims)-1]
	var lost event.LossCounts
	var evicted Tally
	for _, g := range victims {
		s.mu.Lock()
		held := g.held()
		s.mu.Unlock()
		evicted.Add(&held)
		for k := range lost {
			lost[k] += held[k]
		}
		if held[event.Loss] > 0 {
			s.addLosses(g, floor, &lost)
		}
	}
	h := header{number: last.number, epoch: last.epoch, first: first.first, before: first.earlier}
	if floor.epoch == first.epoch && floor.seq >= first.first {
		h.first = floor.seq + 1
		for r := range s.records(first, h.first) {
			since = max(since, r.Time())
			break
		}
	}
	if isLoss(first) { // it goes on
		for r := range s.records(first, first.first) {
			since = r.LossSince()
		}
	}
	seq := last.last
	if behind {
		seq++
	}
	rec := [1]event.Record{}
	rec[0].Reset(event.Loss)
	rec[0].SetLoss(event.LossEvicted, 0, &lost, min(since, last.until), last.until)
	g := &segment{
		number: last.number, epoch: last.epoch, first: h.first, last: seq, earlier: first.earlier, since: last.until, until: last.until,
		counts: Tally{event.Loss: 1}, sealed: true, ours: last.ours,
	}
	content := h.append(nil)
	content, at := begin(content)
	b := block{kind: blockRecords, first: seq, time: last.until, records: 1}
	content = slices.Grow(content, maxRecord+align)
	content = appendRecords(content, rec[:], &b.own)
	content = b.end(content, at, salt(g.number, g.epoch))
	content = append(content, g.seal()...)
	g.size = int64(len(content))
	if err := s.replace(g.name(), content); err != nil {
		return err
	}
	s.mu.Lock()
	i := slices.Index(s.segments, first)
	s.segments = slices.Replace(s.segments, i, i+len(victims), g)
	s.used += g.size - last.size
	for _, v := range victims[:len(victims)-1] {
		v.broken = false // it is not worth to be put aside
		s.done = append(s.done, v)
	}
	s.counts.Evicted.Add(&evicted)
	s.counts.Found[event.Loss]++
	if g.epoch == s.epoch {
		s.tail.forget(g.last)
	}
	s.changed = true
	s.mu.Unlock()
	s.wakeReader()
	return nil
}

// addLosses adds what the loss records of a segment have counted, those behind floor.
func (s *Spool) addLosses(g *segment, floor place, lost *event.LossCounts) {
	f, err := openToRead(s.d, g.name())
	if err != nil {
		return
	}
	defer shut(f)
	sc := newScanner(f, g.number, g.epoch, g.size)
	var records []event.Record
	for {
		it, err := sc.next()
		if err != nil {
			return
		}
		if it.damage != nil || it.own[event.Loss] == 0 {
			continue
		}
		records, _ = it.appendDecoded(records[:0], it.payload) // what is malformed is lost without its counts
		for i := range records {
			r := &records[i]
			if r.Kind() != event.Loss || g.epoch == floor.epoch && r.Seq() <= floor.seq {
				continue
			}
			for k, n := range r.LossCounts() {
				lost[k] += n
			}
		}
	}
}

// replace puts a file in the place of another: after a crash there is the one or the other.
func (s *Spool) replace(name string, content []byte) error {
	temporary := name + unfinishedEnd
	if err := s.d.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := s.d.Create(temporary)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		if err = s.d.Rename(temporary, name); err != nil {
			if _, openErr := openToRead(s.d, temporary); errors.Is(openErr, fs.ErrNotExist) {
				err = nil // it has happened all the same
			}
		}
	}
	if err != nil {
		return errors.Join(err, s.d.Remove(temporary))
	}
	if err := s.d.Sync(); err != nil {
		s.failed("sync", err) // a crash may bring back what was there
	}
	return nil
}

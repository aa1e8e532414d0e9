package spool

import (
	"errors"
	"iter"
	"slices"
	"sort"
	"strings"

	"github.com/rtflow/pipelined/sdk/event"
)

// recover finds out what earlier runs have left. The only error is that of a directory that cannot be listed.
func (s *Spool) recover() error {
	s.used = slotAt + slotSize // the position
	names, err := s.d.List()
	if err != nil {
		return err
	}
	p, known, lost := readPosition(s.d)
	if lost {
		s.c.Log.Warn("the spool's position cannot be read: what was delivered is delivered again")
	}
	s.pos.last, s.highest = p, p.highest
	s.floor = place{p.number, p.epoch, p.seq}
	s.handed, s.noted = p.handed, p.handed
	slices.Sort(names)
	for _, name := range names {
		s.find(name, p, known)
	}
	s.mend()
	if known {
		s.next = max(s.next, p.number+1, p.handed+1)
	}
	s.findMissing(known)
	s.findSince()
	for _, g := range s.segments {
		held := g.held()
		s.counts.Found.Add(&held)
	}
	if n := s.counts.Found.Total(); n > 0 {
		s.c.Log.Info("the spool holds records of earlier runs", "records", n, "bytes", s.used)
	}
	s.settle()
	return nil
}

// find takes a file into account.
func (s *Spool) find(name string, p position, known bool) {
	number, epoch, ok := parseName(name)
	if !ok {
		s.other(name)
		return
	}
	s.next, s.highest = max(s.next, number+1), max(s.highest, epoch)
	g, cut, err := examine(s.d, number, epoch)
	if err != nil {
		s.c.Log.Error("a segment of the spool cannot be read", "file", name, "err", err)
		s.counterUp(&s.state.errors)
		if g == nil {
			return
		}
	}
	if cut.bytes > 0 {
		s.state.tornBytes += uint64(cut.bytes)
		s.state.tornRecords += cut.records
		s.c.Log.Warn("the end of a segment was never written whole, and is cut off", "file", name, "bytes", cut.bytes, "records", cut.records)
	}
	if !g.sealed && g.counts.Total() > 0 {
		if err := g.close(s.d); err != nil {
			s.c.Log.Warn("a segment cannot be closed; it is read all the same", "file", name, "err", err)
			g.sealed = true
		}
	}
	s.used += g.size
	at := place{p.number, p.epoch, p.seq}
	if known && g.before(at) || g.counts.Total() == 0 {
		s.done = append(s.done, g)
		return
	}
	switch {
	case !known || epoch != p.epoch || p.seq < g.first:
	case number == p.number:
		g.released = p.released
	default: // what the sink has was written for the second time
		g.released = s.countThrough(g, p.seq)
	}
	s.segments = append(s.segments, g)
}

// countThrough counts the records of a segment up to a number.
func (s *Spool) countThrough(g *segment, last event.Seq) (n Tally) {
	for rec := range s.records(g, 0) {
		if rec.Seq() > last {
			break
		}
		n[rec.Kind()]++
	}
	return n
}

// records reads the records of a segment that have at least that number, as far as they can be read.
func (s *Spool) records(g *segment, from event.Seq) iter.Seq[*event.Record] {
	return func(yield func(*event.Record) bool) {
		f, err := openToRead(s.d, g.name())
		if err != nil {
			return
		}
		defer shut(f)
		sc := newScanner(f, g.number, g.epoch, g.size)
		sc.from = from
		var records []event.Record
		for {
			it, err := sc.next()
			if err != nil {
				return
			}
			if it.damage != nil || it.kind != blockRecords || it.payload == nil {
				continue
			}
			records, _ = it.appendDecoded(records[:0], it.payload) // what is malformed is left out
			for i := range records {
				if records[i].Seq() >= from && !yield(&records[i]) {
					return
				}
			}
		}
	}
}

// findSince reads the time of the oldest record that is not released where the beginning of its segment is released.
func (s *Spool) findSince() {
	if len(s.segments) == 0 || !s.entered(s.segments[0]) {
		return
	}
	for rec := range s.records(s.segments[0], s.floor.seq+1) {
		s.since = rec.Time()
		break
	}
}

// entered reports whether floor is in a segment. The lock is held.
func (s *Spool) entered(g *segment) bool { return g.epoch == s.floor.epoch && g.first <= s.floor.seq }

// other takes a file into account that is no segment.
func (s *Spool) other(name string) {
	switch {
	case strings.HasSuffix(name, unfinishedEnd):
		if err := s.d.Remove(name); err != nil {
			s.c.Log.Warn("a file that a crash has left cannot be removed", "file", name, "err", err)
		}
	case strings.HasSuffix(name, brokenEnd):
		if size, err := sizeOf(s.d, name); err == nil {
			s.aside = append(s.aside, aside{name, size})
			s.used += size
		}
	}
}

func sizeOf(d directory, name string) (size int64, err error) {
	f, err := openToRead(d, name)
	if err != nil {
		return 0, err
	}
	size, err = f.Size()
	return size, errors.Join(err, f.Close())
}

// mend removes what stands in two segments: a crash has come between two steps of an eviction, or of a write that was repeated.
func (s *Spool) mend() {
	for i := 0; i+1 < len(s.segments); {
		g, after := s.segments[i], s.segments[i+1]
		switch {
		case g.epoch != after.epoch || g.last < after.first || after.headless:
			i++
		case after.first <= g.first:
			s.done = append(s.done, g)
			s.segments = slices.Delete(s.segments, i, i+1)
			i = max(i-1, 0)
		default:
			s.shorten(g, after.first)
			if g.counts.Total() > 0 {
				i++
				continue
			}
			s.done = append(s.done, g) // its beginning could not be read, and nor is there anything that the next one does not have
			s.segments = slices.Delete(s.segments, i, i+1)
			i = max(i-1, 0)
		}
	}
}

// shorten cuts a segment where the next one begins.
func (s *Spool) shorten(g *segment, before event.Seq) {
	f, err := openToRead(s.d, g.name())
	if err != nil {
		return
	}
	defer shut(f)
	sc := newScanner(f, g.number, g.epoch, g.size)
	end, counts, last := int64(fileHeader), Tally{}, g.first-1
	for {
		it, err := sc.next()
		if err != nil || it.kind == blockSeal || it.kind == blockRecords && it.last() >= before {
			break
		}
		if d := it.damage; d != nil && (d.tail || d.last >= before) { // the next one has these records
			break
		}
		end, counts, last = sc.off, sc.seen, max(sc.last, last)
	}
	s.used -= g.size - end
	g.size, g.counts, g.last, g.sealed = end, counts, last, false
	if err := g.close(s.d); err != nil {
		s.c.Log.Warn("a segment cannot be cut; it is read as if it were", "file", g.name(), "err", err)
		g.sealed = true
	}
	s.used += g.size - end
}

// findMissing finds out what was in segments whose files are gone: the headers of the next ones count it. known says whether there is a
// position.
func (s *Spool) findMissing(known bool) {
	for i, after := range s.segments {
		var g segment // before it; none of an epoch of which nothing is delivered
		switch {
		case i > 0 && s.segments[i-1].epoch == after.epoch:
			g = *s.segments[i-1]
		case !known || s.floor.epoch == after.epoch:
			continue
		}
		if g.headless || after.headless || isLoss(&g) || after.first <= g.last+1 {
			continue
		}
		missing := after.earlier
		missing.sub(&g.earlier)
		missing.sub(&g.counts)
		if missing.Total() == 0 {
			continue
		}
		after.missing = missing
		after.counts.Add(&missing)
		s.c.Log.Error("files of the spool are gone; a loss record says what was in them", "before", after.name(), "records", missing.Total())
	}
}

// passOver takes from the ring what is in the spool already: a write that ended after the last run had handed its ring over. It is
// counted as taken from the ring, and not as found. The lock is held.
func (s *Spool) passOver() {
	for {
		records := s.ring.Next(maxBlock)
		n := sort.Search(len(records), func(i int) bool { return records[i].Seq() > s.w.last })
		if n == 0 {
			break
		}
		var over Tally
		for i := range records[:n] {
			over[records[i].Kind()]++
		}
		if s.ring.Ack(records[n-1].Seq()) != nil {
			break // it was handed out, and nothing has frozen the ring
		}
		s.counts.Spooled.Add(&over)
		s.counts.Found.sub(&over)
		s.w.earlier.sub(&over) // it is added to what is spooled
	}
	s.ring.Rewind()
}

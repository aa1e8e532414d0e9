package sinktest

import "github.com/rtflow/pipelined/sdk/event"

// Evict gives up the oldest records up to and including through, whatever they are, as a full ring does for a session
// record.
//
// A loss record counts what is given up. The numbers of what no run was handed are free: the sink sees a gap among them
// that ends with the loss record. If a run was handed all of it, the loss record stands at the end of the stream, since a
// number that a sink has had never stands for another record. Later evictions are counted in the same loss record, until
// it is handed out.
//
// A ring evicts nothing while the sink has records in hand; Evict panics then. It is not for a stream that repeats.
func (s *Stream) Evict(through event.Seq) {
	s.change(func() { s.evict(through, func(*event.Record, event.Seq) bool { return true }) })
}

// EvictKinds is Evict for records of some kinds, and only for those that no run was handed, as a ring does when it is short
// of room for telemetry. The other records that no run was handed move up towards through and get new numbers, so that
// what is missing is one gap, and the loss record stands at its end.
func (s *Stream) EvictKinds(through event.Seq, kinds event.KindSet) {
	s.change(func() {
		s.evict(through, func(rec *event.Record, seq event.Seq) bool { return seq > s.ever && kinds.Has(rec.Kind()) })
	})
}

// evict gives up the records up to and including through that are victims. The lock is held.
func (s *Stream) evict(through event.Seq, victim func(*event.Record, event.Seq) bool) {
	switch {
	case s.repeat > 0:
		panic("sinktest: a stream that repeats evicts nothing")
	case s.running && s.handed > s.floor:
		panic("sinktest: a ring evicts nothing while the sink has records in hand")
	}
	if s.marker <= max(s.ever, s.floor) {
		s.marker = 0
	}
	var l lost
	end := s.floor // the last number that is given up
	for seq := s.floor + 1; seq <= min(through, s.last()); seq++ {
		if rec := &s.records[seq-1]; !s.gone[seq] && seq != s.marker && victim(rec, seq) {
			l.add(rec)
			s.gone[seq] = true
			end = seq
		}
	}
	if end == s.floor {
		return
	}
	if s.marker != 0 {
		l.add(&s.records[s.marker-1])
		s.gone[s.marker] = true
		end = max(end, s.marker)
	}
	if end <= s.ever {
		s.records = append(s.records, l.record())
		s.marker = s.last()
	} else {
		s.closeGap(max(s.ever, s.floor), end, l.record())
	}
	for s.gone[s.floor+1] {
		s.floor++
	}
}

// closeGap moves the records behind from, up to and including end, that are not gone together, towards end, and puts the
// marker before them.
func (s *Stream) closeGap(from, end event.Seq, marker event.Record) {
	to := end
	for seq := end; seq > from; seq-- {
		if !s.gone[seq] {
			s.records[to-1] = s.records[seq-1]
			to--
		}
	}
	s.records[to-1], s.marker = marker, to
	for seq := from + 1; seq <= end; seq++ {
		s.gone[seq] = seq < to
	}
}

// lost is what an eviction has given up.
type lost struct {
	counts       event.LossCounts
	since, until int64
	generation   uint32
	some         bool
}

// add counts a record, or what a loss record has counted.
func (l *lost) add(rec *event.Record) {
	since := rec.Time()
	if rec.Kind() == event.Loss {
		since = rec.LossSince()
		for k, n := range rec.LossCounts() {
			l.counts[k] += n
		}
	} else {
		l.counts[rec.Kind()]++
	}
	if !l.some {
		l.since, l.generation, l.some = since, rec.Generation, true
	}
	l.since = min(l.since, since)
	l.until = max(l.until, rec.Time())
}

// record returns the loss record.
func (l *lost) record() event.Record {
	var rec event.Record
	rec.Reset(event.Loss)
	rec.Generation = l.generation
	rec.SetLoss(event.LossEvicted, 0, &l.counts, l.since, l.until)
	return rec
}

package unixsock

import (
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
)

// send sends a batch.
func (l *link) send(b sdk.Batch) error {
	first := b.Records[0].Seq()
	if !l.begun {
		l.begun = true
		if first != l.next { // records are gone that the receiver never had: it has lost track
			l.resyncBefore(first)
		}
	}
	if first <= l.again {
		l.counters.replayed.Add(uint64(min(b.Last(), l.again) - first + 1))
	}
	for i := range b.Records {
		rec := &b.Records[i]
		if err := l.add(rec); err != nil {
			return err
		}
		if len(l.out) >= writeSize {
			if err := l.flush(); err != nil {
				return err
			}
			if err := l.attend(false); err != nil {
				return err
			}
		}
	}
	return l.flush()
}

// add appends the frame of one record.
func (l *link) add(rec *event.Record) error {
	seq, before := rec.Seq(), l.next
	l.next = seq + 1
	loss := rec.Kind() == event.Loss
	lost := loss && losesSessions(rec) && !l.covered(seq)
	switch {
	case !l.Delta:
		l.out = append(l.out, rec.Frame()...)
	case loss && lost && l.loseTrack(): // the FullResync stands in its place
		return nil
	case loss:
		return l.skip(before, seq)
	case rec.Kind() == event.SessionOpen:
		l.out = eventstream.AppendOpen(l.out, eventstream.SessionOpen, seq, rec)
	case rec.Kind() == event.SessionClose:
		l.out = eventstream.AppendClose(l.out, seq, rec)
	default:
		l.out = append(l.out, rec.Frame()...)
	}
	l.last = seq
	if lost {
		l.loseTrack()
	}
	return nil
}

// losesSessions reports whether a loss record counts session records.
func losesSessions(rec *event.Record) bool {
	lost := rec.LossCounts()
	return lost[event.SessionOpen]+lost[event.SessionClose] > 0
}

// skip passes over a record that has no frame, and over what was evicted before it.
func (l *link) skip(from, to event.Seq) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.skipped.add(from, to)
	return l.acknowledge(l.acked) // there may be nothing before it that an acknowledgement is still to come for
}

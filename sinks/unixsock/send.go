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
			if err := l.resyncBefore(first); err != nil {
				return err
			}
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
			if err := l.attend(); err != nil {
				return err
			}
		}
	}
	return l.flush()
}

// add appends the frame of one record.
func (l *link) add(rec *event.Record) error {
	seq := rec.Seq()
	l.next = seq + 1
	loss := rec.Kind() == event.Loss
	if !l.Delta {
		l.out = append(l.out, rec.Frame()...)
		l.last = seq
		if loss && l.losesSessions(rec) {
			return l.resyncBefore(seq + 1)
		}
		return nil
	}
	switch {
	case loss && l.losesSessions(rec):
		l.last = seq // the FullResync stands in its place
		return l.resyncBefore(seq + 1)
	case loss:
		return l.skip(seq)
	case rec.Kind() == event.SessionOpen:
		l.out = eventstream.AppendOpen(l.out, eventstream.SessionOpen, seq, rec)
	case rec.Kind() == event.SessionClose:
		l.out = eventstream.AppendClose(l.out, seq, rec)
	default:
		l.out = append(l.out, rec.Frame()...)
	}
	l.last = seq
	return nil
}

// losesSessions reports whether session records are missing and the receiver has not just been told what lives.
func (l *link) losesSessions(rec *event.Record) bool {
	lost := rec.LossCounts()
	if lost[event.SessionOpen] == 0 && lost[event.SessionClose] == 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.owed != rec.Seq()
}

// skip passes over a record that has no frame.
func (l *link) skip(seq event.Seq) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.skipped.add(seq)
	return l.acknowledge(l.acked) // there may be nothing before it that an acknowledgement is still to come for
}

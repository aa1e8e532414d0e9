package unixsock

import (
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
)

// owed are resyncs that the receiver is not known to have: the first before the record from, the last before the record
// until. Only an acknowledgement of that record, sent behind the table, ends the debt. The zero value owes nothing.
type owed struct{ from, until event.Seq }

// resyncBefore tells the receiver that it has lost track before the record of that number, waits until it has
// acknowledged that, and sends the sessions that live. It is owed until the record is acknowledged: only then the
// receiver is known to have all of it.
func (l *link) resyncBefore(next event.Seq) error {
	number := next - 1
	l.mu.Lock()
	if l.owed.from == 0 {
		l.owed.from = next
	}
	l.owed.until = max(l.owed.until, next)
	l.resync = &number
	l.mu.Unlock()
	l.counters.resyncs.Add(1)
	l.last = max(l.last, number)
	l.out = eventstream.AppendControl(l.out, eventstream.FullResync, number)
	if err := l.flush(); err != nil {
		return err
	}
	for {
		if err := l.attend(false); err != nil {
			return err
		}
		if !l.resyncing() {
			break
		}
		<-l.wait.Done()
	}
	l.table = true
	defer func() { l.table = false }()
	lister, ok := l.stream.(sdk.SessionLister)
	if !ok {
		return nil
	}
	for rec := range lister.Sessions() {
		l.counters.sessions.Add(1)
		if l.Delta {
			l.out = eventstream.AppendOpen(l.out, eventstream.SessionUpdate, 0, rec)
		} else {
			rec.SetSeq(0)
			l.out = append(l.out, rec.Frame()...)
		}
		if len(l.out) < writeSize {
			continue
		}
		if err := l.flush(); err != nil {
			return err
		}
		if err := l.attend(false); err != nil {
			return err
		}
	}
	return l.flush()
}

// resyncing reports whether a FullResync waits for its acknowledgement.
func (l *link) resyncing() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.resync != nil
}

// owesTable reports whether a connection broke after the receiver had understood that it has lost track, and it is not
// known to have the sessions. Where it had not understood yet, what told it so is in the ring and will again.
func (l *link) owesTable() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.owed.until != 0 && l.next >= l.owed.from
}

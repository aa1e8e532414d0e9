package feed

import (
	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/sdk/event"
)

// makeRoom flushes if there is no room for another event.
func (f *Feed) makeRoom() {
	if len(f.events) == cap(f.events) {
		f.flush()
	}
}

// add returns room for an event. There is room.
func (f *Feed) add() *admission.Event {
	n := len(f.events)
	f.events = f.events[:n+1]
	return &f.events[n]
}

// opening is an open record on its way to the gate, of a session that was not answered when it was offered.
type opening struct {
	event *source.Event // of the batch at hand
	slot  int           // of the limiter
}

// flush brings the events to the rings. Open records that no ring has taken are owed until the session is answered.
func (f *Feed) flush() {
	if f.renamed {
		f.renamed = false
		f.Gate.SetGeneration(f.Names.Publish())
	}
	owed := f.lane.Flush(f.now, f.wall, f.events)
	f.events = f.events[:0]
	if owed > 0 {
		late := f.openings[len(f.openings)-owed:]
		for i := range late {
			f.owe(late[i].event, late[i].slot)
		}
		f.lane.Flush(f.now, f.wall, f.events) // of sessions that were answered by now
		f.events = f.events[:0]
	}
	f.openings = f.openings[:0]
}

// owe notes that the open record of a session is owed, unless it is due by now. It is refused if the session has ended, or is one
// that its source has no room for.
func (f *Feed) owe(e *source.Event, slot int) {
	switch {
	case e.Kept == nil || e.Kept.Ended:
		f.lane.Refuse(event.SessionOpen, slot, f.now)
	case e.Kept.Answered:
		f.opened(e, e.Kept)
	default:
		e.Kept.Owed = true
	}
}

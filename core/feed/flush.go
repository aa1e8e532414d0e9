package feed

import (
	"slices"

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
	event    *source.Event // of the batch at hand
	slot     int           // of the limiter
	index    int           // of its event among those that wait
	answered bool          // since
}

// flush brings the events to the rings. Open records that no ring has taken are owed until the session is answered.
func (f *Feed) flush() {
	if f.renamed {
		f.renamed = false
		f.Gate.SetGeneration(f.Names.Publish())
	}
	for i := range f.openings {
		if kept := f.openings[i].event.Kept; kept != nil {
			kept.Waits = 0
		}
	}
	f.openings = slices.DeleteFunc(f.openings, func(o opening) bool { return o.answered })
	owed := f.lane.Flush(f.now, f.wall, f.events)
	f.events = f.events[:0]
	for _, o := range f.openings[len(f.openings)-owed:] {
		f.owe(o.event, o.slot)
	}
	f.openings = f.openings[:0]
}

// owe notes that the open record of a session is owed. It is refused if the session has ended, or is one that its source has no
// room for.
func (f *Feed) owe(e *source.Event, slot int) {
	if e.Kept == nil || e.Kept.Ended {
		f.lane.Refuse(event.SessionOpen, slot, f.now)
		return
	}
	e.Kept.Owed = true
}

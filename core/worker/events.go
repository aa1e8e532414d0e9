package worker

import (
	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/sdk/event"
)

// opening is an open record on its way to the gate, of a session that nobody has answered yet.
type opening struct {
	key  session.Key // of the packet that created the session
	slot int         // of the limiter
	id   uint64
}

// makeRoom flushes if there is no room for another event.
func (w *Worker) makeRoom() {
	if len(w.events) == cap(w.events) {
		w.flush(w.at)
	}
}

// add adds an event with nothing in it. There is room.
func (w *Worker) add() *admission.Event {
	n := len(w.events)
	w.events = w.events[:n+1]
	e := &w.events[n]
	*e = admission.Event{}
	return e
}

// event adds an event of the kind about a packet.
func (w *Worker) event(k event.Kind, p *hook.Packet) *admission.Event {
	e := w.add()
	e.Kind = k
	e.Time = p.Time + w.offset
	e.Flow = p.Tuple
	e.InZone, e.OutZone, e.App, e.Interface = p.InZone, p.OutZone, p.App, p.Interface
	return e
}

// openedLate offers the open record of a session that both ends want, which was owed until now.
func (w *Worker) openedLate(s *session.Session) {
	w.makeRoom()
	if w.lane.Offer(event.SessionOpen, 0, w.at) {
		*w.add() = openEvent(s, w.offset)
	}
}

// closed offers the close record of a session, if its policy wants one. An open record that is still owed is refused for
// good.
func (w *Worker) closed(s *session.Session, now int64) {
	slot := w.lane.Slot(s.InZone)
	if s.OpenOwed {
		w.lane.Refuse(event.SessionOpen, slot, now)
	}
	if !s.LogClose {
		return
	}
	if len(w.events) == cap(w.events) {
		w.flush(now)
	}
	offer := w.lane.OfferUnanswered
	if s.Wanted {
		offer = w.lane.Offer
	}
	if offer(event.SessionClose, slot, now) {
		*w.add() = closeEvent(s, w.offset)
	}
}

// flush brings the events to the rings. Open records that no ring has taken are owed until both ends want the session.
func (w *Worker) flush(now int64) {
	owed := w.lane.Flush(now, now+w.offset, w.events)
	w.events = w.events[:0]
	if owed > 0 {
		for i := range w.openings[len(w.openings)-owed:] {
			w.owe(&w.openings[len(w.openings)-owed+i], now)
		}
		w.lane.Flush(now, now+w.offset, w.events) // of sessions that both ends want by now
		w.events = w.events[:0]
	}
	w.openings = w.openings[:0]
}

// owe notes that an open record is owed, unless it is due by now, or the session has ended.
func (w *Worker) owe(o *opening, now int64) {
	var s session.Session
	switch {
	case !w.Sessions.Get(&o.key, now, &s) || s.ID != o.id:
		w.lane.Refuse(event.SessionOpen, o.slot, now)
	case s.Wanted:
		w.openedLate(&s)
	default:
		w.Sessions.OweOpen(&o.key)
	}
}

// openEvent is the beginning of a session, at the time of creation.
func openEvent(s *session.Session, offset int64) admission.Event {
	return sessionEvent(event.SessionOpen, s.Created+offset, s)
}

// closeEvent is the end of a session. The record has whole seconds for the creation: rounded so that the elapsed time comes
// out right.
func closeEvent(s *session.Session, offset int64) admission.Event {
	e := sessionEvent(event.SessionClose, s.Closed+offset, s)
	e.Unanswered = !s.Wanted
	e.Created = uint32(e.Time/1e9 - max(s.Closed-s.Created, 0)/1e9)
	e.Reason = s.Reason
	e.ClientPackets, e.ClientBytes = s.ClientPackets, s.ClientBytes
	e.ServerPackets, e.ServerBytes = s.ServerPackets, s.ServerBytes
	return e
}

func sessionEvent(k event.Kind, at int64, s *session.Session) admission.Event {
	return admission.Event{
		Kind: k, Time: at, Flow: s.Client, InZone: s.InZone, OutZone: s.OutZone, App: s.App, Interface: s.Interface,
		Action: event.ActionPermit, Policy: s.Policy, SessionID: s.ID, NAT: s.NAT,
	}
}

// EncodeLive makes the record of a session that lives: a SessionOpen record with the time of creation. offset is Unix
// time minus the clock of the packets, see [Worker.Clock].
func EncodeLive(s *session.Session, offset int64, rec *event.Record) {
	e := openEvent(s, offset)
	e.Encode(rec)
}

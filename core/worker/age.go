package worker

import (
	"cmp"
	"slices"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/session"
)

// expireBatch is how many sessions a live worker ends per batch: more than a batch can begin.
const expireBatch = 2 * packet.BatchSize

// age ends the sessions that are due at now.
func (w *Worker) age(now int64) {
	if w.aged && !w.Complete {
		return
	}
	w.aged = true
	n, more := w.Sessions.Expire(w.Index, now, w.expired)
	for w.Complete && more {
		if n == len(w.expired) {
			w.expired = append(w.expired, make([]session.Session, n)...)
		}
		var got int
		got, more = w.Sessions.Expire(w.Index, now, w.expired[n:])
		n += got
	}
	w.closedAll(w.expired[:n], now)
	if w.behind = more; !more {
		w.slot = session.Slot(now)
	}
}

// closeAll ends the sessions that are left.
func (w *Worker) closeAll() {
	w.closedAll(w.Sessions.End(w.Index, w.at, nil), w.at)
}

// endLeft ends the sessions of an earlier run.
func (w *Worker) endLeft() {
	w.closedAll(w.left.sessions, w.now)
	w.left.sessions = nil
}

// end is when a session has ended: what sessions are ordered by, and a fraction of their size.
type end struct {
	closed int64
	id     uint64
	at     int // its place among the sessions
}

// closedAll offers the close records of sessions in the order of their ends, which does not depend on how the table is built.
func (w *Worker) closedAll(s []session.Session, now int64) {
	w.ends = w.ends[:0]
	for i := range s {
		w.ends = append(w.ends, end{s[i].Closed, s[i].ID, i})
	}
	slices.SortFunc(w.ends, func(a, b end) int {
		if a.closed != b.closed {
			return cmp.Compare(a.closed, b.closed)
		}
		return cmp.Compare(a.id, b.id)
	})
	for i := range w.ends {
		w.closed(&s[w.ends[i].at], now)
	}
}

// replaced offers the close record of a session that had to go while another was looked up or created.
func (w *Worker) replaced(now int64) {
	if w.old.Valid {
		w.old.Valid = false
		w.closed(&w.old.Session, now)
	}
}

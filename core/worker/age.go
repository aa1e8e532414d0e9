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
	slices.SortFunc(w.expired[:n], byClose)
	for i := range w.expired[:n] {
		w.closed(&w.expired[i], now)
	}
	if w.behind = more; !more {
		w.slot = session.Slot(now)
	}
}

// closeAll ends the sessions that are left.
func (w *Worker) closeAll() {
	left := w.Sessions.End(w.Index, w.at, nil)
	slices.SortFunc(left, byClose)
	for i := range left {
		w.closed(&left[i], w.at)
	}
}

// byClose orders sessions by their end. The order does not depend on how the table is built.
func byClose(a, b session.Session) int {
	return cmp.Or(cmp.Compare(a.Closed, b.Closed), cmp.Compare(a.ID, b.ID))
}

// replaced offers the close record of a session that had to go while another was looked up or created.
func (w *Worker) replaced(now int64) {
	if w.old.Valid {
		w.old.Valid = false
		w.closed(&w.old.Session, now)
	}
}

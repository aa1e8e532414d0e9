package worker

import (
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/session"
)

// lateSize is how many packets of one worker can wait for the first packet of their session.
const lateSize = 1024

// late holds packets that belong to no session and may not begin one, or were denied and could be answers, until the first
// packet of their session can have come: the two directions of a flow may arrive on different workers, and an answer may
// then be carried before its question. They are carried again in the order in which they came, [session.Late] after they
// arrived. Nothing allocates; when there is no room a packet is decided at once.
//
// Of a [source.Forwarder] no packet waits, and none has to: a question is sent on only if its session is in the table, and after
// that, so that an answer to it cannot be carried before.
type late struct {
	room    int // how many may wait: lateSize, or none
	entries [lateSize]lateEntry
	hashes  [lateSize]uint32 // of the flows of the entries: see follow
	head, n int
	waiting int // of the entries, those that are not done
}

type lateEntry struct {
	packet hook.Packet
	domain uint32
	rules  *Rules // that it was judged by when it came
	done   bool   // carried before its time
	denied bool   // at the session site
	denial denial
}

// wait keeps a copy of a packet and returns its entry, nil if there is no room. key is the packet's.
func (l *late) wait(p *hook.Packet, key *session.Key, rules *Rules) *lateEntry {
	if l.n == l.room {
		return nil
	}
	i := (l.head + l.n) % lateSize
	e := &l.entries[i]
	l.n++
	l.waiting++
	e.packet, e.domain, e.rules, e.denied, e.done = *p, key.Domain(), rules, false, false
	l.hashes[i] = uint32(key.Hash())
	return e
}

// due returns when the first entry is due; there is one.
func (l *late) due() int64 { return l.entries[l.head].packet.Time + int64(session.Late) }

// resolve carries the packets again that are due at now.
func (w *Worker) resolve(now int64) {
	l := w.late
	for l.n > 0 && l.due() <= now {
		e := &l.entries[l.head]
		if !e.done {
			l.waiting--
			w.created = 0
			w.carryLate(e)
			if w.created != 0 {
				w.follow(&e.packet)
			}
		}
		e.rules = nil
		l.head = (l.head + 1) % lateSize
		l.n--
	}
	w.resolved = true
}

// follow carries the waiting packets of a flow whose first has just created its session: they come before the packets that
// find the session from now on. first is the entry at the head. The hashes are looked at before the packets: whoever sends
// packets that wait does not make each session cost a look at all of them.
func (w *Worker) follow(first *hook.Packet) {
	l, reverse := w.late, first.Reverse()
	hash := l.hashes[l.head]
	for i := 1; i < l.n; i++ {
		at := (l.head + i) % lateSize
		if l.hashes[at] != hash {
			continue
		}
		e := &l.entries[at]
		p := &e.packet
		if !e.done && (p.SrcPort == first.SrcPort && p.Tuple == first.Tuple || p.SrcPort == reverse.SrcPort && p.Tuple == reverse) {
			e.done = true
			l.waiting--
			w.carryLate(e)
		}
	}
}

// carryLate carries a packet whose time to wait is over to its end, by the rules that it came under.
func (w *Worker) carryLate(e *lateEntry) {
	if e.rules == w.current {
		w.finish(&e.packet, w.decideLate(e))
		return
	}
	w.publishDenied()
	current := w.current
	w.use(e.rules)
	w.finish(&e.packet, w.decideLate(e))
	w.publishDenied()
	w.use(current)
}

// decideLate decides what becomes of a packet whose time to wait is over.
func (w *Worker) decideLate(e *lateEntry) hook.Verdict {
	p := &e.packet
	w.key = &w.lateKey
	w.Sessions.SetKey(w.key, &p.Tuple, e.domain)
	if !e.denied {
		v, _ := w.session(p, true)
		return v
	}
	var hit session.Hit
	if w.Sessions.Lookup(w.key, &p.Headers, p.Time, &hit) {
		if hit.OpenDue {
			w.openDue(p.Time)
		}
		p.OutZone, p.App = hit.OutZone, hit.App
		return hook.Pass
	}
	if w.answersDoubtful(p) || w.answersUnkept(p) {
		return hook.Pass
	}
	w.denied(p, &e.denial)
	return e.denial.verdict
}

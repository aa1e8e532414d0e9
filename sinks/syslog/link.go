package syslog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
)

// writeSize is how many bytes are collected for a write while there are more records. What comes with each write, the question what is
// acknowledged and the switch to whoever waits for room in the ring, costs more than what a smaller buffer would save in the cache.
const writeSize = 256 << 10

// link is one address. Its fields are for the goroutine of Run, but for those under the lock.
type link struct {
	address address
	dialer  dialer
	counts  *counts

	maxRefusals int // of a record, before it is given up; 0: never

	// acked is the last record that this address has, and everything before it. It outlives a run: with the strategy all,
	// addresses are not equally far.
	acked event.Seq
	pause pause // between attempts to connect, strategy all
	told  bool  // that it is down
	rest  rest  // strategy failover

	// refused is the record that the collector refused last while it took others.
	refused struct {
		seq   event.Seq
		times int
		why   string
		told  bool
	}
	search search
	stall  stall
	// hasty says that the peer has ended the last connection at once: it does not understand us, or has nobody behind it.
	// What its kernel acknowledges means nothing then. TCP and TLS.
	hasty bool

	// Of the open connection.
	conn     conn
	letGo    func() bool // ends the watch for the end of the run
	buf      []byte      // framed, not sent
	pending  int         // messages in it
	marks    marks
	since    time.Time
	took     bool      // something was acknowledged
	head     event.Seq // the first record
	doubted  time.Time // since when what the kernel acknowledges is, or was, not believed
	progress time.Time // when something was last acknowledged, or was sent while nothing was on its way
	highest  event.Seq // of all connections: what is below was sent before

	unacked atomic.Int64

	mu    sync.Mutex
	shown AddressStatus
}

func (l *link) up() bool { return l.conn != nil }

// attach begins with a new connection, until ctx ends. acknowledge is called when something was acknowledged during a send.
func (l *link) attach(ctx context.Context, c conn, acknowledge func()) {
	c.whileBlocked(func() error {
		moved, err := l.settle(time.Now())
		if err == nil && moved {
			acknowledge()
		}
		if errors.Is(err, errHangs) {
			return err
		}
		return nil // another error will come up again
	})
	l.conn, l.told, l.since, l.took, l.head = c, false, time.Now(), false, 0
	l.doubted = l.since
	l.search.begin()
	l.stall.begin(l.since)
	l.letGo = context.AfterFunc(ctx, c.interrupt)
	l.counts.connections.Add(1)
	p := c.peer()
	l.show(Connected, func(s *AddressStatus) { s.Peer, s.TLS, s.PathMTU = p.remote, p.tls, p.pathMTU })
}

// frame formats records of one generation and frames them: the first, and more until much is framed or as many are on their way as may be.
// It returns how many those are.
func (l *link) frame(records []event.Record, enc format.Encoder, names *event.Names) (n int) {
	most := min(len(records), l.conn.limit()-l.marks.len())
	b, end := l.buf, uint64(0)
	for {
		rec := &records[n]
		b, end = l.conn.tail(enc.Append(l.conn.head(b, rec.Kind()), rec, names))
		l.marks.push(end, rec.Seq())
		n++
		if n >= most || len(b) >= writeSize || records[n].Generation != rec.Generation {
			break
		}
	}
	l.buf = b
	l.framed(records[:n])
	return n
}

// frameCopy frames a record, the only one of records, whose message is formatted already.
func (l *link) frameCopy(records []event.Record, msg []byte) {
	rec := &records[0]
	b, end := l.conn.tail(append(l.conn.head(l.buf, rec.Kind()), msg...))
	l.buf = b
	l.marks.push(end, rec.Seq())
	l.framed(records)
}

// framed notes which records have been framed.
func (l *link) framed(records []event.Record) {
	first, last := records[0].Seq(), records[len(records)-1].Seq()
	if l.head == 0 {
		l.head = first
	}
	l.search.add(first, last, len(records))
	l.pending += len(records)
	for i := 0; i < len(records) && records[i].Seq() <= l.highest; i++ {
		l.counts.repeated.Add(1)
	}
	l.highest = max(l.highest, last)
}

// skip notes a record that is not sent: it is over with the one before it.
func (l *link) skip(seq event.Seq) { l.push(l.conn.position(), seq) }

// hold notes a record that is not sent now.
func (l *link) hold(seq event.Seq) { l.push(held, seq) }

func (l *link) push(end uint64, seq event.Seq) {
	if l.head == 0 {
		l.head = seq
	}
	l.marks.push(end, seq)
}

// full reports whether no more records may be framed until some were acknowledged.
func (l *link) full() bool { return l.marks.len() >= l.conn.limit() || l.search.full() }

// byKernel reports whether what the collector's kernel has is all that is known of delivery.
func (l *link) byKernel() bool { return l.address.connected() && !l.conn.answers() }

// flush sends what is framed.
func (l *link) flush(now time.Time) error {
	if len(l.buf) == 0 {
		return nil
	}
	if l.unacked.Load() == 0 {
		l.progress = now
	}
	messages := l.pending
	l.search.sent = true
	l.pending = 0 // on their way from here on: the send may settle
	l.unacked.Store(int64(l.marks.len()))
	err := l.conn.send(l.buf)
	if err == nil {
		l.counts.messages.Add(uint64(messages))
		l.counts.bytes.Add(uint64(len(l.buf)))
	}
	l.buf = l.buf[:0]
	return err
}

// settle asks what the peer has, and reports whether that is more than before.
func (l *link) settle(now time.Time) (moved bool, err error) {
	if l.marks.len() == 0 {
		return false, nil
	}
	position, err := l.conn.acked()
	if err != nil {
		return false, err
	}
	framed := l.conn.position()
	if l.byKernel() {
		if err := l.stall.look(position, framed, now); err != nil {
			return false, err
		}
		if l.hasty && !l.search.on && now.Sub(l.doubted) < trustAfter || l.stall.doubts(position, now) {
			position = 0
		}
		position = l.search.believe(position, framed, now)
		if l.search.on && l.conn.failed() != nil {
			position = 0
		}
	}
	if l.search.on {
		if err := l.try(position >= framed, now); err != nil {
			return false, err
		}
	}
	if last := l.marks.release(position); last > 0 {
		l.acked = max(l.acked, last)
		if !l.took { // why the last connection ended is of no interest any more
			l.show(Connected, func(s *AddressStatus) { s.Error = "" })
		}
		l.progress, l.took = now, true
		l.unacked.Store(int64(l.marks.len() - l.pending))
		return true, nil
	}
	if limit := l.conn.patience(); limit > 0 && l.unacked.Load() > 0 && now.Sub(l.progress) > limit {
		return false, fmt.Errorf("the collector has acknowledged nothing for %v", limit)
	}
	return false, nil
}

// try goes on with the search: taken says that the collector has what is on its way.
func (l *link) try(taken bool, now time.Time) error {
	switch {
	case taken && l.search.sent && l.search.n > 0:
		err := l.search.stood()
		if !l.search.on && l.byKernel() {
			l.hasty, l.doubted = true, now // at full speed from here on: that must stand, too
		}
		return err
	case l.search.other && l.search.n == 0 && now.Sub(l.since) > otherWait:
		return l.search.noOther()
	}
	return nil
}

// ended notes that the connection has ended, and why, before [link.lose].
func (l *link) ended(why error, now time.Time) {
	if l.byKernel() {
		l.hasty = now.Sub(l.doubted) < trustAfter
		l.stall.ended(errors.Is(why, unix.ETIMEDOUT), now)
	}
	_, refused := errors.AsType[*refusedError](why)
	if !l.address.connected() || !endedByPeer(why) && !(refused && l.search.on) {
		return
	}
	if seq := l.search.ended(l.head, l.took); seq != 0 {
		l.refused.seq, l.refused.times, l.refused.told = seq, l.maxRefusals, false
		l.refused.why = "the collector ends the connection at it"
		if refused {
			l.refused.why = why.Error()
		}
	}
}

// through returns up to where this address has everything of what was handed out.
func (l *link) through(handed event.Seq) event.Seq {
	if l.up() && l.marks.len() == 0 {
		return handed
	}
	return min(l.acked, handed)
}

// lose gives the connection up after an error, and notes which record the collector refused, if it did. What the peer has was
// settled before.
func (l *link) lose(err error) {
	if r, ok := errors.AsType[*refusedError](err); ok && r.others {
		l.note(l.marks.at(r.position), r.text)
	}
	l.conn.drop()
	l.detach()
	if errors.Is(err, context.Canceled) {
		l.show(Standby, nil)
		return
	}
	l.show(Down, func(s *AddressStatus) { s.Error = err.Error() })
}

// note counts how often the collector has refused a record.
func (l *link) note(seq event.Seq, why string) {
	if seq == 0 {
		return
	}
	if l.refused.seq != seq {
		l.refused.seq, l.refused.times, l.refused.told = seq, 0, false
	}
	l.refused.times++
	l.refused.why = why
}

// givenUp reports whether the collector has refused that record often enough.
func (l *link) givenUp(seq event.Seq) bool {
	return l.maxRefusals > 0 && l.refused.seq == seq && l.refused.times >= l.maxRefusals
}

// leave ends the connection in order.
func (l *link) leave() error {
	defer l.show(Standby, nil)
	defer l.detach()
	if l.conn.failed() != nil { // the peer has been faster
		l.conn.drop()
		return nil
	}
	return l.conn.finish()
}

func (l *link) detach() {
	l.letGo()
	l.conn = nil
	l.buf, l.pending = l.buf[:0], 0
	l.marks.clear()
	l.unacked.Store(0)
}

// show notes a state for Status.
func (l *link) show(state State, more func(*AddressStatus)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shown.State != state {
		l.shown.State, l.shown.Since = state, time.Now()
	}
	if more != nil {
		more(&l.shown)
	}
}

func (l *link) status() AddressStatus {
	l.mu.Lock()
	st := l.shown
	l.mu.Unlock()
	if st.State != Connected {
		st.Peer, st.TLS, st.PathMTU = "", "", 0
	}
	st.Unacknowledged = l.unacked.Load()
	return st
}

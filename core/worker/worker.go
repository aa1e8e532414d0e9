package worker

import (
	"cmp"
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/sdk/event"
)

// Config is what a worker is built from.
type Config struct {
	Index    int // from 0, unique among the workers of a pipeline
	Workers  int // of the pipeline
	Source   source.FrameSource
	Gate     *admission.Gate
	Zones    *zone.Table
	Apps     *application.Table
	Sessions *session.Table
	Ingress  []hook.Hook
	Session  []hook.SessionHook
	Egress   []hook.Hook
	// Separate is what tells flows of the same addresses and ports apart.
	Separate session.Separate
	// SynCheck drops TCP packets without SYN that belong to no session. Otherwise they may join one in the middle.
	SynCheck bool
	// Complete makes the worker end every session that is due before it goes on to the next packet, however many, in the
	// order of their ends: for captures. A live worker ends a bounded number per batch.
	Complete bool
	// CloseAtEnd makes the worker end the sessions that are left when the source ends or fails, at the time of the last packet.
	CloseAtEnd bool
	// Seed keys the worker's own hashes. The same seed and the same packets give the same events.
	Seed uint64
}

const (
	// idle is how long a worker waits for frames before it looks after sessions and losses.
	idle = time.Second
	// expireBatch is how many sessions a live worker ends per batch: more than a batch can begin.
	expireBatch = 2 * packet.BatchSize
	// What a reference to Worker.ended is for.
	closedRef = 1 << 31
	openedRef = 1 << 30
)

// Worker carries the packets of one queue.
type Worker struct {
	Config
	lane     *admission.Lane
	batch    packet.Batch
	packets  [packet.BatchSize]hook.Packet
	found    [admission.MaxPending]found
	nFound   int
	ended    [admission.MaxPending]session.Session // that records are made from, of the end or of the beginning
	nEnded   int
	expired  []session.Session // room for those that are due; grows only if Complete, at most to as many as there are
	frags    *fragments
	late     *late
	resolved bool        // since the counters were published
	domain   uint32      // of the packet at hand
	key      session.Key // of the packet at hand, or of the packet that an ICMP error quotes
	at       int64       // time of the packet or batch at hand: never decreases
	created  uint64
	reverse  hook.Packet
	now      int64
	offset   int64 // Unix time minus the source's clock
	slot     int64 // wheel slot up to which sessions were ended
	aged     bool  // in this batch
	behind   bool  // more sessions were due than one batch ends
	nextID   uint64
	idStride uint64
	old      session.Replaced
	// What hooks fill in. As local variables they would be allocated for every call, because a call of an interface may
	// keep what it is given.
	finding hook.Finding
	permit  hook.Permit

	counts    counts
	published publishedCounts
}

// found is an event on its way to the gate, with what its record is made from. What later call sites may still change in
// the packet is copied when the event is offered: a record says what was known at its call site, however late it is made.
type found struct {
	packet           *hook.Packet
	id               uint64 // session id
	policy           uint32
	finding          hook.Finding
	srcPort, dstPort uint16
	outZone, app     uint16
	kind             event.Kind
}

// New returns a worker. It does nothing until Run.
func New(c Config) *Worker {
	return &Worker{
		Config: c, frags: newFragments(c.Seed), late: new(late), nextID: uint64(c.Index) + 1, idStride: uint64(c.Workers),
		expired: make([]session.Session, expireBatch),
	}
}

// Run carries packets until the source ends (nil), fails (its error) or ctx ends (nil). It flushes what is pending and
// announces every loss before it returns.
func (w *Worker) Run(ctx context.Context) error {
	w.lane = w.Gate.Lane(ctx, w.Index, w)
	for {
		err := w.step(ctx)
		if err == nil && ctx.Err() == nil {
			continue
		}
		w.resolve(math.MaxInt64)
		if w.CloseAtEnd && ctx.Err() == nil {
			w.closeAll()
		}
		w.flush(w.at)
		w.lane.Finish(w.now, w.now+w.offset)
		w.publish()
		if errors.Is(err, io.EOF) || ctx.Err() != nil {
			return nil
		}
		return err
	}
}

// step receives once and carries what came.
func (w *Worker) step(ctx context.Context) error {
	wait := idle
	if w.behind {
		wait = 0 // look for packets, then end more sessions
	} else if w.late.n > 0 {
		wait = min(max(time.Duration(w.late.due()-w.now), 0), idle)
	}
	w.batch.N = 0
	err := w.Source.Receive(ctx, &w.batch, wait)
	if w.batch.N > 0 || err == nil {
		w.process()
		w.Source.Release()
	}
	w.published.beats.Add(1)
	return err
}

// process carries one batch.
func (w *Worker) process() {
	b := &w.batch
	w.now = max(w.now, b.Now)
	w.offset = b.Wall - b.Now
	w.aged = false
	w.published.now.Store(w.now) // sessions of this batch may be listed before it is done
	w.published.offset.Store(w.offset)
	for i := range b.Frames[:b.N] {
		f := &b.Frames[i]
		w.at = max(w.at, f.Time)
		if w.Complete && w.lane.Due(f.Time) {
			w.flush(f.Time)
		}
		if w.late.n > 0 && w.late.due() <= w.at {
			w.resolve(w.at)
		}
		if session.Slot(f.Time) != w.slot {
			w.age(f.Time)
		}
		w.frame(f, &w.packets[i])
	}
	w.at = max(w.at, w.now)
	if w.late.n > 0 && w.late.due() <= w.at {
		w.resolve(w.at)
	}
	if b.N == 0 && session.Slot(w.now) != w.slot {
		w.age(w.now)
	}
	w.flush(w.now)
	w.publish()
}

// flush brings what is pending to the rings.
func (w *Worker) flush(now int64) {
	w.lane.Flush(now, now+w.offset)
	w.nFound, w.nEnded = 0, 0
}

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
		w.sessionClosed(&w.expired[i], now)
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
		w.sessionClosed(&left[i], w.at)
	}
}

// byClose orders sessions by their end. The order does not depend on how the table is built.
func byClose(a, b session.Session) int {
	return cmp.Or(cmp.Compare(a.Closed, b.Closed), cmp.Compare(a.ID, b.ID))
}

// sessionClosed offers the close record of a session, if its policy wants one. An open record that is still owed is
// refused for good.
func (w *Worker) sessionClosed(s *session.Session, now int64) {
	slot := w.lane.Slot(s.InZone)
	if s.OpenOwed {
		w.lane.Refuse(event.SessionOpen, slot, now)
	}
	if !s.LogClose {
		return
	}
	if w.lane.Full() {
		w.flush(now)
	}
	w.ended[w.nEnded] = *s
	offer := w.lane.OfferUnanswered
	if s.Wanted {
		offer = w.lane.Offer
	}
	if offer(event.SessionClose, slot, now, closedRef|uint32(w.nEnded)) {
		w.nEnded++
	}
}

// opened offers the open record of a session that a packet has just created; id is that of the session, and first the
// packet as the client would have sent it. Forged addresses create as many sessions as they like: what the limiter refuses
// is owed until both ends want the session.
func (w *Worker) opened(first *hook.Packet, id uint64) {
	if w.lane.Full() {
		w.flush(w.at)
	}
	w.note(first, found{kind: event.SessionOpen, id: id, policy: w.permit.Policy})
	if w.lane.TryUnanswered(event.SessionOpen, w.lane.Slot(first.InZone), w.at, uint32(w.nFound)) {
		w.nFound++
	} else {
		w.Sessions.OweOpen(&w.key)
	}
}

// lookup finds the session of a packet, whose key it sets, and offers the open record that has become due with it.
func (w *Worker) lookup(p *hook.Packet, hit *session.Hit) bool {
	w.Sessions.SetKey(&w.key, &p.Tuple, w.domain)
	if !w.Sessions.Lookup(&w.key, &p.Headers, p.Time, hit) {
		return false
	}
	if hit.OpenDue {
		if w.lane.Full() {
			w.flush(w.at)
		}
		if w.Sessions.Get(&w.key, p.Time, &w.ended[w.nEnded]) &&
			w.lane.Offer(event.SessionOpen, 0, w.at, openedRef|uint32(w.nEnded)) {
			w.nEnded++
		}
	}
	return true
}

// offer offers one event about a packet.
func (w *Worker) offer(p *hook.Packet, e found) {
	if w.lane.Full() {
		w.flush(w.at)
	}
	w.note(p, e)
	if w.lane.Offer(e.kind, w.lane.Slot(p.InZone), w.at, uint32(w.nFound)) {
		w.nFound++
	}
}

// note keeps what the record of an event about a packet is made from.
func (w *Worker) note(p *hook.Packet, e found) {
	e.packet, e.srcPort, e.dstPort, e.outZone, e.app = p, p.SrcPort, p.DstPort, p.OutZone, p.App
	w.found[w.nFound] = e
}

// frame carries one frame past the call sites.
func (w *Worker) frame(f *packet.Frame, p *hook.Packet) {
	w.counts.received++
	w.counts.bytes += uint64(f.Wire)
	cause := packet.DecodeLink(f.Link, f.Data, f.Wire, &p.Headers)
	if p.Family == 0 {
		w.counts.causes[cause]++ // no IP header to judge it by
		return
	}
	p.Time = f.Time
	p.Worker = w.Index
	p.OutZone, p.App = 0, 0
	p.InZone, p.Interface = w.Zones.Ingress(f.Interface, p.VLAN, &p.Src, p.Family)

	if w.inspect(w.Ingress, p) != hook.Pass {
		w.counts.dropped[hook.Ingress]++
		return
	}
	if cause != packet.OK {
		w.counts.causes[cause]++
		return
	}
	w.domain = w.Separate.Domain(&p.Headers, p.InZone)
	if v, waits := w.session(p, false); !waits {
		w.finish(p, v)
	}
}

// finish carries a packet on that has passed the session site with that verdict.
func (w *Worker) finish(p *hook.Packet, v hook.Verdict) {
	if v != hook.Pass {
		w.counts.dropped[hook.Session]++
		return
	}
	if w.inspect(w.Egress, p) != hook.Pass {
		w.counts.dropped[hook.Egress]++
		return
	}
	w.counts.passed++
}

// inspect calls the hooks of a site until one does not let the packet pass.
func (w *Worker) inspect(hooks []hook.Hook, p *hook.Packet) hook.Verdict {
	for _, h := range hooks {
		w.finding = hook.Finding{}
		v := h.Inspect(p, &w.finding)
		if w.finding.Found {
			w.offer(p, found{kind: w.finding.Kind, finding: w.finding})
		}
		if v != hook.Pass {
			return v
		}
	}
	return hook.Pass
}

// replaced makes the close record of a session that had to go while another was looked up or created.
func (w *Worker) replaced(now int64) {
	if w.old.Valid {
		w.old.Valid = false
		w.sessionClosed(&w.old.Session, now)
	}
}

// Beats counts the loops of the worker: a watchdog sees by it that the worker is alive. Any goroutine.
func (w *Worker) Beats() uint64 { return w.published.beats.Load() }

// Clock returns the time of the worker's last batch, which is at most about a second ago while it runs, and Unix time minus
// that clock, in nanoseconds. Any goroutine.
func (w *Worker) Clock() (now, offset int64) {
	return w.published.now.Load(), w.published.offset.Load()
}

// Counts returns what the worker has published last. Any goroutine.
func (w *Worker) Counts() Counts { return w.published.counts() }

// counts are the worker's own counters, in plain words; publish copies them once per batch.
type counts struct {
	received, bytes, passed uint64
	dropped                 [hook.NumSites]uint64
	causes                  [packet.NumCauses]uint64
	orphans, strays         uint64
	outOfState, unkept      uint64
}

// Counts is what became of the packets of one worker: Received = Forwarded + Passed + Dropped (all sites) + Refused (all
// causes but NotIP, which is part of Passed). Packets that wait, see [late], are in none of them but Bytes.
type Counts struct {
	Received, Bytes, Forwarded, Passed uint64
	Dropped                            [hook.NumSites]uint64
	Causes                             [packet.NumCauses]uint64
	// Orphans are later fragments whose first was not seen or has no session; part of Passed.
	Orphans uint64
	// Strays are packets that belong to no session and may not begin one: resets (part of Passed) and ICMP errors (part
	// of Dropped).
	Strays uint64
	// OutOfState are packets that answer something no session was seen of, and that join none: TCP without SYN or with SYN
	// and ACK, which no policy permits in either direction or SynCheck refuses, and echo replies; part of Dropped.
	OutOfState uint64
	// Unkept are answers to packets whose session the table had no room for, or gave up, which a policy would have denied;
	// part of Passed.
	Unkept uint64
}

type publishedCounts struct {
	beats                   atomic.Uint64
	now, offset             atomic.Int64
	received, bytes, passed atomic.Uint64
	dropped                 [hook.NumSites]atomic.Uint64
	causes                  [packet.NumCauses]atomic.Uint64
	orphans, strays         atomic.Uint64
	outOfState, unkept      atomic.Uint64
}

func (w *Worker) publish() {
	from, to := &w.counts, &w.published
	received := from.received - uint64(w.late.waiting) // those that wait are in no other counter yet
	if to.received.Load() == received && !w.resolved {
		return
	}
	w.resolved = false
	to.received.Store(received)
	to.bytes.Store(from.bytes)
	to.passed.Store(from.passed)
	store(to.dropped[:], from.dropped[:])
	store(to.causes[:], from.causes[:])
	to.orphans.Store(from.orphans)
	to.strays.Store(from.strays)
	to.outOfState.Store(from.outOfState)
	to.unkept.Store(from.unkept)
}

// store writes only what has changed: a store to shared memory costs more than a load.
func store(to []atomic.Uint64, from []uint64) {
	for i, n := range from {
		if to[i].Load() != n {
			to[i].Store(n)
		}
	}
}

func (p *publishedCounts) counts() (c Counts) {
	c.Received, c.Bytes = p.received.Load(), p.bytes.Load()
	for i := range c.Dropped {
		c.Dropped[i] = p.dropped[i].Load()
	}
	for i := range c.Causes {
		c.Causes[i] = p.causes[i].Load()
	}
	c.Passed = p.passed.Load() + c.Causes[packet.NotIP]
	c.Orphans, c.Strays = p.orphans.Load(), p.strays.Load()
	c.OutOfState, c.Unkept = p.outOfState.Load(), p.unkept.Load()
	return c
}

// Refused adds up the causes for which frames were refused.
func (c *Counts) Refused() (n uint64) {
	for cause, v := range c.Causes {
		if packet.Cause(cause) != packet.NotIP {
			n += v
		}
	}
	return n
}

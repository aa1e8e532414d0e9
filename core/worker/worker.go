package worker

import (
	"cmp"
	"context"
	"errors"
	"io"
	"math"
	"sync/atomic"
	"time"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/core/translate"
	"github.com/rtflow/pipelined/core/zone"
)

// Config is what a worker is built from.
type Config struct {
	Index    int // from 0, unique among the workers of a pipeline
	Lane     int // of the gate
	Source   source.FrameSource
	Gate     *admission.Gate
	Zones    *zone.Table
	Apps     *application.Table
	Sessions *session.Table
	Rules
	// Separate is what tells flows of the same addresses and ports apart.
	Separate session.Separate
	// Adopt is for how long after its start a worker of a source in the path lets them join nevertheless, see [Rules.SynCheck].
	Adopt time.Duration
	// Asker asks how new sessions are translated; nil: nobody does.
	Asker *translate.Asker
	// Complete makes the worker end every session that is due before it goes on to the next packet, however many, in the
	// order of their ends: for captures. A live worker ends a bounded number per batch.
	Complete bool
	// CloseAtEnd makes the worker end the sessions that are left when the source ends or fails, at the time of the last packet.
	CloseAtEnd bool
	// Carrier is the place of the source among the carriers of the sessions, see [session.Table.AddCarrier], if it is a
	// [source.Offloader]; -1: it has none, and nothing is offloaded.
	Carrier int
	// Seed keys the worker's own hashes. The same seed and the same packets give the same events.
	Seed uint64
}

// Rules are what packets are judged by: those of one generation of the configuration.
type Rules struct {
	Ingress []hook.Hook
	Session []hook.SessionHook
	Egress  []hook.Hook
	// SynCheck drops TCP packets without SYN that belong to no session; nil: if the source is in their path. Otherwise they may join
	// one in the middle.
	SynCheck *bool
	// Unlogged makes sessions that are not told of, neither their beginnings nor their ends.
	Unlogged bool
	// Alone says that there is one worker: all packets of a session come to it, in their order.
	Alone bool
	// Zones are those that the hooks know; nil: those of the Config. The indexes of interfaces are the same.
	Zones *zone.Table
}

// idle is how long a worker waits for frames before it looks after sessions and losses.
const idle = time.Second

// Worker carries the packets of one queue.
type Worker struct {
	Config
	next     atomic.Pointer[Rules] // stored by SetRules
	taken    *Rules                // that packets come under
	zones    *zone.Table           // of the current ones
	oldest   *Rules                // that were published
	current  *Rules                // of which Config.Rules is a copy: taken, or those that the packet at hand came under
	lane     *admission.Lane
	batch    packet.Batch
	packets  [packet.BatchSize]hook.Packet
	events   []admission.Event // that wait for the next flush; never grows
	openings []opening         // by unanswered open record among events; never grows
	expired  []session.Session // room for those that are due; grows only if Complete, at most to as many as there are
	ends     []end             // of those; grows with them
	frags    *fragments
	denials  *denials
	sparing  *spares
	late     *late
	causes   [packet.BatchSize]packet.Cause // by packet
	keys     [packet.BatchSize]session.Key  // by packet
	key      *session.Key                   // of the packet at hand, or of the packet that an ICMP error quotes
	lateKey  session.Key                    // that key, if the packet has waited
	at       int64                          // time of the packet or batch at hand: never decreases
	created  uint64
	reverse  hook.Packet
	now      int64
	offset   int64  // Unix time minus the source's clock
	slot     int64  // wheel slot up to which sessions were ended
	aged     bool   // in this batch
	behind   bool   // more sessions were due than one batch ends
	nextID   uint64 // of those that are reserved up to lastID
	lastID   uint64
	left     left
	old      session.Replaced

	// Of a source in the path of its frames, what becomes of each.
	forwarder  source.Forwarder // nil: another source
	verdicts   [packet.BatchSize]source.Verdict
	let        counter // what counts packets that are let through
	adoptUntil int64   // 0 = not started

	offloader source.Offloader // nil: another source
	place     int              // of the packet at hand in the batch

	// What hooks fill in. As local variables they would be allocated for every call, because a call of an interface may
	// keep what it is given.
	finding hook.Finding
	permit  hook.Permit
	denial  denial

	anyDenied   bool              // since what the hooks at the session site count was published
	asked       int               // packets of the batch that the hooks at the session site were asked about
	prefetchers []hook.Prefetcher // among those of the rules that are taken
	firsts      firsts

	counts    counts
	zoned     zoneCounts
	resolved  bool // since the counters were published
	published published
}

// New returns a worker. It does nothing until Run.
func New(c Config) *Worker {
	w := &Worker{
		Config: c, let: passed, current: &c.Rules, taken: &c.Rules, frags: newFragments(c.Seed), denials: new(denials), late: new(late), sparing: new(spares),
		events:   make([]admission.Event, 0, admission.MaxBatch),
		openings: make([]opening, 0, admission.MaxBatch),
		expired:  make([]session.Session, expireBatch),
		ends:     make([]end, 0, expireBatch),
	}
	for i := range w.packets {
		w.packets[i].Place = i
	}
	w.nextID, w.lastID = c.Sessions.ReserveIDs()
	w.next.Store(w.taken)
	w.use(w.taken)
	w.findPrefetchers()
	w.sparing.take(w.taken.Ingress)
	w.publishRules()
	w.late.room = lateSize
	if f, ok := c.Source.(source.Forwarder); ok {
		w.forwarder, w.let, w.late.room = f, forwarded, 0
	}
	if c.Carrier >= 0 {
		w.offloader, _ = c.Source.(source.Offloader)
	}
	return w
}

// SetRules gives the worker other rules, which must not change any more. It takes them over between two batches: a packet is judged by
// one set of rules at all call sites, also one that waits. What the source carries by itself comes to the worker from here on, until these
// rules spare it. Safe for concurrent use.
func (w *Worker) SetRules(r *Rules) {
	w.next.Store(r)
	if w.offloader != nil {
		w.offloader.HoldAll()
	}
}

// left are sessions of an earlier run, whose end is still to be told.
type left struct {
	sessions  []session.Session
	now, wall int64 // when they were ended, on the source's clock and in Unix time
}

// End makes the worker tell, before everything else, that these sessions have ended, at now on the source's clock, which was then wall in
// Unix time. It is called before Run.
func (w *Worker) End(s []session.Session, now, wall int64) { w.left = left{s, now, wall} }

// useID goes on to the next id for a session, since the present one is used.
func (w *Worker) useID() {
	if w.nextID++; w.nextID > w.lastID {
		w.nextID, w.lastID = w.Sessions.ReserveIDs()
	}
}

// take goes over to other rules. What hooks have denied or spared is forgotten: these may not.
func (w *Worker) take(r *Rules) {
	w.taken = r
	w.use(r)
	w.findPrefetchers()
	if w.offloader != nil {
		w.offloader.HoldAll() // what the former ones have spared since
	}
	*w.denials = denials{}
	w.sparing.take(r.Ingress)
}

// use judges by these rules from here on.
func (w *Worker) use(r *Rules) {
	w.current, w.Rules = r, *r
	w.zones = cmp.Or(r.Zones, w.Config.Zones)
	w.zoned.grow(w.zones)
}

// Run carries packets until the source ends (nil), fails (its error) or ctx ends (nil). It flushes what is pending and
// announces every loss before it returns.
func (w *Worker) Run(ctx context.Context) error {
	w.lane = w.Gate.Lane(ctx, w.Lane)
	for {
		err := w.step(ctx)
		if err == nil && ctx.Err() == nil {
			continue
		}
		if w.left.sessions != nil { // nothing was received that would say what time it is
			w.now, w.offset = w.left.now, w.left.wall-w.left.now
			w.at = w.now
			w.endLeft()
		}
		w.resolve(math.MaxInt64)
		if w.CloseAtEnd && ctx.Err() == nil {
			w.closeAll()
		}
		w.flush(w.at)
		w.lane.Finish(w.now, w.now+w.offset)
		w.publish()
		w.zoned.publish()
		w.published.rules.Store(nil)
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
		w.lane.Sync()
		if next := w.next.Load(); next != w.taken {
			w.take(next)
		}
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
	if w.adoptUntil == 0 && w.forwarder != nil {
		w.adoptUntil = w.now + int64(w.Adopt)
	}
	w.aged = false
	w.published.now.Store(w.now) // sessions of this batch may be listed before it is done
	w.published.offset.Store(w.offset)
	if w.left.sessions != nil {
		w.endLeft()
	}
	if !w.Complete { // which waits for sinks
		w.Sessions.Enter()
	}
	w.decode()
	for i := range min(b.N, packet.BatchSize) { // the compiler then checks no bounds
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
		w.place, w.key = i, &w.keys[i]
		if v := w.frame(&w.packets[i], w.causes[i]); w.forwarder != nil {
			w.verdicts[i] = verdicts[v]
		}
	}
	w.Sessions.Leave()
	if w.forwarder != nil && b.N > 0 {
		w.forward()
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

// verdicts are those of the hooks as a source has them.
var verdicts = [...]source.Verdict{hook.Pass: source.Forward, hook.Drop: source.Drop, hook.Reject: source.Reject, hook.Prohibit: source.Prohibit}

// forward has the source act on the verdicts about the batch.
func (w *Worker) forward() {
	lost := uint64(w.forwarder.Forward(w.verdicts[:w.batch.N]))
	w.counts[forwarded] -= lost // frame has counted them
	w.counts[notSent] += lost
}

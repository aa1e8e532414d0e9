package sim

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
)

// witness records what a sink's receivers were handed, over all connections and all runs of the program, and checks it as it
// comes.
type witness struct {
	w    *world
	plan *sinkPlan
	name string

	mu     sync.Mutex
	stored *memory             // what the program has stored
	held   *memory             // what it has received; the same as stored unless it stores at commits
	last   event.Seq           // last number in this run of the program, in the delta layout on this connection
	given  map[event.Seq]given // all records handed out, stored or not
	placed map[uint32]event.Seq
	sealed bool // a pause is in force: nothing may come
	digest uint64
	ending bool // the digest is complete
	count  int

	resyncs int
}

// given is a record that was handed out.
type given struct {
	id     uint32
	kind   event.Kind
	lost   event.LossCounts
	stored bool
}

// memory is the state of a receiver program.
type memory struct {
	pos      eventstream.Position
	sessions map[uint32]bool
	synced   bool        // the table is what the producer says, as far as it has come
	seqs     []event.Seq // since the last commit
}

func (m *memory) copy() *memory {
	return &memory{pos: m.pos, sessions: maps.Clone(m.sessions), synced: m.synced}
}

// maxLag is how long a record may take to a receiver that nothing happens to.
const maxLag = 100 * time.Millisecond

func newWitness(w *world, i int) *witness {
	v := &witness{
		w: w, plan: &w.plan.sinks[i], name: fmt.Sprintf("sink %d", i), given: map[event.Seq]given{}, placed: map[uint32]event.Seq{},
	}
	v.remember(&memory{sessions: map[uint32]bool{}, synced: true})
	return v
}

// remember sets what the program knows, and has stored.
func (v *witness) remember(m *memory) {
	v.stored, v.held = m, m
	if v.plan.keeps == keepsCommits {
		v.held = m.copy()
	}
}

func (v *witness) failf(format string, args ...any) { v.w.failf(v.name+": "+format, args...) }

func (v *witness) tell(format string, args ...any) { v.w.tell(v.name+": "+format, args...) }

// record takes a record.
func (v *witness) record(rec *event.Record) {
	v.mu.Lock()
	defer v.mu.Unlock()
	seq, kind := rec.Seq(), rec.Kind()
	v.note(uint64(seq), rec)
	v.tell("%d: %v", seq, kind)
	if v.sealed {
		v.failf("record %d came during a pause", seq)
	}
	if seq <= v.last {
		v.failf("P6: record %d came after %d: a duplicate, or out of order", seq, v.last)
	}
	v.last = seq
	g := given{kind: kind}
	if kind == event.Loss {
		g.lost = rec.LossCounts()
	} else {
		g.id = v.check(rec)
	}
	if before, ok := v.given[seq]; ok {
		if before.id != g.id || before.kind != kind || before.lost != g.lost {
			v.failf("P6: number %d was %v %d and is %v %d now", seq, before.kind, before.id, kind, g.id)
		}
		g.stored = before.stored
	}
	v.given[seq] = g
	v.held.seqs = append(v.held.seqs, seq)
	switch _, session := identity(rec); kind {
	case event.SessionOpen:
		v.held.sessions[session] = true
	case event.SessionClose:
		delete(v.held.sessions, session)
	}
	if v.plan.keeps != keepsCommits {
		v.held.pos.Seq = seq
		v.keep()
	}
}

// check checks that an event has happened, was let in, and is what it was, and returns its identity.
func (v *witness) check(rec *event.Record) uint32 {
	seq := rec.Seq()
	id, session := identity(rec)
	o := v.w.history.get(id)
	switch {
	case o == nil:
		v.failf("record %d is of event %d, which has not happened", seq, id)
		return 0
	case o.kind != rec.Kind() || o.session != session || o.zone != rec.InZone():
		v.failf("record %d of event %d: %v, session %d, zone %d; it was %+v", seq, id, rec.Kind(), session, rec.InZone(), *o)
	case o.limited || o.order == 0 || !v.plan.only.Has(o.kind):
		v.failf("record %d is of event %d, which must not be here: %+v", seq, id, *o)
	}
	if at, ok := v.placed[id]; ok && at != seq {
		v.failf("event %d is record %d and record %d", id, at, seq)
	}
	v.placed[id] = seq
	if !v.plan.delta {
		var want event.Record
		o.record(&want)
		if !bytes.Equal(want.Payload(), rec.Payload()) || rec.Kind() != event.PolicyDeny && want.SessionID() != rec.SessionID() {
			v.failf("record %d of event %d has changed", seq, id)
		}
	}
	if lag := time.Since(o.flushed); v.plan.trouble == none && lag > maxLag {
		v.failf("P3, P8: event %d took %v to a receiver that is well", id, lag)
	}
	return id
}

// keep stores what the program holds.
func (v *witness) keep() {
	for _, seq := range v.held.seqs {
		g := v.given[seq]
		g.stored = true
		v.given[seq] = g
	}
	v.held.seqs = v.held.seqs[:0]
	if v.plan.keeps == keepsCommits {
		v.stored = v.held.copy()
	}
}

// commit is called with a position up to which everything is to be stored.
func (v *witness) commit(pos eventstream.Position) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tell("commit %d", pos.Seq)
	v.held.pos = pos
	v.keep()
}

// forget goes back to what is stored: the program has died, or is handed everything since its last commit again.
func (v *witness) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, seq := range v.held.seqs {
		g := v.given[seq]
		if !g.stored {
			delete(v.given, seq)
		}
	}
	v.remember(v.stored)
	v.last = 0
	if !v.plan.delta {
		v.last = v.stored.pos.Seq
	}
}

// amnesia is forget for a program that stores nothing.
func (v *witness) amnesia() {
	v.forget()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.remember(&memory{sessions: map[uint32]bool{}})
	v.last = 0
}

// connected is a new connection.
func (v *witness) connected(epoch uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.plan.delta {
		v.last = 0
	} else if v.plan.keeps != keepsCommits {
		v.held.pos.Epoch = epoch
	}
}

// resync empties the table.
func (v *witness) resync() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.ending {
		v.digest = v.digest*31 + 7
	}
	v.tell("resync")
	v.resyncs++
	clear(v.held.sessions)
	v.held.synced = true
}

// session is an entry of the table.
func (v *witness) session(rec *event.Record) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.note(0, rec)
	id, session := identity(rec)
	v.tell("table: session %d", session)
	if o := v.w.history.get(id); o == nil || o.kind != event.SessionOpen || o.session != session {
		v.failf("the table has session %d, which was never opened by event %d", session, id)
	}
	v.held.sessions[session] = true
}

func (v *witness) gap(g eventstream.Gap) {
	if g.By == eventstream.Silent && !v.plan.delta {
		v.failf("P5: %d to %d are missing, and nothing says so", g.From, g.To)
	}
}

// note adds to the digest by which two runs of one seed are compared.
func (v *witness) note(seq uint64, rec *event.Record) {
	v.count++
	if v.ending {
		return
	}
	h := fnv.New64a()
	fmt.Fprint(h, v.digest, time.Now().UnixNano(), seq)
	h.Write(rec.Payload())
	v.digest = h.Sum64()
}

// seal says that a pause has reached the sink, and everything sent before it has reached the receiver; or that it is over.
func (v *witness) seal(sealed bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sealed = sealed
}

// table returns the sessions that the program knows, nil if it cannot know them.
func (v *witness) table() map[uint32]bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.held.synced {
		return nil
	}
	return maps.Clone(v.held.sessions)
}

// has reports whether the receiver has stored a record.
func (v *witness) has(seq event.Seq) bool { return v.given[seq].stored }

// received counts what is stored, by kind, and adds up what its loss records say.
func (v *witness) received() (counts [event.NumKinds]uint64, lost event.LossCounts) {
	for _, g := range v.given {
		if !g.stored {
			continue
		}
		counts[g.kind]++
		for k, n := range g.lost {
			lost[k] += n
		}
	}
	return counts, lost
}

// inOrder returns the stored numbers in order.
func (v *witness) inOrder() []event.Seq { return slices.Sorted(maps.Keys(v.given)) }

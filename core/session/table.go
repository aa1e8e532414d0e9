package session

import (
	"sync/atomic"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/flowhash"
	"github.com/rtflow/pipelined/sdk/event"
)

// Table is the flow table. Its methods are safe for concurrent use unless they say otherwise.
type Table struct {
	possession
	shards  [numShards]shard
	secret  flowhash.Key
	seconds atomic.Pointer[seconds]
	carries atomic.Bool // there are carriers, or there were
	ageing  atomic.Pointer[ageing]
	ids     atomic.Uint64 // of the sessions that there may be: the highest
	// fullAt is when a session was last refused or given up because the table was full, in ns and to a wheel slot; 0 = never.
	fullAt atomic.Int64
	// dropped are flows of which the first packet was dropped, by hash.
	dropped []dropped
}

// New builds a table. Its memory, about 171 bytes per session, is reserved at once and touched as sessions come.
func New(c Config) *Table {
	t := &Table{secret: flowhash.New(c.Seed)}
	t.ids.Store(c.FirstID)
	t.SetTimeouts(c.Timeouts)
	t.dropped = make([]dropped, droppedFlows)
	workers := make([]int, max(c.Workers, 1))
	for i := range workers {
		workers[i] = i
	}
	t.alone.Store(len(workers) == 1)
	t.Share(workers)
	t.room(max((c.Max+numShards-1)/numShards, 1), c.Translations)
	return t
}

// SetTimeouts sets the timeouts that hold from here on. A session has a new one when its state changes next.
func (t *Table) SetTimeouts(timeouts Timeouts) {
	s := timeouts.seconds()
	t.seconds.Store(&s)
}

// idBlock is how many ids of sessions a worker reserves at once.
const idBlock = 1 << 10

// ReserveIDs returns the first and the last of some ids that no session has and that nobody else gets. They are higher than all before.
func (t *Table) ReserveIDs() (first, last uint64) {
	last = t.ids.Add(idBlock)
	return last - idBlock + 1, last
}

// HighestID returns an id that no session has a higher one than.
func (t *Table) HighestID() uint64 { return t.ids.Load() }

func (t *Table) shard(hash uint64) *shard { return &t.shards[hash>>(64-6)] }

// lockOf locks and returns the shard of a key, for a call of a worker.
func (t *Table) lockOf(k *Key) *shard {
	s := t.shard(k.hash)
	t.lock(s)
	return s
}

// Hit is what the table knows of the session that a packet belongs to.
type Hit struct {
	FromClient bool
	OutZone    uint16 // the zone the packet goes to: towards the client it is the one the session came from
	Policy     uint32
	App        uint16
	// OpenDue is set once, when a session is wanted whose SessionOpen record is owed, see [Table.OweOpen].
	OpenDue bool
	// Flow is what a carrier knows packets like this one by; 0: none does.
	Flow Flow
	// Carry is set if a carrier should have packets like this one from now on, if no hook has to see them: see [Table.Carry].
	Carry bool
}

// set says what the table knows of a packet that comes from that end of the session.
func (hit *Hit) set(e *entry, who uint32) {
	hit.FromClient, hit.OutZone, hit.Policy, hit.App, hit.OpenDue = true, e.outZone, e.policy, e.app, false
	hit.Flow, hit.Carry = 0, false
	if who != client {
		hit.FromClient, hit.OutZone = false, e.inZone
	}
}

// Lookup finds the session of a packet and, if there is one, counts the packet into it and moves its state. k is the key of
// h. It reports none for a packet that begins a session of its own in the place of one that has ended, or whose end was not
// seen; and for one that is the true first packet of a session which a later one has created. What happens then is decided
// in [Table.Create], when the policies have let the packet pass.
func (t *Table) Lookup(k *Key, h *packet.Headers, now int64, hit *Hit) bool {
	s := t.shard(k.hash)
	held := t.held
	if !held {
		s.mu.Lock()
	}
	i := k.hint
	e := &s.entries[i]
	if !e.isOf(k) { // else it is what find would return
		if i = s.search(k); i == 0 {
			if !held {
				s.mu.Unlock()
			}
			return false
		}
		e = &s.entries[i]
	}
	who := e.side(k)
	carried := e.isCarried()
	if carried {
		s.take(i)
	}
	if e.mayBegin(h, who, now) && s.begins(i, h, who, now) {
		if !held {
			s.mu.Unlock()
		}
		return false
	}
	if t.touch(e, h, who, k.domain, now) {
		s.refile(i, now)
	}
	hit.set(e, who)
	if carried {
		s.seen(i, who)
	}
	if t.carries.Load() {
		s.carry(i, who, h, now, hit)
	}
	if e.state&openOwed != 0 && e.wanted() {
		e.state &^= openOwed
		hit.OpenDue = true
	}
	if !held {
		s.mu.Unlock()
	}
	return true
}

// LookupDenied is [Table.Lookup] for a packet that policies have denied as the first of its flow: where the session's own
// first packet could have been an answer, it was not, and the packet belongs to it.
func (t *Table) LookupDenied(k *Key, h *packet.Headers, now int64, hit *Hit) bool {
	s := t.lockOf(k)
	defer t.unlock(s)
	i := s.find(k)
	if i == 0 || s.entries[i].state&doubtful == 0 {
		return false
	}
	e := &s.entries[i]
	e.state &^= doubtful
	who := e.side(k)
	if t.touch(e, h, who, k.domain, now) {
		s.refile(i, now)
	}
	hit.set(e, who)
	return true
}

// Params are what a new session is created with.
type Params struct {
	ID        uint64 // not 0
	Policy    uint32
	Interface uint32
	InZone    uint16
	OutZone   uint16
	App       uint16
	Timeout   uint32 // seconds, once established; 0 = by protocol, Never = none
	LogClose  bool
	// FromServer is set if the packet comes from the server: it answers a first packet that was not seen.
	FromServer bool
	// DropIfFull says that the packet is dropped if there is no room, so that [Table.Unkept] has no answer to it to know.
	DropIfFull bool
	// Doubtful is set if the packet could be an answer and Exact is not set: for [Late], a packet of the other direction is
	// taken for the first one.
	Doubtful bool
	// Exact is set if the time of the packet is when it was received, not when it was read: a packet that was received
	// before it and comes to the table after it is the first one.
	Exact bool
}

// Outcome is what became of a request to create a session.
type Outcome uint8

const (
	Created Outcome = iota
	Exists          // another worker was first: the packet was counted into its session
	Adopted         // a later packet was first: the packet was counted into its session, which is now as it would be otherwise
	Full            // no room
)

// Replaced holds a session that ended while another was created, because its place was needed. The worker that gets one
// makes its close record.
type Replaced struct {
	Valid bool
	Session
}

// Create creates the session of a packet that Lookup found none for. If another session ends for it, that one is returned in
// old.
func (t *Table) Create(k *Key, h *packet.Headers, now int64, p *Params, old *Replaced) Outcome {
	s := t.lockOf(k)
	defer t.unlock(s)
	if i := s.find(k); i != 0 {
		e := &s.entries[i]
		who := e.side(k)
		carried := e.isCarried()
		if carried {
			s.take(i)
		}
		if !s.begins(i, h, who, now) {
			if t.touch(e, h, who, k.domain, now) {
				s.refile(i, now)
			}
			if carried {
				s.seen(i, who)
			}
			return Exists
		}
		if s.adoptable(i, now) {
			t.adopt(s, i, k, h, now, p)
			return Adopted
		}
		if e.reason() == event.CloseNone {
			e.setReason(event.CloseAgeOut) // its end was not seen
		}
		old.Valid = true
		s.remove(i, k.hash, now, &old.Session)
	}
	i := s.alloc()
	if i == 0 {
		t.notKept(now)
		if !s.giveUp(&t.secret, now, old) {
			s.stats.Full++
			if !p.DropIfFull {
				s.keepNot(k.hash, (k.from == 0) == p.FromServer, now)
			}
			return Full
		}
		i = s.alloc()
	}
	t.add(s, i, k, h, now, p)
	t.forgetDropped(k)
	return Created
}

// OweOpen notes that the SessionOpen record of the packet's session was held back: [Hit.OpenDue] says when it is
// due, see [Session.Wanted].
func (t *Table) OweOpen(k *Key) {
	s := t.lockOf(k)
	defer t.unlock(s)
	if i := s.find(k); i != 0 {
		s.entries[i].state |= openOwed
	}
}

// Get copies the session of a packet, which is not counted into it.
func (t *Table) Get(k *Key, now int64, out *Session) bool {
	s := t.lockOf(k)
	defer t.unlock(s)
	i := s.find(k)
	if i == 0 {
		return false
	}
	s.copyTo(out, i, now)
	return true
}

// Translate says how the session of a packet is translated, which has that id, and reports whether it is still there. The table
// was built for translations.
func (t *Table) Translate(k *Key, id uint64, nat *packet.Translation) bool {
	s := t.shard(k.hash)
	t.lockOutside(s)
	defer t.unlockOutside(s)
	for i := range s.sameFlow(k) {
		if s.cold[i].id == id {
			s.nat[i] = *nat
			return true
		}
	}
	return false
}

// Stats adds up the shards.
func (t *Table) Stats() Stats {
	var sum Stats
	for i := range t.shards {
		s := &t.shards[i]
		t.lockOutside(s)
		sum.Active += s.active
		sum.Created += s.stats.Created
		sum.Closed += s.stats.Closed
		sum.GivenUp += s.stats.GivenUp
		sum.Withdrawn += s.stats.Withdrawn
		sum.Full += s.stats.Full
		sum.TakenOver += s.stats.TakenOver
		t.unlockOutside(s)
	}
	return sum
}

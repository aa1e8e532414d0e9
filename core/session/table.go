package session

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/flowhash"
	"github.com/rtflow/pipelined/sdk/event"
)

const (
	numShards  = 64
	wheelSlots = 1024
	// slotShift makes wheel slots of nanoseconds: 2^30 ns, about 1.07 s.
	slotShift = 30
	// slotBit marks a prev link that is a wheel slot and not an entry.
	slotBit = 1 << 31
	// searchVictim is how many neighbours a full shard looks at for a session to give up.
	searchVictim = 16
)

// Table is the flow table. Its methods are safe for concurrent use unless they say otherwise.
type Table struct {
	shards  [numShards]shard
	secret  flowhash.Key
	seconds seconds
	turns   []turn // by worker
	// fullAt is when a session was last refused or given up for want of room, in ns and to a wheel slot; 0 = never.
	fullAt atomic.Int64
}

// shard is one part of the table. Entry 0 is not used: index 0 means none.
type shard struct {
	mu      sync.Mutex
	entries []entry
	buckets []uint32
	wheel   []uint32
	unkept  []unkept
	turned  int64  // the last wheel slot that was aged
	fresh   uint32 // entries from here on have never been used
	free    uint32 // list of entries that have been
	hand    uint32 // where the search for a victim goes on
	active  int
	stats   Stats
	_       [64]byte
}

// unkept is a flow that a full shard refused or gave up.
type unkept struct {
	tag  uint32 // of its hash, and in the lowest bit whether the client is the second end of the key
	slot uint32 // wheel slot of that, and 1; 0 = none
}

// Stats counts what became of sessions.
type Stats struct {
	Active  int
	Created uint64
	Closed  uint64
	GivenUp uint64 // closed early, not mutual, to make room in a full shard; included in Closed
	Full    uint64 // not created: no room
}

// New builds a table. Its memory, about 170 bytes per session, is reserved at once and touched as sessions come.
func New(c Config) *Table {
	per := max((c.Max+numShards-1)/numShards, 1)
	t := &Table{secret: flowhash.New(c.Seed), seconds: c.Timeouts.seconds(), turns: make([]turn, max(c.Workers, 1))}
	for i := range t.turns {
		t.turns[i].shard = i
	}
	for i := range t.shards {
		s := &t.shards[i]
		s.entries = make([]entry, per+1)
		s.buckets = make([]uint32, 1<<(bits.Len(uint(per))-1))
		s.wheel = make([]uint32, wheelSlots)
		s.unkept = make([]unkept, max(len(s.buckets)/4, 64))
		s.fresh = 1
	}
	return t
}

// Hit is what the table knows of the session that a packet belongs to.
type Hit struct {
	FromClient bool
	OutZone    uint16 // the zone the packet goes to: towards the client it is the one the session came from
	Policy     uint32
	App        uint16
	// OpenDue is set once, when a session is wanted whose SessionOpen record is owed, see [Table.OweOpen].
	OpenDue bool
}

func (e *entry) hit(fromClient bool) Hit {
	h := Hit{FromClient: fromClient, OutZone: e.outZone, Policy: e.policy, App: e.app}
	if !fromClient {
		h.OutZone = e.inZone
	}
	return h
}

// Replaced holds a session that ended while another was created, because its place was needed. The worker that gets one
// makes its close record.
type Replaced struct {
	Valid bool
	Session
}

func (t *Table) shardOf(hash uint64) *shard { return &t.shards[hash>>(64-6)] }

func (s *shard) bucket(hash uint64) *uint32 { return &s.buckets[hash&uint64(len(s.buckets)-1)] }

// find returns the session of a packet that runs from a to b of the key (forward) in a domain, 0 if there is none. A
// session in whose direction packets of that domain have come is the first choice. The second one is a session whose client
// is in the domain: an answer comes where the question came, if need be from now on. The third is one that has not seen
// this direction: question and answer may come in two domains, as with a router between two VLANs of one port.
func (s *shard) find(k *key, hash uint64, domain uint32, forward bool) (best uint32) {
	rank := 0
	for i := *s.bucket(hash); i != 0; i = s.entries[i].hashNext {
		e := &s.entries[i]
		if !e.equal(k) {
			continue
		}
		fromClient := forward != (e.state&clientIsB != 0)
		switch own := e.domain[side(fromClient)]; {
		case own == domain:
			return i
		case rank < 2 && !fromClient && e.domain[client] == domain:
			best, rank = i, 2
		case rank < 1 && own == 0:
			best, rank = i, 1
		}
	}
	return best
}

// Lookup finds the session of a packet that came in a domain (see [Params.Domain]) and, if there is one, counts the packet
// into it and moves its state. It reports none for a packet that begins a session of its own in the place of one that has
// ended, or whose end was not seen; and for one that is the true first packet of a session which a later one has created.
// What happens then is decided in [Table.Create], when the policies have let the packet pass.
func (t *Table) Lookup(h *packet.Headers, domain uint32, now int64, hit *Hit) bool {
	var k key
	forward := k.set(&h.Tuple)
	hash := k.hash(&t.secret)
	s := t.shardOf(hash)
	s.mu.Lock()
	i := s.find(&k, hash, domain, forward)
	if i == 0 {
		s.mu.Unlock()
		return false
	}
	e := &s.entries[i]
	fromClient := forward != (e.state&clientIsB != 0)
	if e.begins(h, fromClient, now) {
		s.mu.Unlock()
		return false
	}
	t.touch(s, i, h, fromClient, domain, now)
	*hit = e.hit(fromClient)
	if e.state&openOwed != 0 && e.wanted() {
		e.state &^= openOwed
		hit.OpenDue = true
	}
	s.mu.Unlock()
	return true
}

// LookupDenied is [Table.Lookup] for a packet that policies have denied as the first of its flow: where the session's own
// first packet could have been an answer, it was not, and the packet belongs to it.
func (t *Table) LookupDenied(h *packet.Headers, domain uint32, now int64, hit *Hit) bool {
	var k key
	forward := k.set(&h.Tuple)
	hash := k.hash(&t.secret)
	s := t.shardOf(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(&k, hash, domain, forward)
	if i == 0 || s.entries[i].state&doubtful == 0 {
		return false
	}
	e := &s.entries[i]
	e.state &^= doubtful
	fromClient := forward != (e.state&clientIsB != 0)
	t.touch(s, i, h, fromClient, domain, now)
	*hit = e.hit(fromClient)
	return true
}

// touch counts a packet into the session and moves its state.
func (t *Table) touch(s *shard, i uint32, h *packet.Headers, fromClient bool, domain uint32, now int64) {
	e := &s.entries[i]
	who := side(fromClient)
	e.packets[who]++
	e.bytes[who] += uint64(h.IPLen)
	e.domain[who] = domain
	if e.state&closing != 0 {
		return
	}
	e.lastSeen = max(e.lastSeen, now)
	if e.state&unreachable != 0 {
		e.state &^= unreachable // it is not as dead as it was said
		e.timeout = e.idle
	}
	if t.follow(e, h, fromClient) {
		s.refile(i, now)
	}
}

// Params are what a new session is created with.
type Params struct {
	ID        uint64
	Policy    uint32
	Interface uint32
	InZone    uint16
	OutZone   uint16
	App       uint16
	Timeout   uint32 // seconds, once established; 0 = by protocol, Never = none
	LogClose  bool
	// Domain tells flows apart that have the same addresses and ports, such as those of two VLANs: packets of one direction
	// of a session come in one domain. Not 0.
	Domain uint32
	// FromServer is set if the packet comes from the server: it answers a first packet that was not seen.
	FromServer bool
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

// Create creates the session of a packet that Lookup found none for. If another session ends for it, that one is returned in
// old.
func (t *Table) Create(h *packet.Headers, now int64, p *Params, old *Replaced) Outcome {
	var k key
	forward := k.set(&h.Tuple)
	hash := k.hash(&t.secret)
	s := t.shardOf(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.find(&k, hash, p.Domain, forward); i != 0 {
		e := &s.entries[i]
		fromClient := forward != (e.state&clientIsB != 0)
		if !e.begins(h, fromClient, now) {
			t.touch(s, i, h, fromClient, p.Domain, now)
			return Exists
		}
		if e.adoptable(now) {
			t.adopt(s, i, h, fromClient, now, p)
			return Adopted
		}
		if e.reason() == event.CloseNone {
			e.setReason(event.CloseAgeOut) // its end was not seen
		}
		old.Valid = true
		s.remove(i, hash, now, &old.Session)
	}
	i := s.alloc()
	if i == 0 {
		if !s.giveUp(&t.secret, now, old) {
			s.stats.Full++
			s.keepNot(hash, forward == p.FromServer, now)
			t.notKept(now)
			return Full
		}
		t.notKept(now)
		i = s.alloc()
	}
	t.fill(s, i, h, hash, forward, now, p)
	e := &s.entries[i]
	e.key = k
	t.start(e, h, !p.FromServer)
	if s.active == 1 {
		// Nothing was filed: the wheel need not be turned through the slots since.
		s.turned = max(s.turned, now>>slotShift-1)
	}
	s.file(i, now)
	return Created
}

// notKept notes that the table had no room at now. Workers share the word: it is stored once in a wheel slot.
func (t *Table) notKept(now int64) {
	if at := t.fullAt.Load(); at == 0 || Slot(now) != Slot(at) {
		t.fullAt.Store(max(now, 1))
	}
}

// fill makes entry i a session of one packet.
func (t *Table) fill(s *shard, i uint32, h *packet.Headers, hash uint64, forward bool, now int64, p *Params) {
	s.active++
	s.stats.Created++
	b := s.bucket(hash)
	s.entries[i] = entry{id: p.ID, began: now, lastSeen: now, hashNext: *b}
	*b = i
	e := &s.entries[i]
	if forward == p.FromServer {
		e.state |= clientIsB
	}
	who := side(!p.FromServer)
	e.packets[who], e.bytes[who], e.domain[who] = 1, uint64(h.IPLen), p.Domain
	t.set(e, h.Proto, p)
	if p.Exact {
		e.state |= exact
	}
	if p.Doubtful {
		e.state |= doubtful
	}
}

// set gives the session what the policy and the first packet say of it.
func (t *Table) set(e *entry, proto uint8, p *Params) {
	e.policy, e.iface, e.inZone, e.outZone, e.app = p.Policy, p.Interface, p.InZone, p.OutZone, p.App
	e.idle = t.idle(proto, p.Timeout)
	e.state &^= logClose
	if p.LogClose {
		e.state |= logClose
	}
}

// alloc takes an entry off the free list or the unused part; 0 if the shard is full.
func (s *shard) alloc() uint32 {
	if i := s.free; i != 0 {
		s.free = s.entries[i].next
		return i
	}
	if int(s.fresh) < len(s.entries) {
		s.fresh++
		return s.fresh - 1
	}
	return 0
}

// giveUp removes a session that is not mutual, if one is among the next neighbours of the hand.
func (s *shard) giveUp(secret *flowhash.Key, now int64, old *Replaced) bool {
	for range min(searchVictim, len(s.entries)-1) {
		s.hand++
		if int(s.hand) >= len(s.entries) {
			s.hand = 1
		}
		e := &s.entries[s.hand]
		if e.mutual() {
			continue
		}
		if e.reason() == event.CloseNone {
			e.setReason(event.CloseAgeOut)
		}
		old.Valid = true
		s.stats.GivenUp++
		hash := e.hash(secret)
		s.keepNot(hash, e.state&clientIsB != 0, now)
		s.remove(s.hand, hash, now, &old.Session)
		return true
	}
	return false
}

// remove takes a session out of the table and copies it into out.
func (s *shard) remove(i uint32, hash uint64, now int64, out *Session) {
	e := &s.entries[i]
	e.fill(out, now)
	link := s.bucket(hash)
	for *link != i {
		link = &s.entries[*link].hashNext
	}
	*link = e.hashNext
	s.unfile(i)
	*e = entry{next: s.free}
	s.free = i
	s.active--
	s.stats.Closed++
}

// keepNot remembers a flow that there was no room for, or that was given up.
func (s *shard) keepNot(hash uint64, clientIsB bool, now int64) {
	s.unkept[hash&uint64(len(s.unkept)-1)] = unkept{unkeptTag(hash, clientIsB), uint32(Slot(now)) + 1}
}

func unkeptTag(hash uint64, clientIsB bool) uint32 {
	tag := uint32(hash>>26) &^ 1
	if clientIsB {
		tag |= 1
	}
	return tag
}

// Unkept reports whether the packet answers a flow that the table had no room for, or gave up, in the last minute. It
// remembers a quarter as many of them as it has sessions, the latest.
func (t *Table) Unkept(h *packet.Headers, now int64) bool {
	if at := t.fullAt.Load(); at == 0 || now-at > unkeptLife {
		return false
	}
	var k key
	forward := k.set(&h.Tuple)
	hash := k.hash(&t.secret)
	s := t.shardOf(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.unkept[hash&uint64(len(s.unkept)-1)]
	ago := int64(int32(uint32(Slot(now)) + 1 - u.slot)) // negative by the clock of a worker that is behind
	return u.slot != 0 && u.tag == unkeptTag(hash, forward) && max(ago, -ago) <= unkeptLife>>slotShift
}

// OweOpen notes that the SessionOpen record of the packet's session was held back: [Hit.OpenDue] says when it is
// due, see [Session.Wanted].
func (t *Table) OweOpen(h *packet.Headers, domain uint32) {
	var k key
	forward := k.set(&h.Tuple)
	hash := k.hash(&t.secret)
	s := t.shardOf(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.find(&k, hash, domain, forward); i != 0 {
		s.entries[i].state |= openOwed
	}
}

// Get copies the session of a packet, which is not counted into it.
func (t *Table) Get(h *packet.Headers, domain uint32, now int64, out *Session) bool {
	var k key
	forward := k.set(&h.Tuple)
	hash := k.hash(&t.secret)
	s := t.shardOf(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(&k, hash, domain, forward)
	if i == 0 {
		return false
	}
	s.entries[i].fill(out, now)
	return true
}

// Stats adds up the shards.
func (t *Table) Stats() Stats {
	var sum Stats
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		sum.Active += s.active
		sum.Created += s.stats.Created
		sum.Closed += s.stats.Closed
		sum.GivenUp += s.stats.GivenUp
		sum.Full += s.stats.Full
		s.mu.Unlock()
	}
	return sum
}

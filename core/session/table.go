package session

import (
	"iter"
	"math/bits"
	"sync"

	"github.com/rtflow/pipelined/core/packet"
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
	seed    uint64
	seconds seconds
	workers int
}

// shard is one part of the table. Entry 0 is not used: index 0 means none.
type shard struct {
	mu      sync.Mutex
	entries []entry
	buckets []uint32
	wheel   []uint32
	turned  int64  // the last wheel slot that was aged
	fresh   uint32 // entries from here on have never been used
	free    uint32 // list of entries that have been
	hand    uint32 // where the search for a victim goes on
	active  int
	stats   Stats
	_       [64]byte
}

// Stats counts what became of sessions.
type Stats struct {
	Active  int
	Created uint64
	Closed  uint64
	GivenUp uint64 // closed early, not mutual, to make room in a full shard; included in Closed
	Full    uint64 // not created: no room
}

// New builds a table. Its memory, about 124 bytes per session, is reserved at once and touched as sessions come.
func New(c Config) *Table {
	per := max((c.Max+numShards-1)/numShards, 1)
	t := &Table{seed: c.Seed, seconds: c.Timeouts.seconds(), workers: max(c.Workers, 1)}
	for i := range t.shards {
		s := &t.shards[i]
		s.entries = make([]entry, per+1)
		s.buckets = make([]uint32, 1<<(bits.Len(uint(per))-1))
		s.wheel = make([]uint32, wheelSlots)
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
}

func (e *entry) hit(fromClient bool) Hit {
	h := Hit{FromClient: fromClient, OutZone: e.outZone, Policy: e.policy, App: e.app}
	if !fromClient {
		h.OutZone = e.inZone
	}
	return h
}

// Replaced holds a session that ended while a packet was looked up or a session was created, because its place was
// needed. The worker that gets one makes its close record.
type Replaced struct {
	Valid bool
	Session
}

func (t *Table) shardOf(hash uint64) *shard { return &t.shards[hash>>(64-6)] }

func (s *shard) bucket(hash uint64) *uint32 { return &s.buckets[hash&uint64(len(s.buckets)-1)] }

func (s *shard) find(k *key, hash uint64) uint32 {
	i := *s.bucket(hash)
	for i != 0 && !s.entries[i].equal(k) {
		i = s.entries[i].hashNext
	}
	return i
}

// Lookup finds the session of a packet and, if there is one, counts the packet into it and moves its state. A SYN that
// finds a session which has ended ends its waiting: the session is returned in old and Lookup reports none.
func (t *Table) Lookup(h *packet.Headers, now int64, hit *Hit, old *Replaced) bool {
	var k key
	forward := k.set(&h.Tuple)
	hash := k.hash(t.seed)
	s := t.shardOf(hash)
	s.mu.Lock()
	i := s.find(&k, hash)
	if i == 0 {
		s.mu.Unlock()
		return false
	}
	e := &s.entries[i]
	if e.over() && h.Proto == packet.ProtoTCP && h.HasL4 &&
		h.TCPFlags&(packet.SYN|packet.ACK|packet.RST|packet.FIN) == packet.SYN {
		old.Valid = true
		s.remove(i, hash, now, &old.Session)
		s.mu.Unlock()
		return false
	}
	fromClient := forward != (e.state&clientIsB != 0)
	t.touch(s, i, h, fromClient, now)
	*hit = e.hit(fromClient)
	s.mu.Unlock()
	return true
}

// mutual reports whether both ends want the session: the server has answered and, of TCP, the handshake is complete. A
// session that has ended is not mutual any more. What a flood of spoofed packets creates never is: neither a SYN, nor a
// SYN that a server answers, nor an ACK that is taken for the middle of a session.
func (e *entry) mutual() bool {
	return e.state&answered != 0 && (e.proto() != packet.ProtoTCP || e.state&established != 0) && !e.over()
}

// over reports whether the session has ended and only waits.
func (e *entry) over() bool {
	return e.state&closing != 0 || e.state&(clientFIN|serverFIN) == clientFIN|serverFIN
}

// touch counts a packet into the session and moves its state.
func (t *Table) touch(s *shard, i uint32, h *packet.Headers, fromClient bool, now int64) {
	e := &s.entries[i]
	if fromClient {
		e.clientPackets++
		e.clientBytes += uint64(h.IPLen)
	} else {
		e.serverPackets++
		e.serverBytes += uint64(h.IPLen)
	}
	if e.state&closing != 0 {
		return
	}
	if age(now, e.lastSeen) > 0 {
		e.lastSeen = tick(now)
	}
	if t.follow(e, h, fromClient) {
		s.refile(i, now)
	}
}

// Quoted looks up the session that an ICMP error is about, by the packet the error quotes. It reports whether there is
// one. An error that says the destination cannot be reached, or that the packet ran out of hops, ends a session that is
// not TCP; TCP knows better (RFC 5927).
func (t *Table) Quoted(h *packet.Headers, now int64, hit *Hit) bool {
	var k key
	forward := k.set(&h.Inner)
	hash := k.hash(t.seed)
	s := t.shardOf(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(&k, hash)
	if i == 0 {
		return false
	}
	e := &s.entries[i]
	// The error goes against the direction of the packet it quotes.
	fromClient := forward == (e.state&clientIsB != 0)
	*hit = e.hit(fromClient)
	if h.Inner.Proto != packet.ProtoTCP && fatal(h) && t.end(e, event.CloseICMPError) {
		e.lastSeen = tick(now)
		s.refile(i, now)
	}
	return true
}

// fatal reports whether an ICMP error says that the packet did not arrive, and a repetition will not either.
// Fragmentation needed and packet too big ask for smaller packets; redirects and source quench are advice.
func fatal(h *packet.Headers) bool {
	const codeFragmentationNeeded = 4
	if h.Proto == packet.ProtoICMP {
		return h.ICMPType == packet.ICMPUnreachable && h.ICMPCode != codeFragmentationNeeded ||
			h.ICMPType == 11 || h.ICMPType == 12
	}
	return h.ICMPType == 1 || h.ICMPType == 3 || h.ICMPType == 4
}

// Params are what a new session is created with.
type Params struct {
	ID        uint64
	Policy    uint32
	Interface uint32
	InZone    uint16
	OutZone   uint16
	App       uint16
	Timeout   uint32 // seconds, once established; 0 = by protocol
	LogClose  bool
}

// Outcome is what became of a request to create a session.
type Outcome uint8

const (
	Created Outcome = iota
	Exists          // another worker was first: the packet was counted into its session
	Full            // no room
)

// Create creates the session of a packet that Lookup found none for. If it had to give up another session for it, that
// one is returned in old.
func (t *Table) Create(h *packet.Headers, now int64, p *Params, old *Replaced) Outcome {
	var k key
	forward := k.set(&h.Tuple)
	hash := k.hash(t.seed)
	s := t.shardOf(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.find(&k, hash); i != 0 {
		e := &s.entries[i]
		t.touch(s, i, h, forward != (e.state&clientIsB != 0), now)
		return Exists
	}
	i := s.alloc()
	if i == 0 {
		if !s.giveUp(t.seed, now, old) {
			s.stats.Full++
			return Full
		}
		i = s.alloc()
	}
	s.active++
	s.stats.Created++
	e := &s.entries[i]
	b := s.bucket(hash)
	*e = entry{
		key: k, id: p.ID, clientPackets: 1, clientBytes: uint64(h.IPLen),
		created: tick(now), lastSeen: tick(now), hashNext: *b,
		policy: p.Policy, iface: p.Interface, inZone: p.InZone, outZone: p.OutZone, app: p.App,
	}
	*b = i
	if !forward {
		e.state |= clientIsB
	}
	if p.LogClose {
		e.state |= logClose
	}
	t.start(e, h, p.Timeout)
	if s.active == 1 {
		// Nothing was filed: the wheel need not be turned through the slots since.
		s.turned = max(s.turned, now>>slotShift-1)
	}
	s.file(i, now)
	return Created
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
func (s *shard) giveUp(seed uint64, now int64, old *Replaced) bool {
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
		s.remove(s.hand, e.hash(seed), now, &old.Session)
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

// listChunk is how many entries All looks at before it lets others at the shard: some ten microseconds.
const listChunk = 256

// All iterates over the sessions that live at now, ended ones that wait for stragglers left out. Each is copied: the
// pointer is valid until the next one is asked for. Sessions that begin meanwhile may be among them or not; one that is
// yielded has not ended before: whoever has seen its end does not get it any more. It holds the lock of a shard for a few
// entries at a time, and never while yield runs. Safe for concurrent use.
func (t *Table) All(now int64) iter.Seq[*Session] {
	return func(yield func(*Session) bool) {
		var chunk [listChunk]Session
		var at [listChunk]uint32
		for i := range t.shards {
			s := &t.shards[i]
			for from := uint32(1); from < uint32(len(s.entries)); from += listChunk {
				for j := range s.list(from, now, &chunk, &at) {
					if s.lives(at[j], chunk[j].ID) && !yield(&chunk[j]) {
						return
					}
				}
			}
		}
	}
}

// list copies the live sessions among the entries that begin with from, and returns how many it copied. at are the entries
// that they come from.
func (s *shard) list(from uint32, now int64, chunk *[listChunk]Session, at *[listChunk]uint32) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := from; i < min(from+listChunk, s.fresh); i++ {
		// An entry in use has an id: they begin with 1.
		if e := &s.entries[i]; e.id != 0 && !e.over() {
			e.fill(&chunk[n], now)
			at[n] = i
			n++
		}
	}
	return n
}

// lives reports whether the session of that id is still in an entry and has not ended.
func (s *shard) lives(i uint32, id uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := &s.entries[i]
	return uint64(e.id) == id && !e.over()
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

package session

import (
	"math/bits"
	"sync"
	"unsafe"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/flowhash"
	"github.com/rtflow/pipelined/internal/hugepage"
	"github.com/rtflow/pipelined/sdk/event"
)

const (
	numShards  = 64
	wheelSlots = 1024
	// slotShift makes wheel slots of nanoseconds: 2^30 ns, about 1.07 s.
	slotShift = 30
	// slotBit marks a prev that is a wheel slot and not an entry.
	slotBit = 1 << 31
	// searchVictim is how many neighbours a full shard looks at for a session to give up.
	searchVictim = 16
)

// shard is one part of the table. Entry 0 is not used: index 0 means none.
type shard struct {
	// Set by room.
	buckets   []bucket
	entries   []entry
	cold      []cold
	nat       []packet.Translation // how sessions are translated, at the same index; nil: not known of any
	wheel     []uint32
	indexMask uint32 // of a link, the bits of the index
	_         uint32

	mu        sync.Mutex
	free      uint32 // list of entries that have been used
	fresh     uint32 // entries from here on have never been
	hand      uint32 // where the search for a victim goes on
	apart     uint32 // how many sessions are not in the bucket of their flow
	turned    int64  // the last wheel slot that was aged
	active    int
	stats     Stats
	unkept    []unkept // set by room; not read for packets of a session
	*carrying          // nil: there are no carriers, and never were
}

// Stats counts what became of sessions.
type Stats struct {
	Active  int
	Created uint64
	Closed  uint64
	GivenUp uint64 // closed early, not mutual, to make room in a full shard; included in Closed
	Full    uint64 // not created: no room
	// Withdrawn are those that the policies did not permit any more, see [Table.Withdraw]; included in Closed.
	Withdrawn uint64
	// TakenOver are those of an earlier run, see [Table.TakeOver]: Created + TakenOver = Closed + Active.
	TakenOver uint64
}

// room gives each shard room for a number of sessions. The shards share arrays: the allocator rounds up the size of each.
func (t *Table) room(sessions int, translations bool) {
	buckets := make([]bucket, numShards*((sessions+perBucket-1)/perBucket))
	entries := make([]entry, numShards*(sessions+1+unusedEntries))
	colds := make([]cold, len(entries))
	var nats []packet.Translation
	if translations {
		nats = make([]packet.Translation, len(entries))
	}
	wheels := make([]uint32, numShards*wheelSlots)
	unkepts := make([]unkept, numShards*max(1<<(bits.Len(uint(sessions))-1)/4, 64))
	if len(entries)*int(unsafe.Sizeof(entry{})) >= largeTable {
		hugepage.Advise(buckets)
		hugepage.Advise(entries)
	}
	for i := range t.shards {
		t.shards[i] = shard{
			buckets: part(buckets, i), wheel: part(wheels, i),
			entries: part(entries, i)[: sessions+1 : sessions+1], cold: part(colds, i)[: sessions+1 : sessions+1],
			nat: part(nats, i), unkept: part(unkepts, i), indexMask: 1<<bits.Len(uint(sessions)) - 1, fresh: 1,
		}
	}
}

// largeTable is how many bytes the entries of a table have, at least, that is taken as a whole at the start. A smaller one is
// touched as sessions come.
const largeTable = 64 << 20

// unusedEntries is how many entries lie unused between those of two shards. A shard uses its entries from the first on, and
// with a power of two of them the first ones of all shards would share few sets of a cache: of a thousand sessions, most would
// not be in the second level (of 8 ways and 64 KiB each, say).
const unusedEntries = 7

// part returns what shard i has of an array.
func part[T any](all []T, i int) []T {
	n := len(all) / numShards
	return all[i*n : (i+1)*n : (i+1)*n]
}

// touch counts a packet into the session and moves its state. It reports whether the session now has an earlier deadline
// than before: it is then to be filed again.
func (t *Table) touch(e *entry, h *packet.Headers, who, domain uint32, now int64) (sooner bool) {
	who &= 1 // the compiler then checks no bounds
	packets, bytes := h.Size()
	e.packets[who] += packets
	e.bytes[who] += bytes
	e.domain[who] = domain
	if e.state&(closing|unreachable) != 0 {
		if e.state&closing != 0 {
			return false
		}
		e.state &^= unreachable // it is not as dead as it was said
		e.timeout = e.idle
	}
	e.lastSeen = max(e.lastSeen, now)
	if h.Proto == packet.ProtoTCP && h.HasL4 && h.TCPFlags&(packet.SYN|packet.FIN|packet.RST) == 0 &&
		e.state&established != 0 && e.state&bothFINs != bothFINs {
		e.state |= sentOf(who)
		e.track(h, who)
		return false // nothing else moves its state: most packets
	}
	return t.follow(e, h, who)
}

// add makes entry i a session of that packet.
func (t *Table) add(s *shard, i uint32, k *Key, h *packet.Headers, now int64, p *Params) {
	if s.active == 0 {
		// Nothing was filed: the wheel need not be turned through the slots since.
		s.turned = max(s.turned, Slot(now)-1)
	}
	s.active++
	s.stats.Created++
	e := &s.entries[i]
	*e = entry{flowKey: k.flowKey, lastSeen: now}
	s.cold[i] = cold{id: p.ID, began: now}
	if (k.from == 0) == p.FromServer {
		e.state |= clientIsB
	}
	who := e.side(k) & 1
	e.packets[who], e.bytes[who] = h.Size()
	e.domain[who] = k.domain
	t.set(s, i, h.Proto, p)
	if p.Exact {
		e.state |= exact
	}
	if p.Doubtful {
		e.state |= doubtful
	}
	t.start(e, h, who)
	s.link(k.hash, i)
	s.file(i, now)
}

// set gives the session of entry i what the policy and the first packet say of it.
func (t *Table) set(s *shard, i uint32, proto uint8, p *Params) {
	e := &s.entries[i]
	s.cold[i].iface = p.Interface
	e.policy, e.inZone, e.outZone, e.app = p.Policy, p.InZone, p.OutZone, p.App
	e.idle = t.idle(proto, p.Timeout)
	e.state &^= logClose
	if p.LogClose {
		e.state |= logClose
	}
}

// alloc takes an entry off the free list or the unused part; 0 if the shard is full.
func (s *shard) alloc() uint32 {
	if i := s.free; i != 0 {
		s.free = s.cold[i].next
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
		if e.state&withdrawn == 0 {
			s.keepNot(hash, e.state&clientIsB != 0, now)
		}
		s.remove(s.hand, hash, now, &old.Session)
		return true
	}
	return false
}

// remove takes a session out of the table and copies it into out.
func (s *shard) remove(i uint32, hash uint64, now int64, out *Session) {
	if s.entries[i].isCarried() {
		s.hold(i)
		s.forget(i)
	}
	s.copyTo(out, i, now)
	if s.entries[i].state&withdrawn != 0 {
		s.stats.Withdrawn++
	} else {
		s.unlink(hash, i)
	}
	s.unfile(i)
	s.entries[i] = entry{}
	s.cold[i] = cold{next: s.free}
	if s.nat != nil {
		s.nat[i] = packet.Translation{}
	}
	s.free = i
	s.active--
	s.stats.Closed++
}

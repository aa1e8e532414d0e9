package session

import (
	"iter"
	"sync/atomic"
)

const (
	bucketSlots = 15
	// perBucket is how many entries there are for one bucket: when all of them are in use, one bucket in a hundred overflows.
	perBucket = 8
)

// bucket is a cache line of links to the entries whose hashes fall into it. Slots are used from the first on. Entries for
// which there is no slot are in a list: the last word links the first of them, and cold.overflow the next.
//
// A link is the index of an entry, and above it as many bits of the entry's hash as there is room for. 0 is none. Links are
// written under the lock of the shard.
type bucket struct {
	slots    [bucketSlots]atomic.Uint32
	overflow atomic.Uint32
}

func (s *shard) bucket(hash uint64) *bucket {
	return &s.buckets[uint64(uint32(hash))*uint64(len(s.buckets))>>32]
}

// tag returns the part of a hash that stands in links.
func (s *shard) tag(hash uint64) uint32 { return uint32(hash>>32) &^ s.indexMask }

// find returns the session of a packet, 0 if there is none. A session in whose direction packets of the key's domain have
// come is the first choice, and there is at most one. The second one is a session whose client is in the domain: an answer
// comes where the question came, if need be from now on. The third is one that has not seen this direction: question and
// answer may come in two domains, as with a router between two VLANs of one port. Of several the newest is chosen.
func (s *shard) find(k *Key) uint32 {
	if k.hint != 0 {
		if e := &s.entries[k.hint]; e.equal(&k.flowKey) && e.domain[e.side(k)&1] == k.domain {
			return k.hint
		}
	}
	b, tag, mask := s.bucket(k.hash), s.tag(k.hash), s.indexMask
	hasOthers := false
	for j := range b.slots {
		link := b.slots[j].Load()
		if link == 0 {
			if hasOthers {
				break
			}
			return 0
		}
		if i := link ^ tag; i <= mask {
			if e := &s.entries[i]; e.equal(&k.flowKey) && e.domain[e.side(k)&1] == k.domain {
				return i
			}
			hasOthers = true
		}
	}
	return s.findOther(k)
}

// findOther is find where the first choice is not in a slot.
func (s *shard) findOther(k *Key) (best uint32) {
	rank := 0
	for i := range s.sameFlow(k) {
		e, own := &s.entries[i], 0
		switch who := e.side(k); {
		case e.domain[who] == k.domain:
			return i
		case who == server && e.domain[client] == k.domain:
			own = 2
		case e.domain[who] == 0:
			own = 1
		}
		if own > rank || own == rank && own != 0 && s.cold[i].id > s.cold[best].id {
			best, rank = i, own
		}
	}
	return best
}

// findQuoted returns the session of a flow that has sent or received in the domain, the newest if there are several, or else
// the oldest of the flow: a router that sends an error may stand anywhere.
func (s *shard) findQuoted(k *Key) uint32 {
	var inDomain, other uint32
	for i := range s.sameFlow(k) {
		e, id := &s.entries[i], s.cold[i].id
		if e.domain[client] == k.domain || e.domain[server] == k.domain {
			if inDomain == 0 || id > s.cold[inDomain].id {
				inDomain = i
			}
		} else if other == 0 || id < s.cold[other].id {
			other = i
		}
	}
	if inDomain != 0 {
		return inDomain
	}
	return other
}

// sameFlow iterates over the sessions of the key's flow, in either direction and in any domain.
func (s *shard) sameFlow(k *Key) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		b, tag := s.bucket(k.hash), s.tag(k.hash)
		for j := range b.slots {
			link := b.slots[j].Load()
			if link == 0 {
				return
			}
			if i := link ^ tag; i <= s.indexMask && s.entries[i].equal(&k.flowKey) && !yield(i) {
				return
			}
		}
		for link := b.overflow.Load(); link != 0; link = s.cold[link&s.indexMask].overflow {
			if i := link ^ tag; i <= s.indexMask && s.entries[i].equal(&k.flowKey) && !yield(i) {
				return
			}
		}
	}
}

// link makes entry i findable by its hash.
func (s *shard) link(hash uint64, i uint32) {
	b, link := s.bucket(hash), s.tag(hash)|i
	for j := range b.slots {
		if b.slots[j].Load() == 0 {
			b.slots[j].Store(link)
			return
		}
	}
	s.cold[i].overflow = b.overflow.Load()
	b.overflow.Store(link)
}

// unlink takes entry i out of its bucket. What overflows moves up, or else the last slot that is used.
func (s *shard) unlink(hash uint64, i uint32) {
	b, link := s.bucket(hash), s.tag(hash)|i
	at, last := -1, 0
	for last < bucketSlots {
		l := b.slots[last].Load()
		if l == 0 {
			break
		}
		if l == link {
			at = last
		}
		last++
	}
	first := b.overflow.Load()
	switch {
	case at < 0: // it is in the list
		if first == link {
			b.overflow.Store(s.cold[i].overflow)
			return
		}
		c := &s.cold[first&s.indexMask]
		for c.overflow != link {
			c = &s.cold[c.overflow&s.indexMask]
		}
		c.overflow = s.cold[i].overflow
	case first != 0:
		b.overflow.Store(s.cold[first&s.indexMask].overflow)
		b.slots[at].Store(first)
	default:
		moved := b.slots[last-1].Load()
		b.slots[last-1].Store(0)
		if last-1 != at {
			b.slots[at].Store(moved)
		}
	}
}

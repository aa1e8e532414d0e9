package session

import (
	"iter"
	"sync/atomic"
)

const (
	bucketSlots = 15
	// perBucket is how many entries there are for one bucket: when all of them are in use, one bucket in a hundred overflows.
	perBucket = 8
	// togetherMost is how many sessions of one flow may be in the bucket of the flow: enough for the VLANs in which an answer
	// could be looked for, and a bound on what a sender costs who makes the same flow in every VLAN.
	togetherMost = 2 * bucketSlots
)

// bucket is a cache line of links to the entries whose hashes fall into it. Slots are used from the first on. Entries for
// which there is no slot are in a list: the last word links the first of them, and cold.overflow the next.
//
// The sessions of one flow, which differ in their domains, are in the bucket of the flow, up to [togetherMost] of them. Those
// for which that is too many are apart, each in the bucket of the flow and its domain: they are found in that domain only.
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
// come is the first choice, and there is at most one: also among those that are apart. The second one is a session whose client is in the domain: an answer
// comes where the question came, if need be from now on. The third is one that has not seen this direction: question and
// answer may come in two domains, as with a router between two VLANs of one port. Of several the newest is chosen.
func (s *shard) find(k *Key) uint32 {
	if s.entries[k.hint].isOf(k) {
		return k.hint
	}
	return s.search(k)
}

// isOf reports whether packets of the key's direction have come to the session in the key's domain.
func (e *entry) isOf(k *Key) bool { return e.equal(&k.flowKey) && e.domain[e.side(k)&1] == k.domain }

// search is find without a hint.
func (s *shard) search(k *Key) uint32 {
	b, tag, mask := s.bucket(k.hash), s.tag(k.hash), s.indexMask
	hasOthers := false
	for j := range b.slots {
		link := b.slots[j].Load()
		if link == 0 {
			if hasOthers || s.apart != 0 {
				break
			}
			return 0
		}
		if i := link ^ tag; i <= mask {
			if s.entries[i].isOf(k) {
				return i
			}
			hasOthers = true
		}
	}
	if s.apart != 0 {
		for i := range s.apartFrom(k) {
			if e := &s.entries[i]; e.domain[e.side(k)&1] == k.domain {
				return i
			}
		}
	}
	return s.findOther(k)
}

// findOther is find where the first choice is not in a slot and not apart.
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

// sameFlow iterates over the sessions of the key's flow, in either direction: those in any domain that are in the bucket of the
// flow, then those in the key's domain that are apart.
func (s *shard) sameFlow(k *Key) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		if s.eachTogether(k, yield) && s.apart != 0 {
			s.eachApart(k, yield)
		}
	}
}

// apartFrom iterates over the sessions of the key's flow that are apart and in its domain.
func (s *shard) apartFrom(k *Key) iter.Seq[uint32] {
	return func(yield func(uint32) bool) { s.eachApart(k, yield) }
}

func (s *shard) eachTogether(k *Key, yield func(uint32) bool) bool {
	return s.each(k.hash, func(i uint32) bool {
		e := &s.entries[i]
		return e.state&apart != 0 || !e.equal(&k.flowKey) || yield(i)
	})
}

func (s *shard) eachApart(k *Key, yield func(uint32) bool) {
	s.each(apartHash(k.hash, k.domain), func(i uint32) bool {
		e := &s.entries[i]
		return e.state&apart == 0 || e.onlyDomain() != k.domain || !e.equal(&k.flowKey) || yield(i)
	})
}

// each calls yield for the entries that are linked by that hash, and for others whose links look the same, until it returns
// false. It reports whether it never did.
func (s *shard) each(hash uint64, yield func(uint32) bool) bool {
	b, tag := s.bucket(hash), s.tag(hash)
	for j := range b.slots {
		link := b.slots[j].Load()
		if link == 0 {
			return true
		}
		if i := link ^ tag; i <= s.indexMask && !yield(i) {
			return false
		}
	}
	for link := b.overflow.Load(); link != 0; link = s.cold[link&s.indexMask].overflow {
		if i := link ^ tag; i <= s.indexMask && !yield(i) {
			return false
		}
	}
	return true
}

// apartHash returns the hash by which a session of a flow in a domain is linked if it is apart. The hash of the flow is secret,
// so nobody can choose domains that collide.
func apartHash(flow uint64, domain uint32) uint64 {
	z := flow ^ uint64(domain)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// isTogetherFull reports whether there are [togetherMost] sessions of the flow of entry i in the bucket of the flow, whose hash
// that is.
func (s *shard) isTogetherFull(hash uint64, i uint32) bool {
	if s.bucket(hash).overflow.Load() == 0 {
		return false // togetherMost is more than there are slots
	}
	n := 0
	return !s.eachTogether(&Key{flowKey: s.entries[i].flowKey, hash: hash}, func(uint32) bool {
		n++
		return n < togetherMost
	})
}

// onlyDomain returns the domain that all packets of a session have come in, 0 if there are two.
func (e *entry) onlyDomain() uint32 {
	c, s := e.domain[client], e.domain[server]
	if c != 0 && s != 0 && c != s {
		return 0
	}
	return c | s
}

// link makes entry i findable. hash is that of its flow.
func (s *shard) link(hash uint64, i uint32) {
	e := &s.entries[i]
	e.state &^= apart
	if domain := e.onlyDomain(); domain != 0 && s.isTogetherFull(hash, i) {
		e.state |= apart
		s.apart++
		hash = apartHash(hash, domain)
	}
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

// unlink takes entry i out of its bucket. hash is that of its flow. What overflows moves up, or else the last slot that is used.
func (s *shard) unlink(hash uint64, i uint32) {
	// A session that is apart was found by one domain only, so it still has no other.
	if e := &s.entries[i]; e.state&apart != 0 {
		e.state &^= apart
		s.apart--
		hash = apartHash(hash, e.onlyDomain())
	}
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

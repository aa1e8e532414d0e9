package conntrack

import (
	"encoding/binary"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/ctnetlink"
	"github.com/rtflow/pipelined/internal/flowhash"
)

// session is what is known of an entry of the kernel's table.
type session struct {
	kept        source.Kept
	orig, reply packet.Tuple
	created     int64
	id          uint64 // of the session: that of the entry below, its serial number above
	// Counters as they were told when the session ended, before that as last seen.
	clientPackets, clientBytes uint64
	serverPackets, serverBytes uint64

	next               uint32 // of the chain, or of the list of free ones
	ctZone             uint16
	zone               uint16 // of the event
	icmpType, icmpCode uint8
	flags              flags
	round              uint8  // in which it was seen, see resync
	emptied            uint32 // of the stream, when it began
}

// flags are what is known of a session.
type flags uint8

const (
	live     flags = 1 << iota // it is in the table
	answered                   // its server has answered
	silent                     // it was there when the source was opened
	told                       // its end was told; the entry is still there
	mute                       // the kernel may send no events about it: a dump brought it, and no event has followed
	missing                    // the kernel's table has it no more, and no event has said so yet
	brought                    // by a dump or an answer; no event has been about it since
	byAnswer                   // brought, by an answer
)

func (s *session) has(f flags) bool { return s.flags&f != 0 }

// entry returns the kernel's id of the entry.
func (s *session) entry() uint32 { return uint32(s.id) }

// count takes the counters of a message.
func (s *session) count(e *ctnetlink.Entry) {
	s.clientPackets, s.clientBytes = e.OrigPackets, e.OrigBytes
	s.serverPackets, s.serverBytes = e.ReplyPackets, e.ReplyBytes
}

// sessions is a hash table of fixed size, by the tuple and the conntrack zone of what a client sends. A session that is removed keeps
// its memory until release. Number 0 stands for none.
type sessions struct {
	key      flowhash.Key
	buckets  []uint32
	slots    []session // slots[0] is never in the table
	max      int       // of sessions in the table
	live     int
	fresh    uint32 // slots from this number on were never used
	free     uint32 // list
	removed  uint32 // list of those that release frees
	lastGone uint32 // end of that list
}

// spare are slots beyond the greatest number of sessions: for those that wait for release.
const spare = 2 * source.EventBatchSize

func newSessions(limit int) *sessions {
	buckets := 1
	for buckets < limit {
		buckets *= 2
	}
	return &sessions{
		key: flowhash.Random(), buckets: make([]uint32, buckets), slots: make([]session, limit+spare+1), max: limit, fresh: 1,
	}
}

// hash returns the hash of what identifies an entry.
func (t *sessions) hash(orig *packet.Tuple, icmpType, icmpCode uint8, ctZone uint16) uint64 {
	port := orig.DstPort
	if packet.IsICMP(orig.Proto) {
		port = uint16(icmpType)<<8 | uint16(icmpCode)
	}
	return t.key.Sum(
		binary.LittleEndian.Uint64(orig.Src[:]), binary.LittleEndian.Uint64(orig.Src[8:]),
		binary.LittleEndian.Uint64(orig.Dst[:]), binary.LittleEndian.Uint64(orig.Dst[8:]),
		uint64(orig.SrcPort)<<48|uint64(port)<<32|uint64(ctZone)<<16|uint64(orig.Proto)<<8|uint64(orig.Family),
	)
}

func (t *sessions) bucket(hash uint64) *uint32 { return &t.buckets[hash&uint64(len(t.buckets)-1)] }

// find returns the number of the session of e, whose hash is given, 0 if there is none. Its entry may be another one of the same tuple.
func (t *sessions) find(hash uint64, e *ctnetlink.Entry) uint32 {
	for n := *t.bucket(hash); n != 0; n = t.slots[n].next {
		s := &t.slots[n]
		if s.orig == e.Orig && s.ctZone == e.Zone && s.icmpType == e.ICMPType && s.icmpCode == e.ICMPCode {
			return n
		}
	}
	return 0
}

// add makes a session of e, which the table does not have, and returns its number: 0 if the table is full.
func (t *sessions) add(hash uint64, e *ctnetlink.Entry) uint32 {
	if t.live == t.max {
		return 0
	}
	n := t.free
	switch {
	case n != 0:
		t.free = t.slots[n].next
	case int(t.fresh) < len(t.slots):
		n = t.fresh
		t.fresh++
	default:
		return 0 // the spare ones all wait for release
	}
	t.live++
	first := t.bucket(hash)
	t.slots[n] = session{orig: e.Orig, reply: e.Reply, ctZone: e.Zone, icmpType: e.ICMPType, icmpCode: e.ICMPCode, flags: live, next: *first}
	*first = n
	return n
}

// remove takes a session out of the table.
func (t *sessions) remove(n uint32) {
	s := &t.slots[n]
	at := t.bucket(t.hash(&s.orig, s.icmpType, s.icmpCode, s.ctZone))
	for *at != n {
		at = &t.slots[*at].next
	}
	*at = s.next
	s.flags &^= live
	s.next = t.removed
	if t.removed == 0 {
		t.lastGone = n
	}
	t.removed = n
	t.live--
}

// release frees the sessions that were removed.
func (t *sessions) release() {
	if t.removed == 0 {
		return
	}
	t.slots[t.lastGone].next = t.free
	t.free, t.removed, t.lastGone = t.removed, 0, 0
}

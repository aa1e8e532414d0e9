package session

import (
	"encoding/binary"
	"math/bits"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

// key names a flow in both directions: its ends are put in order. It is five words without padding, compared and hashed
// as such.
type key struct {
	aHi, aLo, bHi, bLo uint64 // addresses of the ends
	rest               uint64 // ports of a and b, protocol, family
}

// set makes k the flow of a tuple, and reports whether the tuple runs from a to b.
func (k *key) set(t *packet.Tuple) (forward bool) {
	srcHi, srcLo := binary.BigEndian.Uint64(t.Src[:8]), binary.BigEndian.Uint64(t.Src[8:])
	dstHi, dstLo := binary.BigEndian.Uint64(t.Dst[:8]), binary.BigEndian.Uint64(t.Dst[8:])
	aPort, bPort := t.SrcPort, t.DstPort
	forward = srcHi < dstHi || srcHi == dstHi && (srcLo < dstLo || srcLo == dstLo && (aPort <= bPort || packet.IsICMP(t.Proto)))
	if forward {
		k.aHi, k.aLo, k.bHi, k.bLo = srcHi, srcLo, dstHi, dstLo
	} else {
		k.aHi, k.aLo, k.bHi, k.bLo = dstHi, dstLo, srcHi, srcLo
		if !packet.IsICMP(t.Proto) { // identifier and sequence number stand in the same places in both directions
			aPort, bPort = bPort, aPort
		}
	}
	k.rest = uint64(aPort)<<48 | uint64(bPort)<<32 | uint64(t.Proto)<<8 | uint64(t.Family)
	return forward
}

func (k *key) aPort() uint16         { return uint16(k.rest >> 48) }
func (k *key) bPort() uint16         { return uint16(k.rest >> 32) }
func (k *key) proto() uint8          { return uint8(k.rest >> 8) }
func (k *key) family() packet.Family { return packet.Family(k.rest) }

// equal compares word by word: the compiler calls a function for ==.
func (k *key) equal(o *key) bool {
	return k.aLo == o.aLo && k.bLo == o.bLo && k.rest == o.rest && k.aHi == o.aHi && k.bHi == o.bHi
}

// hash mixes the key with the table's seed. Whoever does not know the seed cannot choose flows that collide.
func (k *key) hash(seed uint64) uint64 {
	const m1, m2 = 0x9e3779b97f4a7c15, 0xd6e8feb86659fd93
	h := mix(k.aHi^seed, k.aLo^m1)
	h = mix(h^k.bHi, k.bLo^m2)
	return mix(h^k.rest, seed^m1)
}

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo ^ a
}

// entry is one session: 120 bytes without pointers, so that the garbage collector never looks at the table.
type entry struct {
	key

	id                         uint64
	clientPackets, clientBytes uint64
	serverPackets, serverBytes uint64

	created  uint32 // ticks
	lastSeen uint32 // ticks
	hashNext uint32 // next entry of the bucket
	// next and prev link the entries of one wheel slot, or next the free list. The first entry of a slot has the slot
	// itself as prev, with slotBit set.
	next, prev uint32
	policy     uint32
	iface      uint32
	timeout    uint16 // seconds, in the present state
	idle       uint16 // seconds, once established
	inZone     uint16
	outZone    uint16
	app        uint16
	state      state
}

// tickShift makes ticks of nanoseconds: 2^27 ns, about 134 ms. As 32-bit numbers they wrap after 18 years; only their
// differences are used.
const tickShift = 27

func tick(now int64) uint32 { return uint32(now >> tickShift) }

// maxSkew is how far the clocks of two workers may be apart, in ticks: about 39 hours, which leaves nearly all of the 18
// years for jumps forward, as a capture with a broken time stamp makes them.
const maxSkew = 1 << 20

// age returns how long ago a tick was, in nanoseconds, to within one tick. A tick that is still to come, on the clock of
// a worker that is ahead, is 0 ago.
func age(now int64, t uint32) int64 {
	d := tick(now) - t
	if -d <= maxSkew {
		return 0
	}
	return int64(d) << tickShift
}

// state is what has been seen of a session, and in its upper four bits the close reason.
type state uint16

const (
	clientIsB   state = 1 << iota // the client is the second end of the key
	answered                      // the server has sent a packet
	synAckSeen                    // the server has answered the SYN
	established                   // the handshake is complete, or its beginning was never seen
	clientFIN                     // the client has sent a FIN
	serverFIN                     // the server has sent a FIN
	closing                       // the session has ended and waits for stragglers: packets do not refresh it
	logClose                      // a SessionClose record is wanted

	reasonShift = 12
)

func (e *entry) reason() event.CloseReason { return event.CloseReason(e.state >> reasonShift) }

func (e *entry) setReason(r event.CloseReason) {
	e.state = e.state&(1<<reasonShift-1) | state(r)<<reasonShift
}

// Session is what the worker needs to know of a session to make a record.
type Session struct {
	ID              uint64
	Client          packet.Tuple // the direction of the first packet
	ClientPackets   uint64
	ClientBytes     uint64
	ServerPackets   uint64
	ServerBytes     uint64
	Created         int64 // ns on the clock of the packets, to about 0.13 s
	Closed          int64 // ns, when its last timeout was over
	Reason          event.CloseReason
	Policy          uint32
	Interface       uint32
	InZone, OutZone uint16
	App             uint16
	LogClose        bool
}

// fill copies the entry into s. now is only used to find the creation time from its tick.
func (e *entry) fill(s *Session, now int64) {
	cPort, sPort := e.aPort(), e.bPort()
	*s = Session{
		ID:            e.id,
		Client:        packet.Tuple{Proto: e.proto(), Family: e.family()},
		ClientPackets: e.clientPackets, ClientBytes: e.clientBytes,
		ServerPackets: e.serverPackets, ServerBytes: e.serverBytes,
		Created: now - age(now, e.created), Closed: now, Reason: e.reason(), Policy: e.policy, Interface: e.iface,
		InZone: e.inZone, OutZone: e.outZone, App: e.app, LogClose: e.state&logClose != 0,
	}
	client, server := &s.Client.Src, &s.Client.Dst
	if e.state&clientIsB != 0 {
		client, server = server, client
		if !packet.IsICMP(e.proto()) {
			cPort, sPort = sPort, cPort
		}
	}
	s.Client.SrcPort, s.Client.DstPort = cPort, sPort
	putAddr(client, e.aHi, e.aLo)
	putAddr(server, e.bHi, e.bLo)
}

func putAddr(to *packet.Addr, hi, lo uint64) {
	binary.BigEndian.PutUint64(to[:8], hi)
	binary.BigEndian.PutUint64(to[8:], lo)
}

package session

import (
	"encoding/binary"
	"math/bits"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

// key names a flow in both directions: the ends are put in order, and forward says whether the packet that it was made
// from goes from the first end to the second.
type key struct {
	a, b         [2]uint64
	aPort, bPort uint16
	proto        uint8
	family       packet.Family
}

// keyOf returns the flow of a tuple and whether the tuple runs from its first end to its second.
func keyOf(t *packet.Tuple) (k key, forward bool) {
	src := [2]uint64{binary.BigEndian.Uint64(t.Src[:8]), binary.BigEndian.Uint64(t.Src[8:])}
	dst := [2]uint64{binary.BigEndian.Uint64(t.Dst[:8]), binary.BigEndian.Uint64(t.Dst[8:])}
	k = key{a: src, b: dst, aPort: t.SrcPort, bPort: t.DstPort, proto: t.Proto, family: t.Family}
	if packet.IsICMP(t.Proto) {
		// Identifier and sequence number stand in the same places in both directions.
		if less(dst, src) {
			k.a, k.b = dst, src
			return k, false
		}
		return k, true
	}
	if less(dst, src) || dst == src && t.DstPort < t.SrcPort {
		k.a, k.b, k.aPort, k.bPort = dst, src, t.DstPort, t.SrcPort
		return k, false
	}
	return k, true
}

func less(x, y [2]uint64) bool { return x[0] < y[0] || x[0] == y[0] && x[1] < y[1] }

// hash mixes the key with the table's seed. Whoever does not know the seed cannot choose flows that collide.
func (k *key) hash(seed uint64) uint64 {
	const m1, m2 = 0x9e3779b97f4a7c15, 0xd6e8feb86659fd93
	h := mix(k.a[0]^seed, k.a[1]^m1)
	h = mix(h^k.b[0], k.b[1]^m2)
	return mix(h^uint64(k.aPort)<<32^uint64(k.bPort)<<16^uint64(k.proto)<<8^uint64(k.family), seed^m1)
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
	client, server := e.a, e.b
	cPort, sPort := e.aPort, e.bPort
	if e.state&clientIsB != 0 {
		client, server = server, client
		if !packet.IsICMP(e.proto) {
			cPort, sPort = sPort, cPort
		}
	}
	*s = Session{
		ID:            e.id,
		Client:        packet.Tuple{SrcPort: cPort, DstPort: sPort, Proto: e.proto, Family: e.family},
		ClientPackets: e.clientPackets, ClientBytes: e.clientBytes,
		ServerPackets: e.serverPackets, ServerBytes: e.serverBytes,
		Created: now - age(now, e.created), Closed: now, Reason: e.reason(), Policy: e.policy, Interface: e.iface,
		InZone: e.inZone, OutZone: e.outZone, App: e.app, LogClose: e.state&logClose != 0,
	}
	put := func(to *packet.Addr, from [2]uint64) {
		binary.BigEndian.PutUint64(to[:8], from[0])
		binary.BigEndian.PutUint64(to[8:], from[1])
	}
	put(&s.Client.Src, client)
	put(&s.Client.Dst, server)
}

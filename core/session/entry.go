package session

import (
	"encoding/binary"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/internal/flowhash"
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

func (k *key) hash(secret *flowhash.Key) uint64 {
	return secret.Sum(k.aHi, k.aLo, k.bHi, k.bLo, k.rest)
}

// The two ends of a session, as places in arrays.
const (
	client = 0
	server = 1
)

// side returns the end that a packet comes from.
func side(fromClient bool) int {
	if fromClient {
		return client
	}
	return server
}

// entry is one session: 160 bytes without pointers, so that the garbage collector never looks at the table.
type entry struct {
	key
	state    state
	hashNext uint32 // next entry of the bucket

	lastSeen int64     // ns
	packets  [2]uint64 // by end
	bytes    [2]uint64 // of IP, by end
	domain   [2]uint32 // that the packets of each end come in, 0 = not known yet; see [Params.Domain]

	// end is the sequence number behind the last byte that each end of a TCP session has sent, and acked the highest of
	// them that the other end has acknowledged. Valid if the state has clientSeq or serverSeq.
	end, acked [2]uint32

	began   int64  // ns: the time of the first packet
	timeout uint32 // seconds, in the present state; Never does not come
	idle    uint32 // seconds, once established
	id      uint64
	// next and prev link the entries of one wheel slot, or next the free list. The first entry of a slot has the slot
	// itself as prev, with slotBit set.
	next, prev uint32
	policy     uint32
	iface      uint32
	inZone     uint16
	outZone    uint16
	app        uint16
	lost       uint16 // upper half of the number behind the last segment that did not fit, see [entry.rejoin]
}

// state is what has been seen of a session, and in its upper four bits the close reason.
type state uint32

const (
	clientIsB   state = 1 << iota // the client is the second end of the key
	synSeen                       // TCP: the SYN that began it was seen
	synAckSeen                    // the server has answered the SYN
	clientACK                     // the client has acknowledged something
	established                   // the handshake is complete, or its beginning was never seen
	clientFIN                     // the client has sent a FIN
	serverFIN                     // the server has sent a FIN
	clientSeq                     // end and acked of the client are valid
	serverSeq                     // end and acked of the server are valid
	clientSent                    // the client has sent something other than a reset
	serverSent                    // the server has sent something other than a reset
	clientLost                    // lost is of a segment of the client
	serverLost                    // lost is of a segment of the server
	closing                       // the session has ended and waits for stragglers: packets do not refresh it
	unreachable                   // an ICMP error was the last that was heard of it
	joined                        // it was created by a packet that begins nothing: the first may still come
	doubtful                      // its first packet could be an answer, and its source has no receive times
	exact                         // began is when the packet was received, not when it was read
	logClose                      // a SessionClose record is wanted
	openOwed                      // the SessionOpen record was held back until the session is wanted

	reasonShift = 28
)

const bothFINs = clientFIN | serverFIN

const bothSent = clientSent | serverSent

const anyLost = clientLost | serverLost

// finOf, seqOf, sentOf and lostOf return the bits of an end.
func finOf(who int) state  { return clientFIN << who }
func seqOf(who int) state  { return clientSeq << who }
func sentOf(who int) state { return clientSent << who }
func lostOf(who int) state { return clientLost << who }

func (e *entry) reason() event.CloseReason { return event.CloseReason(e.state >> reasonShift) }

func (e *entry) setReason(r event.CloseReason) {
	e.state = e.state&(1<<reasonShift-1) | state(r)<<reasonShift
}

// answered reports whether both ends have sent.
func (e *entry) answered() bool { return e.packets[client] != 0 && e.packets[server] != 0 }

// wanted reports whether both ends have shown that they want the session: both have sent and, of TCP, the handshake is
// complete and neither has sent resets only. It stays so when the session ends.
func (e *entry) wanted() bool {
	return e.answered() && (e.proto() != packet.ProtoTCP || e.state&established != 0 && e.state&bothSent == bothSent)
}

// mutual reports whether both ends want the session: both have sent and, of TCP, the handshake is complete. A session that
// has ended is not mutual any more. What a flood of spoofed TCP packets creates never is: neither a SYN, nor a SYN that a
// server answers, nor an ACK that is taken for the middle of a session and that a host answers with a reset.
func (e *entry) mutual() bool {
	return e.wanted() && !e.over()
}

// over reports whether the session has ended and only waits.
func (e *entry) over() bool {
	return e.state&closing != 0 || e.state&bothFINs == bothFINs
}

// swap makes the client the server and the server the client.
func (e *entry) swap() {
	e.state ^= clientIsB
	for _, bit := range [...]state{clientFIN, clientSeq, clientSent, clientLost} { // that of the server is the next one
		both := e.state & (bit | bit<<1)
		if both == bit || both == bit<<1 {
			e.state ^= bit | bit<<1
		}
	}
	switch e.reason() {
	case event.CloseClientRST:
		e.setReason(event.CloseServerRST)
	case event.CloseServerRST:
		e.setReason(event.CloseClientRST)
	}
	for _, pair := range [...]*[2]uint64{&e.packets, &e.bytes} {
		pair[client], pair[server] = pair[server], pair[client]
	}
	for _, pair := range [...]*[2]uint32{&e.domain, &e.end, &e.acked} {
		pair[client], pair[server] = pair[server], pair[client]
	}
}

// Session is what the worker needs to know of a session to make a record.
type Session struct {
	ID              uint64
	Client          packet.Tuple // the direction of the client
	ClientPackets   uint64
	ClientBytes     uint64
	ServerPackets   uint64
	ServerBytes     uint64
	Created         int64 // ns on the clock of the packets
	Closed          int64 // ns, when its last timeout was over
	Reason          event.CloseReason
	Policy          uint32
	Interface       uint32
	InZone, OutZone uint16
	App             uint16
	LogClose        bool
	Wanted          bool // both ends have sent and, of TCP, the handshake was complete: no forged address can do that over TCP
	OpenOwed        bool // its SessionOpen record was held back, see [Table.OweOpen], and never became due
}

// fill copies the entry, which ends now, into s.
func (e *entry) fill(s *Session, now int64) {
	cPort, sPort := e.aPort(), e.bPort()
	*s = Session{
		ID:            e.id,
		Client:        packet.Tuple{Proto: e.proto(), Family: e.family()},
		ClientPackets: e.packets[client], ClientBytes: e.bytes[client],
		ServerPackets: e.packets[server], ServerBytes: e.bytes[server],
		Created: e.began, Closed: now, Reason: e.reason(), Policy: e.policy, Interface: e.iface,
		InZone: e.inZone, OutZone: e.outZone, App: e.app, LogClose: e.state&logClose != 0, Wanted: e.wanted(), OpenOwed: e.state&openOwed != 0,
	}
	from, to := &s.Client.Src, &s.Client.Dst
	if e.state&clientIsB != 0 {
		from, to = to, from
		if !packet.IsICMP(e.proto()) {
			cPort, sPort = sPort, cPort
		}
	}
	s.Client.SrcPort, s.Client.DstPort = cPort, sPort
	putAddr(from, e.aHi, e.aLo)
	putAddr(to, e.bHi, e.bLo)
}

func putAddr(to *packet.Addr, hi, lo uint64) {
	binary.BigEndian.PutUint64(to[:8], hi)
	binary.BigEndian.PutUint64(to[8:], lo)
}

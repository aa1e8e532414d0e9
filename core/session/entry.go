package session

import (
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

// The two ends of a session, as places in arrays.
const (
	client = 0
	server = 1
)

// entry is what a packet of a session reads and writes: two cache lines without pointers, so that the garbage collector
// never looks at the table. The first line is what a lookup compares; for the rest see cold.
type entry struct {
	flowKey
	domain   [2]uint32 // that the packets of each end come in, 0 = not known yet; see [Table.SetKey]
	state    state
	policy   uint32
	lastSeen int64 // ns

	packets [2]uint64 // by end
	bytes   [2]uint64 // of IP, by end
	// end is the sequence number behind the last byte that each end of a TCP session has sent, and acked the highest of
	// them that the other end has acknowledged. Valid if the state has clientSeq or serverSeq.
	end, acked [2]uint32
	inZone     uint16
	outZone    uint16
	app        uint16
	lost       uint16 // upper half of the number behind the last segment that did not fit, see [entry.rejoin]
	timeout    uint32 // seconds, in the present state; Never does not come
	idle       uint32 // seconds, once established
}

// cold is what is needed when a session begins or ends: 32 bytes beside each entry, at the same index.
type cold struct {
	began    int64  // ns: the time of the first packet
	id       uint64 // 0 = the entry is not used
	iface    uint32
	overflow uint32 // link to the next entry of the bucket for which there is no slot
	// next and prev are the indexes of the entries before and behind in one wheel slot, or next of that in the free list.
	// The first entry of a slot has the slot itself as prev, with slotBit set.
	next, prev uint32
}

// state is what has been seen of a session, and in its upper four bits the close reason.
type state uint32

const (
	clientIsB     state = 1 << iota // the client is the second end of the key
	synSeen                         // TCP: the SYN that began it was seen
	synAckSeen                      // the server has answered the SYN
	clientACK                       // the client has acknowledged something
	established                     // the handshake is complete, or its beginning was never seen
	clientFIN                       // the client has sent a FIN
	serverFIN                       // the server has sent a FIN
	clientSeq                       // end and acked of the client are valid
	serverSeq                       // end and acked of the server are valid
	clientSent                      // the client has sent something other than a reset
	serverSent                      // the server has sent something other than a reset
	clientLost                      // lost is of a segment of the client
	serverLost                      // lost is of a segment of the server
	closing                         // the session has ended and waits for stragglers: packets do not refresh it
	unreachable                     // an ICMP error was the last that was heard of it
	joined                          // it was created by a packet that begins nothing: the first may still come
	doubtful                        // its first packet could be an answer, and its source has no receive times
	exact                           // began is when the packet was received, not when it was read
	logClose                        // a SessionClose record is wanted
	openOwed                        // the SessionOpen record was held back until the session is wanted
	clientCarried                   // a carrier has a flow for packets of the client: it may be carrying them
	serverCarried                   // a carrier has a flow for packets of the server
	withdrawn                       // the policies deny it: it is in no bucket
	apart                           // it is in the bucket of its flow and domain, because that of its flow has enough

	reasonShift = 28
)

const bothFINs = clientFIN | serverFIN

const bothSent = clientSent | serverSent

const anyLost = clientLost | serverLost

// finOf, seqOf, sentOf and lostOf return the bits of an end. With the mask a shift is one instruction.
func finOf(who uint32) state  { return clientFIN << (who & 1) }
func seqOf(who uint32) state  { return clientSeq << (who & 1) }
func sentOf(who uint32) state { return clientSent << (who & 1) }
func lostOf(who uint32) state { return clientLost << (who & 1) }

// side returns the end that a packet of the session comes from.
func (e *entry) side(k *Key) uint32 { return k.from ^ uint32(e.state&clientIsB) }

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

// swap makes the client the server and the server the client. No carrier has a flow for either.
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

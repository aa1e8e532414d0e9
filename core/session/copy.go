package session

import (
	"encoding/binary"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

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
	NAT             packet.Translation
	OpenOwed        bool // its SessionOpen record was held back, see [Table.OweOpen], and never became due
}

// copyTo copies the session of entry i into out, as of one that ends now.
func (s *shard) copyTo(out *Session, i uint32, now int64) {
	e, c := &s.entries[i], &s.cold[i]
	if e.isCarried() {
		s.take(i)
	}
	cPort, sPort := e.aPort(), e.bPort()
	*out = Session{
		ID:            c.id,
		Client:        packet.Tuple{Proto: e.proto(), Family: e.family()},
		ClientPackets: e.packets[client], ClientBytes: e.bytes[client],
		ServerPackets: e.packets[server], ServerBytes: e.bytes[server],
		Created: c.began, Closed: now, Reason: e.reason(), Policy: e.policy, Interface: c.iface,
		InZone: e.inZone, OutZone: e.outZone, App: e.app, LogClose: e.state&logClose != 0, Wanted: e.wanted(),
		OpenOwed: e.state&openOwed != 0,
	}
	from, to := &out.Client.Src, &out.Client.Dst
	if e.state&clientIsB != 0 {
		from, to = to, from
		if !packet.IsICMP(e.proto()) {
			cPort, sPort = sPort, cPort
		}
	}
	out.Client.SrcPort, out.Client.DstPort = cPort, sPort
	if s.nat != nil {
		out.NAT = s.nat[i]
	}
	putAddr(from, e.aHi, e.aLo)
	putAddr(to, e.bHi, e.bLo)
}

func putAddr(to *packet.Addr, hi, lo uint64) {
	binary.LittleEndian.PutUint64(to[:8], hi)
	binary.LittleEndian.PutUint64(to[8:], lo)
}

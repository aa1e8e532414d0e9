package session

import (
	"slices"

	"github.com/rtflow/pipelined/core/packet"
)

// Carrier is a source that carries packets of sessions by itself: no worker sees them. It knows flows, which are one direction of a
// session each, by numbers from 1. Its methods are safe for concurrent use, and do not wait.
type Carrier interface {
	// Take takes out what was carried of a flow since it was last asked.
	Take(flow uint32) Carried
	// Follow says which sequence number is behind the last TCP segment of a flow that a worker has seen, and what its end has acknowledged.
	Follow(flow, end, acknowledged uint32)
	// Hold ends the carrying of a flow, for now. What was carried by then can be taken; all other packets come to a worker.
	Hold(flow uint32)
	// Forget ends a flow, of which everything was taken.
	Forget(flow uint32)
}

// Carried is what a [Carrier] has carried of a flow.
type Carried struct {
	Packets, Bytes    uint64 // bytes of IP
	Seen              int64  // when the last one was, in ns on the clock of the packets
	End, Acknowledged uint32 // of TCP: the highest sequence number behind a segment, and what the last one acknowledges
}

// Flow names a flow of a carrier, by its place, see [Table.AddCarrier], and its number. 0 is none.
type Flow uint32

// Limits of a Flow.
const (
	flowBits    = 24
	MaxFlow     = 1<<flowBits - 1
	MaxCarriers = 1 << (32 - flowBits)
)

// FlowOf returns the flow of a carrier that has a number up to [MaxFlow].
func FlowOf(carrier int, number uint32) Flow { return Flow(uint32(carrier)<<flowBits | number) }

// Carrier returns the place of the carrier.
func (f Flow) Carrier() int { return int(f >> flowBits) }

// Number returns the number of the flow.
func (f Flow) Number() uint32 { return uint32(f) & MaxFlow }

// carrying is what a shard knows of flows.
type carrying struct {
	carriers []Carrier // by place; nil: there is none
	flows    [][2]Flow // of each entry, what a carrier knows the packets of each end by
}

// AddCarrier adds a carrier, and returns its place. It reports false if [MaxCarriers] are there already. Safe for concurrent use with
// methods that are no changes of carriers.
func (t *Table) AddCarrier(c Carrier) (place int, ok bool) {
	list := t.listCarriers()
	if place = slices.Index(list, nil); place < 0 {
		place = len(list)
		list = append(list, nil)
	}
	if place == MaxCarriers {
		return 0, false
	}
	list[place] = c
	var flows [][2]Flow
	if !t.carries.Load() {
		flows = make([][2]Flow, numShards*len(t.shards[0].entries))
	}
	for i := range t.shards {
		s := &t.shards[i]
		t.lockOutside(s)
		if s.carrying == nil {
			s.carrying = &carrying{flows: part(flows, i)}
		}
		s.carriers = list
		t.unlockOutside(s)
	}
	t.carries.Store(true) // every shard has room for flows
	return place, true
}

// DropCarrier takes a carrier away: what it has carried is counted, and its flows are forgotten. Nobody calls [Table.Carry] for flows of
// it any more. Safe for concurrent use with methods that are no changes of carriers.
func (t *Table) DropCarrier(place int) {
	list := t.listCarriers()
	list[place] = nil
	for i := range t.shards {
		s := &t.shards[i]
		for from := uint32(1); t.dropFlows(s, place, from); from += dropChunk {
		}
		t.lockOutside(s)
		s.carriers = list
		t.unlockOutside(s)
	}
}

// listCarriers returns a copy of the list of carriers.
func (t *Table) listCarriers() []Carrier {
	s := &t.shards[0]
	t.lockOutside(s)
	defer t.unlockOutside(s)
	if s.carrying == nil {
		return nil
	}
	return slices.Clone(s.carriers)
}

// dropChunk is how many entries DropCarrier looks at before it lets others at the shard: of each it may ask the carrier.
const dropChunk = 32

// dropFlows ends the flows of a carrier that some entries have, from one on, and reports whether there are more entries.
func (t *Table) dropFlows(s *shard, place int, from uint32) (more bool) {
	t.lockOutside(s)
	defer t.unlockOutside(s)
	until := min(from+dropChunk, s.fresh)
	for i := from; i < until; i++ {
		for who := range uint32(2) {
			if s.entries[i].state&carriedOf(who) != 0 && s.flows[i][who].Carrier() == place {
				s.drop(i, who)
			}
		}
	}
	return until < s.fresh
}

// drop ends the flow of an end, and counts what was carried of it.
func (s *shard) drop(i, who uint32) {
	flow := s.flows[i][who]
	c := s.carriers[flow.Carrier()]
	c.Hold(flow.Number())
	s.take(i)
	c.Forget(flow.Number())
	s.entries[i].state &^= carriedOf(who)
	s.flows[i][who] = 0
}

const (
	anyCarried = clientCarried | serverCarried
	// carryFirst is how many packets of an end are seen before a carrier is asked, and carryAgain how many pass until the next time.
	carryFirst = 8
	carryAgain = 64
)

func carriedOf(who uint32) state { return clientCarried << (who & 1) }

// isCarried reports whether a carrier may be counting packets of the session: then what it has is to be taken before anything is
// decided by the session.
func (e *entry) isCarried() bool { return e.state&anyCarried != 0 }

// take counts what was carried into the session of entry i.
func (s *shard) take(i uint32) {
	e := &s.entries[i]
	for who := range uint32(2) {
		if e.state&carriedOf(who) == 0 {
			continue
		}
		flow := s.flows[i][who]
		c := s.carriers[flow.Carrier()].Take(flow.Number())
		if c.Packets == 0 {
			continue
		}
		e.packets[who] += c.Packets
		e.bytes[who] += c.Bytes
		if e.state&closing != 0 {
			continue
		}
		if e.state&unreachable != 0 { // it is not as dead as it was said
			e.state &^= unreachable
			e.timeout = e.idle
		}
		e.lastSeen = max(e.lastSeen, c.Seen)
		if e.proto() == packet.ProtoTCP {
			e.skip(who, c.End, c.Acknowledged)
		}
	}
}

// skip follows the sequence numbers past segments that were carried: they were near those before them.
func (e *entry) skip(who, end, acknowledged uint32) {
	other := who ^ 1
	if e.state&seqOf(who) != 0 {
		e.sent(who, end)
	}
	if e.state&seqOf(other) != 0 {
		e.acknowledged(other, acknowledged)
	}
}

// seen tells the carriers of a session about a packet of it that came to a worker. When the session has ended nothing more is carried.
func (s *shard) seen(i, who uint32) {
	e := &s.entries[i]
	if e.over() {
		s.hold(i)
		return
	}
	if e.state&carriedOf(who) != 0 && e.proto() == packet.ProtoTCP {
		s.follow(i, who)
	}
}

// follow tells the carrier of an end's packets the numbers of TCP. It may count a packet before it notes what that acknowledges: what is taken
// meanwhile is then what the session knows.
func (s *shard) follow(i, who uint32) {
	e, flow := &s.entries[i], s.flows[i][who&1]
	s.carriers[flow.Carrier()].Follow(flow.Number(), e.end[who&1], e.acked[who&1^1])
}

// hold ends the carrying of a session and counts what was carried by then.
func (s *shard) hold(i uint32) {
	for who := range uint32(2) {
		if flow := s.flows[i][who]; s.entries[i].state&carriedOf(who) != 0 {
			s.carriers[flow.Carrier()].Hold(flow.Number())
		}
	}
	s.take(i)
}

// forget ends the flows of a session, which are held.
func (s *shard) forget(i uint32) {
	for who := range uint32(2) {
		if flow := s.flows[i][who]; s.entries[i].state&carriedOf(who) != 0 {
			s.carriers[flow.Carrier()].Forget(flow.Number())
		}
	}
	s.entries[i].state &^= anyCarried
	s.flows[i] = [2]Flow{}
}

// carry sets what a hit says about the carrying of the packets of an end.
func (s *shard) carry(i, who uint32, h *packet.Headers, now int64, hit *Hit) {
	e := &s.entries[i]
	if e.state&carriedOf(who) != 0 {
		hit.Flow = s.flows[i][who&1]
	}
	hit.Carry = e.packets[who&1]%carryAgain == carryFirst && s.carriable(i, h, now)
}

// carriable reports whether a carrier may have packets of the session that are like h: ordinary ones of TCP or UDP, of a session that
// both ends want, so that nothing but its end will change its state.
func (s *shard) carriable(i uint32, h *packet.Headers, now int64) bool {
	e := &s.entries[i]
	return e.mutual() && e.state&(unreachable|doubtful) == 0 && now-s.cold[i].began > int64(Late) && carriable(h)
}

func carriable(h *packet.Headers) bool {
	const want, all = packet.ACK, packet.FIN | packet.SYN | packet.RST | packet.ACK | packet.URG
	switch {
	case !h.HasL4 || h.Fragment || h.Options != 0:
		return false
	case h.Proto == packet.ProtoTCP:
		return h.TCPFlags&all == want
	default:
		return h.Proto == packet.ProtoUDP
	}
}

// Carry says that a carrier has a flow for packets that are like h, which is one of the session of k: what [Hit.Carry] has asked for. It is held
// when Carry is called, and may be resumed after it. Carry reports false if the flow does not do any more: the caller is to forget it.
// A flow that the session had for that direction is forgotten.
func (t *Table) Carry(k *Key, h *packet.Headers, now int64, flow Flow) bool {
	s := t.lockOf(k)
	defer t.unlock(s)
	i := s.find(k)
	if i == 0 || !s.carriable(i, h, now) {
		return false
	}
	e := &s.entries[i]
	who := e.side(k) & 1
	if e.state&carriedOf(who) != 0 {
		s.drop(i, who)
	}
	e.state |= carriedOf(who)
	s.flows[i][who] = flow
	s.follow(i, who)
	return true
}

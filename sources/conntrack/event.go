package conntrack

import (
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/ctnetlink"
	"github.com/rtflow/pipelined/internal/nfnetlink"
	"github.com/rtflow/pipelined/sdk/event"
)

// event handles a message of the socket for events.
func (s *Stream) event(m *nfnetlink.Message, wellFormed bool) {
	s.counters.messages.Add(1)
	if !s.overrun {
		s.quiet = s.wall
	}
	kind := ctnetlink.KindOf(m)
	e := &s.entry
	switch {
	case !wellFormed:
		s.counters.malformed.Add(1)
		return
	case kind == ctnetlink.Other:
		s.counters.other.Add(1)
		return
	case !ctnetlink.Decode(m, e):
		s.counters.malformed.Add(1)
		return
	}
	hash := s.sessions.hash(&e.Orig, e.ICMPType, e.ICMPCode, e.Zone)
	n := s.sessions.find(hash, e)
	known := n != 0 && s.sessions.slots[n].entry() == e.ID
	switch kind {
	case ctnetlink.New:
		s.counters.new.Add(1)
		s.isNew(hash, n, e)
	case ctnetlink.Update:
		s.counters.updates.Add(1)
		if !known {
			s.resync.changed(hash)
			s.counters.unknown.Add(1)
			return
		}
		s.confirmed(&s.sessions.slots[n])
		s.updated(n, e, false)
	case ctnetlink.Destroy:
		s.counters.destroys.Add(1)
		s.resync.changed(hash)
		if !known && s.unkept > 0 {
			s.unkeptEnds(e, m.Port != 0)
			return
		}
		if !known {
			s.counters.unknown.Add(1)
			return
		}
		if x := &s.sessions.slots[n]; x.has(byAnswer) && x.emptied == s.emptied {
			// The entry that was destroyed may be one before it, of the same number, which the answer was faster than.
			s.counters.unknown.Add(1)
			s.resync.wanted = true
			return
		}
		s.destroyed(n, e, m.Port != 0)
	}
}

// isNew handles an entry that begins. n is the session of its tuple that is known already.
func (s *Stream) isNew(hash uint64, n uint32, e *ctnetlink.Entry) {
	if n == 0 {
		s.begin(hash, e, 0)
		return
	}
	x := &s.sessions.slots[n]
	if x.entry() != e.ID || !s.awaitsNew(x) { // the end of the older one was lost
		s.gone(n)
		s.begin(hash, e, 0)
		return
	}
	s.counters.repeated.Add(1) // a dump was faster
	s.confirmed(x)
	if x.has(silent) {
		x.flags &^= silent
		s.add(source.Began, x, s.at(e))
		if x.has(answered) {
			s.add(source.Answered, x, s.at(e))
		}
	}
	s.updated(n, e, false)
}

// awaitsNew reports whether the event of the beginning of a session, which a dump or an answer brought, may yet come. The kernel
// uses the number of an entry again, often for the next one of the same tuple: a later event is about that one.
func (s *Stream) awaitsNew(x *session) bool {
	return x.has(brought) && x.emptied == s.emptied && !(x.has(told) && x.has(silent)) // that one has not been told to begin
}

// confirmed notes that an event is about a session.
func (s *Stream) confirmed(x *session) {
	x.flags &^= brought | byAnswer
	s.unmute(x)
}

// begin makes a session of an entry, and tells of it. f are its flags beside live.
func (s *Stream) begin(hash uint64, e *ctnetlink.Entry, f flags) {
	n := s.sessions.add(hash, e)
	x := &s.sessions.slots[n] // of no session, if the table is full: the first
	if n == 0 {
		s.counters.full.Add(1)
		if f&brought != 0 {
			return // nobody knows whether it was told
		}
		*x = session{orig: e.Orig, reply: e.Reply}
		s.unkept++
	}
	x.created = s.at(e)
	if e.Start != 0 {
		x.created = e.Start
	}
	x.id = uint64(e.ID)
	if n != 0 {
		s.serial++
		x.id |= uint64(s.serial) << 32
	}
	x.emptied = s.emptied
	x.zone = s.zone(e)
	x.round = s.resync.round
	x.flags |= f
	x.count(e)
	switch {
	case n == 0:
		s.add(source.Began, x, x.created).Kept = nil
		return
	case f&told != 0:
		s.counters.foundEnded.Add(1)
		return
	case f&silent != 0:
		s.counters.found.Add(1)
		s.add(source.Began, x, x.created).Silent = true
	default:
		s.counters.began.Add(1)
		s.add(source.Began, x, x.created)
	}
	if f&mute != 0 {
		s.resync.mute++
	}
	s.updated(n, e, f&brought != 0)
}

// updated handles what a message says of a session that is known. exact says that its counters are those of now.
func (s *Stream) updated(n uint32, e *ctnetlink.Entry, exact bool) {
	x := &s.sessions.slots[n]
	x.round = s.resync.round
	x.flags &^= missing
	if x.has(told) {
		return
	}
	if e.Status&ctnetlink.SeenReply != 0 && !x.has(answered) {
		x.flags |= answered
		s.counters.answered.Add(1)
		s.add(source.Answered, x, s.at(e))
	}
	if exact {
		x.count(e)
	}
	if !s.atEnd || !hasEnded(e) {
		return
	}
	if exact {
		s.end(x, e, tcpReason(e.State), s.at(e))
		return
	}
	s.ask(e, ask{why: forCounters, session: n, reason: tcpReason(e.State), at: s.at(e)})
}

// hasEnded reports whether a TCP connection has ended, though its entry is still there.
func hasEnded(e *ctnetlink.Entry) bool {
	return e.Orig.Proto == packet.ProtoTCP && (e.State == ctnetlink.TimeWait || e.State == ctnetlink.Close)
}

// tcpReason says how a TCP connection ended that is in that state: [event.CloseNone] if it has not.
func tcpReason(state ctnetlink.State) event.CloseReason {
	switch state {
	case ctnetlink.TimeWait, ctnetlink.LastAck:
		return event.CloseFIN
	case ctnetlink.Close:
		return event.CloseRST
	}
	return event.CloseNone
}

// destroyed handles the end of an entry. requested says that a program has asked for it.
func (s *Stream) destroyed(n uint32, e *ctnetlink.Entry, requested bool) {
	x := &s.sessions.slots[n]
	if x.has(told) {
		s.counters.latePackets.Add(since(e.OrigPackets, x.clientPackets) + since(e.ReplyPackets, x.serverPackets))
		s.counters.lateBytes.Add(since(e.OrigBytes, x.clientBytes) + since(e.ReplyBytes, x.serverBytes))
		s.remove(n)
		return
	}
	reason, at := s.howEnded(e, requested)
	s.end(x, e, reason, at)
	s.remove(n)
}

// unkeptEnds tells the end of a session that the table had no room for: all that it says is in the event.
func (s *Stream) unkeptEnds(e *ctnetlink.Entry, requested bool) {
	s.unkept--
	s.counters.endedUnkept.Add(1)
	x := &s.sessions.slots[0]
	*x = session{orig: e.Orig, reply: e.Reply, id: uint64(e.ID), zone: s.zone(e)}
	reason, at := s.howEnded(e, requested)
	x.created = at
	s.end(x, e, reason, at).Kept = nil
}

// howEnded says why and when an entry has ended that was destroyed.
func (s *Stream) howEnded(e *ctnetlink.Entry, requested bool) (reason event.CloseReason, at int64) {
	at = s.at(e)
	if e.Stop != 0 {
		at = e.Stop
	}
	if e.Orig.Proto == packet.ProtoTCP {
		reason = tcpReason(e.State)
	}
	switch {
	case reason != event.CloseNone || requested:
	case e.Timeout > 0: // the kernel removed it though it had time left: for want of space, or since an address has gone
		reason = event.CloseAgeOut
	default:
		reason = event.CloseTimeout
	}
	return reason, at
}

// since returns how much a counter has grown, 0 if it was set back.
func since(now, then uint64) uint64 {
	if now < then {
		return 0
	}
	return now - then
}

// end tells that a session has ended, with the counters of e.
func (s *Stream) end(x *session, e *ctnetlink.Entry, reason event.CloseReason, at int64) *source.Event {
	x.count(e)
	if e.Start != 0 {
		x.created = e.Start
	}
	if e.Status&ctnetlink.SeenReply != 0 {
		x.flags |= answered // the event that said so is not read where another state of TCP came with it
	}
	return s.tellEnd(x, reason, at)
}

func (s *Stream) tellEnd(x *session, reason event.CloseReason, at int64) *source.Event {
	x.flags |= told
	s.unmute(x)
	s.counters.ended.Add(1)
	ended := s.add(source.Ended, x, max(at, x.created))
	ended.Reason = reason
	ended.ClientPackets, ended.ClientBytes = x.clientPackets, x.clientBytes
	ended.ServerPackets, ended.ServerBytes = x.serverPackets, x.serverBytes
	return ended
}

// gone handles a session whose entry is gone, without an event that said so: its counters are those that were seen last.
func (s *Stream) gone(n uint32) {
	x := &s.sessions.slots[n]
	if !x.has(told) {
		s.counters.closedUnseen.Add(1)
		s.tellEnd(x, event.CloseNone, s.wall)
	}
	s.remove(n)
}

func (s *Stream) remove(n uint32) {
	s.unmute(&s.sessions.slots[n])
	s.sessions.remove(n)
}

// unmute notes that the kernel does send events about a session, or that it matters no more.
func (s *Stream) unmute(x *session) {
	if x.has(mute) {
		x.flags &^= mute
		s.resync.mute--
	}
}

// at returns the time of an event.
func (s *Stream) at(e *ctnetlink.Entry) int64 {
	if e.Time != 0 {
		return e.Time
	}
	return s.wall
}

// zone returns the zone that the mark or the conntrack zone of an entry names, 0 for none.
func (s *Stream) zone(e *ctnetlink.Entry) uint16 {
	for i := range s.zones {
		if r := &s.zones[i]; e.Mark&r.mask == r.mark && (!r.byConntrackZone || e.Zone == r.conntrackZone) {
			return r.zone
		}
	}
	return 0
}

// add adds an event about a session to the batch.
func (s *Stream) add(what source.What, x *session, at int64) *source.Event {
	e := s.batch.Add()
	describe(x, e)
	e.What, e.Time = what, at
	return e
}

// describe sets what all events of a session say.
func describe(x *session, e *source.Event) {
	e.Flow, e.Reply, e.Zone = x.orig, x.reply, x.zone
	e.Created, e.Session, e.Kept, e.Answered = x.created, x.id, &x.kept, x.has(answered)
}

package feed

import (
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/source"
)

const (
	// maxJoins is how many rules wait for their session. A rule that logs more than the first packets of sessions, or whose
	// sessions are not told of, leaves entries that nobody asks for: the oldest makes room.
	maxJoins = 1 << 16
	// joinFor is how long one waits, in nanoseconds. A session is told of microseconds after its first packet; a rule whose
	// packets the kernel hands over in batches is told of later, by the batch's age.
	joinFor = int64(10e9)
)

// joins are the rules that have let packets through whose session is not known yet.
type joins struct {
	byFlow map[packet.Tuple]uint32 // index of the newest entry
	ring   [maxJoins]joinEntry
	next   uint32 // index of the next entry, of which the ring's is modulo its length
}

// joinEntry is a rule and the packet that it let through.
type joinEntry struct {
	flow    packet.Tuple
	rule    *source.Rule // nil: taken
	in, out uint32       // the kernel's numbers of the interfaces
	packet  int64        // when it was let through, Unix time
	at      int64        // on the feed's clock
}

func newJoins() *joins { return &joins{byFlow: make(map[packet.Tuple]uint32, maxJoins)} }

// put notes that a rule has let the packet of an event through. It returns whether an entry that nobody has asked for was lost
// for it.
func (j *joins) put(e *source.Event, now int64) (lost bool) {
	slot := &j.ring[j.next%maxJoins]
	if i, waits := j.byFlow[slot.flow]; waits && slot.rule != nil && i == j.next-maxJoins {
		delete(j.byFlow, slot.flow)
		lost = now-slot.at < joinFor
	}
	flow := joinKey(e.Flow)
	*slot = joinEntry{flow: flow, rule: e.Rule, in: e.In, out: e.Out, packet: e.Time, at: now}
	j.byFlow[flow] = j.next
	j.next++
	return lost
}

// take returns the entry of the rule that has let the first packet of a session through, until that Unix time, nil if none is known,
// and forgets it.
//
// The rule has seen the packet before a translation of the source, but for rules behind it, and after a translation of the
// destination, but for rules before it.
func (j *joins) take(e *source.Event, now, until int64) *joinEntry {
	behind := e.Reply.Reverse() // what the server receives
	between := e.Flow
	between.Dst, between.DstPort = behind.Dst, behind.DstPort
	if entry := j.takeFlow(joinKey(between), now, until); entry != nil {
		return entry
	}
	if between != e.Flow {
		if entry := j.takeFlow(joinKey(e.Flow), now, until); entry != nil {
			return entry
		}
	}
	if between != behind {
		return j.takeFlow(joinKey(behind), now, until)
	}
	return nil
}

func (j *joins) takeFlow(flow packet.Tuple, now, until int64) *joinEntry {
	i, ok := j.byFlow[flow]
	entry := &j.ring[i%maxJoins]
	if !ok || entry.packet > until {
		return nil
	}
	delete(j.byFlow, flow)
	if now-entry.at >= joinFor {
		return nil
	}
	return entry
}

// joinKey returns what names a flow to both sides of the join: a session of echoes has no sequence number.
func joinKey(t packet.Tuple) packet.Tuple {
	if packet.IsICMP(t.Proto) {
		t.DstPort = 0
	}
	return t
}

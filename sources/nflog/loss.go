package nflog

import (
	"sync/atomic"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/sdk/event"
)

// losses counts the packets that the kernel could not hand over, each once, although it tells of them in two ways: as a gap
// in the numbers of a group, when the next packet of the group arrives, and as a count of the messages that the socket had no
// room for, which does not say of which group they were. It is used by one goroutine, but for its counters.
type losses struct {
	threshold uint64 // packets of a message, at most
	overrun   bool   // the socket was full, and nobody has looked yet for what is missing behind the last packet

	gaps, drops uint64 // packets and messages so far
	kernel      uint32 // the kernel's count of messages, which wraps around
	// credit is how many packets have been told of whose gap has not been seen. Used with messages of several packets only.
	credit uint64

	told     atomic.Uint64 // packets
	overruns atomic.Uint64 // how often the socket was full
}

// full notes that the socket was full.
func (l *losses) full() {
	l.overruns.Add(1)
	l.overrun = true
	// It was a bound. What is missing now must not be taken for a part of it.
	l.credit = 0
}

// gap takes a gap of so many packets, and returns how many of them have not been told of.
func (l *losses) gap(packets uint64) uint64 {
	l.gaps += packets
	if l.threshold == 1 {
		return l.tell(l.gaps)
	}
	known := min(packets, l.credit)
	l.credit -= known
	l.told.Add(packets - known)
	return packets - known
}

// dropped takes the kernel's count of dropped messages at a moment when the socket is empty: those that have made no gap yet came
// behind the last packet of their group. It returns how many packets that is, at most, of which nobody has been told. With
// messages of one packet it is exact.
func (l *losses) dropped(messages uint32) uint64 {
	l.overrun = false
	more := uint64(messages - l.kernel)
	l.kernel = messages
	l.drops += more
	if l.threshold == 1 {
		return l.tell(l.drops)
	}
	l.credit = more * l.threshold
	l.told.Add(l.credit)
	return l.credit
}

// tell returns how many packets of a total have not been told of.
func (l *losses) tell(total uint64) uint64 {
	told := l.told.Load()
	if total <= told {
		return 0
	}
	l.told.Store(total)
	return total - told
}

// loss fills in that packets are missing between two times.
func loss(e *source.Event, packets uint64, since, until int64) {
	e.What, e.Time, e.Created = source.Lost, until, min(since, until)
	e.Lost[event.PolicyDeny] = packets
}

package source

import (
	"sync"
	"time"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

// Events is a source of events that somebody else's dataplane has decided on.
type Events interface {
	Source
	// Stream returns the events. They get one reader.
	Stream() EventStream
}

// EventStream is the events of a source as they happen. It is used by one goroutine, that of the feed, except for
// [SessionLister].
type EventStream interface {
	// FD returns the descriptor that poll(2) reports as readable when Read has something to do. It does not change.
	FD() int
	// Read empties b and fills it with what has happened, without waiting. now is the monotonic and wall the Unix time, in
	// nanoseconds. It returns in how long it is to be called again, though the descriptor is silent: 0 if at once, since there
	// may be more; negative if not at all. An error is permanent, and may come with a last batch; [io.EOF] ends the source for good.
	Read(b *EventBatch, now, wall int64) (again time.Duration, err error)
}

// SessionLister is an event stream that keeps the sessions that it has told of and that live. The feed reads a batch of such a
// stream before those of others, and carries it after them: a rule that others tell of is then known before its session.
type SessionLister interface {
	EventStream
	// The lock is held by the feed while it uses what it has in [Kept], and not when it calls Read.
	sync.Locker
	// Sessions calls yield for each of them, in no order, until it returns false. The event is as that of their beginning, with a
	// copy of Kept; yield must not keep it. yield may block, and Sessions must not hold the lock meanwhile. Safe for concurrent use.
	Sessions(yield func(e *Event) bool)
}

// EventBatchSize is how many events a batch holds.
const EventBatchSize = 256

// EventBatch is what one Read returns.
type EventBatch struct {
	N      int
	Events [EventBatchSize]Event
}

// Add returns room for one more event, all zero. There must be room: b.N is below [EventBatchSize].
func (b *EventBatch) Add() *Event {
	e := &b.Events[b.N]
	*e = Event{}
	b.N++
	return e
}

// What is what has happened.
type What uint8

// Values of What.
const (
	Began    What = iota // a session; before it was answered
	Answered             // a session that has begun, by its server
	Ended                // a session
	Denied               // a packet was dropped, or rejected
	Logged               // a packet was logged, by a rule that does not drop it
	Accepted             // a packet was let through, by a rule whose name its session is to have
	Lost                 // events before this one were lost

	NumWhats = 7
)

var whatNames = [NumWhats]string{"began", "answered", "ended", "denied", "logged", "accepted", "lost"}

// String returns the name, as it stands in the status.
func (w What) String() string {
	if w < NumWhats {
		return whatNames[w]
	}
	return "unknown"
}

// Event is what has happened, as its source knows it. Numbers that it does not know are 0.
type Event struct {
	What What
	// Action is what the rule did: of Denied, Logged and Accepted.
	Action event.Action
	// Silent is set for a session that is not to be told of, such as one that began before the source was opened: it is
	// found a zone and a name, and its end is told. It may begin a second time, and not silently, if it turns out to be new.
	Silent bool
	// Answered says of a session that ends whether its server has ever answered.
	Answered bool
	Reason   event.CloseReason // of Ended

	// Flow is the packet, or of a session what its client sends, before any translation.
	Flow packet.Tuple
	// Reply is what the server of a session sends, before any translation: where it is not the reverse of Flow, the session is
	// translated.
	Reply              packet.Tuple
	ICMPType, ICMPCode uint8 // of packets

	// In and Out are the kernel's numbers of the interfaces that a packet came in by and leaves by.
	In, Out uint32
	// Zone is the ingress zone, where something else than the interface and the address tells it.
	Zone uint16
	// Rule is what the firewall calls its rule: of Denied, Logged and Accepted. Its memory is never reused.
	Rule *Rule

	Time    int64 // Unix nanoseconds
	Created int64 // of a session, the same
	Session uint64
	// Kept is what the feed keeps with a session from its beginning to its end: memory of the source, the same for every
	// event of the session, and valid until the next Read. nil if the source has no room for the session: then of the others only
	// its end is told.
	Kept *Kept

	// Of Ended.
	ClientPackets, ClientBytes uint64
	ServerPackets, ServerBytes uint64

	// Lost are how many events of which kind, at most, are missing, and Time and Created when the last and the first of them may have
	// happened: of Lost. The total is not 0.
	Lost event.LossCounts
}

// Rule is a rule of somebody else's firewall.
type Rule struct {
	Name string
	// Policy and Filter are the feed's: the ids that it has given to the name, 0 for none yet.
	Policy, Filter uint32
}

// Kept is what a feed keeps of a session. The source does not look into it.
type Kept struct {
	Policy          uint32
	Interface       uint32
	InZone, OutZone uint16
	App             uint16
	// Waits is which of the open records that wait for their way to the rings is that of the session, from 1; 0 = none.
	Waits uint16
	// Carried says that the feed has carried its beginning, Silent that it is not told of, Owed that the record of it is owed.
	Carried, Silent, Owed, Ended bool
}

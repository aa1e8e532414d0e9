// Package source defines the contracts between a worker and a source of frames, and between a feed and a source of events.
//
// It knows no concrete sources, decodes nothing and starts no goroutines.
package source

import (
	"context"
	"time"

	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/internal/machine"
	"github.com/rtflow/pipelined/sdk"
)

// FrameSource is one queue of a source. It is used by one goroutine.
type FrameSource interface {
	// Receive waits up to timeout for frames and fills b; b.N is 0 after a timeout, or when ctx ended. io.EOF ends the
	// source for good, and may come with a last batch; any other error is permanent, and may come with a last batch too.
	Receive(ctx context.Context, b *packet.Batch, timeout time.Duration) error
	// Release gives the frames of the last Receive back to the source.
	Release()
}

// Verdict is what becomes of a frame of a [Forwarder].
type Verdict uint8

const (
	Forward  Verdict = iota // it is sent on, unchanged
	Drop                    // it is not, silently
	Reject                  // nor is this, and the sender is told as by a host with a closed port
	Prohibit                // nor is this, and the sender is told that it is administratively prohibited
)

// Forwarder is a queue of a source that is in the path of its frames: what it does not send on goes nowhere. The worker decides
// about all frames of a batch before it receives the next: a frame that waited would be overtaken by its flow, and whoever it is for
// would wait, too.
type Forwarder interface {
	FrameSource
	// Forward acts on the verdicts about the frames of the last Receive, one for each in their order. The worker calls it once
	// for each batch with frames, before Release. It returns how many frames that were to be sent on were not, such as for
	// want of room: they are lost.
	Forward(verdicts []Verdict) (notSent int)
}

// Offloader is a queue of a source that can carry packets by itself: it counts them, and sends them on if it is a [Forwarder], and no
// worker sees them. A flow is what it carries, see [session.Carrier]. The worker calls it between Receive and Release.
type Offloader interface {
	FrameSource
	// Offload adds a flow of packets that are like one of the last Receive, which has these headers: of one direction of a session. The
	// flow is held. Offload returns its number; 0 if it cannot, such as for want of room.
	Offload(h *packet.Headers) (flow uint32)
	// Resume has the source carry a flow that is held, of which everything was taken. A Forwarder begins when the packets of the flow that
	// are on their way to the worker were sent.
	Resume(flow uint32)
	// CameUp says that a frame of the last Receive, by its place in the batch, is of a flow.
	CameUp(flow uint32, frame int)
	// Forget ends a flow that no session has.
	Forget(flow uint32)
	// HoldAll holds all flows of the source. Safe for concurrent use.
	HoldAll()
}

// Carrying is a source of frames whose queues are [Offloader]s.
type Carrying interface {
	Frames
	// Carrier returns what knows the flows of all queues; nil: nothing is carried.
	Carrier() Carrier
}

// Carrier is the carrier of a source.
type Carrier interface {
	session.Carrier
	// Carried counts the packets that were carried. They are in nothing that workers count.
	Carried() Carried
}

// Carried counts what a source has carried by itself.
type Carried struct {
	Packets, Bytes uint64 // frames, and bytes in them
	NotSent        uint64 // of Packets, of a bridge: lost, since the interface by which they were to leave did not take them
	Forwards       bool   // they were sent on: of a bridge
}

// Source is an open source: of frames, see [Frames], or of events, see [Events].
type Source interface {
	// Status is shown to operators as JSON. Safe for concurrent use; must not block.
	Status() any
	// Counters are shown as metrics. Safe for concurrent use; must not block.
	Counters() []Counter
	// Close releases what the source holds. The workers have stopped.
	Close() error
}

// Frames is a source of frames.
type Frames interface {
	Source
	// Queues returns its queues. Each gets a worker.
	Queues() []FrameSource
}

// Paired is a source of frames whose queues are Forwarders: see [Configured.Peer].
type Paired interface {
	Frames
	// Pair tells the source which one sends its frames on. It is called once, before the workers start, and returns an error if
	// the two must not be a pair.
	Pair(peer Source) error
}

// Blind is a source that may be unable to read, for a time.
type Blind interface {
	// Blind returns an error that says what it does not read just now, such as an interface that is down; nil if it reads all.
	// Safe for concurrent use; must not block.
	Blind() error
}

// Counter is one of a source's own counters.
type Counter struct {
	Name  string // as in metrics: "fill_ring_empty"
	Queue int    // -1: of the whole source
	Value uint64
	Lost  bool // it counts packets, or events, that were lost before they could be read
	// Bypassed says that it counts packets that were sent on without having been read.
	Bypassed bool
}

// Configured is a source that is configured and not open yet.
type Configured struct {
	// Interfaces are the physical interfaces it reads, for the zone table. Empty for a capture that names its own.
	Interfaces []string
	// Optional are those of Interfaces that need not be there when it is opened.
	Optional []string
	// Live is true if packets arrive by themselves; a capture waits for whoever reads it.
	Live bool
	// Incoming is true if it never reads packets as they leave an interface, which would tell the zone that they go to.
	Incoming bool
	// Peer is the name of the source that sends on what this one receives, and the other way round; empty: none does, it only
	// looks. Both are [Paired] and of the same plugin.
	Peer string
	// Events is true if it yields events, and no packets.
	Events bool
	// Sessions is true if it tells of sessions, as a source of events: of all that the host has. One source of a pipeline does.
	Sessions bool
	// Rules is true if it tells of what the rules of another firewall have decided, as a source of events.
	Rules bool
	// Exclusive is what no other source can read meanwhile.
	Exclusive []Exclusive
	// Translator opens what tells how the host translates the sessions of the source's packets; nil: nobody is asked.
	Translator func() (Translator, error)
	// Examine finds out whether the machine has what the source needs, as it is configured, and changes nothing. Safe for concurrent
	// use; nil if it needs nothing of the machine.
	Examine func(m *machine.Machine) []machine.Finding
	// Open opens the source. It is not called by `pipelined check`.
	Open func(ctx context.Context, zones *zone.Table) (Source, error)
}

// Exclusive is something that has one reader, and the key of the source's table that names it. What is the same text for the same
// thing, such as "NFLOG group 5".
type Exclusive struct{ Key, What string }

// Plugin is a plugin that offers a source.
type Plugin = sdk.Plugin[Env, Configured]

// Env is what a source may know about the daemon.
type Env struct {
	Warn func(msg string, args ...any)
	Info func(msg string, args ...any) // like Warn, of what is nothing wrong
	// Zone returns the id of the configured zone of that name. The error says that there is none, and which may be meant.
	Zone func(name string) (id uint16, err error)
}

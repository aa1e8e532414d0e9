package admission

import (
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

// Event is what a record is made from: plain values, no references. Of loss records the gate itself takes care.
type Event struct {
	Flow packet.Tuple // of a session: the direction of its client

	InZone, OutZone, App uint16
	Interface            uint32
	Policy               uint32 // sessions and denials

	Kind   event.Kind
	Action event.Action
	// Unanswered says that the event is of a session that nobody has answered, and was offered as such.
	Unanswered bool

	Reason    event.CloseReason // closes
	Time      int64             // Unix nanoseconds
	SessionID uint64            // sessions; denials: the id that the session would have got

	Filter, Term       uint32             // filter logs
	At                 event.FilterSource // filter logs
	Screen             event.Screen       // screen drops
	ICMPType, ICMPCode uint8              // denials, which have no code, and filter logs

	// What a close tells of its session.
	Created                    uint32 // Unix seconds
	ClientPackets, ClientBytes uint64
	ServerPackets, ServerBytes uint64

	NAT packet.Translation // of a session
}

// Encode makes the event's record, without a sequence number and a generation.
func (e *Event) Encode(rec *event.Record) {
	rec.Reset(e.Kind)
	rec.SetTime(e.Time)
	rec.SetFlow(uint8(e.Flow.Family), e.Flow.Proto, (*[16]byte)(&e.Flow.Src), (*[16]byte)(&e.Flow.Dst), e.Flow.SrcPort, e.Flow.DstPort)
	rec.SetZones(e.InZone, e.OutZone)
	rec.SetInterface(e.Interface)
	rec.SetApplication(e.App)
	rec.SetAction(e.Action)
	switch e.Kind {
	case event.SessionClose:
		rec.SetClose(e.ClientPackets, e.ClientBytes, e.ServerPackets, e.ServerBytes, e.Created, e.Reason)
		fallthrough
	case event.SessionOpen:
		rec.SetPolicy(e.Policy)
		rec.SetSessionID(e.SessionID)
		if e.NAT.Any() {
			rec.SetNAT((*[16]byte)(&e.NAT.Src), (*[16]byte)(&e.NAT.Dst), e.NAT.SrcPort, e.NAT.DstPort)
		}
	case event.PolicyDeny:
		rec.SetDeny(e.Policy, e.SessionID, e.ICMPType)
	case event.ScreenDrop:
		rec.SetScreen(e.Screen)
	case event.FilterLog:
		rec.SetFilter(e.Filter, e.Term, e.At, e.ICMPType, e.ICMPCode)
	}
}

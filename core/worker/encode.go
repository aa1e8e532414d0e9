package worker

import (
	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/sdk/event"
)

var _ admission.Encoder = (*Worker)(nil)

// Encode makes the record of an event that the gate has admitted. The gate calls it.
func (w *Worker) Encode(ref uint32, rec *event.Record) {
	if ref&closedRef != 0 {
		w.encodeClosed(&w.ended[ref&^closedRef], rec)
		return
	}
	if ref&openedRef != 0 {
		EncodeLive(&w.ended[ref&^openedRef], w.offset, rec)
		return
	}
	e := &w.found[ref]
	p := e.packet
	rec.Reset(e.kind)
	rec.SetTime(p.Time + w.offset)
	rec.SetFlow(uint8(p.Family), p.Proto, (*[16]byte)(&p.Src), (*[16]byte)(&p.Dst), e.srcPort, e.dstPort)
	rec.SetZones(p.InZone, e.outZone)
	rec.SetInterface(p.Interface)
	rec.SetApplication(e.app)
	switch e.kind {
	case event.SessionOpen:
		rec.SetAction(event.ActionPermit)
		rec.SetPolicy(e.policy)
		rec.SetSessionID(e.id)
	case event.PolicyDeny:
		rec.SetAction(e.finding.Action)
		rec.SetDeny(e.finding.Policy, e.id, p.ICMPType)
	case event.ScreenDrop:
		rec.SetAction(e.finding.Action)
		rec.SetScreen(e.finding.Screen)
	case event.FilterLog:
		rec.SetAction(e.finding.Action)
		rec.SetFilter(e.finding.Filter, e.finding.Term, e.finding.At, p.ICMPType, p.ICMPCode)
	}
}

// EncodeLive makes the record of a session that lives: a SessionOpen record with the time of creation. offset is Unix
// time minus the clock of the packets, see [Worker.Clock].
func EncodeLive(s *session.Session, offset int64, rec *event.Record) {
	rec.Reset(event.SessionOpen)
	rec.SetTime(s.Created + offset)
	encodeSession(s, rec)
}

func (w *Worker) encodeClosed(s *session.Session, rec *event.Record) {
	rec.Reset(event.SessionClose)
	closed := s.Closed + w.offset
	rec.SetTime(closed)
	encodeSession(s, rec)
	// The record has whole seconds for the creation: rounded so that the elapsed time comes out right.
	elapsed := max(s.Closed-s.Created, 0) / 1e9
	rec.SetClose(s.ClientPackets, s.ClientBytes, s.ServerPackets, s.ServerBytes, uint32(closed/1e9-elapsed), s.Reason)
}

// encodeSession sets what the records of a session have in common.
func encodeSession(s *session.Session, rec *event.Record) {
	c := &s.Client
	rec.SetFlow(uint8(c.Family), c.Proto, (*[16]byte)(&c.Src), (*[16]byte)(&c.Dst), c.SrcPort, c.DstPort)
	rec.SetZones(s.InZone, s.OutZone)
	rec.SetInterface(s.Interface)
	rec.SetApplication(s.App)
	rec.SetAction(event.ActionPermit)
	rec.SetPolicy(s.Policy)
	rec.SetSessionID(s.ID)
}

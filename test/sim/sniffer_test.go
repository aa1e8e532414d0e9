package sim

import (
	"encoding/binary"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
)

// sniffer reads what one end of a wire writes, as it is written: whole frames, one behind the other, in the order that
// the protocol has.
type sniffer struct {
	v       *witness
	w       *wire
	buf     []byte
	frame   func(f eventstream.Frame)
	started bool
	last    event.Seq   // highest number
	asked   []event.Seq // by drain requests
	answers int         // to them
}

// write is told what is written.
func (s *sniffer) write(b []byte) {
	s.buf = append(s.buf, b...)
	for len(s.buf) >= event.HeaderSize {
		size := event.HeaderSize + int(binary.LittleEndian.Uint32(s.buf))
		if size > event.HeaderSize+event.MaxPayload {
			s.v.failf("a frame of %d bytes was written", size)
			s.buf = nil
			return
		}
		if len(s.buf) < size {
			return
		}
		s.frame(eventstream.Frame(s.buf[:size]))
		s.buf = s.buf[size:]
	}
}

// fromSink checks a frame of the sink.
func (s *sniffer) fromSink(f eventstream.Frame) {
	first := !s.started
	s.started = true
	seq := f.Seq()
	switch t := f.Type(); {
	case t == eventstream.HelloFrame && first && !s.v.plan.delta:
		h, err := eventstream.ParseHello(f)
		if err != nil || h.Epoch != epoch {
			s.v.failf("hello %+v, %v", h, err)
		}
		s.last = h.First - 1
	case first && !s.v.plan.delta:
		s.v.failf("a connection begins with a frame of type %d", t)
	case t == eventstream.Keepalive || seq == 0 && (t == event.FrameSessionOpen || t == eventstream.SessionUpdate):
	case t == eventstream.FullResync:
		s.last = max(s.last, seq)
	case t == eventstream.TableEnd && seq == 0 && !s.v.plan.delta:
	case t == eventstream.DrainComplete:
		s.drained(seq)
	case s.isRecord(t):
		// In the delta layout loss records have no frame.
		if seq <= s.last || !s.v.plan.delta && seq != s.last+1 && !announces(f, seq-s.last-1) {
			s.v.failf("P5: record %d was sent behind %d", seq, s.last)
		}
		s.last = seq
	default:
		s.v.failf("a frame of type %d was sent, number %d", t, seq)
	}
}

// announces reports whether a frame says that at least so many records before it were evicted.
func announces(f eventstream.Frame, missing event.Seq) bool {
	var rec event.Record
	if _, err := rec.Decode(f); err != nil || rec.Kind() != event.Loss || rec.LossReason() != event.LossEvicted {
		return false
	}
	lost := rec.LossCounts()
	return event.Seq(lost.Total()) > missing
}

func (s *sniffer) isRecord(t event.FrameType) bool {
	switch t {
	case event.FramePolicyDeny, event.FrameScreenDrop, event.FrameFilterLog:
		return true
	case event.FrameSessionOpen, event.FrameSessionClose, event.FrameLoss:
		return !s.v.plan.delta
	case eventstream.SessionOpen, eventstream.SessionClose:
		return s.v.plan.delta
	default:
		return false
	}
}

// drained checks the answer to a drain request. Those of one wire ask for higher numbers each time, and an answer is for
// one of them or several: the n-th answer is for the n-th of them or a later one.
func (s *sniffer) drained(highest event.Seq) {
	if s.w.spoiled {
		return
	}
	if s.answers++; s.answers > len(s.asked) || highest < s.asked[s.answers-1] {
		s.v.failf("drain request answered with %d; it is answer %d, and asked for were %d", highest, s.answers, s.asked)
	}
}

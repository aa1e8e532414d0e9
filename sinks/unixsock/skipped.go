package unixsock

import "github.com/rtflow/pipelined/sdk/event"

// skipped are the numbers that have no frame: in the delta layout, those of loss records that a receiver of the existing
// protocol would not understand. It sees a gap there, which is what it knows for a loss. An acknowledgement of the
// record before covers them.
type skipped struct {
	spans []span // in order, not adjoining
}

type span struct{ from, to event.Seq }

// add adds higher numbers.
func (s *skipped) add(from, to event.Seq) {
	if n := len(s.spans); n > 0 && s.spans[n-1].to+1 == from {
		s.spans[n-1].to = to
		return
	}
	s.spans = append(s.spans, span{from, to})
}

// through returns how far an acknowledgement reaches, and forgets what it covers.
func (s *skipped) through(seq event.Seq) event.Seq {
	covered := 0
	for _, sp := range s.spans {
		if sp.from > seq+1 {
			break
		}
		seq = max(seq, sp.to)
		covered++
	}
	s.spans = append(s.spans[:0], s.spans[covered:]...)
	return seq
}

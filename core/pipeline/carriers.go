package pipeline

import (
	"github.com/rtflow/pipelined/core/metrics"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/core/source"
)

// noCarrier is the place of the carrier of a source that has none.
const noCarrier = -1

// addCarrier adds that of a source, and returns its place; noCarrier if it has none, or there is no place left.
func (pl *Pipeline) addCarrier(src source.Frames) (place int) {
	s, ok := src.(source.Carrying)
	if !ok {
		return noCarrier
	}
	c := s.Carrier()
	if c == nil {
		return noCarrier
	}
	if len(pl.carriers) == session.MaxCarriers {
		pl.plan.options.Log.Warn("nothing of a source is offloaded: so many others are", "sources", session.MaxCarriers)
		return noCarrier
	}
	pl.carriers = append(pl.carriers, c)
	return len(pl.carriers) - 1
}

// sessionCarriers returns the carriers as sessions know them.
func (pl *Pipeline) sessionCarriers() (list []session.Carrier) {
	for _, c := range pl.carriers {
		list = append(list, c)
	}
	return list
}

// addCarried adds the packets that no worker has seen.
func (pl *Pipeline) addCarried(p *metrics.Packets) {
	for _, carrier := range pl.carriers {
		c := carrier.Carried()
		p.Received += c.Packets
		p.Bytes += c.Bytes
		p.Offloaded += c.Packets
		if c.Forwards {
			p.Forwarded += c.Packets - c.NotSent
			p.NotSent += c.NotSent
		} else {
			p.Passed += c.Packets
		}
	}
}

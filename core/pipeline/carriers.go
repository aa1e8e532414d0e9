package pipeline

import (
	"github.com/rtflow/pipelined/core/metrics"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/core/source"
)

// addCarrier adds that of a source, if it has one, and returns its place.
func (pl *Pipeline) addCarrier(src source.Frames) (place int) {
	place = len(pl.carriers)
	if s, ok := src.(source.Carrying); ok {
		if c := s.Carrier(); c != nil && place < session.MaxCarriers {
			pl.carriers = append(pl.carriers, c)
		}
	}
	return place
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

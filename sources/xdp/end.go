package xdp

import "github.com/rtflow/pipelined/xsk"

// after is what becomes of the frames that come in by an interface of a bridge when its source is closed.
type after uint8

const (
	asBefore after = iota // nobody has ever read it
	cut                   // they end there
	past                  // they go to the peer, and nobody judges them
	away                  // there is no interface, and the peer has nobody to send to
)

// leftBehind is what a source that is closed has left on its interface.
type leftBehind struct {
	name    string
	after   after
	program bool // is there still
}

// leaves returns what is left of a device that is closed; nil: there was none.
func (s *Source) leaves(device *xsk.Interface) leftBehind {
	l := leftBehind{name: s.config.Device.Interface, after: away}
	if device == nil {
		return l
	}
	end := device.Ending()
	l.program = end.Stays
	switch {
	case device.Link().Gone:
	case !end.Read:
		l.after = asBefore
	case end.Stays && (end.Bypassed || s.config.Device.OnFailure == xsk.FailOpen):
		l.after = past
	default:
		l.after = cut
	}
	return l
}

// tellEnd says what the two interfaces of a bridge do from now on, when the second of their sources is closed.
func (s *Source) tellEnd(tie *tie, device *xsk.Interface) {
	mine := s.leaves(device)
	if tie.left.CompareAndSwap(nil, &mine) {
		return
	}
	first := *tie.left.Load()
	if first.after == away || mine.after == away { // what was to go past has no way to go
		first.after, mine.after = min(first.after, cut), min(mine.after, cut)
	}
	args := func(from, to leftBehind) []any {
		list := []any{"interface", from.name, "peer", to.name}
		if from.program || to.program {
			list = append(list, "program_away_with", "pipelined detach "+from.name+" "+to.name)
		}
		return list
	}
	if first.after == mine.after {
		switch mine.after {
		case cut:
			s.config.Warn("nothing crosses between the two interfaces any more", args(first, mine)...)
		case past:
			s.config.Warn("packets between the two interfaces go past from now on, and nobody judges them", args(first, mine)...)
		}
		return
	}
	for _, way := range [][2]leftBehind{{first, mine}, {mine, first}} {
		switch way[0].after {
		case cut:
			s.config.Warn("nothing crosses from the interface to its peer any more", args(way[0], way[1])...)
		case past:
			s.config.Warn("packets from the interface to its peer go past from now on, and nobody judges them", args(way[0], way[1])...)
		}
	}
}

package pluginhost

import (
	"iter"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinkplugin/sinkv1"
)

// maxListed is how many sessions one message to the plugin holds at most.
const maxListed = 512

// listing is a list of sessions that a plugin goes through message by message. It belongs to the receiver.
type listing struct {
	id     uint64
	next   func() (*event.Record, bool)
	end    func()
	frames []byte
	held   bool // the next message begins with the record below, which did not fit into the last
	record event.Record
}

// stop ends the list, if there is one.
func (l *listing) stop() {
	if l.end != nil {
		l.end()
		l.next, l.end = nil, nil
	}
}

// sessions sends the next message of a list and reports whether it goes on with one.
func (d *delivery) sessions(id uint64) (goesOn bool, err error) {
	l := &d.list
	begins := l.id != id
	if begins {
		if !d.lists.Allow() {
			return false, breach("it lists the sessions over and over")
		}
		l.stop()
		l.id, l.held = id, false
		if lister, ok := d.stream.(sdk.SessionLister); ok {
			l.next, l.end = iter.Pull(lister.Sessions())
		}
	}
	m := &sinkv1.Sessions{Listing: id}
	l.frames = l.frames[:0]
	for m.GetCount() < maxListed {
		if !l.advance() {
			m.Last = true
			break
		}
		if m.GetCount() > 0 && l.record.Generation != m.GetGeneration() {
			break // for the next message
		}
		l.held = false
		m.Generation = l.record.Generation
		m.Count++
		l.frames = append(l.frames, l.record.Frame()...)
	}
	m.Frames = l.frames
	d.sending.Lock()
	defer d.sending.Unlock()
	if m.GetCount() > 0 {
		if err := d.sendNames(m.GetGeneration()); err != nil {
			return false, err
		}
	}
	return !begins && m.GetCount() > 0, d.call.Send(&sinkv1.Down{Message: &sinkv1.Down_Sessions{Sessions: m}})
}

// advance makes the next session the record at hand, and reports whether there is one.
func (l *listing) advance() bool {
	if l.held {
		return true
	}
	if l.next == nil {
		return false
	}
	r, ok := l.next()
	if !ok {
		l.stop()
		return false
	}
	l.record, l.held = *r, true
	return true
}

package sinkplugin

import (
	"iter"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/sinkplugin/sinkv1"
)

// Draining is sdk.DrainNotifier's.
func (r *run) Draining() <-chan struct{} { return r.stopping }

// Sessions is sdk.SessionLister's. It asks the daemon for one message after the other. One list is made at a time: a new one ends the
// one before.
func (r *run) Sessions() iter.Seq[*event.Record] {
	return func(yield func(*event.Record) bool) {
		id := r.begin()
		var rec event.Record
		for {
			m := r.next(id)
			frames := m.GetFrames()
			for range m.GetCount() {
				size, err := rec.Decode(frames)
				if err != nil {
					r.fail(status.Error(codes.InvalidArgument, err.Error()))
					return
				}
				rec.Generation = m.GetGeneration()
				if frames = frames[size:]; !yield(&rec) {
					return
				}
			}
			if m == nil || m.GetLast() {
				return
			}
		}
	}
}

// begin begins a list and returns its number.
func (r *run) begin() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listing++
	select {
	case <-r.listed: // of the list before
	default:
	}
	return r.listing
}

// next asks for the next message of a list and waits for it. It returns nil when there is none: another list was begun, or
// the run is over.
func (r *run) next(id uint64) *sinkv1.Sessions {
	r.mu.Lock()
	if r.listing != id || r.over || r.gone {
		r.mu.Unlock()
		return nil
	}
	r.asks = true
	signal(r.news)
	r.mu.Unlock()
	select {
	case m := <-r.listed:
		if m.GetListing() == id {
			return m
		}
		return nil
	case <-r.lost:
		return nil
	case <-r.done:
		return nil
	}
}

// answered takes an answer if it is what was asked for last. The lock is held.
func (r *run) answered(m *sinkv1.Sessions) {
	if m.GetListing() != r.listing {
		return
	}
	select {
	case r.listed <- m:
	default: // it was not asked for
	}
}

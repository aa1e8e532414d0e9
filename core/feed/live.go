package feed

import (
	"iter"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/sdk/event"
)

// Sessions iterates over the sessions that live, as records of their beginning without a generation. A record is valid until the
// next one. Safe for concurrent use.
func (f *Feed) Sessions() iter.Seq[*event.Record] {
	return func(yield func(*event.Record) bool) {
		for _, r := range f.sessions {
			for rec := range Sessions(r.lister) {
				if !yield(rec) {
					return
				}
			}
		}
	}
}

// Sessions is the same of one stream, also of one that is not read any more.
func Sessions(stream source.SessionLister) iter.Seq[*event.Record] {
	return func(yield func(*event.Record) bool) {
		var rec event.Record
		stream.Sessions(func(e *source.Event) bool {
			if !e.Kept.Carried {
				return true // it was read, and its record is still to come
			}
			open := sessionEvent(event.SessionOpen, e, e.Kept)
			open.Time = e.Created
			open.Encode(&rec)
			return yield(&rec)
		})
	}
}

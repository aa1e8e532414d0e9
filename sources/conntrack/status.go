package conntrack

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/machine"
	"github.com/rtflow/pipelined/internal/namespace"
)

// counters are those of a stream.
type counters struct {
	// Messages of the socket for events, and what they were.
	messages, new, updates, destroys, other, malformed atomic.Uint64
	unknown                                            atomic.Uint64 // updates and destroys about no session
	repeated                                           atomic.Uint64 // new ones that a dump had brought

	began, found, foundEnded, full atomic.Uint64 // what became of entries that were not known
	takenOver                      atomic.Uint64 // sessions of an earlier run that had not ended
	endedUnkept                    atomic.Uint64 // of ended: sessions that there was no room for
	answered, ended, closedUnseen  atomic.Uint64
	latePackets, lateBytes         atomic.Uint64
	sessions                       atomic.Uint64
	unsettled                      atomic.Bool // the run that takenOver is of did not know all sessions

	overruns, lost               atomic.Uint64
	dumps, dumpsFailed, dumped   atomic.Uint64
	gets, unanswered, badAnswers atomic.Uint64
}

// Status is the source for its operator.
type Status struct {
	Sessions   uint64   `json:"sessions"` // in its table, with those whose end was told and whose entry is still there
	Max        int      `json:"max"`
	Buffer     int      `json:"buffer"`          // bytes, of the socket for events
	Accounting bool     `json:"accounting"`      // the kernel counts the packets and bytes of sessions
	Timestamps bool     `json:"timestamps"`      // and notes when they begin and end
	Notes      []string `json:"notes,omitempty"` // what keeps it from seeing more, with the command that mends it
}

// Status returns a [Status], with the settings of the kernel as they are.
func (s *Source) Status() any {
	status := s.status
	status.Notes = slices.Clone(status.Notes)
	c := &s.stream.counters
	status.Sessions = c.sessions.Load()
	if full := c.full.Load(); full > 0 {
		status.Notes = append(status.Notes, fmt.Sprintf("there was no room for %d sessions: the rules that let them through are not known at their end; raise max, which is %d",
			full, status.Max))
	}
	if err := s.namespace.Run(func() {
		status.Accounting, status.Timestamps = isOn(accounting), isOn(timestamps)
		status.Notes = append(status.Notes, missingSettings()...)
		if c.unsettled.Load() && !status.Timestamps {
			status.Notes = append(status.Notes, "the run before was stopped before it knew all sessions: those that began while no daemon ran count as found")
		}
	}); err != nil && !errors.Is(err, namespace.ErrClosed) {
		status.Notes = append(status.Notes, "the settings of the kernel cannot be read: "+err.Error())
	}
	return status
}

// Blind implements [source.Blind].
func (s *Source) Blind() (blind error) {
	err := s.namespace.Run(func() {
		if value, err := setting(events); err == nil && value == 0 {
			blind = fmt.Errorf("sessions that begin are not told of: %s", machine.Sysctl("net.netfilter."+events, 1))
		}
	})
	if errors.Is(err, namespace.ErrClosed) {
		return nil // it is to read nothing any more
	}
	return errors.Join(blind, err)
}

var _ source.Blind = (*Source)(nil)

// isOn reports whether a setting of the kernel is not 0, in the namespace of the calling thread.
func isOn(name string) bool {
	value, err := setting(name)
	return err == nil && value != 0
}

// Counters returns what was read, what became of it, and what was lost.
func (s *Source) Counters() []source.Counter {
	c := &s.stream.counters
	list := []source.Counter{{Name: "lost", Queue: -1, Value: c.lost.Load(), Lost: true}}
	for _, one := range []struct {
		name  string
		value *atomic.Uint64
	}{
		{"messages", &c.messages}, {"new", &c.new}, {"updates", &c.updates}, {"destroys", &c.destroys}, {"other", &c.other},
		{"malformed", &c.malformed}, {"unknown", &c.unknown}, {"repeated", &c.repeated},
		{"began", &c.began}, {"found", &c.found}, {"found_ended", &c.foundEnded}, {"taken_over", &c.takenOver}, {"table_full", &c.full}, {"ended_unkept", &c.endedUnkept},
		{"answered", &c.answered}, {"ended", &c.ended}, {"closed_unseen", &c.closedUnseen},
		{"late_packets", &c.latePackets}, {"late_bytes", &c.lateBytes},
		{"overruns", &c.overruns}, {"dumps", &c.dumps}, {"dumps_failed", &c.dumpsFailed}, {"dumped", &c.dumped},
		{"gets", &c.gets}, {"unanswered", &c.unanswered}, {"bad_answers", &c.badAnswers},
	} {
		list = append(list, source.Counter{Name: one.name, Queue: -1, Value: one.value.Load()})
	}
	return append(list, source.Counter{Name: "skipped_datagrams", Queue: -1, Value: s.stream.events.Skipped()})
}

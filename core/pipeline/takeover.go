package pipeline

import (
	"reflect"
	"time"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/namebook"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/sdk/event"
)

// TakenOver is what a run has taken over from the one before it.
type TakenOver struct {
	Stopped  time.Time `json:"stopped"`         // nothing was read from then on
	Gap      float64   `json:"gap_seconds"`     // until this run could read
	Packets  uint64    `json:"packets"`         // that the kernel has counted meanwhile at the interfaces of sources of packets
	Sessions uint64    `json:"sessions"`        // of packets
	Ended    uint64    `json:"ended"`           // of these: there was no room for them, or their zone is gone
	Known    uint64    `json:"source_sessions"` // that sources of events know
	Records  uint64    `json:"records"`         // of all rings
	// Lost are sessions that nobody sees any more, since the configuration has no source for them.
	Lost uint64 `json:"lost"`

	clock int64 // of the packets, from which on timers go on
}

// standstill is for how long the timers of sessions stand still, at most, while no daemon runs: packets of a session may have come.
const standstill = time.Minute

// takeOver goes on with the sessions of an earlier run, and with what its sources know.
func (pl *Pipeline) takeOver(h *handedOver) error {
	if h == nil {
		return nil
	}
	pl.opened = time.Now()
	t := &TakenOver{Stopped: time.Unix(0, h.Stopped), Gap: max(pl.opened.Sub(time.Unix(0, h.Stopped)), 0).Seconds()}
	pl.takenOver = t
	for name, n := range pl.receivedPackets() {
		if before, ok := h.Received[name]; ok && n > before {
			t.Packets += n - before
		}
	}
	for i := range h.plan.Sinks {
		if k := h.sink(i); k != nil {
			t.Records += k.Position.Next - k.Position.Floor
		}
	}
	ids := newRenumbering(h, pl.names)
	if err := pl.takeOverSessions(h, ids); err != nil {
		return err
	}
	pl.takeOverSources(h, ids)
	pl.gate.SetGeneration(pl.names.Publish())
	h.announceRestart(pl)
	if t.Lost > 0 {
		counts := event.LossCounts{event.SessionClose: t.Lost}
		for i := range h.plan.Sinks {
			if h.sink(i) != nil {
				pl.gate.Owe(i, admission.Owed{Reason: event.LossAbandoned, Counts: counts, Since: h.Stopped, Until: pl.opened.UnixNano()})
			}
		}
	}
	h.plan.Log.Info("going on where the last run stopped", "sessions", t.Sessions+t.Known, "records", t.Records, "gap", time.Duration(t.Gap*float64(time.Second)))
	for _, k := range h.Sinks {
		if pl.outputs.find(k.Name) == nil && k.Position.Next > k.Position.Floor {
			h.plan.Log.Warn("records of a sink that is not configured any more are given up", "sink", k.Name, "records", k.Position.Next-k.Position.Floor)
		}
	}
	return nil
}

// takeOverSessions goes on with the sessions of packets.
func (pl *Pipeline) takeOverSessions(h *handedOver, ids *renumbering) error {
	t := pl.takenOver
	if len(pl.readers.Load().workers) == 0 { // nobody would end them
		t.Lost += h.Tail.Sessions
		return nil
	}
	shift := min(max(pl.opened.UnixNano()-h.Stopped, 0), int64(standstill))
	now := pl.plan.File.Sessions.Separate
	how := &session.Takeover{
		IDs: ids, Now: h.Clock + shift, Shift: shift,
		ByZone: now == session.ByZone, Apart: now.String() != h.Separate || !reflect.DeepEqual(zoning(pl.plan), h.Zoning),
	}
	var ended []session.Session
	for sessions, err := range h.Sessions() {
		if err == nil {
			ended, err = pl.sessions.TakeOver(sessions, how, ended)
		}
		if err != nil {
			return err
		}
	}
	pl.left = leftSessions{ended, how.Now, pl.opened.UnixNano()}
	t.Sessions, t.clock = h.Tail.Sessions, how.Now
	t.Ended = uint64(len(ended))
	if h.Dropped != nil {
		return pl.sessions.TakeOverDropped(h.Dropped)
	}
	return nil
}

// takeOverSources hands sources what those of their names have known.
func (pl *Pipeline) takeOverSources(h *handedOver, ids *renumbering) {
	for j, k := range h.Head.Sources {
		taken := false
		for _, s := range pl.readers.Load().sources {
			keeper, ok := s.opened.(source.Keeper)
			if !ok || s.Name != k.Name || s.Plugin != k.Plugin {
				continue
			}
			if err := keeper.TakeOver(h.Pieces(j), ids); err != nil {
				h.plan.Log.Warn("what a source has known cannot be used: it begins anew", "source", s.Name, "err", err)
				continue
			}
			taken = true
		}
		if taken {
			pl.takenOver.Known += h.Ends[j]
		} else {
			pl.takenOver.Lost += h.Ends[j]
		}
	}
}

// renumbering says what ids of an earlier run are in this one, by their names. It implements [session.IDs].
type renumbering struct {
	book       *namebook.Book
	zones      map[uint16]uint16
	interfaces map[uint32]uint32
	apps       map[uint16]uint16
	former     []string            // policies of the earlier run
	places     []uint32            // of each of these among those of its name, from 0
	policies   map[string][]uint32 // of this run, by name
}

func newRenumbering(h *handedOver, book *namebook.Book) *renumbering {
	before, now := &h.Names[len(h.Names)-1], book.All()
	r := &renumbering{
		book: book, zones: make(map[uint16]uint16), interfaces: make(map[uint32]uint32), apps: make(map[uint16]uint16),
		former: before.Policies, places: make([]uint32, len(before.Policies)), policies: make(map[string][]uint32, len(now.Policies)),
	}
	match(r.zones, before.Zones, now.Zones)
	match(r.interfaces, before.Interfaces, now.Interfaces)
	apps := make(map[string]uint16, len(now.Applications))
	for id, name := range now.Applications {
		apps[name] = uint16(id)
	}
	for id, name := range before.Apps {
		r.apps[uint16(id)] = apps[name]
	}
	for id, name := range now.Policies {
		r.policies[name] = append(r.policies[name], uint32(id))
	}
	known := make(map[string]uint32, len(before.Policies))
	for id, name := range before.Policies {
		if id > 0 { // 0 is none
			r.places[id] = known[name]
			known[name]++
		}
	}
	return r
}

// match notes for each id what the id of its name is now.
func match[ID uint16 | uint32](to map[ID]ID, before, now map[ID]string) {
	ids := make(map[string]ID, len(now))
	for id, name := range now {
		if other, ok := ids[name]; !ok || id < other {
			ids[name] = id
		}
	}
	for id, name := range before {
		if n, ok := ids[name]; ok {
			to[id] = n
		}
	}
}

// Zone implements [session.IDs].
func (r *renumbering) Zone(id uint16) (now uint16, ok bool) {
	if id == 0 {
		return 0, true
	}
	now, ok = r.zones[id]
	return now, ok
}

// Policy implements [session.IDs]. Of several policies of one name each is that of its place among them. One that is gone keeps its name.
func (r *renumbering) Policy(id uint32) uint32 {
	if id == 0 || int64(id) >= int64(len(r.former)) {
		return 0
	}
	name, place := r.former[id], int(r.places[id])
	switch ids := r.policies[name]; {
	case place < len(ids):
		return ids[place]
	case name != "":
		return r.book.Policy(name)
	}
	return 0
}

// Interface implements [session.IDs].
func (r *renumbering) Interface(id uint32) uint32 { return r.interfaces[id] }

// Application implements [session.IDs].
func (r *renumbering) Application(id uint16) uint16 { return r.apps[id] }

var _ session.IDs = (*renumbering)(nil)

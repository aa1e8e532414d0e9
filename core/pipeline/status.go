package pipeline

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/rtflow/pipelined/core/deliver"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/metrics"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/core/spool"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/internal/routes"
	"github.com/rtflow/pipelined/sdk/event"
)

// Ledger accounts for every packet and event. It is exact when the pipeline rests. Safe for concurrent use.
func (pl *Pipeline) Ledger() metrics.Ledger {
	outs, states := pl.states()
	return pl.ledger(outs, states)
}

// sinkState is the state of a sink's ring, and of its spool if it has one.
type sinkState struct {
	replay.State

	spool *spool.State
}

// states returns all sinks, and the states of their spools and rings. They are read before the lanes: what is seen leaving a ring has then
// been seen going in.
func (pl *Pipeline) states() ([]*output, []sinkState) {
	outs := pl.outputs.all()
	states := make([]sinkState, len(outs))
	for i, out := range outs {
		states[i].spool = out.spoolState()
		states[i].State = out.state()
	}
	return outs, states
}

func (pl *Pipeline) ledger(outs []*output, states []sinkState) metrics.Ledger {
	led := metrics.Ledger{
		Packets: pl.packets(),
		Events:  make(map[string]metrics.Events),
		Sinks:   make(map[string]map[string]metrics.Queue),
	}
	st := pl.sessions.Stats()
	led.Sessions = metrics.Sessions{
		Active: uint64(st.Active), Created: st.Created, TakenOver: st.TakenOver, Closed: st.Closed, GivenUp: st.GivenUp, Withdrawn: st.Withdrawn, Full: st.Full,
	}
	gate := pl.gate.Ledger()
	for _, k := range event.Kinds() {
		if k != event.Loss {
			led.Events[k.String()] = metrics.Events{
				Offered: gate.Offered[k], RateLimited: gate.RateLimited[k], Admitted: gate.Admitted[k],
			}
		}
	}
	for i := range states {
		s := &gate.Sinks[i]
		kinds := make(map[string]metrics.Queue)
		rel := &states[i].Released
		for _, k := range event.Kinds() {
			q := metrics.Queue{
				Absent: s.Absent[k], Filtered: s.Filtered[k], Queued: s.Queued[k], OverBudget: s.OverBudget[k],
				Disconnected: s.Disconnected[k], Closed: s.Closed[k],
				Acknowledged: rel.Acknowledged[k], Rejected: rel.Rejected[k], Evicted: rel.Evicted[k],
				Abandoned: rel.Abandoned[k], Kept: rel.Kept[k], InFlight: states[i].InFlight[k], TakenOver: states[i].TakenOver[k],
			}
			if k == event.Loss {
				q.Queued += rel.Announced
			}
			if sp := outs[i].spooled.with(states[i].spool); sp != nil {
				direct := rel // to the sink
				if states[i].spool != nil {
					direct = &outs[i].before.Released
				}
				sp.put(&q, direct, k)
			}
			kinds[k.String()] = q
		}
		led.Sinks[s.Name] = kinds
	}
	led.Packets.Lost, led.Unread, led.Packets.Bypassed = pl.readers.Load().unread()
	led.Check()
	return led
}

// packets adds up the workers. What they could not read is not in it.
func (pl *Pipeline) packets() metrics.Packets {
	p := metrics.Packets{DroppedAt: make(map[string]uint64), RefusedAs: make(map[string]uint64)}
	c := pl.readers.Load()
	sum := c.counts()
	p.Received, p.Bytes, p.Forwarded, p.NotSent, p.Passed = sum.Received, sum.Bytes, sum.Forwarded, sum.NotSent, sum.Passed
	p.Orphans, p.Strays, p.NotIP = sum.Orphans, sum.Strays, sum.Causes[packet.NotIP]
	p.OutOfState, p.Unkept = sum.OutOfState, sum.Unkept
	p.Refused = sum.Refused()
	for i, n := range sum.Dropped {
		p.Dropped += n
		p.DroppedAt[hook.Site(i).String()] = n
	}
	for cause := packet.NotIP + 1; cause < packet.NumCauses; cause++ {
		p.RefusedAs[cause.String()] = sum.Causes[cause]
	}
	p.ByZone = pl.packetsByZone(c)
	c.addCarried(&p)
	return p
}

// packetsByZone adds up what the workers have seen come from each zone, also from those that are not configured any more.
func (pl *Pipeline) packetsByZone(c *readers) map[string]uint64 {
	sum := c.zones()
	by := make(map[string]uint64)
	if n := sum[zone.Unknown]; n > 0 {
		by["unknown"] = n
	}
	for name, id := range pl.names.ZoneIDs() {
		if n := sum[id]; n > 0 {
			by[name] += n
		}
	}
	return by
}

// Snapshot reads everything that metrics show. Safe for concurrent use.
func (pl *Pipeline) Snapshot() metrics.Snapshot {
	outs, states := pl.states()
	s := metrics.Snapshot{
		Ledger:      pl.ledger(outs, states),
		RateLimited: make(map[string]map[string]uint64),
		Sinks:       make(map[string]metrics.Sink),
		Sources:     make(map[string][]source.Counter),
		SourceOpen:  make(map[string]bool),
		Hooks:       pl.hookCounters(),
		Feed:        pl.happened(),
		Routes:      pl.host.Load().status(),
		Translated:  pl.translations(),
	}
	for k, zones := range pl.gate.Ledger().LimitedByZone {
		by := make(map[string]uint64)
		for id, n := range zones {
			by[pl.zoneName(id)] = n
		}
		s.RateLimited[k.String()] = by
	}
	for i, out := range outs {
		if out.ring == nil {
			continue
		}
		ds := out.delivery.Status()
		sink := metrics.Sink{
			Up: out.delivery.Connected(), Runs: ds.Runs, LagRecords: states[i].Unsent, LagSeconds: lag(states[i].State),
			GivenUpBefore: out.givenUpBefore(), Counters: out.delivery.Counters(),
		}
		if sp := states[i].spool; sp != nil {
			out.measureSpool(&sink, &states[i].State, sp)
		}
		s.Sinks[out.name] = sink
	}
	c := pl.readers.Load()
	for _, src := range c.sources {
		s.Sources[src.Name] = append(s.Sources[src.Name], src.opened.Counters()...)
		s.SourceOpen[src.Name] = true
	}
	for _, src := range c.away {
		s.SourceOpen[src.Name] = false
	}
	s.Watchers, s.NotShown = pl.tail.Watchers()
	runs := pl.Configuration()
	s.Configuration = metrics.Configuration{Number: runs.Number, Since: runs.Since, Refused: runs.Refused != "", Refusals: runs.Refusals}
	return s
}

func (pl *Pipeline) zoneName(id uint16) string {
	if id == 0 {
		return "unknown"
	}
	return pl.names.Zone(id)
}

// lag is the age of the oldest record in flight, in seconds.
func lag(s replay.State) float64 {
	if s.OldestTime == 0 {
		return 0
	}
	return max(time.Since(time.Unix(0, s.OldestTime)).Seconds(), 0)
}

// Status is the state of a pipeline, as /status shows it.
type Status struct {
	Epoch  uint64  `json:"epoch"`
	Uptime float64 `json:"uptime_seconds"`
	// Stopping says that the workers have ended, and that what is in flight is being delivered.
	Stopping bool `json:"stopping,omitempty"`
	// Configuration says which configuration runs.
	Configuration Configuration `json:"configuration"`
	// TakenOver is what this run goes on with; absent: it began anew.
	TakenOver *TakenOver `json:"taken_over,omitempty"`
	// StateUnused says why it did, though the last run has kept something.
	StateUnused string                    `json:"state_unused,omitempty"`
	Sources     map[string]any            `json:"sources"`
	Sinks       map[string]SinkStatus     `json:"sinks"`
	Hooks       map[string][]hook.Counter `json:"hooks,omitempty"`
	// Unhit are the policies that no packet has hit so far, by hook; absent: none, or no packet has come.
	Unhit map[string][]string `json:"unhit,omitempty"`
	Feed  map[string]uint64   `json:"feed,omitempty"` // what sources of events have told
	// Routes says how the kernel's interfaces and routes are followed; absent: they are not.
	Routes *routes.Status `json:"routes,omitempty"`
	// Translated is what became of the sessions whose translation was asked for; absent: nobody is asked.
	Translated map[string]uint64 `json:"translated,omitempty"`
	Ledger     metrics.Ledger    `json:"ledger"`
}

// SinkStatus is the state of a sink.
type SinkStatus struct {
	deliver.Status

	Sent       event.Seq `json:"sent"`  // highest sequence number handed to the sink
	Acked      event.Seq `json:"acked"` // every record up to here was acknowledged, or released otherwise
	InFlight   uint64    `json:"in_flight"`
	LagRecords uint64    `json:"lag_records"` // not handed to the sink yet
	LagSeconds float64   `json:"lag_seconds"` // age of the oldest record that is not acknowledged
	// OverflowSince is when the ring began to lose records because it was full, Overflow how many since; absent: it does not.
	OverflowSince time.Time `json:"overflow_since,omitzero"`
	Overflow      uint64    `json:"overflow,omitempty"`
	Up            bool      `json:"up"`    // it runs, and does not wait for its destination
	Epoch         uint64    `json:"epoch"` // of its stream
	// GivenUpBefore are the events, by kind, that earlier runs gave up and that the first record of the stream announces; absent:
	// none.
	GivenUpBefore map[string]uint64 `json:"given_up_before,omitempty"`
	// ShrinksTo is how many slots the ring will have when it holds no more than that; absent: it has those of the configuration.
	ShrinksTo int `json:"shrinks_to,omitempty"`
	// Leaving says that the sink is not configured any more, and delivers what its ring holds.
	Leaving bool `json:"leaving,omitempty"`

	Spool *SpoolStatus `json:"spool,omitempty"` // absent: it has none

	Detail   any               `json:"detail,omitempty"`
	Counters map[string]uint64 `json:"counters,omitempty"` // the sink's own
}

// Status reads the status. Safe for concurrent use.
func (pl *Pipeline) Status() Status {
	st := Status{
		Epoch: pl.epoch, Uptime: time.Since(pl.started).Seconds(), Stopping: pl.draining.Load(),
		Sources: make(map[string]any), Sinks: make(map[string]SinkStatus),
		Routes: pl.host.Load().status(), TakenOver: pl.takenOver, StateUnused: pl.unused,
	}
	outs, states := pl.states()
	for i, out := range outs {
		if out.ring != nil {
			st.Sinks[out.name] = pl.sinkStatus(out, &states[i])
		}
	}
	c := pl.readers.Load()
	for _, src := range c.sources {
		st.Sources[src.Name] = src.opened.Status()
	}
	for _, src := range c.away {
		st.Sources[src.Name] = src.status()
	}
	st.Hooks, st.Configuration = pl.hookCounters(), pl.Configuration()
	st.Unhit = pl.unhit(st.Hooks)
	st.Feed = pl.happened()
	st.Translated = pl.translations()
	st.Ledger = pl.ledger(outs, states)
	return st
}

func (pl *Pipeline) sinkStatus(out *output, s *sinkState) SinkStatus {
	st := SinkStatus{
		Status: out.delivery.Status(), Sent: s.Sent - 1, Acked: s.Floor - 1, InFlight: s.Held,
		LagRecords: s.Unsent, LagSeconds: lag(s.State), Up: out.delivery.Connected(), Epoch: out.epoch,
		GivenUpBefore: out.givenUpBefore(), Detail: out.delivery.Detail(), Leaving: out.life.leaves.Load(),
	}
	if s.spool != nil {
		out.showSpool(&st, &s.State, s.spool)
	}
	st.OverflowSince, st.Overflow = pl.watch.overflowing(out.name)
	maps.DeleteFunc(st.GivenUpBefore, func(_ string, n uint64) bool { return n == 0 })
	if limits, settled := out.ring.Limits(); !settled {
		st.ShrinksTo = limits.Slots
	}
	if list := out.delivery.Counters(); list != nil {
		st.Counters = make(map[string]uint64)
		for _, c := range list {
			st.Counters[c.Name] = c.Value
		}
	}
	return st
}

// happened returns what sources of events have told, by name; nil without one.
func (pl *Pipeline) happened() map[string]uint64 {
	if f := pl.readers.Load().feed; f != nil {
		return f.Counts()
	}
	return nil
}

// translations returns what became of the sessions whose translation was asked for; nil if nobody is asked.
func (pl *Pipeline) translations() map[string]uint64 {
	if pl.translated == nil {
		return nil
	}
	return pl.translated.Counts()
}

// Losses returns an error while a ring overflows, or a source loses packets, cannot read or is not open; the sources of a pipeline that stops are
// closed, and not asked. Safe for concurrent use.
func (pl *Pipeline) Losses() error {
	errs := []error{pl.watch.health()}
	if pl.ended.Load() {
		return errs[0]
	}
	c := pl.readers.Load()
	for _, src := range c.sources {
		if b, ok := src.opened.(source.Blind); ok {
			if err := b.Blind(); err != nil {
				errs = append(errs, fmt.Errorf("source %s: %w", src.Name, err))
			}
		}
	}
	for _, src := range c.away {
		if src.err != nil {
			errs = append(errs, fmt.Errorf("not open since a reload: %w", src.err))
		}
	}
	return errors.Join(errs...)
}

// stuckAfter is how long a worker may make no progress. An idle worker looks up once a second.
const stuckAfter = 10 * time.Second

// health remembers when each worker, and the feed, was last seen to make progress.
type health struct {
	mu   sync.Mutex
	seen map[*loop]progress
}

// progress is what a loop had done when it was last seen to do something.
type progress struct {
	beats uint64
	at    time.Time
}

// Health returns an error if a worker, or the feed, has made no progress for ten seconds, unless the pipeline drains. The workers of a
// capture may wait for a sink as long as it takes, and are not looked at. Progress is measured between calls, so Health has to
// be called every few seconds. Safe for concurrent use.
func (pl *Pipeline) Health() error {
	if !pl.plan.Live || pl.ended.Load() {
		return nil
	}
	h := &pl.health
	h.mu.Lock()
	defer h.mu.Unlock()
	now, c := time.Now(), pl.readers.Load()
	before := h.seen
	h.seen = make(map[*loop]progress, len(before))
	var first error // of those that are stuck
	look := func(one *loop, beats uint64) {
		p, known := before[one]
		if !known || p.beats != beats {
			p = progress{beats, now}
		}
		h.seen[one] = p
		if stuck := now.Sub(p.at); stuck > stuckAfter && first == nil {
			first = fmt.Errorf("the %s has made no progress for %s", one.name, stuck.Round(time.Second))
		}
	}
	for _, w := range c.workers {
		look(w.loop, w.Beats())
	}
	if c.feed != nil && len(c.feed.streams) > 0 {
		look(c.feed.loop, c.feed.Beats())
	}
	return first
}

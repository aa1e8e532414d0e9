package pipeline

import (
	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/kept"
	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/statedir"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

// handOver keeps what the next run goes on with: sessions, what rings hold and where they stand, what is owed, what hooks have counted.
// What cannot be kept is given up. Workers, feed and, if returned is true, sinks have ended, and the sources are closed.
//
// The account is written first, as if everything were given up: should the state not be found by the next run, or be of no use to it, it
// announces the loss.
func (pl *Pipeline) handOver(sinks []*output, returned bool) {
	untold := make([]uint64, len(sinks))
	for i, out := range sinks {
		untold[i] = pl.account(out)
	}
	if dir := pl.carried.dir; dir != nil && pl.plan.Live && pl.options.Boot != "" {
		c := pl.content(sinks, returned)
		tail, err := c.Write(dir)
		if err == nil {
			for _, out := range sinks {
				out.ring.Keep()
			}
			pl.log.Info("what the next run goes on with is kept", "sessions", tail.Sessions+sum(tail.Ends), "records", tail.Records)
			return
		}
		pl.log.Error("the next run begins anew: what it would go on with cannot be kept", "err", err)
	}
	for i, out := range sinks {
		pl.giveUp(out, untold[i])
	}
}

func sum(list []uint64) (n uint64) {
	for _, one := range list {
		n += one
	}
	return n
}

// content gathers what is kept.
func (pl *Pipeline) content(sinks []*output, returned bool) *kept.Content {
	rules := pl.rules.Load()
	c := new(kept.Content)
	c.Head = kept.Head{
		Boot: pl.options.Boot, Stopped: pl.stopped.UnixNano(), Seed: pl.seed, Epoch: pl.epoch, Separate: rules.plan.File.Sessions.Separate.String(),
		Zoning: zoning(rules.plan), Received: pl.received,
	}
	generations := make(map[uint32]bool)
	for _, out := range sinks {
		k := kept.Sink{Name: out.name, Plugin: out.plugin, Epoch: out.epoch, Position: out.ring.Freeze(), Owed: pl.gate.Owed(out.index)}
		if returned {
			k.State = out.delivery.Keep()
		}
		if out.spool != nil {
			held := out.spool.State().Held
			k.Spool = &kept.Spool{Path: out.spool.Path(), Last: out.spool.Last(out.epoch), Held: held.Total()}
		}
		c.Rings = append(c.Rings, out.ring)
		out.ring.Held(func(rec *event.Record, _, _ bool) bool {
			generations[rec.Generation] = true
			return true
		})
		c.Sinks = append(c.Sinks, k)
	}
	c.Names = pl.names.Keep(generations)
	readers := pl.readers.Load()
	c.Clock, _ = readers.clock()
	c.NextID = pl.sessions.HighestID() + 1
	if t := pl.takenOver; t != nil { // a worker may have received nothing
		c.Clock = max(c.Clock, t.clock)
	}
	if len(readers.workers) > 0 {
		c.Table = pl.sessions
	}
	for _, s := range readers.all() {
		if keeper, ok := s.opened.(source.Keeper); ok {
			c.Head.Sources = append(c.Head.Sources, kept.Source{Name: s.Name, Plugin: s.Plugin})
			c.Sources = append(c.Sources, keeper)
		}
	}
	for i := range rules.hooks {
		h := &rules.hooks[i]
		c.Hooks = append(c.Hooks, kept.Hook{Name: h.Name, Plugin: h.Plugin, Counters: h.counters()})
	}
	return c
}

// receivedPackets returns what the kernel has counted at the interfaces of sources of packets.
func (pl *Pipeline) receivedPackets() map[string]uint64 {
	received := make(map[string]uint64)
	if pl.options.ReceivedPackets == nil {
		return received
	}
	for _, s := range pl.now().Sources {
		for _, name := range s.Interfaces {
			if n, ok := pl.options.ReceivedPackets(name); ok && !s.Events {
				received[name] = n
			}
		}
	}
	return received
}

// handedOver is what an earlier run has kept, and this one goes on with. A nil one is nothing.
type handedOver struct {
	*kept.State
	plan *plan.Plan
	left map[string]bool // sinks whose streams this run does not go on with
}

// takeState takes over what the last run has kept, or nothing. From then on no other run uses it.
func (pl *Pipeline) takeState() (*handedOver, error) {
	if pl.options.State == nil || !pl.plan.Live {
		return nil, nil
	}
	if pl.options.Boot == "" {
		var err error
		if pl.options.Boot, err = statedir.Boot(); err != nil {
			pl.log.Error("the state of the last run cannot be used, nor can that of this one", "err", err)
		}
	}
	boot := pl.options.Boot
	if boot == "" {
		boot = "unknown" // what is kept is of a boot that is known
	}
	state, why, err := kept.Read(pl.options.State, boot, pl.started)
	if why != nil {
		pl.unused = why.Error()
	}
	if state == nil || err != nil {
		return nil, err
	}
	if err := state.Take(); err != nil { // else another run could use it, too
		pl.log.Error("the state of the last run is not used: it cannot be marked as used", "err", err)
		pl.unused = err.Error()
		return nil, state.Close()
	}
	return &handedOver{State: state, plan: pl.plan, left: make(map[string]bool)}, nil
}

// checkSpools lets the streams of sinks begin anew whose spools are not those of the earlier run: what was in them comes before what the
// rings held, and is not here.
func (h *handedOver) checkSpools(list spools) {
	if h == nil {
		return
	}
	for i, s := range list {
		k := h.sink(i)
		if k == nil {
			continue
		}
		switch {
		case s != nil && s.HighestEpoch() > k.Epoch:
			h.plan.Log.Warn("the stream of a sink begins anew: its spool holds records of a later epoch", "sink", k.Name, "path", s.Path())
		case k.Spool != nil && k.Spool.Held > 0 && (s == nil || s.Last(k.Epoch) < k.Spool.Last):
			h.plan.Log.Warn("the stream of a sink begins anew: the spool of the last run, which holds records, is not its spool any more",
				"sink", k.Name, "path", k.Spool.Path, "records", k.Spool.Held)
		default:
			continue
		}
		h.left[k.Name] = true
	}
}

// index returns the index of a sink of this run among those of the earlier one, -1 if it is new.
func (h *handedOver) index(i int) int {
	if h == nil {
		return -1
	}
	for j := range h.Sinks {
		if name := h.plan.Sinks[i].Name; h.Sinks[j].Name == name && !h.left[name] {
			return j
		}
	}
	return -1
}

// sink returns what was kept of a sink, by its index in this run, nil if it is new.
func (h *handedOver) sink(i int) *kept.Sink {
	if j := h.index(i); j >= 0 {
		return &h.Sinks[j]
	}
	return nil
}

// ring returns the ring of a sink of this run.
func (h *handedOver) ring(i int, limits replay.Limits) (*replay.Ring, error) {
	j := h.index(i)
	if j < 0 {
		return replay.New(limits)
	}
	r, err := replay.Restore(limits, &h.Sinks[j].Position, h.Held[j])
	h.Held[j] = nil // the ring has copied it
	return r, err
}

// names returns the names of earlier runs, and the first generation of this one.
func (h *handedOver) names() (former []kept.Names, first uint32) {
	if h == nil {
		return nil, plan.FirstGeneration
	}
	return h.Names, h.Names[len(h.Names)-1].Newest() + 1
}

// counted returns what a hook of that name and plugin has counted, by the names of its counters.
func (h *handedOver) counted(of *plan.Hook) map[string]hook.Counter {
	if h == nil {
		return nil
	}
	for _, k := range h.Hooks {
		if k.Name != of.Name || k.Plugin != of.Plugin {
			continue
		}
		by := make(map[string]hook.Counter, len(k.Counters))
		for _, c := range k.Counters {
			by[c.Name] = c
		}
		return by
	}
	return nil
}

// owe makes the gate tell what the earlier run owed, and hands the sinks what they have kept.
func (h *handedOver) owe(pl *Pipeline) {
	if h == nil {
		return
	}
	for i, s := range h.plan.Sinks {
		k := h.sink(i)
		if k == nil {
			continue
		}
		pl.gate.Owe(i, k.Owed...)
		if keeper, ok := s.Sink.(sdk.Keeper); ok && k.State != nil && k.Plugin == s.Plugin {
			if err := keeper.TakeOver(k.State); err != nil {
				h.plan.Log.Warn("what a sink has kept cannot be used", "sink", s.Name, "err", err)
			}
		}
	}
}

// announceRestart tells, in every stream that goes on, since when nothing was read.
func (h *handedOver) announceRestart(pl *Pipeline) {
	until := max(pl.opened.UnixNano(), h.Stopped)
	for i := range h.plan.Sinks {
		if h.sink(i) == nil {
			continue
		}
		var rec event.Record
		rec.Reset(event.Loss)
		rec.SetLoss(event.LossRestart, 0, new(event.LossCounts), h.Stopped, until)
		rec.SetLossPackets(pl.takenOver.Packets)
		if !pl.gate.AnnounceFirst(i, &rec) {
			pl.gate.Owe(i, admission.Owed{Reason: event.LossRestart, Packets: pl.takenOver.Packets, Since: h.Stopped, Until: until})
		}
	}
}

package pipeline

import (
	"context"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/deliver"
	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/core/spool"
	"github.com/rtflow/pipelined/sdk/event"
)

// output is a sink of a pipeline: its ring, and what brings the ring's records to their destination. One that was removed has neither,
// and stays for the account.
type output struct {
	name     string
	plugin   string // guarded by Pipeline.reloading
	index    int    // in the gate
	epoch    uint64 // of its stream
	ring     *replay.Ring
	spool    *spool.Spool // nil: it has none
	delivery *deliver.Delivery
	sessions *atomic.Bool // whether it wants records of sessions' beginnings
	// before is what rings that sinks of this name had before have released and taken over.
	before replay.State
	// spooled is what became of records in the spools of sinks of this name that were removed, nil if none had one. What they took from
	// their rings is not in before.
	spooled *spoolAccount
	// announced is what earlier runs have given up, as the stream announces it, and settled the number whose acknowledgement takes it, or
	// what the ring has taken over, out of the account; 0: there is nothing in it.
	announced event.LossCounts
	settled   event.Seq

	life *outputLife
}

// outputLife is that of a sink that runs, or is about to.
type outputLife struct {
	stop   context.CancelFunc // ends the delivery; nil before it begins
	ended  chan struct{}      // closed when it has ended
	leaves atomic.Bool        // the sink is being removed
	gone   chan struct{}      // closed when it has been
}

// outputs are the sinks of a pipeline, by their indexes in the gate.
type outputs struct {
	list atomic.Pointer[[]*output]

	mu        sync.Mutex
	lastEpoch uint64
	removing  sync.WaitGroup
}

// all returns all sinks that there are, and those that there were.
func (o *outputs) all() []*output {
	if list := o.list.Load(); list != nil {
		return *list
	}
	return nil
}

// present returns those that there are.
func (o *outputs) present() []*output {
	return slices.DeleteFunc(slices.Clone(o.all()), func(out *output) bool { return out.ring == nil })
}

// find returns the sink of that name, nil if there is none.
func (o *outputs) find(name string) *output {
	i := slices.IndexFunc(o.all(), func(out *output) bool { return out.name == name && out.ring != nil })
	if i < 0 {
		return nil
	}
	return o.all()[i]
}

// staying returns those that there are and that are not being removed.
func (o *outputs) staying() []*output {
	return slices.DeleteFunc(o.present(), func(out *output) bool { return out.life.leaves.Load() })
}

// put puts a sink in its place, which may be that of one that was removed.
func (o *outputs) put(out *output) {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := slices.Clone(o.all())
	if out.index < len(list) {
		list[out.index] = out
	} else {
		list = append(list, out)
	}
	o.list.Store(&list)
}

// state returns a snapshot of a sink's ring. What left the rings before it has left it, too.
func (out *output) state() replay.State {
	if out.ring == nil {
		return out.before
	}
	s := out.ring.State()
	s.Released.Add(&out.before.Released)
	for k, n := range out.before.TakenOver {
		s.TakenOver[k] += n
	}
	return s
}

// newOutput makes a sink of a plan. It does nothing yet.
func (pl *Pipeline) newOutput(s *plan.Sink, ring *replay.Ring, sp *spool.Spool, epoch uint64) *output {
	out := &output{name: s.Name, plugin: s.Plugin, epoch: epoch, ring: ring, spool: sp, sessions: new(atomic.Bool), life: &outputLife{ended: make(chan struct{}), gone: make(chan struct{})}}
	out.wants(s.Only)
	c := deliver.Config{
		Name: s.Name, Sink: s.Sink, Ring: ring, Epoch: epoch, Log: pl.log, Names: pl.names.Of,
		Sessions: func() iter.Seq[*event.Record] {
			if !out.sessions.Load() {
				return func(func(*event.Record) bool) {}
			}
			return pl.liveSessions()
		},
	}
	if sp != nil {
		sp.Begin(ring, epoch, c.Names)
		c.Spool = sp
	}
	out.delivery = deliver.New(c)
	return out
}

// wants sets of which kinds the sink wants records.
func (out *output) wants(only event.KindSet) { out.sessions.Store(only.Has(event.SessionOpen)) }

// gateSink returns how the gate knows a sink.
func (out *output) gateSink(s *plan.Sink) admission.Sink {
	return admission.Sink{Name: out.name, Ring: out.ring, Only: s.Only, Overflow: s.Replay.Overflow, Connected: out.delivery.Connected}
}

// start runs the delivery of a sink until it has drained, or is told to stop.
func (pl *Pipeline) start(out *output) {
	ctx, stop := context.WithCancel(pl.running.ctx)
	out.life.stop = stop
	go func() {
		defer close(out.life.ended)
		if out.spool != nil {
			out.runSpooled(ctx, pl.log)
			return
		}
		out.delivery.Run(ctx)
	}()
	if out.settled > 0 {
		pl.running.beside.Go(func() { pl.forgetAnnounced(out) })
	}
}

// remove takes a sink that runs out of the pipeline: it gets no more events, delivers what its ring holds within that time, and is
// closed. What it has counted stays in the account. The sink is gone when the outputs' removing is done.
func (pl *Pipeline) remove(out *output, within time.Duration) {
	out.life.leaves.Store(true)
	pl.gate.Remove(out.index)
	if out.life.stop == nil {
		pl.start(out) // it is closed in the end
	}
	ctx := pl.running.ctx // Run gives the pipeline another one
	pl.outputs.removing.Go(func() {
		defer close(out.life.gone)
		if !pl.gate.Settled(ctx) {
			return // the pipeline has been given up
		}
		stop := make(chan struct{})
		var announcing sync.WaitGroup
		announcing.Go(func() {
			pl.gate.AnnounceMissing(out.index, stop)
			out.ring.Drain()
		})
		deadline := time.NewTimer(within)
		select {
		case <-out.life.ended:
		case <-deadline.C:
		case <-pl.hurry:
		}
		deadline.Stop()
		close(stop)
		announcing.Wait()
		out.life.stop()
		pl.await([]*output{out})
		pl.giveUp(out, pl.account(out))
		last := out.state()
		former := &output{
			name: out.name, index: out.index, before: replay.State{Released: last.Released, TakenOver: last.TakenOver}, spooled: out.spooled,
		}
		if st := out.spoolState(); st != nil {
			former.before.Released.Acknowledged, former.before.Released.Rejected = out.before.Released.Acknowledged, out.before.Released.Rejected
			former.spooled = out.spooled.leave(st)
			if n := st.Held.Total(); n > 0 {
				pl.log.Warn("records are left in the spool of a sink that was removed; the next sink that has the spool gets them",
					"sink", out.name, "records", n, "path", out.spool.Path())
			}
		}
		pl.outputs.put(former)
		pl.log.Info("a sink was removed", "sink", out.name)
	})
}

// await waits for deliveries that were told to stop, and leaves without those that do not return. It reports whether all have.
func (pl *Pipeline) await(list []*output) bool {
	last := time.NewTimer(grace)
	defer last.Stop()
	for _, out := range list {
		select {
		case <-out.life.ended:
		case <-last.C:
			pl.log.Warn("a sink does not return; leaving without it", "sink", out.name)
			return false
		}
	}
	return true
}

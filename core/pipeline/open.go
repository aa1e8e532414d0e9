package pipeline

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/namebook"
	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/core/tail"
	"github.com/rtflow/pipelined/core/translate"
	"github.com/rtflow/pipelined/core/worker"
	"github.com/rtflow/pipelined/internal/statedir"
	"github.com/rtflow/pipelined/sdk/event"
)

// Options are what a pipeline needs beyond its plan. The zero value is of one that keeps nothing and looks at its sources alone.
type Options struct {
	// FollowHost makes a live pipeline follow the interfaces of the kernel, and its routes where the configuration says so.
	FollowHost bool
	// Changes are the keys of [service] that the caller itself changes when another configuration is taken over.
	Changes []string
	// State is where runs keep what they hand to each other; nil: nowhere. The caller closes it when the pipeline has ended.
	State *statedir.Dir
	// Boot names the time since the kernel was started; empty: it is asked for.
	Boot string
	// ReceivedPackets returns how many packets the kernel has received by an interface; nil: nobody knows.
	ReceivedPackets func(name string) (n uint64, ok bool)
	// CloseAtEnd ends the sessions that are left when a capture ends.
	CloseAtEnd bool
	// Observer, if set, sees what the hooks judge.
	Observer Observer

	applied func() // of tests: called when interfaces and routes have been read
}

// Observer sees what the hooks of a pipeline judge. Its hooks stand on the packet path of every worker.
type Observer interface {
	Before() hook.Instance                           // before the first hook
	Hook(name string, h hook.Instance) hook.Instance // in the place of the hook of that name, judging as it does
	After() hook.Instance                            // behind the last hook
}

// Open opens the sources of a plan without a mistake and builds everything behind them. The caller then calls Run once, and asks the plan
// for no explanation any more.
func Open(ctx context.Context, p *plan.Plan, o Options) (_ *Pipeline, err error) {
	pl := &Pipeline{
		plan: p, options: o, log: p.Log, started: time.Now(), hurry: make(chan struct{}), ending: make(chan struct{}),
		unopened: make(chan struct{}, 1),
		running:  life{ctx: context.WithoutCancel(ctx)},
	}
	p.ForgetChecked() // the running hooks are others
	before, err := pl.takeState()
	if err != nil {
		return nil, fmt.Errorf("service.state: what the last run has kept cannot be read: %w", err)
	}
	if before != nil {
		defer func() {
			if err != nil { // nothing of it was used
				err = errors.Join(err, before.PutBack())
			}
			if closeErr := before.Close(); closeErr != nil {
				p.Log.Warn("what was taken over cannot be removed; it is not used again", "err", closeErr)
			}
		}()
	}
	spools, err := pl.openSpools()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, spools.close())
		}
	}()
	before.checkSpools(spools)
	epochs, err := pl.chooseEpochs(before)
	if err != nil {
		return nil, err
	}
	pl.host.Store(pl.followHost(p))
	c := new(readers)
	pl.readers.Store(c) // nobody reads it yet
	for _, s := range p.Sources {
		src, err := pl.open(ctx, s, p.Zones)
		if err != nil {
			return nil, errors.Join(err, pl.closeSources())
		}
		c.sources = append(c.sources, src)
		if s.Translator != nil && pl.translator == nil {
			if pl.translator, err = s.Translator(); err != nil {
				return nil, errors.Join(fmt.Errorf("source %s: %w", s.Name, err), pl.closeSources())
			}
		}
	}
	if err := pair(c.sources); err != nil {
		return nil, errors.Join(err, pl.closeSources())
	}
	err = pl.build(c, spools, epochs, before)
	if err == nil {
		err = pl.takeOver(before)
	}
	if err != nil {
		return nil, errors.Join(err, pl.closeSources())
	}
	return pl, nil
}

// build builds hooks, gate, sinks with their rings, and workers and a feed for the sources, with what is kept of an earlier
// run. spools and epochs are those of the sinks.
func (pl *Pipeline) build(c *readers, spools spools, epochs []uint64, before *handedOver) error {
	p := pl.plan
	builder := hook.NewNameBuilder()
	set := &ruleSet{plan: p, number: 1, since: pl.started, capacity: max(c.queues(), 1)}
	for _, h := range p.Hooks(p.File.Pipeline.Hooks, p.HookEnv(set.capacity, builder)) {
		set.hooks = append(set.hooks, runningHook{Hook: h, counted: before.counted(&h)})
	}
	if o := pl.options.Observer; o != nil {
		set.observe(o)
	}
	pl.rules.Store(set)
	former, generation := before.names()
	names := p.NamesOf(builder)
	names.Generation = generation
	pl.names = namebook.New(names, former, func() {
		p.Log.Warn("there is no room for the names of more rules of the firewall: records of others do not name theirs until a restart", "names", namebook.MaxLearned)
	})

	pl.tail = tail.New()
	gate := admission.Config{Options: p.File.Admission, Tail: pl.tail, Wait: !p.Live, Generation: generation}
	gate.Zones = p.ZoneIDs()
	for i := range p.Sinks {
		s := &p.Sinks[i]
		ring, err := before.ring(i, s.Replay.Limits)
		if err != nil {
			return fmt.Errorf("sink %s: %w", s.Name, err)
		}
		out := pl.newOutput(s, ring, spools[i], epochs[i])
		out.index = i
		pl.outputs.put(out)
		gate.Sinks = append(gate.Sinks, out.gateSink(s))
	}
	var err error
	if pl.gate, err = admission.New(gate); err != nil {
		return err
	}
	pl.watch = newWatch(p.Log, pl.losses)
	if err := pl.readCarried(); err != nil {
		return err
	}
	for i, out := range pl.outputs.all() {
		pl.announceCarried(out, before.sink(i) != nil)
	}
	pl.tellUnannounced()
	before.owe(pl)
	switch {
	case before != nil:
		pl.seed = before.Seed
	case p.Live:
		pl.seed = rand.Uint64()
	default:
		pl.seed = captureSeed
	}
	o := p.File.Sessions
	sc := session.Config{Max: o.Max, Timeouts: o.Timeouts, Seed: pl.seed, Workers: max(c.queues(), 1), Translations: pl.translator != nil}
	if before != nil {
		sc.FirstID = before.NextID
	}
	pl.sessions = session.New(sc)
	if pl.translator != nil {
		pl.translated = translate.New(pl.translator, pl.sessions, func(err error) {
			p.Log.Warn("how sessions are translated cannot be found out; it is tried again", "err", err)
		})
	}
	rules := set.rules(c.queues() == 1)
	for _, s := range c.sources {
		pl.addCarrier(s)
		pl.addWorkers(c, s, rules, p.Zones)
	}
	if streams := streamsOf(c.sources); len(streams) > 0 {
		c.feed, err = pl.newFeed(c, streams, p.Zones, false)
	}
	return err
}

// liveSessions iterates over the sessions whose end will be told, as records: a receiver would keep the others for ever.
func (pl *Pipeline) liveSessions() iter.Seq[*event.Record] {
	return func(yield func(*event.Record) bool) {
		c := pl.readers.Load()
		now, offset := c.clock()
		var rec event.Record
		for s := range pl.sessions.All(now) {
			if !s.LogClose {
				continue
			}
			worker.EncodeLive(s, offset, &rec)
			rec.Generation = pl.names.Latest()
			if !yield(&rec) {
				return
			}
		}
		for _, sessions := range c.toldSessions() {
			for rec := range sessions {
				rec.Generation = pl.names.Latest()
				if !yield(rec) {
					return
				}
			}
		}
	}
}

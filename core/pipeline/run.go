package pipeline

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/deliver"
	"github.com/rtflow/pipelined/core/feed"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/core/translate"
	"github.com/rtflow/pipelined/core/worker"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

// generation is the first generation of names, see [nameBook].
const generation = 1

// grace is how long Run of a sink may take to return after its context has ended.
const grace = time.Second

// captureSeed keys the hashes of a capture's pipeline: the same capture gives the same events.
const captureSeed = 0x5eed

// refusal is why a configuration was refused, and how often one was.
type refusal struct {
	mu  sync.Mutex
	why string
	at  time.Time
	n   int
}

// Pipeline is a running pipeline.
type Pipeline struct {
	plan       *Plan
	epoch      uint64
	started    time.Time
	sources    []source.Source
	rules      atomic.Pointer[ruleSet]
	reloading  sync.Mutex
	refused    refusal // of another configuration
	gate       *admission.Gate
	sessions   *session.Table
	workers    []*worker.Worker
	feed       *feed.Feed // nil: no source of events
	names      *nameBook
	translator source.Translator      // nil: nobody is asked how sessions are translated
	translated *translate.Translation // the same
	rings      []*replay.Ring
	deliveries []*deliver.Delivery
	health     health
	watch      *watch
	hurry      chan struct{}
	hurryOnce  sync.Once
	ended      atomic.Bool // the workers have
	draining   atomic.Bool // and what is in flight is being delivered
	carried    carried
	host       host // the kernel's interfaces and routes
}

// Open opens the sources and builds everything behind them. The caller then calls Run once.
func (p *Plan) Open(ctx context.Context) (*Pipeline, error) {
	now := time.Now()
	pl := &Pipeline{plan: p, started: now, hurry: make(chan struct{})}
	p.checked = nil // the running hooks are others
	var err error
	if pl.epoch, err = pl.reserveEpochs(len(p.sinks)); err != nil {
		return nil, err
	}
	pl.followHost()
	var queues []queue
	var streams []feed.Stream
	for _, s := range p.sources {
		src, err := s.Open(ctx, p.zones)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("source %s: %w", s.name, err), pl.closeSources())
		}
		if s.Translator != nil && pl.translator == nil {
			if pl.translator, err = s.Translator(); err != nil {
				return nil, errors.Join(fmt.Errorf("source %s: %w", s.name, err), src.Close(), pl.closeSources())
			}
		}
		pl.sources = append(pl.sources, src)
		switch src := src.(type) {
		case source.Frames:
			for _, q := range src.Queues() {
				queues = append(queues, queue{q, s.Translator != nil})
			}
		case source.Events:
			streams = append(streams, feed.Stream{Name: s.name, EventStream: src.Stream()})
		}
	}
	if err := pl.pair(); err != nil {
		return nil, errors.Join(err, pl.closeSources())
	}
	if err := pl.build(queues, streams); err != nil {
		return nil, errors.Join(err, pl.closeSources())
	}
	return pl, nil
}

// queue is a queue of a source of frames.
type queue struct {
	source.FrameSource
	translated bool // somebody knows how its sessions are translated
}

// pair tells the sources that send frames on which others do it for them.
func (pl *Pipeline) pair() error {
	for i, s := range pl.plan.sources {
		if s.Peer == "" {
			continue
		}
		peer := slices.IndexFunc(pl.plan.sources, func(other plannedSource) bool { return other.name == s.Peer })
		if err := pl.sources[i].(source.Paired).Pair(pl.sources[peer]); err != nil {
			return fmt.Errorf("source %s: %w", s.name, err)
		}
	}
	return nil
}

// build builds hooks, gate, rings, workers for the queues and a feed for the streams.
func (pl *Pipeline) build(queues []queue, streams []feed.Stream) error {
	p := pl.plan
	builder := hook.NewNameBuilder()
	set := &ruleSet{plan: p, number: 1, since: pl.started}
	for _, h := range p.hooks(p.file.Pipeline.Hooks, p.hookEnv(len(queues), builder)) {
		set.hooks = append(set.hooks, runningHook{namedHook: h})
	}
	pl.rules.Store(set)
	pl.names = newNameBook(p.names(builder))

	lanes := len(queues)
	if len(streams) > 0 {
		lanes++
	}
	gate := admission.Config{Options: p.file.Admission, Lanes: lanes, Wait: !p.live, Generation: generation}
	for _, z := range p.file.Zones {
		gate.Zones = append(gate.Zones, z.ID)
	}
	for i, s := range p.sinks {
		ring, err := replay.New(s.replay.Limits)
		if err != nil {
			return fmt.Errorf("sink %s: %w", s.name, err)
		}
		pl.rings = append(pl.rings, ring)
		d := deliver.Config{
			Name: s.name, Sink: s.sink, Ring: ring, Epoch: pl.epoch + uint64(i), Log: p.options.Log,
			Names: pl.names.names,
		}
		if s.only.Has(event.SessionOpen) {
			d.Sessions = pl.liveSessions
		}
		delivery := deliver.New(d)
		pl.deliveries = append(pl.deliveries, delivery)
		gate.Sinks = append(gate.Sinks, admission.Sink{
			Name: s.name, Ring: ring, Only: s.only, Overflow: s.replay.Overflow, Connected: delivery.Connected,
		})
	}
	var err error
	if pl.gate, err = admission.New(gate); err != nil {
		return err
	}
	sinks := make([]string, len(p.sinks))
	for i, s := range p.sinks {
		sinks[i] = s.name
	}
	pl.watch = newWatch(p.options.Log, sinks, pl.losses)
	if err := pl.announceCarried(); err != nil {
		return err
	}
	seed := uint64(captureSeed)
	if p.live {
		seed = rand.Uint64()
	}
	o := p.file.Sessions
	pl.sessions = session.New(session.Config{
		Max: o.Max, Timeouts: o.Timeouts, Seed: seed, Workers: max(len(queues), 1), Translations: pl.translator != nil,
	})
	if pl.translator != nil {
		pl.translated = translate.New(pl.translator, pl.sessions, len(queues), func(err error) {
			p.options.Log.Warn("how sessions are translated cannot be found out; it is tried again", "err", err)
		})
	}
	for i, q := range queues {
		pl.workers = append(pl.workers, pl.worker(i, len(queues), q, seed))
	}
	if len(streams) > 0 {
		pl.feed, err = feed.New(feed.Config{
			Streams: streams, Gate: pl.gate, Lane: len(queues), Zones: p.zones, Apps: p.apps, Names: pl.names,
		})
	}
	return err
}

// liveSessions iterates over the sessions whose end will be told, as records: a receiver would keep the others for ever.
func (pl *Pipeline) liveSessions() iter.Seq[*event.Record] {
	return func(yield func(*event.Record) bool) {
		// Workers on one machine share a clock; a capture has one worker. The latest counts: a worker that has received
		// nothing yet has none, and if none has one there are no sessions.
		var now, offset int64
		for _, w := range pl.workers {
			if n, o := w.Clock(); n > now {
				now, offset = n, o
			}
		}
		var rec event.Record
		for s := range pl.sessions.All(now) {
			if !s.LogClose {
				continue
			}
			worker.EncodeLive(s, offset, &rec)
			rec.Generation = pl.names.latest()
			if !yield(&rec) {
				return
			}
		}
		if pl.feed == nil {
			return
		}
		for rec := range pl.feed.Sessions() {
			rec.Generation = pl.names.latest()
			if !yield(rec) {
				return
			}
		}
	}
}

func (pl *Pipeline) worker(i, n int, q queue, seed uint64) *worker.Worker {
	p := pl.plan
	c := worker.Config{
		Index: i, Workers: n, Source: q.FrameSource, Gate: pl.gate, Zones: p.zones, Apps: p.apps, Sessions: pl.sessions,
		Rules:    *pl.rules.Load().rules(),
		Separate: p.file.Sessions.Separate, Adopt: p.file.Sessions.Adopt, Complete: !p.live, CloseAtEnd: p.options.CloseAtEnd && !p.live, Seed: seed,
	}
	if q.translated {
		c.Asker = pl.translated.Asker(i)
	}
	return worker.New(c)
}

// Run runs the pipeline until ctx ends or every source has ended, and takes it down. It returns the error of a source
// that failed; sinks that fail do not end it.
func (pl *Pipeline) Run(ctx context.Context) error {
	sinkCtx, stopSinks := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSinks()
	var sinks sync.WaitGroup
	for _, d := range pl.deliveries {
		sinks.Go(func() { d.Run(sinkCtx) })
	}
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	var watchers sync.WaitGroup
	watchers.Go(func() { pl.watch.run(watching) })
	forgetCtx, stopForgetting := context.WithCancel(sinkCtx)
	defer stopForgetting()
	forgotten := make(chan struct{})
	go func() { defer close(forgotten); pl.forgetAnnounced(forgetCtx) }()
	err := pl.runWorkers(ctx)
	pl.ended.Store(true)
	pl.draining.Store(true)
	defer pl.draining.Store(false)
	err = errors.Join(err, pl.closeSources())
	pl.drain(ctx, err != nil || pl.plan.live, &sinks, stopSinks)
	stopWatching()
	watchers.Wait()
	stopForgetting()
	<-forgotten
	for i := range pl.rings {
		pl.giveUp(i)
	}
	return err
}

// runWorkers runs all workers, and the feed, until they have ended, and beside them who finds out how sessions are translated. When one
// fails the others are told to stop.
func (pl *Pipeline) runWorkers(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, len(pl.workers)+1)
	for i, w := range pl.workers {
		wg.Go(func() {
			if err := w.Run(ctx); err != nil {
				errs[i] = fmt.Errorf("worker %d: %w", i, err)
				pl.plan.options.Log.Error("a worker has failed; stopping", "worker", i, "err", err)
				cancel()
			}
		})
	}
	if pl.feed != nil {
		wg.Go(func() {
			if err := pl.feed.Run(ctx); err != nil {
				errs[len(pl.workers)] = fmt.Errorf("feed: %w", err)
				pl.plan.options.Log.Error("the feed has failed; stopping", "err", err)
				cancel()
			}
		})
	}
	var beside sync.WaitGroup
	translating, stopTranslating := context.WithCancel(ctx)
	defer stopTranslating()
	if pl.translated != nil {
		beside.Go(func() { pl.translated.Run(translating) })
	}
	wg.Wait()
	stopTranslating()
	beside.Wait()
	return errors.Join(errs...)
}

// drain announces what full rings have missed and delivers what is in flight. It does so for as long as the
// configuration allows; for a capture that has come to its end, as long as it takes, until the pipeline is told to stop.
// What is left is abandoned.
func (pl *Pipeline) drain(ctx context.Context, limited bool, sinks *sync.WaitGroup, stopSinks func()) {
	stop := make(chan struct{})
	var announcing sync.WaitGroup
	for i, r := range pl.rings {
		announcing.Go(func() {
			pl.gate.AnnounceMissing(i, stop)
			r.Drain()
		})
	}
	done := make(chan struct{})
	go func() { sinks.Wait(); close(done) }()

	begin := ctx.Done()
	if limited {
		now := make(chan struct{})
		close(now)
		begin = now
	}
	select {
	case <-done:
	case <-pl.hurry:
	case <-begin:
		deadline := time.NewTimer(pl.plan.file.Service.Drain)
		defer deadline.Stop()
		select {
		case <-done:
		case <-pl.hurry:
		case <-deadline.C:
		}
	}
	close(stop)
	announcing.Wait()
	stopSinks()
	last := time.NewTimer(grace)
	defer last.Stop()
	select {
	case <-done:
	case <-last.C:
		pl.plan.options.Log.Warn("a sink does not return; leaving without it")
	}
}

// Hurry ends the draining of a pipeline that is stopping. Safe for concurrent use.
func (pl *Pipeline) Hurry() { pl.hurryOnce.Do(func() { close(pl.hurry) }) }

// Reopen asks every sink that can to reopen what it writes to. Safe for concurrent use.
func (pl *Pipeline) Reopen() {
	for _, s := range pl.plan.sinks {
		if r, ok := s.sink.(sdk.Reopener); ok {
			r.Reopen()
		}
	}
}

// closeSources closes the sources, and what follows and asks the kernel for them. The workers have ended.
func (pl *Pipeline) closeSources() error {
	errs := []error{pl.host.close()}
	if pl.translator != nil {
		errs = append(errs, pl.translator.Close())
	}
	for i, s := range pl.sources {
		if err := s.Close(); err != nil {
			errs = append(errs, fmt.Errorf("source %s: %w", pl.plan.sources[i].name, err))
		}
	}
	return errors.Join(errs...)
}

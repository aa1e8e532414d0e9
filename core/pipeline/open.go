package pipeline

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/feed"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/core/tail"
	"github.com/rtflow/pipelined/core/translate"
	"github.com/rtflow/pipelined/core/worker"
	"github.com/rtflow/pipelined/sdk/event"
)

// Open opens the sources and builds everything behind them. The caller then calls Run once.
func (p *Plan) Open(ctx context.Context) (_ *Pipeline, err error) {
	now := time.Now()
	pl := &Pipeline{plan: p, started: now, hurry: make(chan struct{}), ending: make(chan struct{}), running: life{ctx: context.WithoutCancel(ctx)}}
	p.checked = nil // the running hooks are others
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
				p.options.Log.Warn("what was taken over cannot be removed; it is not used again", "err", closeErr)
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
	pl.host.Store(p.followHost(&p.options))
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
			carrier := pl.addCarrier(src)
			for _, q := range src.Queues() {
				queues = append(queues, queue{q, s.Translator != nil, carrier})
			}
		case source.Events:
			streams = append(streams, feed.Stream{Name: s.name, EventStream: src.Stream()})
		}
	}
	if err := pl.pair(); err != nil {
		return nil, errors.Join(err, pl.closeSources())
	}
	err = pl.build(queues, streams, spools, epochs, before)
	if err == nil {
		err = pl.takeOver(before)
	}
	if err != nil {
		return nil, errors.Join(err, pl.closeSources())
	}
	return pl, nil
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

// build builds hooks, gate, sinks with their rings, workers for the queues and a feed for the streams, with what is kept of an earlier
// run. spools and epochs are those of the sinks.
func (pl *Pipeline) build(queues []queue, streams []feed.Stream, spools spools, epochs []uint64, before *handedOver) error {
	p := pl.plan
	builder := hook.NewNameBuilder()
	set := &ruleSet{plan: p, number: 1, since: pl.started}
	for _, h := range p.hooks(p.file.Pipeline.Hooks, p.hookEnv(len(queues), builder)) {
		set.hooks = append(set.hooks, runningHook{namedHook: h, counted: before.counted(&h)})
	}
	if o := p.options.Observer; o != nil {
		set.observe(o)
	}
	pl.rules.Store(set)
	former, generation := before.names()
	names := p.names(builder)
	names.Generation = generation
	pl.names = newNameBook(names, former)

	lanes := len(queues)
	if len(streams) > 0 {
		lanes++
	}
	pl.tail = tail.New()
	gate := admission.Config{Options: p.file.Admission, Lanes: lanes, Tail: pl.tail, Wait: !p.live, Generation: generation}
	gate.Zones = p.zoneIDs()
	for i := range p.sinks {
		s := &p.sinks[i]
		ring, err := before.ring(i, s.replay.Limits)
		if err != nil {
			return fmt.Errorf("sink %s: %w", s.name, err)
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
	pl.watch = newWatch(p.options.Log, pl.losses)
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
	case p.live:
		pl.seed = rand.Uint64()
	default:
		pl.seed = captureSeed
	}
	o := p.file.Sessions
	pl.sessions = session.New(session.Config{
		Max: o.Max, Timeouts: o.Timeouts, Seed: pl.seed, Workers: max(len(queues), 1), Translations: pl.translator != nil,
		Carriers: pl.sessionCarriers(),
	})
	if pl.translator != nil {
		pl.translated = translate.New(pl.translator, pl.sessions, len(queues), func(err error) {
			p.options.Log.Warn("how sessions are translated cannot be found out; it is tried again", "err", err)
		})
	}
	for i, q := range queues {
		pl.workers = append(pl.workers, pl.worker(i, len(queues), q, before))
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

func (pl *Pipeline) worker(i, n int, q queue, before *handedOver) *worker.Worker {
	p := pl.plan
	c := worker.Config{
		Index: i, Workers: n, Source: q.FrameSource, Gate: pl.gate, Zones: p.zones, Apps: p.apps, Sessions: pl.sessions,
		Rules:    *pl.rules.Load().rules(),
		Separate: p.file.Sessions.Separate, Adopt: p.file.Sessions.Adopt, Complete: !p.live, CloseAtEnd: p.options.CloseAtEnd && !p.live, Seed: pl.seed,
		Carrier: q.carrier,
	}
	if before != nil {
		c.FirstID = before.NextID
	}
	if q.translated {
		c.Asker = pl.translated.Asker(i)
	}
	return worker.New(c)
}

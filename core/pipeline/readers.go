package pipeline

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/rtflow/pipelined/core/feed"
	"github.com/rtflow/pipelined/core/metrics"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/core/worker"
	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/internal/monotonic"
	"github.com/rtflow/pipelined/sdk/event"
)

// readers are the sources, a worker for each queue of those of frames, and the feed of those of events. Those that are published do not
// change: others take their place.
type readers struct {
	sources []*openSource // in the order of the configuration
	workers []*runningWorker
	feed    *runningFeed  // nil: there never was a source of events
	closing []*openSource // that nobody reads any more: what they have not read is counted until they are closed
	away    []*awaySource // of the configuration, and closed
	former  formerCounts
}

// openSource is a source that is open.
type openSource struct {
	plan.Source
	opened  source.Source
	queues  []source.FrameSource // of a source of frames
	stream  source.EventStream   // of a source of events
	carrier source.Carrier       // nil: nothing is carried
	place   int                  // of the carrier among those of the sessions
}

// runningWorker is a worker and whose packets it reads.
type runningWorker struct {
	*worker.Worker
	loop   *loop
	source *openSource // nil: it has none, and ages the sessions of sources that were closed
}

// runningFeed is a feed and what it reads.
type runningFeed struct {
	*feed.Feed
	loop    *loop
	lane    int
	streams []feed.Stream
}

// formerCounts are what sources that were closed, and their workers, have counted.
type formerCounts struct {
	counts                    worker.Counts
	zones                     map[uint16]uint64
	forwarded, passed         source.Carried // by themselves, of bridges and of taps
	packets, events, bypassed uint64         // that they have not read
	now, offset               int64          // what the workers' clock said last
}

// noCarrier is the place of the carrier of a source that has none.
const noCarrier = -1

// open opens a source of a plan.
func (pl *Pipeline) open(ctx context.Context, s plan.Source, zones *zone.Table) (*openSource, error) {
	opened, err := s.Open(ctx, zones)
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", s.Name, err)
	}
	src := &openSource{Source: s, opened: opened, place: noCarrier}
	switch opened := opened.(type) {
	case source.Frames:
		src.queues = opened.Queues()
	case source.Events:
		src.stream = opened.Stream()
	}
	if c, ok := opened.(source.Carrying); ok {
		src.carrier = c.Carrier()
	}
	return src, nil
}

// close closes a source whose workers have ended.
func (s *openSource) close() error {
	if err := s.opened.Close(); err != nil {
		return fmt.Errorf("source %s: %w", s.Name, err)
	}
	return nil
}

// pair tells sources that send frames on which others do it for them.
func pair(sources []*openSource) error {
	for _, s := range sources {
		if s.Peer == "" {
			continue
		}
		peer := slices.IndexFunc(sources, func(other *openSource) bool { return other.Name == s.Peer })
		if err := s.opened.(source.Paired).Pair(sources[peer].opened); err != nil {
			return fmt.Errorf("source %s: %w", s.Name, err)
		}
	}
	return nil
}

// addCarrier makes a source known to the sessions, if it carries packets of them.
func (pl *Pipeline) addCarrier(s *openSource) {
	if s.carrier == nil {
		return
	}
	place, ok := pl.sessions.AddCarrier(s.carrier)
	if !ok {
		pl.log.Warn("nothing of a source is offloaded: too many others are", "source", s.Name)
		return
	}
	s.place = place
}

// addWorkers adds workers for the queues of a source. They judge by these rules.
func (pl *Pipeline) addWorkers(c *readers, s *openSource, rules *worker.Rules, zones *zone.Table) {
	for _, q := range s.queues {
		c.workers = append(c.workers, pl.worker(c, s, q, rules, zones))
	}
}

// lowest returns the lowest number from 0 that is not taken.
func lowest(taken func(n int) bool) (n int) {
	for taken(n) {
		n++
	}
	return n
}

// lane returns a lane of the gate that none of them has.
func (pl *Pipeline) lane(c *readers) int {
	lane := lowest(func(n int) bool {
		return c.feed != nil && c.feed.lane == n || slices.ContainsFunc(c.workers, func(w *runningWorker) bool { return w.Lane == n })
	})
	for pl.lanes <= lane {
		pl.gate.AddLanes(1)
		pl.lanes++
	}
	return lane
}

func (pl *Pipeline) worker(c *readers, s *openSource, q source.FrameSource, rules *worker.Rules, zones *zone.Table) *runningWorker {
	taken := c.numbers()
	number := lowest(func(n int) bool { return slices.Contains(taken, n) })
	p := pl.plan
	wc := worker.Config{
		Index: number, Lane: pl.lane(c), Source: q, Gate: pl.gate, Zones: zones, Apps: p.Apps, Sessions: pl.sessions, Rules: *rules,
		Separate: p.File.Sessions.Separate, Adopt: p.File.Sessions.Adopt, Complete: !p.Live, CloseAtEnd: pl.options.CloseAtEnd && !p.Live,
		Seed: pl.seed, Carrier: noCarrier,
	}
	if s != nil {
		if wc.Carrier = s.place; s.Translator != nil && pl.translated != nil {
			wc.Asker = pl.translated.Asker(number)
		}
	}
	w := &runningWorker{Worker: worker.New(wc), source: s}
	w.SetRules(rules)
	w.loop = newLoop(fmt.Sprintf("worker %d", number), w.Run)
	return w
}

// all returns the sources of the configuration, also those that are away.
func (c *readers) all() []*openSource {
	list := slices.Clone(c.sources)
	for _, s := range c.away {
		list = append(list, s.openSource)
	}
	return list
}

// toldSessions are the sessions that sources of events have told of and whose ends are to come, as records without a generation.
func (c *readers) toldSessions() (list []iter.Seq[*event.Record]) {
	if c.feed != nil {
		list = append(list, c.feed.Sessions())
	}
	for _, s := range c.away {
		if lister, ok := s.stream.(source.SessionLister); ok {
			list = append(list, feed.Sessions(lister))
		}
	}
	return list
}

// queues returns how many queues the sources have.
func (c *readers) queues() (n int) {
	for _, s := range c.sources {
		n += len(s.queues)
	}
	return n
}

// numbers returns those of the workers.
func (c *readers) numbers() (list []int) {
	for _, w := range c.workers {
		list = append(list, w.Index)
	}
	return list
}

// streamsOf returns what a feed reads of sources.
func streamsOf(sources []*openSource) (list []feed.Stream) {
	for _, s := range sources {
		if s.stream != nil {
			list = append(list, feed.Stream{Name: s.Name, EventStream: s.stream})
		}
	}
	return list
}

// newFeed makes a feed, in the place of the one that there is, if any, whose lane it goes on with. awaits says that a stream of sessions will
// come.
func (pl *Pipeline) newFeed(c *readers, streams []feed.Stream, zones *zone.Table, awaits bool) (*runningFeed, error) {
	f := &runningFeed{streams: streams}
	if c.feed != nil {
		f.lane = c.feed.lane
	} else {
		f.lane = pl.lane(c)
	}
	var err error
	f.Feed, err = feed.New(feed.Config{
		Streams: streams, Gate: pl.gate, Lane: f.lane, Zones: zones, Apps: pl.plan.Apps, Names: pl.names, AwaitsSessions: awaits,
	})
	if err != nil {
		return nil, err
	}
	f.loop = newLoop("feed", f.Run)
	return f, nil
}

// loops returns the goroutines of workers and feed.
func (c *readers) loops() (list []*loop) {
	for _, w := range c.workers {
		list = append(list, w.loop)
	}
	if c.feed != nil {
		list = append(list, c.feed.loop)
	}
	return list
}

// clock returns the latest time that a worker knows, or has known, and Unix time minus that clock. Workers on one machine share a clock, and a
// capture has one worker: one that has received nothing yet has none, and if none ever had one there are no sessions.
func (c *readers) clock() (now, offset int64) {
	now, offset = c.former.now, c.former.offset
	for _, w := range c.workers {
		if n, o := w.Clock(); n > now {
			now, offset = n, o
		}
	}
	return now, offset
}

// counts adds up what became of packets, also of those of sources that were closed.
func (c *readers) counts() worker.Counts {
	sum := c.former.counts
	for _, w := range c.workers {
		sum.Add(w.Counts())
	}
	return sum
}

// zones adds up packets by the zone that they come from.
func (c *readers) zones() map[uint16]uint64 {
	sum := maps.Clone(c.former.zones)
	if sum == nil {
		sum = make(map[uint16]uint64)
	}
	for _, w := range c.workers {
		for id, n := range w.Zones() {
			sum[id] += n
		}
	}
	return sum
}

// addCarried adds the packets that no worker has seen.
func (c *readers) addCarried(p *metrics.Packets) {
	add := func(c source.Carried) {
		p.Received += c.Packets
		p.Bytes += c.Bytes
		p.Offloaded += c.Packets
		if c.Forwards {
			p.Forwarded += c.Packets - c.NotSent
			p.NotSent += c.NotSent
		} else {
			p.Passed += c.Packets
		}
	}
	add(c.former.forwarded)
	add(c.former.passed)
	for _, list := range [...][]*openSource{c.sources, c.closing} {
		for _, s := range list {
			if s.carrier != nil {
				add(s.carrier.Carried())
			}
		}
	}
}

// unread returns how many packets and events sources have lost before they could be read, and how many packets went past them.
func (c *readers) unread() (packets, events, bypassed uint64) {
	packets, events, bypassed = c.former.packets, c.former.events, c.former.bypassed
	for _, list := range [...][]*openSource{c.sources, c.closing} {
		for _, s := range list {
			p, e, b := s.unread()
			packets, events, bypassed = packets+p, events+e, bypassed+b
		}
	}
	return packets, events, bypassed
}

// unread is the same of one source.
func (s *openSource) unread() (packets, events, bypassed uint64) {
	for _, c := range s.opened.Counters() {
		switch {
		case c.Bypassed:
			bypassed += c.Value
		case c.Lost && s.Events:
			events += c.Value
		case c.Lost:
			packets += c.Value
		}
	}
	return packets, events, bypassed
}

// with returns the counts with those of workers of a source, which have ended. What the source has carried, and what it has not read, is
// counted until it is closed.
func (p formerCounts) with(workers iter.Seq[*runningWorker]) formerCounts {
	zones := maps.Clone(p.zones)
	if zones == nil {
		zones = make(map[uint16]uint64)
	}
	for w := range workers {
		p.counts.Add(w.Counts())
		for id, n := range w.Zones() {
			zones[id] += n
		}
	}
	p.zones = zones
	return p
}

// carry adds what a source has carried.
func (p *formerCounts) carry(done source.Carried) {
	sum := &p.passed
	if done.Forwards {
		sum = &p.forwarded
	}
	*sum = source.Carried{
		Packets: sum.Packets + done.Packets, Bytes: sum.Bytes + done.Bytes, NotSent: sum.NotSent + done.NotSent, Forwards: done.Forwards,
	}
}

// closed returns the same readers without those that were closing, whose last counts are among the former ones.
func (c *readers) closed() *readers {
	next := *c
	for _, s := range c.closing {
		packets, events, bypassed := s.unread()
		next.former.packets += packets
		next.former.events += events
		next.former.bypassed += bypassed
		if s.carrier != nil {
			next.former.carry(s.carrier.Carried())
		}
	}
	next.closing = nil
	return &next
}

// noFrames is a source of frames that has none: its worker ages sessions.
type noFrames struct{ clock *monotonic.Clock }

// Receive implements [source.FrameSource].
func (s noFrames) Receive(ctx context.Context, b *packet.Batch, timeout time.Duration) error {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	b.Now, b.Wall = s.clock.Read()
	return nil
}

// Release implements [source.FrameSource].
func (noFrames) Release() {}

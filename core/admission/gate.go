package admission

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/core/tail"
	"github.com/rtflow/pipelined/sdk/event"
)

// Sink is one ring behind the gate.
type Sink struct {
	Name     string
	Ring     *replay.Ring
	Only     event.KindSet // kinds this sink wants; loss records about them always come along
	Overflow replay.Overflow
	// Connected reports whether the sink has its destination; nil: always. What a full ring refuses meanwhile is counted
	// apart. Called by workers, once per flush that a full ring cuts short.
	Connected func() bool
}

// Config is what a gate is built from.
type Config struct {
	Options
	// Zones are the ids of the configured zones, each with a bucket of its own per kind.
	Zones []uint16
	Sinks []Sink
	// Lanes is the number of workers.
	Lanes int
	// Wait makes lanes wait for room in a ring instead of refusing events: for captures, which are not live.
	Wait bool
	// Tail is shown what is admitted; nil: nobody is.
	Tail *tail.Tail
	// Generation is the configuration generation stamped on every record, until SetGeneration.
	Generation uint32
}

// LossWindow is how long the gate collects what the limiter refused before it puts out a loss record, in nanoseconds.
const LossWindow = int64(1e9)

// Gate limits events and brings them to the rings of all sinks. Sinks, zones and lanes come and go while it works; methods that
// change it must not overlap.
type Gate struct {
	view       atomic.Pointer[view] // what lanes take over at Sync
	lanes      atomic.Pointer[[]*Lane]
	wait       bool
	tail       *tail.Tail
	generation atomic.Uint32
	open       windows // the loss windows that are open, but for those that a lane looks at
}

// New returns a gate with its lanes.
func New(c Config) (*Gate, error) {
	table, err := newLimiter(c.rates(), c.Zones)
	if err != nil {
		return nil, err
	}
	g := &Gate{wait: c.Wait, tail: c.Tail}
	if g.tail == nil {
		g.tail = tail.New()
	}
	g.generation.Store(c.Generation)
	v := &view{limiter: table}
	v.addWindows(table.slots())
	for _, s := range c.Sinks {
		v.add(s)
	}
	g.view.Store(v)
	g.lanes.Store(new([]*Lane))
	g.AddLanes(c.Lanes)
	return g, nil
}

// AddLanes adds lanes behind those that there are.
func (g *Gate) AddLanes(n int) {
	lanes := slices.Clone(*g.lanes.Load())
	for range n {
		lanes = append(lanes, newLane(g))
	}
	g.lanes.Store(&lanes)
}

// Lane returns the lane of a worker, which has it until [Lane.Finish]. ctx ends its waiting for room.
func (g *Gate) Lane(ctx context.Context, i int) *Lane {
	l := (*g.lanes.Load())[i]
	l.ctx = ctx
	for l.at.Load() != g.view.Load() { // who waits for a view to be left either finds it here, or is seen to have replaced it
		l.at.Store(g.view.Load())
	}
	l.take(l.at.Load())
	return l
}

// SetRates sets how many events each zone may make from here on. Where a zone has used up its rate it may go on at the new one. An
// error changes nothing. Safe for concurrent use with lanes; calls must not overlap.
func (g *Gate) SetRates(o Options) error { return g.view.Load().limiter.set(o.rates()) }

// SetGeneration sets the generation stamped on every record from here on. It must know every name that an earlier one knows,
// for the same id: events that were offered before may get it. One that is lower than the present one changes nothing. Safe for
// concurrent use.
func (g *Gate) SetGeneration(generation uint32) {
	for {
		now := g.generation.Load()
		if generation <= now || g.generation.CompareAndSwap(now, generation) {
			return
		}
	}
}

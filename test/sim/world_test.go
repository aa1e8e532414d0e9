package sim

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"testing/synctest"
	"time"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/deliver"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sinks/unixsock"
)

// world is everything that a schedule drives. It lives in one bubble of virtual time.
type world struct {
	plan    *plan
	begun   time.Time
	history history
	gate    *admission.Gate
	workers []*worker
	sinks   []*output
	stop    context.CancelFunc // of the deliveries
	running sync.WaitGroup
	asking  sync.WaitGroup // drain requests

	mu       sync.Mutex
	failures []string
	story    []string
	verbose  bool
}

// output is a sink with everything around it.
type output struct {
	w        *world
	index    int
	plan     *sinkPlan
	ring     *replay.Ring
	sink     *unixsock.Sink
	delivery *deliver.Delivery
	program  *program
	v        *witness
	books    books

	mu        sync.Mutex
	wire      *wire // the newest
	wires     uint64
	panics    bool
	healed    bool
	acked     uint64        // acknowledged when the last connection began
	closedAt  time.Time     // when it ended
	appearing chan struct{} // closed and replaced when the program can be connected to
}

const epoch = 7

func newWorld(p *plan, verbose bool) *world {
	w := &world{plan: p, begun: time.Now(), verbose: verbose}
	c := admission.Config{Lanes: p.lanes, Generation: 1}
	for _, k := range []event.Kind{event.PolicyDeny, event.ScreenDrop, event.FilterLog} {
		c.Rates[k] = p.rate
	}
	for z := range p.zones {
		c.Zones = append(c.Zones, uint16(z+1))
	}
	w.history.begin(p.live)
	for i := range p.sinks {
		o := newOutput(w, i)
		w.sinks = append(w.sinks, o)
		c.Sinks = append(c.Sinks, admission.Sink{Name: o.v.name, Ring: o.ring, Only: o.plan.only, Overflow: o.plan.overflow})
	}
	var err error
	if w.gate, err = admission.New(c); err != nil {
		panic(err)
	}
	for i := range p.lanes {
		worker := &worker{index: i}
		worker.lane = w.gate.Lane(context.Background(), i)
		w.workers = append(w.workers, worker)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	for _, o := range w.sinks {
		o.start(1)
		w.running.Go(func() { o.delivery.Run(ctx) })
	}
	return w
}

func newOutput(w *world, i int) *output {
	p := &w.plan.sinks[i]
	o := &output{w: w, index: i, plan: p, v: newWitness(w, i), appearing: make(chan struct{})}
	var err error
	if o.ring, err = replay.New(p.limits); err != nil {
		panic(err)
	}
	o.sink = unixsock.New(unixsock.Config{Connector: o, Delta: p.delta, Silence: p.silence})
	c := deliver.Config{
		Name: o.v.name, Sink: o.sink, Ring: o.ring, Epoch: epoch, Log: slog.New(slog.DiscardHandler),
		Names: func(uint32) *event.Names { return nil },
	}
	if p.only.Has(event.SessionOpen) {
		c.Sessions = func() iter.Seq[*event.Record] { return w.history.sessions() }
	}
	o.delivery = deliver.New(c)
	o.program = &program{index: i, plan: p, v: o.v, up: o.appear}
	return o
}

// failf notes that something is wrong.
func (w *world) failf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failures = append(w.failures, fmt.Sprintf("%v: ", time.Since(w.begun))+fmt.Sprintf(format, args...))
}

func (w *world) failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.failures) > 0
}

// tell adds to what is printed when the schedule fails.
func (w *world) tell(format string, args ...any) {
	if !w.verbose {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.story = append(w.story, fmt.Sprintf("%14v  ", time.Since(w.begun))+fmt.Sprintf(format, args...))
}

// sleep lets time pass, and everybody act.
func (w *world) sleep(d time.Duration) {
	time.Sleep(time.Until(nextInstant(time.Now().Add(d-1), 0)))
	synctest.Wait()
}

// run takes every step, and ends.
func (w *world) run() {
	for i, s := range w.plan.steps {
		w.sleep(s.after)
		w.tell("%d: %v", i, s)
		w.take(s)
		synctest.Wait()
		w.check()
		if w.failed() {
			break
		}
	}
	w.end()
}

// start starts the receiver program.
func (o *output) start(seed uint64) {
	if o.plan.trouble == absent {
		return
	}
	o.program.start(seed)
	if o.plan.trouble == deaf {
		o.program.current().stall(true)
	}
}

// appear lets a sink that waits for the receiver look again.
func (o *output) appear() {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.appearing)
	o.appearing = make(chan struct{})
}

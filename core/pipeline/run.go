package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/namebook"
	"github.com/rtflow/pipelined/core/plan"
	"github.com/rtflow/pipelined/core/session"
	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/core/tail"
	"github.com/rtflow/pipelined/core/translate"
)

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
	plan       *plan.Plan // of the first configuration
	options    Options
	log        *slog.Logger
	epoch      uint64 // of the pipeline: one of those of its sinks
	seed       uint64 // of hashes of flows
	started    time.Time
	rules      atomic.Pointer[ruleSet]
	reloading  sync.Mutex
	refused    refusal // of another configuration
	gate       *admission.Gate
	tail       *tail.Tail // of what the gate admits
	sessions   *session.Table
	lanes      int // that the gate has
	readers    atomic.Pointer[readers]
	names      *namebook.Book
	translator source.Translator      // nil: nobody is asked how sessions are translated
	translated *translate.Translation // the same
	outputs    outputs
	running    life
	unopened   chan struct{} // a token for sources that are to be opened again
	health     health
	watch      *watch
	hurry      chan struct{}
	hurryOnce  sync.Once
	ended      atomic.Bool   // the workers have: nothing is changed any more
	ending     chan struct{} // closed then
	draining   atomic.Bool   // and what is in flight is being delivered
	carried    carried
	left       leftSessions      // of an earlier run, whose ends the first worker tells
	takenOver  *TakenOver        // from an earlier run; nil: nothing
	unused     string            // why the state of the last run was not used; empty: it was, or there was none
	opened     time.Time         // the sources were open; set if something is taken over
	stopped    time.Time         // nothing is read from then on
	received   map[string]uint64 // packets that the kernel has counted until then, by interface
	host       followed          // the kernel's interfaces and routes
}

// life is what of a pipeline runs until all is delivered.
type life struct {
	ctx    context.Context // of the deliveries
	loops  *loops          // what carries packets and events
	begun  bool            // Run was called; guarded by Pipeline.reloading
	beside sync.WaitGroup
	// rematching is told to stop by the next configuration that is taken over, and waits for Run to begin; guarded by Pipeline.reloading.
	rematching *rematching
}

// leftSessions are sessions that were ended at now on the clock of the packets, which was then wall in Unix time.
type leftSessions struct {
	sessions  []session.Session
	now, wall int64
}

// Run runs the pipeline until ctx ends or every source has ended, and takes it down. It returns the error of a source
// that failed; sinks that fail do not end it.
func (pl *Pipeline) Run(ctx context.Context) error {
	sinkCtx, stopSinks := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSinks()
	pl.begin(ctx, sinkCtx)
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	var watchers sync.WaitGroup
	watchers.Go(func() { pl.watch.run(watching) })
	err := pl.awaitLoops(ctx)
	pl.end()
	defer pl.draining.Store(false)
	err = errors.Join(err, pl.closeSources())
	pl.received = pl.receivedPackets()
	staying := pl.outputs.staying()
	returned := pl.drain(ctx, err != nil || pl.plan.Live, staying)
	pl.outputs.removing.Wait()
	stopWatching()
	watchers.Wait()
	stopSinks()
	pl.running.beside.Wait()
	pl.awaitReload()
	pl.handOver(staying, returned)
	return err
}

// begin starts the deliveries, and the workers and the feed.
func (pl *Pipeline) begin(ctx, deliveries context.Context) {
	pl.reloading.Lock()
	defer pl.reloading.Unlock()
	pl.running.ctx, pl.running.begun = deliveries, true
	for _, out := range pl.outputs.present() {
		if out.life.stop == nil { // else it is removed already
			pl.start(out)
		}
	}
	if r := pl.running.rematching; r != nil {
		pl.running.beside.Go(r.run)
	}
	l := newLoops(ctx, pl.log)
	pl.running.loops = l
	l.hold()
	defer l.release()
	c := pl.readers.Load()
	if len(c.workers) > 0 {
		c.workers[0].End(pl.left.sessions, pl.left.now, pl.left.wall)
	}
	for _, one := range c.loops() {
		l.start(one)
	}
	if pl.plan.Live {
		pl.running.beside.Go(func() { pl.reopen(l.ctx) })
	}
}

// end lets nothing be changed any more. The workers have ended, and with them every change that they were held for.
func (pl *Pipeline) end() {
	pl.stopped = time.Now()
	pl.ended.Store(true)
	close(pl.ending)
	pl.draining.Store(true)
}

// awaitReload waits for a change that is being prepared, which is refused.
func (pl *Pipeline) awaitReload() {
	pl.reloading.Lock()
	defer pl.reloading.Unlock()
}

// hold keeps a pipeline that runs from ending, until release. It reports false if it has ended already.
func (pl *Pipeline) hold() bool { return !pl.running.begun || pl.running.loops.hold() }

func (pl *Pipeline) release() {
	if pl.running.begun {
		pl.running.loops.release()
	}
}

// awaitLoops waits until all workers and the feed have ended, since the sources have, one has failed, or ctx has ended. Beside them runs who
// finds out how sessions are translated.
func (pl *Pipeline) awaitLoops(ctx context.Context) error {
	var beside sync.WaitGroup
	translating, stopTranslating := context.WithCancel(ctx)
	defer stopTranslating()
	if pl.translated != nil {
		beside.Go(func() { pl.translated.Run(translating) })
	}
	err := pl.running.loops.wait()
	stopTranslating()
	beside.Wait()
	return err
}

// drain announces what full rings have missed and delivers what is in flight. It does so for as long as the
// configuration allows; for a capture that has come to its end, as long as it takes, until the pipeline is told to stop.
// What is left is for the next run, or given up. It reports whether every sink has returned.
func (pl *Pipeline) drain(ctx context.Context, limited bool, list []*output) (returned bool) {
	stop := make(chan struct{})
	var announcing sync.WaitGroup
	for _, out := range list {
		announcing.Go(func() {
			pl.gate.AnnounceMissing(out.index, stop)
			out.ring.Drain()
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, out := range list {
			<-out.life.ended
		}
	}()

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
		deadline := time.NewTimer(pl.now().File.Service.Drain)
		defer deadline.Stop()
		select {
		case <-done:
		case <-pl.hurry:
		case <-deadline.C:
		}
	}
	close(stop)
	announcing.Wait()
	for _, out := range list {
		out.life.stop()
	}
	return pl.await(list)
}

// Hurry ends the draining of a pipeline that is stopping. Safe for concurrent use.
func (pl *Pipeline) Hurry() { pl.hurryOnce.Do(func() { close(pl.hurry) }) }

// Reopen asks every sink that can to reopen what it writes to. Safe for concurrent use.
func (pl *Pipeline) Reopen() {
	for _, out := range pl.outputs.present() {
		out.delivery.Reopen()
	}
}

// closeSources closes the sources, and what follows and asks the kernel for them. The workers have ended.
func (pl *Pipeline) closeSources() error {
	errs := []error{pl.host.Load().close()}
	if pl.translator != nil {
		errs = append(errs, pl.translator.Close())
	}
	for _, s := range pl.readers.Load().sources {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}

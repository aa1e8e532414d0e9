package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"testing/synctest"
	"time"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/core/deliver"
	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
	"github.com/rtflow/pipelined/sinks/unixsock"
)

// world is everything that a schedule drives. It lives in one bubble of virtual time.
type world struct {
	plan    *plan
	begun   time.Time
	truth   truth
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
		worker.lane = w.gate.Lane(context.Background(), i, worker)
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
		Name: o.v.name, Sink: o.sink, Ring: o.ring, Epoch: epoch, Log: slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError + 1})),
		Names: func(uint32) *event.Names { return nil },
	}
	if p.only.Has(event.SessionOpen) {
		c.Sessions = func() iter.Seq[*event.Record] { return w.truth.sessions() }
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

func (w *world) take(s step) {
	o := w.sinks[s.sink]
	if s.do > quiet && (o.plan.trouble == none || o.plan.trouble >= stuck) {
		s.do = quiet // nothing else happens to them
	}
	r := rand.New(rand.NewPCG(s.x, 1))
	switch s.do {
	case offer:
		if w.plan.concurrent {
			w.together(s, r)
			return
		}
		w.offer(w.workers[s.lane], s, r)
		w.flush(w.workers[s.lane])
	case pend:
		w.offer(w.workers[s.lane], s, r)
	case quiet:
		for _, worker := range w.workers {
			w.flush(worker)
		}
	case panics:
		o.mu.Lock()
		o.panics = true
		o.mu.Unlock()
	case start:
		o.start(s.x)
	case crash:
		o.program.crash()
	case restart:
		o.program.stop()
		o.start(s.x)
	case pause, resume, drainNow, stall, fail:
		if l := o.program.current(); l != nil {
			o.ask(s.do, l)
		}
	default:
		o.spoil(s.do, r)
	}
}

// offer offers a burst of events.
func (w *world) offer(worker *worker, s step, r *rand.Rand) {
	kind := event.PolicyDeny + event.Kind(r.IntN(3))
	for range s.n {
		if worker.lane.Full() {
			w.flush(worker)
		}
		o := w.truth.happen(r, s.mix.kindIn(r, kind), w.plan.zones, worker.index)
		o.limited = !worker.lane.Offer(o.kind, worker.lane.Slot(o.zone), int64(time.Since(w.begun)), uint32(len(worker.pending)))
		if !o.limited {
			worker.pending = append(worker.pending, o)
		}
	}
}

// flush flushes a lane, and checks what that has done to the rings.
func (w *world) flush(worker *worker) {
	for _, o := range w.sinks {
		o.before()
	}
	w.truth.flush(worker)
	worker.lane.Flush(int64(time.Since(w.begun)), time.Now().UnixNano())
	for _, o := range w.sinks {
		o.after(worker.pending)
	}
	worker.pending = worker.pending[:0]
	synctest.Wait()
}

// together lets every worker offer and flush at the same instant.
func (w *world) together(s step, r *rand.Rand) {
	for _, o := range w.sinks {
		o.books.blind = true
	}
	for _, worker := range w.workers {
		w.offer(worker, s, r)
	}
	for _, worker := range w.workers {
		w.truth.flush(worker)
	}
	var wg sync.WaitGroup
	for _, worker := range w.workers {
		wg.Go(func() { worker.lane.Flush(int64(time.Since(w.begun)), time.Now().UnixNano()) })
	}
	wg.Wait()
	for _, worker := range w.workers {
		worker.pending = worker.pending[:0]
	}
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

// ask is what a receiver program does of its own accord.
func (o *output) ask(do action, l *life) {
	switch do {
	case stall:
		l.stall(true)
	case fail:
		l.fails.Store(true)
	case pause:
		l.recv.Pause()
	case resume:
		o.v.seal(false)
		l.recv.Resume()
	case drainNow:
		target := o.ring.State().Next - 1
		if target == 0 {
			return
		}
		o.w.asking.Go(func() { o.drained(l, target) })
	}
}

// drained asks for everything up to a number, and checks that it is there when the answer is.
func (o *output) drained(l *life, target event.Seq) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	seq, err := l.recv.Drain(ctx, target)
	if err != nil || l.dead.Load() {
		return
	}
	if seq < target {
		o.w.failf("%s: asked to drain up to %d, answered with %d", o.v.name, target, seq)
	}
	if pos := l.recv.Stats().Position; pos.Seq < seq && !o.plan.delta { // which has no position between connections
		o.w.failf("%s: drained up to %d, but the receiver is at %d", o.v.name, seq, pos.Seq)
	}
}

// spoil is what happens to a connection.
func (o *output) spoil(do action, r *rand.Rand) {
	o.mu.Lock()
	w := o.wire
	o.mu.Unlock()
	l := o.program.current()
	if do == thaw && l != nil {
		l.stall(false)
		synctest.Wait()
	}
	if w == nil || w.over() {
		return
	}
	if do == garbage || do == halfFrame {
		w.mu.Lock()
		w.spoiled = true
		w.mu.Unlock()
		o.v.seal(false)
	}
	ack := func(seq event.Seq) []byte { return eventstream.AppendControl(nil, eventstream.Ack, seq) }
	say := func(b []byte) { w.sink.in.inject(func() []byte { return b }) }
	switch do {
	case reset:
		w.reset()
	case vanish:
		w.lose()
	case freezeData:
		w.sink.out.freeze(true)
	case freezeAcks:
		w.sink.in.freeze(true)
	case thaw:
		w.sink.out.freeze(false)
		synctest.Wait()
		w.sink.in.freeze(false)
	case ackFuture:
		more := event.Seq(r.IntN(3) * r.IntN(1000))
		w.sink.in.inject(func() []byte { return ack(o.ring.State().Next + more) })
	case ackPast:
		say(ack(event.Seq(r.Int64N(int64(o.ring.Floor())))))
	case garbage:
		b := make([]byte, 1+r.IntN(64))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		say(b)
	case halfFrame:
		say(make([]byte, 1+r.IntN(15)))
	case unknownFrame:
		say(eventstream.AppendControl(nil, event.FrameType(r.IntN(256)&^4|8), event.Seq(r.IntN(1000))))
	}
}

var (
	errNobody   = errors.New("sim: there is no receiver")
	errDraining = errors.New("sim: draining, and there is no receiver")
)

// The pauses of core/deliver are random. A connection begins at an instant after the longest that the pause can be.
const (
	afterProgress = 160 * time.Millisecond
	afterFailures = 7600 * time.Millisecond
)

// Connect makes a wire to the receiver.
func (o *output) Connect(ctx context.Context, draining <-chan struct{}) (net.Conn, error) {
	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.closedAt = time.Now()
	}()
	if err := o.pace(ctx); err != nil {
		return nil, err
	}
	o.mu.Lock()
	panics := o.panics
	o.panics = false
	o.mu.Unlock()
	if panics {
		panic("sim: the sink panics")
	}
	for {
		o.mu.Lock()
		appearing := o.appearing
		o.mu.Unlock()
		if w := o.newWire(); o.program.connect(w) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.wire = w
			o.v.tell("connection %d", o.wires)
			return &w.sink, nil
		}
		if !o.plan.waits {
			return nil, errNobody
		}
		select {
		case <-appearing:
		case <-draining:
			return nil, errDraining
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// pace waits until the pause of core/deliver is over, however long that was.
func (o *output) pace(ctx context.Context) error {
	var acked uint64
	for _, n := range o.ring.State().Released.Acknowledged {
		acked += n
	}
	o.mu.Lock()
	wait := afterFailures
	if acked > o.acked {
		wait = afterProgress
	}
	if o.closedAt.IsZero() {
		wait, o.closedAt = 0, time.Now()
	}
	at := nextInstant(o.closedAt.Add(wait), int64(dialerResidue+o.index))
	o.acked = acked
	o.mu.Unlock()
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (o *output) newWire() *wire {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.wires++
	w := newWire(o.w.plan.seed<<20|uint64(o.index)<<16|o.wires, o.index, o.plan.data, o.plan.control, o.v)
	if o.healed {
		w.fair()
	}
	w.sink.onClose = func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.closedAt = time.Now()
		o.v.tell("the sink has closed the connection")
	}
	o.v.seal(false)
	switch o.plan.trouble {
	case mute:
		w.sink.in.freeze(true)
	case lying:
		w.sink.in.inject(func() []byte { return eventstream.AppendControl(nil, eventstream.Ack, o.ring.State().Next) })
	}
	return w
}

// Close is called when the delivery has ended.
func (o *output) Close() error { return nil }

// Refused is part of a connector.
func (o *output) Refused() uint64 { return 0 }

var _ unixsock.Connector = (*output)(nil)

// heal repairs everything that can be.
func (o *output) heal() {
	if o.plan.trouble >= stuck {
		return
	}
	o.mu.Lock()
	o.healed = true
	w := o.wire
	o.mu.Unlock()
	if w != nil {
		w.fair()
		if w.spoiled {
			w.reset() // where frames begin may have been lost, and with it what the receiver has said
		}
	}
	synctest.Wait()
	o.start(2)
	synctest.Wait()
	l := o.program.current()
	l.slow.Store(false)
	l.stall(false)
	synctest.Wait()
	o.ask(resume, l)
}

// healing is how long everything takes to come right: a silent receiver is found out, the longest pause, the rest.
const healing = 3 * time.Minute

// end takes everything down, as core/pipeline does.
func (w *world) end() {
	p := w.plan
	if p.ending == orderly {
		w.tell("repair")
		for _, o := range w.sinks {
			o.heal()
		}
		w.sleep(healing)
		for _, worker := range w.workers {
			w.flush(worker)
		}
		w.sleep(healing)
		w.check()
		p.drain = healing
	}
	w.tell("end")
	for _, worker := range w.workers {
		w.flush(worker)
		worker.lane.Finish(int64(time.Since(w.begun)), time.Now().UnixNano())
	}
	stop, done := make(chan struct{}), make(chan struct{})
	var announcing sync.WaitGroup
	for i, o := range w.sinks {
		announcing.Go(func() {
			w.gate.AnnounceMissing(i, stop)
			o.ring.Drain()
		})
	}
	go func() { w.running.Wait(); close(done) }()
	if p.ending != now {
		deadline := time.NewTimer(p.drain)
		select {
		case <-done:
		case <-deadline.C:
		}
		deadline.Stop()
	}
	synctest.Wait()
	close(stop)
	announcing.Wait()
	w.atDeadline()
	w.stop()
	<-done
	w.tell("stopped")
	synctest.Wait()
	for _, o := range w.sinks {
		o.check()
		o.ceilings()
		o.ring.Abandon()
	}
	for _, o := range w.sinks {
		o.mu.Lock()
		wire := o.wire
		o.mu.Unlock()
		if wire != nil {
			wire.fair()
		}
		synctest.Wait()
		if l := o.program.current(); l != nil {
			l.stall(false)
		}
		synctest.Wait()
	}
	w.sleep(time.Minute) // what was sent arrives
	w.asking.Wait()
	for _, o := range w.sinks {
		o.books.table = o.v.table()
		o.program.stop()
	}
	w.final()
}

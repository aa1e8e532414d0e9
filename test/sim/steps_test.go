package sim

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing/synctest"
	"time"

	"github.com/rtflow/pipelined/core/admission"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
)

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
	case unstall:
		o.program.current().stall(false)
	case calm:
		o.lossesSoFar()
	case settled:
		o.settled()
	default:
		o.spoil(s.do, r)
	}
}

// offer offers a burst of events.
func (w *world) offer(worker *worker, s step, r *rand.Rand) {
	kind := event.PolicyDeny + event.Kind(r.IntN(3))
	for range s.n {
		if len(worker.pending) == admission.MaxBatch {
			w.flush(worker)
		}
		o := w.history.happen(r, s.mix.kindIn(r, kind), w.plan.zones, worker.index)
		o.limited = !worker.lane.Offer(o.kind, worker.lane.Slot(o.zone), int64(time.Since(w.begun)))
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
	w.history.flush(worker)
	worker.lane.Flush(int64(time.Since(w.begun)), time.Now().UnixNano(), worker.events())
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
		w.history.flush(worker)
	}
	var wg sync.WaitGroup
	for _, worker := range w.workers {
		wg.Go(func() { worker.lane.Flush(int64(time.Since(w.begun)), time.Now().UnixNano(), worker.events()) })
	}
	wg.Wait()
	for _, worker := range w.workers {
		worker.pending = worker.pending[:0]
	}
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
		o.v.seal(false)
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

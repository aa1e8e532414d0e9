package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/eventstream"
)

var (
	errDead     = errors.New("sim: the program is dead")
	errInjected = errors.New("sim: the handler fails")
)

// program is a receiver program, over all its lives.
type program struct {
	index int
	plan  *sinkPlan
	v     *witness
	up    func()                // called when it can be connected to
	recv  *eventstream.Receiver // of the life before, where it goes on with that

	mu   sync.Mutex
	life *life // nil: it is not there
}

// life is one run of the program.
type life struct {
	p       *program
	recv    *eventstream.Receiver
	cancel  context.CancelFunc
	over    chan struct{}
	dead    atomic.Bool
	fails   atomic.Bool
	rng     *rand.Rand
	slow    atomic.Bool
	debt    time.Duration // time that frames have taken and that has not passed yet
	stalled chan struct{} // closed unless stalled; guarded by p.mu
	dock    *dock         // guarded by p.mu
	wires   []*wire       // guarded by p.mu
}

func (p *program) current() *life {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.life
}

// start starts the program, if it is not there.
func (p *program) start(seed uint64) {
	if p.current() != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &life{
		p: p, cancel: cancel, over: make(chan struct{}), rng: rand.New(rand.NewPCG(seed, 3)), stalled: make(chan struct{}), dock: newDock(p.index),
	}
	l.slow.Store(p.plan.slow > 0)
	close(l.stalled)
	if p.recv == nil {
		p.recv = &eventstream.Receiver{Handler: p.handler(), AckEvery: p.plan.ackEvery, From: p.v.position()}
	}
	l.recv = p.recv
	p.mu.Lock()
	p.life = l
	p.mu.Unlock()
	go l.run(ctx)
	p.up()
}

// position is where the program that starts goes on.
func (v *witness) position() eventstream.Position {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.plan.keeps == keepsNothing {
		return eventstream.Position{}
	}
	return v.stored.pos
}

// run receives until the program is stopped. When its handler fails it goes on with what it has noted.
func (l *life) run(ctx context.Context) {
	defer close(l.over)
	for {
		l.p.mu.Lock()
		d := l.dock
		l.p.mu.Unlock()
		err := l.recv.Accept(ctx, d)
		if ctx.Err() != nil || l.dead.Load() {
			return
		}
		if _, ok := errors.AsType[*eventstream.HandlerError](err); !ok {
			l.p.v.failf("the receiver ended: %v", err)
			return
		}
		l.p.v.again()
		l.p.mu.Lock()
		l.dock = newDock(l.p.index)
		l.p.mu.Unlock()
		l.p.up()
	}
}

// again is what is forgotten when the handler has failed, and the receiver goes on.
func (v *witness) again() {
	if v.plan.keeps == keepsCommits {
		v.forget()
	}
}

// handler is what the program does with the stream, in whichever life it is.
func (p *program) handler() eventstream.Handler {
	v := p.v
	h := eventstream.Handler{
		Hello: func(h eventstream.Hello, _ eventstream.Position) { v.connected(h.Epoch) },
		Gap:   v.gap,
		Record: func(ctx context.Context, rec *event.Record) error {
			p.current().pace(ctx)
			if err := p.current().work(ctx); err != nil {
				return err
			}
			v.record(rec)
			return nil
		},
		Resync: func(context.Context) error {
			if p.current().dead.Load() {
				return errDead
			}
			v.resync()
			return nil
		},
		Session: func(ctx context.Context, rec *event.Record) error {
			p.current().pace(ctx)
			if p.current().dead.Load() {
				return errDead
			}
			v.session(rec)
			return nil
		},
	}
	if p.plan.delta {
		h.Connected = func() { v.connected(0) }
	}
	if p.plan.keeps == keepsCommits {
		h.Commit = func(ctx context.Context, pos eventstream.Position) error { return p.current().commit(ctx, pos) }
	}
	return h
}

// commit stores everything. The program may be killed before and after that.
func (l *life) commit(ctx context.Context, pos eventstream.Position) error {
	if l.slow.Load() && l.rng.IntN(4) == 0 {
		l.hold(ctx, time.Millisecond)
	}
	if l.dead.Load() {
		return errDead
	}
	l.p.v.commit(pos)
	if l.slow.Load() && l.rng.IntN(4) == 0 {
		l.hold(ctx, time.Millisecond)
	}
	return nil
}

// hold waits, or until ctx ends.
func (l *life) hold(ctx context.Context, d time.Duration) {
	t := time.NewTimer(time.Until(nextInstant(time.Now().Add(d), int64(workResidue+l.p.index))))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// work is what a record takes.
func (l *life) work(ctx context.Context) error {
	if l.slow.Load() && !l.dead.Load() && l.rng.IntN(4) == 0 {
		l.hold(ctx, time.Duration(l.rng.Int64N(int64(l.p.plan.slow))))
	}
	l.p.mu.Lock()
	stalled := l.stalled
	l.p.mu.Unlock()
	select {
	case <-stalled:
	default:
		select {
		case <-stalled:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	switch {
	case l.dead.Load():
		return errDead
	case l.fails.Swap(false):
		return errInjected
	}
	return nil
}

func (l *life) stall(on bool) {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	select {
	case <-l.stalled:
		if on {
			l.stalled = make(chan struct{})
		}
	default:
		if !on {
			close(l.stalled)
		}
	}
}

// connect gives the program a connection, if it is there.
func (p *program) connect(w *wire) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life == nil {
		return false
	}
	select {
	case <-p.life.dock.closed:
		return false
	default:
	}
	select {
	case p.life.dock.arriving <- &w.receiver:
		p.life.wires = append(p.life.wires, w)
		return true
	default:
		return false
	}
}

// crash kills the program: nothing that it does from now on has an effect.
func (p *program) crash() {
	l := p.current()
	if l == nil {
		return
	}
	l.dead.Store(true)
	l.closeWires()
	p.end(l)
	p.recv = nil
	if p.plan.keeps == keepsNothing {
		p.v.amnesia()
	} else {
		p.v.forget()
	}
}

func (l *life) closeWires() {
	l.p.mu.Lock()
	wires := l.wires
	l.p.mu.Unlock()
	for _, w := range wires {
		_ = w.receiver.Close() // as the kernel does
	}
}

// stop ends the program in good order. It goes on with what it knows when it is started again, but for one that keeps
// nothing.
func (p *program) stop() {
	l := p.current()
	if l == nil {
		return
	}
	p.end(l)
	l.closeWires()
	if p.plan.keeps == keepsNothing {
		p.recv = nil
		p.v.amnesia()
	} else {
		p.v.again()
	}
}

func (p *program) end(l *life) {
	l.cancel()
	<-l.over
	p.mu.Lock()
	p.life = nil
	p.mu.Unlock()
}

func (l *life) isStalled() bool {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	select {
	case <-l.stalled:
		return false
	default:
		return true
	}
}

package deliver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/rtflow/pipelined/core/replay"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
)

// Phase is what a sink is doing.
type Phase string

const (
	Running Phase = "running" // Run is under way
	Backoff Phase = "backoff" // Run has failed and will be called again
	Drained Phase = "drained" // everything was delivered and the pipeline is stopping
	Stopped Phase = "stopped" // given up at shutdown
)

// The pause between two runs of a sink: it grows by half each time, and a run that got something acknowledged begins
// again with the first. What is waited is drawn from half of it to one and a half times, so that sinks which lost the
// same destination do not come back together.
const (
	firstPause = 100 * time.Millisecond
	maxPause   = 5 * time.Second
)

// lastCall is how long a sink that has nothing to deliver may take to learn from its stream that the pipeline is stopping,
// before its run is ended: it may wait for a destination that does not answer.
const lastCall = 50 * time.Millisecond

// Config is what a delivery is built from.
type Config struct {
	Name  string
	Sink  sdk.Sink // the first; see [Delivery.Replace]
	Ring  *replay.Ring
	Names func(generation uint32) *event.Names
	// Sessions lists the sessions that live now, see [sdk.SessionLister]; nil lists none.
	Sessions func() iter.Seq[*event.Record]
	Epoch    uint64
	// Spool, if there is one, is what the sink gets its records from, those of earlier epochs before those of Epoch. Ring and Names
	// are not used then.
	Spool Queue
	Log   *slog.Logger
}

// Delivery runs one sink.
type Delivery struct {
	Config

	queue    Queue
	running  atomic.Bool   // in the phase Running
	failing  atomic.Bool   // nothing was acknowledged since the last failure
	failedAt atomic.Uint64 // how many records were acknowledged at that failure

	replaced chan struct{} // holds a token when there is a successor

	mu         sync.Mutex
	status     Status
	nextReject uint64 // log the rejection of this number, if its reason is a new one
	sink       sdk.Sink
	successor  *successor        // nil: none
	over       bool              // it runs no more
	counted    map[string]uint64 // by the counters of former sinks
}

// Status is the state of a delivery, for operators.
type Status struct {
	Phase      Phase     `json:"phase"`
	Since      time.Time `json:"since"` // of the phase
	Runs       uint64    `json:"runs"`
	Records    uint64    `json:"records"` // handed out, replays included
	LastError  string    `json:"last_error,omitempty"`
	ErrorAt    time.Time `json:"error_at,omitzero"`
	Rejects    uint64    `json:"rejects"`
	LastReject string    `json:"last_reject,omitempty"`
}

// New returns a delivery. It does nothing until Run.
func New(c Config) *Delivery {
	d := &Delivery{
		Config: c, queue: c.Spool, sink: c.Sink, status: Status{Phase: Stopped}, replaced: make(chan struct{}, 1), counted: make(map[string]uint64),
	}
	if d.queue == nil {
		d.queue = &ringQueue{c.Ring, c.Epoch, c.Names}
	}
	return d
}

// Run runs the sink until ctx ends, or until the ring is draining and the sink has acknowledged all of it. A sink that has
// nothing to deliver then and does not ask its stream is not waited for, nor one that has no destination and whose records are kept.
// Streams of earlier epochs, which a spool may hold, come one after another, each in a run of its own. Run closes the sink in the end,
// if it is an [io.Closer].
func (d *Delivery) Run(ctx context.Context) {
	defer d.close()
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = firstPause, maxPause
	draining := d.queue.Draining()
	for {
		d.succeed()
		d.enter(Running, nil)
		before, epoch := d.queue.Taken(), d.queue.Epoch()
		err := d.runOnce(ctx)
		d.queue.Rewind()
		switch {
		case ctx.Err() != nil:
			d.enter(Stopped, nil)
			return
		case d.queue.Drained():
			d.enter(Drained, nil)
			return
		case d.mustSucceed():
			pause.Reset()
			continue
		}
		if d.queue.Taken() != before {
			// It worked for a while: the next failure is a new one.
			pause.Reset()
		}
		if (err == nil || errors.Is(err, sdk.ErrDrained)) && d.queue.Epoch() != epoch {
			continue // the stream of an earlier epoch is delivered, the next one follows
		}
		if err == nil {
			err = errors.New("the sink returned without an error and before its stream ended")
		}
		d.enter(Backoff, err)
		timer := time.NewTimer(pause.NextBackOff())
		select {
		case <-timer.C:
		case <-d.replaced:
			pause.Reset()
		case <-draining:
			draining = nil // there is no time for this pause; the next ones are as long as they are
			if d.queue.Drained() {
				timer.Stop()
				d.enter(Drained, nil)
				return
			}
			if d.queue.Kept() {
				timer.Stop()
				d.enter(Stopped, nil)
				return
			}
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// close closes the sink, and the one that would have come after it.
func (d *Delivery) close() {
	d.mu.Lock()
	sinks := []sdk.Sink{d.sink}
	if d.successor != nil {
		sinks = append(sinks, d.successor.sink)
	}
	d.successor, d.over = nil, true
	d.mu.Unlock()
	for _, s := range sinks {
		d.closeSink(s)
	}
}

func (d *Delivery) closeSink(s sdk.Sink) {
	if c, ok := s.(io.Closer); ok {
		if err := c.Close(); err != nil {
			d.Log.Warn("sink does not close", "sink", d.Name, "err", err)
		}
	}
}

// runOnce calls the sink's Run and turns a panic into an error.
func (d *Delivery) runOnce(ctx context.Context) (err error) {
	s := &stream{queue: d.queue, sessions: d.Sessions, epoch: d.queue.Epoch(), owner: d, ending: make(chan struct{})}
	if s.epoch != d.Epoch {
		s.sessions = nil // those that live now are of a later epoch
	}
	defer s.over.Store(true)
	defer func() {
		if p := recover(); p != nil {
			d.Log.Error("sink panicked", "sink", d.Name, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	returned := make(chan struct{})
	var idle sync.WaitGroup
	idle.Go(func() { d.endRun(s, returned, cancel) })
	defer func() {
		close(returned)
		idle.Wait()
		cancel()
	}()
	return d.current().Run(ctx, s)
}

// endRun tells a run that it is to end when the ring is draining or when the sink has a successor, and ends it where it does not end by
// itself.
func (d *Delivery) endRun(s *stream, returned <-chan struct{}, end func()) {
	for {
		select {
		case <-d.queue.Draining():
			close(s.ending)
			d.endIdle(s, returned, end, func() bool { return d.queue.Empty() || d.queue.Kept() && !d.Connected() })
			return
		case <-d.replaced:
			within, ok := d.patience()
			if !ok {
				continue // it runs already
			}
			s.leaves.Store(true)
			close(s.ending)
			late := time.AfterFunc(within, end)
			defer late.Stop()
			d.endIdle(s, returned, end, d.queue.NothingLent)
			<-returned
			return
		case <-returned:
			return
		}
	}
}

// endIdle ends a run that is to end when its sink has nothing in hand and does not ask for what there is.
func (d *Delivery) endIdle(s *stream, returned <-chan struct{}, end func(), idle func() bool) {
	for {
		timer := time.NewTimer(lastCall)
		select {
		case <-timer.C:
		case <-returned:
			timer.Stop()
			return
		}
		room := d.queue.Room() // before it is looked at: what is released from now on closes it
		if s.told.Load() {
			return
		}
		if idle() {
			end()
			return
		}
		select {
		case <-room:
		case <-returned:
			return
		}
	}
}

// enter notes a phase. It logs the first of several failures in a row, and each whose reason is another than the one before.
func (d *Delivery) enter(p Phase, err error) {
	d.running.Store(p == Running)
	d.mu.Lock()
	lastError := d.status.LastError
	d.status.Phase = p
	d.status.Since = time.Now()
	if p == Running {
		d.status.Runs++
	}
	if err != nil {
		d.status.LastError, d.status.ErrorAt = err.Error(), d.status.Since
		d.failedAt.Store(d.queue.Taken())
	}
	d.mu.Unlock()
	if err != nil && (!d.failing.Swap(true) || lastError != err.Error()) {
		d.Log.Warn("sink failed; its records wait", "sink", d.Name, "err", err)
	}
}

func (d *Delivery) handedOut(n int) {
	d.mu.Lock()
	d.status.Records += uint64(n)
	d.mu.Unlock()
}

// delivered notes an acknowledgement, and logs the first one after a failure that released records.
func (d *Delivery) delivered() {
	if d.failing.Load() && d.queue.Taken() > d.failedAt.Load() && d.failing.CompareAndSwap(true, false) {
		d.Log.Info("sink delivers again", "sink", d.Name)
	}
}

// rejected notes a rejection. It logs each new reason, but a line only when their number has doubled since the last: a
// sink whose reasons differ from record to record cannot flood the log.
func (d *Delivery) rejected(seq event.Seq, why string) {
	d.mu.Lock()
	d.status.Rejects++
	news := d.status.LastReject != why && d.status.Rejects >= d.nextReject
	if news {
		d.nextReject = 2 * d.status.Rejects
	}
	d.status.LastReject = why
	d.mu.Unlock()
	if news {
		d.Log.Warn("sink rejected a record", "sink", d.Name, "seq", seq, "why", why)
	}
}

// Connected reports whether the sink runs and does not wait for its destination. Safe for concurrent use.
func (d *Delivery) Connected() bool {
	w, ok := d.current().(sdk.Waiter)
	return d.running.Load() && !(ok && w.Waiting())
}

// Status returns how the sink is doing. Safe for concurrent use.
func (d *Delivery) Status() Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.status
}

// Keep returns what the sink knows for the next run of the daemon, see [sdk.Keeper]; nil if that is nothing. Run has returned.
func (d *Delivery) Keep() []byte {
	if k, ok := d.current().(sdk.Keeper); ok {
		return k.Keep()
	}
	return nil
}

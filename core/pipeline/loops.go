package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
)

// loops are the goroutines that carry packets and events: the workers and the feed. When all have ended, or one fails, it is over.
type loops struct {
	log    *slog.Logger
	ctx    context.Context
	cancel context.CancelFunc
	over   chan struct{} // closed when none is left

	mu   sync.Mutex
	left int // that run, and changes that are under way
	errs []error
}

// loop is the goroutine of a worker or of the feed.
type loop struct {
	name    string
	run     func(ctx context.Context) error
	ctx     context.Context
	stop    context.CancelFunc
	started atomic.Bool
	told    bool          // to end, for an exchange; guarded by Pipeline.reloading, as is the next
	awaited bool          // it has not ended, and another one is to go on in its place
	ended   chan struct{} // closed when it has ended
}

func newLoop(name string, run func(ctx context.Context) error) *loop {
	one := &loop{name: name, run: run, ended: make(chan struct{})}
	one.ctx, one.stop = context.WithCancel(context.Background())
	return one
}

func newLoops(ctx context.Context, log *slog.Logger) *loops {
	l := &loops{log: log, over: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancel(ctx)
	return l
}

// hold keeps it from being over, until release, while loops are stopped and others started. It reports false if it is over already.
func (l *loops) hold() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.over:
		return false
	default:
		l.left++
		return true
	}
}

func (l *loops) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left--; l.left == 0 {
		close(l.over)
	}
}

// start starts a loop. It is called between hold and release.
func (l *loops) start(one *loop) {
	l.mu.Lock()
	l.left++
	l.mu.Unlock()
	one.started.Store(true)
	unhook := context.AfterFunc(l.ctx, one.stop)
	go func() {
		defer l.release()
		defer close(one.ended)
		defer unhook()
		if err := one.run(one.ctx); err != nil {
			l.log.Error("what carries packets or events has failed; stopping", "what", one.name, "err", err)
			l.mu.Lock()
			l.errs = append(l.errs, fmt.Errorf("%s: %w", one.name, err))
			l.mu.Unlock()
			l.cancel()
		}
	}()
}

// wait waits until it is over.
func (l *loops) wait() error {
	<-l.over
	l.cancel()
	return errors.Join(l.errs...)
}

// hasEnded reports whether the loop has run and ended.
func (one *loop) hasEnded() bool {
	select {
	case <-one.ended:
		return true
	default:
		return false
	}
}

package main

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"sync"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/internal/filewatch"
)

// watcher has the configuration read again when its files have changed. What is read again for another reason, and what has a mistake, is
// not read a second time until it changes.
type watcher struct {
	path    string
	log     *slog.Logger
	request func() // has it read

	stop    context.CancelFunc // nil: nothing is watched; used by one goroutine at a time
	running sync.WaitGroup

	mu   sync.Mutex
	seen [sha256.Size]byte // what was read last; zero: not known
}

// look notes what is about to be read. It is called before that: what changes meanwhile is then seen to differ.
func (w *watcher) look() {
	f, err := config.Fingerprint(w.path)
	if err != nil {
		f = [sha256.Size]byte{}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = f
}

// set begins to watch, or ends it. It ends with ctx, too.
func (w *watcher) set(ctx context.Context, on bool) {
	switch {
	case on == (w.stop != nil):
	case !on:
		w.stop()
		w.stop = nil
		w.log.Info("the files of the configuration are watched no longer")
	default:
		ctx, w.stop = context.WithCancel(ctx)
		w.running.Go(func() { w.watch(ctx) })
	}
}

func (w *watcher) watch(ctx context.Context) {
	w.log.Info("watching the files of the configuration", "config", w.path)
	err := filewatch.Watch(ctx, func() []string { return config.Dirs(w.path) },
		func() [sha256.Size]byte { return config.Stamp(w.path) }, w.changed)
	if err != nil {
		w.log.Error("the files of the configuration are not watched: a change needs a reload", "err", err)
	}
}

// changed has the configuration read if it is another one. One that is not there is being replaced.
func (w *watcher) changed() {
	f, err := config.Fingerprint(w.path)
	if err != nil {
		return
	}
	w.mu.Lock()
	same := f == w.seen
	w.mu.Unlock()
	if !same {
		w.log.Info("the files of the configuration have changed: reading them")
		w.request()
	}
}

// Package filewatch tells when some files have changed, such as a configuration that somebody edits. It watches the directories that they
// are in, since editors put another file in the place of one, or change the link that leads to it, and knows nothing of what is in them:
// its caller says whether an event was of its files.
package filewatch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// quiet is for how long the files must stay as they are until a change is told: an editor makes several.
	quiet = 300 * time.Millisecond
	// patience is how long a change waits at most while others follow it.
	patience = 3 * time.Second
	// glance is how long an event waits until the files are looked at: others in the same directories may be written all the time.
	glance = 50 * time.Millisecond
)

// Watch calls changed when it has begun, and until ctx ends a third of a second after the files have changed for the last time, or every
// three seconds while they do not stop changing. stamp returns what differs whenever they have; other files in the directories do not count.
// dirs returns the directories, and is called before each look: one that is not there is watched when it has come, if its parent is
// watched. Both are called by one goroutine at a time. An error says why nothing can be watched.
func Watch[T comparable](ctx context.Context, dirs func() []string, stamp func() T, changed func()) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch files: %w", err)
	}
	defer func() { _ = w.Close() }() // it was only read
	add := func() (n int, last error) {
		for _, dir := range dirs() {
			if err := w.Add(dir); err != nil {
				last = err
				continue
			}
			n++
		}
		return n, last
	}
	if n, err := add(); n == 0 {
		return fmt.Errorf("watch files: %w", errors.Join(err, errNothing))
	}
	events := make(chan struct{})
	go func() {
		defer close(events)
		for {
			select {
			case _, ok := <-w.Events:
				if !ok {
					return
				}
			case _, ok := <-w.Errors: // more has changed than the kernel keeps
				if !ok {
					return
				}
			}
			select {
			case events <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
	}()
	begun := stamp() // before changed reads the files: what is written meanwhile is another change
	changed()
	debounce(ctx, events, begun, func() T {
		_, _ = add() // those that are there
		return stamp()
	}, changed)
	return nil
}

var errNothing = errors.New("there is no directory to watch")

// debounce calls do when look, which is called after events, has returned something else than before and does so no more, or after
// [patience], until ctx ends or events is closed. seen is what look returned last.
func debounce[T comparable](ctx context.Context, events <-chan struct{}, seen T, look func() T, do func()) {
	looking, settled := time.NewTimer(glance), time.NewTimer(quiet)
	looking.Stop()
	settled.Stop()
	var waiting bool    // for the look
	var first time.Time // zero: nothing has changed
	// another looks, and begins to wait if the files have changed.
	another := func() bool {
		now := look()
		if now == seen {
			return false
		}
		seen = now
		if first.IsZero() {
			first = time.Now()
		}
		settled.Reset(min(quiet, max(patience-time.Since(first), 0)))
		return true
	}
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-events:
			if !ok {
				return
			}
			if !waiting {
				waiting = true
				looking.Reset(glance)
			}
		case <-looking.C:
			waiting = false
			another()
		case <-settled.C:
			if time.Since(first) < patience && another() {
				continue // written since the last look
			}
			first = time.Time{}
			do()
		}
	}
}

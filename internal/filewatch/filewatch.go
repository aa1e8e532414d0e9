// Package filewatch tells when something in directories has changed, such as a configuration that somebody edits. It says nothing of what
// has: editors write a file anew, or put another in its place, or change the link that leads to it.
package filewatch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// quiet is for how long nothing must change until a change is told: an editor makes several.
	quiet = 300 * time.Millisecond
	// patience is how long a change waits at most while others follow it.
	patience = 3 * time.Second
)

// Watch calls changed when it has begun, and until ctx ends some time after something has changed in one of the directories. dirs returns
// them, and is called before each time: one that is not there is watched when it has come, if its parent is watched. An error says why
// nothing can be watched.
func Watch(ctx context.Context, dirs func() []string, changed func()) error {
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
	changed()
	debounce(ctx, events, func() {
		_, _ = add() // those that are there
		changed()
	})
	return nil
}

var errNothing = errors.New("there is no directory to watch")

// debounce calls do when events have come and no more follow, or after [patience], until ctx ends or events is closed.
func debounce(ctx context.Context, events <-chan struct{}, do func()) {
	timer := time.NewTimer(quiet)
	timer.Stop()
	var first time.Time // zero: nothing has changed
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-events:
			if !ok {
				return
			}
			now := time.Now()
			if first.IsZero() {
				first = now
			}
			timer.Reset(min(quiet, max(patience-now.Sub(first), 0)))
		case <-timer.C:
			first = time.Time{}
			do()
		}
	}
}

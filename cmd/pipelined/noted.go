package main

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
)

// notes keep the lines of a log that warn, until they are taken. Safe for concurrent use.
type notes struct {
	mu   sync.Mutex
	text bytes.Buffer
	over bool
}

// beside returns a log that also notes what warns.
func (n *notes) beside(log *slog.Logger) *slog.Logger {
	plain := func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	noting := slog.NewTextHandler(n, &slog.HandlerOptions{Level: slog.LevelWarn, ReplaceAttr: plain})
	return slog.New(slog.NewMultiHandler(log.Handler(), noting))
}

// Write implements [io.Writer].
func (n *notes) Write(line []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.over {
		n.text.Write(line)
	}
	return len(line), nil
}

// take returns the lines, and notes no more.
func (n *notes) take() (lines []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.over = true
	for line := range strings.Lines(n.text.String()) {
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
	n.text = bytes.Buffer{}
	return lines
}

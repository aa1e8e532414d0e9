package main

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/rtflow/pipelined/internal/spelling"
)

// levels are the names of the log levels, in order.
var levels = []string{"debug", "info", "warn", "error"}

// parseLevel returns the log level of that name.
func parseLevel(name string) (slog.Level, error) {
	i := slices.Index(levels, strings.ToLower(name))
	if i < 0 {
		return 0, &usageError{fmt.Errorf("--log-level: %s", spelling.Unknown("level", name, levels))}
	}
	return slog.LevelDebug + slog.Level(i)*(slog.LevelInfo-slog.LevelDebug), nil
}

// newLogger returns a logger that leaves out what is below that level.
func newLogger(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

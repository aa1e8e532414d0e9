package main

import (
	"io"
	"log/slog"
)

// newLogger returns a logger of that level ("debug", "info", "warn", "error"); an unknown level is info.
func newLogger(w io.Writer, level string) *slog.Logger {
	l := slog.LevelInfo
	if err := l.UnmarshalText([]byte(level)); err != nil {
		l = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l}))
}

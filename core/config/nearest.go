package config

import "github.com/rtflow/pipelined/internal/table"

// hint returns what may follow "unknown …": the nearest of the valid names if one is near, otherwise all of them.
func hint(name, plural string, valid []string) string { return table.Hint(name, plural, valid) }

// Nearest returns the valid name that is spelled most like name, if one is near enough to be what was meant.
func Nearest(name string, valid []string) (best string, ok bool) { return table.Nearest(name, valid) }

// shorten keeps a message on one line.
func shorten(s string) string { return table.Shorten(s) }

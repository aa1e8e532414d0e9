// Package table decodes a table of a configuration into a struct and records every mistake in it.
//
// Mistakes are unknown keys, which are reported with the nearest valid spelling, and values of a wrong type or out of range.
//
// The daemon decodes the tables of pipeline.toml with it, and a sink in a process of its own the table that it gets as JSON,
// so that the same mistake has the same message in both. [Parse] makes a configuration of a JSON text, for such a sink and for
// tests.
//
// A table has a struct with a `toml` tag for each key. Its owner sets the defaults, decodes the table on top of them, and
// checks the values, recording each mistake at its key:
//
//	o := Options{Max: 1000}
//	s.Decode(&o)
//	table.InRange(s, "max", o.Max, 1, 1_000_000)
//
// A check does not have to know whether its value could be read: what is said about a key that Decode has reported is dropped.
// A value with a syntax of its own is a type that decodes itself; package internal/values has those that are shared.
package table

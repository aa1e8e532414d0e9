// Package table decodes a table of a configuration into a struct and finds every mistake in it: unknown keys with the
// nearest valid spelling, values of a wrong type or out of range.
//
// The daemon decodes the tables of pipeline.toml with it, and a sink in a process of its own the table it is handed as
// JSON, so that the same mistake has the same message in both. [Parse] makes a configuration of a JSON text, which is
// also what the test of a sink wants.
//
// It reads no files, does not know what a key means, and imports nothing of this module.
package table

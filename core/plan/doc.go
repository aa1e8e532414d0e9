// Package plan reads the tables of all components of a configuration and finds every mistake, also those that show in no single table. It opens
// nothing: `pipelined check` ends here, and package pipeline runs what was planned.
//
// It knows concrete plugins only through its [Registry].
package plan

// Package namebook keeps the names that ids in records stand for: those of the configuration, of its earlier generations and runs, and those of
// rules of another firewall that a feed has learned.
//
// Names are only ever added: what had an id in a record has it for ever, and a generation of names never changes.
package namebook

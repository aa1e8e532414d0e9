// Package top is the screen that shows what a running daemon does: rates, sinks, the ledger's verdict, and who is denied what.
//
// [Model] is the screen without a terminal: frames, keys and a size go in, text comes out, so that a test needs no terminal. [Run] puts it
// on one. Every name that comes from the daemon is made safe before it is drawn.
package top

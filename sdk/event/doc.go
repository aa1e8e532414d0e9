// Package event is the security event as pipelined stores and sends it: the 136-byte RT_FLOW record, its frame on the
// wire, the codes in it, and the names that its ids stand for.
//
// The package is public: its layout is a contract with receivers and plugins. It formats no log lines (sdk/format does)
// and imports nothing of this module.
//
// A [Record] holds the frame exactly as the event stream sends it, so that a sink that speaks the stream copies bytes
// and only sinks that need text look inside.
package event

// Package event defines the security event: the 136-byte RT_FLOW record, its frame, its codes and names.
//
// The package is public: its layout is a contract with receivers and plugins. It formats no log lines (sdk/format does)
// and imports nothing of this module.
//
// A [Record] holds the frame exactly as the event stream sends it, so that a sink that speaks the stream copies bytes
// and only sinks that need text look inside.
package event

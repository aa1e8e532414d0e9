// Package deliver runs sinks: one goroutine per sink that calls Run, and when it returns rewinds the ring to the first
// record that was not acknowledged, waits, and calls it again.
//
// Reconnect-and-replay is therefore the same path for every sink, and a sink that panics, fails or hangs concerns only
// its own ring.
//
// What lives here: that loop, the stream a sink reads, its state for an operator. What never may: concrete sinks, or a
// second queue.
package deliver

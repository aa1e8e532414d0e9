// Package deliver runs sinks: one goroutine per sink that calls Run, and when it returns rewinds the ring to the first
// record that was not acknowledged, waits, and calls it again.
//
// Reconnect-and-replay is therefore the same path for every sink, and a sink that panics, fails or hangs concerns only
// its own ring.
//
// It does not know concrete sinks, and holds no queue: the ring is the queue.
package deliver

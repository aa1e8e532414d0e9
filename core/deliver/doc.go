// Package deliver runs sinks, a goroutine each, and runs them again from the first record not acknowledged.
//
// A goroutine calls Run of its sink. When Run returns, it rewinds the ring to the first record that was not acknowledged,
// waits, and calls Run again. Reconnecting and sending again is therefore the same path for every sink, and a sink that
// panics, fails or hangs delays no records but those in its own ring.
//
// The package does not know concrete sinks, and holds no queue: the ring is the queue.
package deliver

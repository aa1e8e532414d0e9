// Package sdk defines the contract between pipelined and a sink, which takes events to one destination.
//
// A sink is a type with a Run method. Run takes batches of records from a [Stream], writes them wherever the sink
// writes, and acknowledges them when the destination has them. The records wait in a ring until they are acknowledged:
// when Run returns, the daemon waits (with backoff), rewinds the stream to the first record that was not acknowledged and
// calls Run again. So a sink keeps no queue and retries nothing: it returns an error.
//
// The package is public. It knows no concrete sinks, starts no goroutines, and imports nothing of this module but
// sdk/event.
package sdk

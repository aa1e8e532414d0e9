// Package sdk is what a sink is: the one contract between pipelined and everything that takes events away.
//
// A sink is a type with a Run method. Run takes batches of records from a [Stream], writes them wherever the sink
// writes, and acknowledges them when the destination has them. The records wait in a ring until they are acknowledged:
// when Run returns, the daemon waits (with backoff), rewinds the stream to the first record that was not acknowledged and
// calls Run again. So a sink keeps no queue and retries nothing: it returns an error.
//
// What lives here: the contract and a small adapter. What never may: concrete sinks, goroutines that outlive a call, and
// anything of ours but sdk/event. The package is public.
package sdk

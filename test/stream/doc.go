// Package stream tests the event stream between real processes.
//
// Events go from the gate through a ring and the sink "unixsock" to a receiver in another process, which is killed, stopped
// and slow, and acknowledgements come back. The benchmarks measure the same path.
package stream

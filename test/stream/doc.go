// Package stream tests the event stream between real processes: from the gate through a ring and the sink over a Unix
// socket to a receiver that is killed, stopped and slow, and back. Its benchmarks measure the same way.
package stream

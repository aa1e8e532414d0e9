// Package worker carries packets from one queue of a source to the gate.
//
// It decodes packets, finds their zones and sessions, asks the hooks, and hands the events to the gate.
//
// A worker runs on one goroutine. Workers share the session table, the hooks and the gate, which are safe for that; nothing
// on the way of a packet makes one wait for another. From receive to admission nothing is allocated, no system call is
// made, and the clock is the source's.
//
// The frames belong to the source until [source.FrameSource.Release], the decoded packets to the worker, which uses them
// again for the next batch. An event is made when a call site has found something and the limiter lets it pass: it is a
// copy of what was known of the packet or session then, and refers to nothing. The worker collects events in the order of
// their packets and hands them to its lane of the gate at the end of a batch.
//
// The way of a packet is path.go, from top to bottom.
package worker

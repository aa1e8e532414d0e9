// Package worker is the per-queue loop: frames, headers, zone, hooks, session, verdict, gate.
//
// One worker serves one queue of a source, on one goroutine. Workers share the session table (sharded), the hooks (which
// are safe for that) and the gate (a lane each); nothing on the way of a packet makes one wait for another. From receive
// to admission nothing is allocated, no system call is made, and the clock is the source's.
//
// A packet passes its call sites one after the other and the events of a batch keep the order of their packets. They are
// encoded when the gate has room for them, at the end of the batch, while the frames are still lent.
//
// It does not know concrete hooks, sources or sinks.
package worker

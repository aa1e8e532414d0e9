// Package unixsock is the sink that speaks the event stream over a Unix socket.
//
// It sends records and receives cumulative acknowledgements; on the next connection it sends again whatever was not
// acknowledged. docs/wire.md is its protocol.
//
// It holds no queue, retransmit buffer or retry loop of its own: the ring and the daemon have them. The layout of
// frames is in sdk/eventstream.
//
// # Files
//
//	plugin.go    what is registered; a table to a sink
//	options.go   the table of the sink: types, defaults, checks
//	sink.go      what outlives a connection: positions, the resync that is owed, counters
//	link.go      one connection: who writes, who waits for what
//	attend.go    pauses, keepalives, and whatever else is due between two writes
//	drain.go     answers to drain requests
//	send.go      records to frames to writes
//	resync.go    telling a receiver that it has lost track, and what lives
//	window.go    how much of the session table a socket may hold
//	control.go   what the receiver says
//	skipped.go   records that have no frame in the delta layout
//	peer.go      who is at the other end
//	kept.go      what the next run of the daemon goes on with
//	dial.go      connecting to a receiver that listens
//	listen.go    waiting for a receiver that dials
//
// # What must hold
//
// One goroutine writes, so that no frame can stand inside another; the other only reads, acknowledges to the ring, and
// pokes the first. A record is acknowledged to the ring only when an acknowledgement for it came in on this connection,
// and one for what was never sent ends the connection. A resync is owed until a record behind its table was acknowledged: a
// connection that breaks in the middle of the session table begins with the table again.
package unixsock

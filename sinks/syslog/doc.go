// Package syslog is the sink that sends records to syslog collectors over UDP, TCP, TLS, RELP or Unix datagrams.
//
// It has no queue of its own and no retries within a run: an error ends the run, and the daemon begins another with the first
// record that is not acknowledged. The texts of messages come from sdk/format.
//
// # Files
//
//	plugin.go     what is registered; a table to a sink
//	options.go    the table of the sink: types, defaults, checks
//	address.go    URL to address
//	sink.go       Run: which addresses are connected, and when to change them
//	run.go        the loop: take records, frame, send
//	settle.go     asking connections what their peers have, and acknowledging it
//	search.go     at which record a collector ends the connection
//	stall.go      what a collector has taken that stands still
//	rest.go       which address is tried first after others have failed
//	link.go       one address: its connection, what is framed, what is not acknowledged yet
//	marks.go      positions in a connection to sequence numbers
//	transport.go  what a connection is
//	tcp.go        connecting over TCP, and the limits of a connection
//	length.go     the length of a message before it, in a frame
//	stream.go     TCP and TLS; outq.go asks the kernel what the peer has not acknowledged
//	tls.go        certificates, and what to do about them
//	relp.go       RELP, its frames in relpframe.go
//	datagram.go   UDP and Unix datagrams
//	status.go     what an operator sees
//
// # What must hold
//
// One goroutine, that of Run, frames, writes and acknowledges. Each connection has one more that reads from it, so that a
// connection that breaks while it is idle is noticed. The sink never waits for more records before it asks what is
// acknowledged, so no ring is too small for it. A connection on which nothing is on its way is not asked, and costs
// nothing. A position in a connection counts what was framed; acknowledged are the records whose last byte the connection
// says the peer has. When a connection fails, that is asked once more before it is dropped, and it is dropped hard: what
// the kernel still holds must not reach the peer later, for it will be sent again.
package syslog

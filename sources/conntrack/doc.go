// Package conntrack is the live source of the sessions that the kernel's connection tracking (nf_conntrack) has, with their
// translations and counters.
//
// It reads the events of ctnetlink, and has three netlink sockets: one for the events, so that nothing else fills its buffer; one to
// ask for single entries, and one to ask for all of them. The kernel answers requests while they are sent, so that asking waits for
// nothing.
//
// Events may be lost: the kernel does not wait for a reader. The source then dumps the table of the kernel and compares it with its
// own (resync.go). Whatever a dump says is older than it seems: what a dump does not settle is settled by asking for the entry, and
// by reading the events that were sent before the answer.
//
//	plugin.go    what is registered; options to source
//	options.go   the table: defaults and checks
//	source.go    opening: sockets and settings of the kernel
//	stream.go    Read: what is done in which order
//	event.go     an event of the kernel, and what it means for a session
//	ask.go       asking for single entries, many at a time
//	resync.go    dumps: at the start, after a loss, and of sessions without events
//	table.go     the sessions that live
//	kept.go      what the next run of the daemon goes on with
//	status.go    counters and notes for operators and metrics
package conntrack

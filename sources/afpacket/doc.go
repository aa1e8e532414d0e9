// Package afpacket is the live source that reads copies of the packets of network interfaces, and takes none.
//
// Each worker has a packet socket on every interface, with a TPACKET_V3 ring (packet(7), and
// Documentation/networking/packet_mmap.rst of the kernel): blocks of memory that the kernel fills and hands over, so that
// reading makes no system call per packet. The sockets of an interface form a fanout group: both directions of a flow reach
// one worker.
//
// The source follows its interfaces by rtnetlink: one that goes away is forgotten, and read again when one of that name
// appears.
//
//	plugin.go    what is registered; options to source
//	options.go   the table: defaults and checks
//	source.go    the interfaces: followed, opened, opened again
//	queue.go     what one worker reads: its socket on each interface
//	socket.go    one socket with its ring
//	ring.go      the packets in the memory that the kernel fills
//	state.go     condition of an interface
//	status.go    conditions and counters for operators and metrics
package afpacket

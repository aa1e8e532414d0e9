// Package xdp is the live source of frames: the receive queues of one network interface, read through AF_XDP.
//
// The packets that a tap reads end here: IPv4 and IPv6 packets of the interface are taken from the kernel, looked at, and their
// memory is recycled. Of a bridge every frame is taken, and what the worker lets through is sent on by the interface of another
// source, its peer. Package xsk, which does it, says what stays with the kernel. An interface that this host needs is refused.
//
// A [Source] outlives its interface. When the interface is deleted, changes its number of queues, or gets an MTU that its
// packet buffers are too small for, the source closes what is left of it and opens the interface of that name again, as
// often as it takes; its queues are silent meanwhile, and [Source.State] says why. Only the first open, in [Open], can
// fail for good.
//
// One worker reads one [Queue]. Beside them there is one goroutine per source, which opens and closes, and the one with
// which xsk watches the link. Nothing is started per call, and the workers share nothing that they write to.
//
// # Files
//
//	plugin.go    what is registered; options to source
//	options.go   the table: defaults and checks
//	source.go    one source: opened, followed, opened again
//	queue.go     what one worker reads
//	offload.go   what the XDP program carries by itself
//	forward.go   what it sends on, and the answers to what it rejects
//	state.go     condition and counters
//	status.go    the same for operators and metrics
//	inuse.go     whether an interface will do: what this host needs of it, its MTU, loops
package xdp

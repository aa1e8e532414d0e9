// Package xsk receives and sends packets through AF_XDP sockets: all receive queues of one network interface, or none.
//
// # What happens to packets
//
// The XDP program of this package TAKES IPv4 and IPv6 packets FROM THE KERNEL. They are looked at and their memory is
// recycled: nobody else on the machine gets them, no connection of the host itself works over that interface. Use it on
// a port that only listens, such as the receiving end of a mirror port or an optical tap. The kernel keeps what is
// neither IPv4 nor IPv6 (ARP, LLDP), the destination ports of [Config.PassPorts], and the packets of a queue that has
// no socket. Nothing is transmitted.
//
// With [Config.Bridge] it takes every frame but those of [Config.PassTypes], and [Socket.Transmit] sends: copies of frames, in
// packet buffers of the sending socket. Frames of one socket can so be sent by another, of another interface, without the two
// having to share memory.
//
// With an MTU whose packets do not fit a buffer, a [Packet] has several, in both directions, where the kernel can do that ([MultiBuffer]).
//
// With [Config.Flows] the program carries packets of flows by itself: it counts them, and hands them to the peer of a bridge or ends
// them in a tap. See [Flows]; bpf/tap.c says what is an ordinary packet of a flow.
//
// # Life
//
// [Open] attaches the program, which at first passes everything, then opens one socket per queue and puts it into the
// program's map. [Interface.Close] detaches the program first and closes the sockets after it. The attachment is a
// bpf_link: when the process ends, however it ends, the kernel takes the program off the interface.
//
// One goroutine reads one [Socket]: [Socket.Wait], [Socket.Receive], [Socket.Release], again. Everything else may be
// called from anywhere: so may [Socket.Transmit], which takes a lock for a batch. One goroutine per interface watches the link; none is started per call.
//
// # What asavie/xdp does
//
// github.com/asavie/xdp makes, configures and binds a socket with its UMEM, and closes it. Only bind.go calls it. It is not
// maintained; what this package does about it:
//
//   - Its bind flags are a package variable, so opens and closes are serialised (asaviePackage).
//   - Its sockets are made without close-on-exec; no child is started until that is set.
//   - It returns the text of a system error instead of the error; bindError types it by that text.
//   - It never unmaps the rings, neither at a close nor after a failed open, and a mapping keeps the queue busy; leftover.go finds
//     the mappings in /proc/self/maps and unmaps them.
//   - Its rings are accessed without atomic operations and do not know need_wakeup; rings.go maps the rings once
//     more and is the only code that touches them. A socket that only receives has a completion ring because the kernel demands one.
//   - Its XDP program is not used: ours is bpf/tap.c, loaded by code that bpf2go generates from it (program.go, `go generate`).
//
// The addresses and layouts of the kernel's AF_XDP interface never leave this package, and it imports no other package of the
// project.
//
// It needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF, a limit of locked memory (or CAP_IPC_LOCK) that covers
// Frames × FrameSize for each queue, twice that for a bridge, and Linux 5.18.
package xsk

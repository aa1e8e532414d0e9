// Package xsk receives packets through AF_XDP sockets: all receive queues of one network interface, or none.
//
// # A tap is the end of the road
//
// The XDP program of this package TAKES IPv4 and IPv6 packets FROM THE KERNEL. They are looked at and their memory is
// recycled: nobody else on the machine gets them, no connection of the host itself works over that interface. Use it on
// a port that only listens, such as the receiving end of a mirror port or an optical tap. The kernel keeps what is
// neither IPv4 nor IPv6 (ARP, LLDP), the destination ports of [Config.PassPorts], and the packets of a queue that has
// no socket. Transmit, and with it forwarding, is not here yet; its place is beside [Socket.Receive], with a ring of
// its own over the same UMEM.
//
// # Life
//
// [Open] attaches the program, which at first passes everything, then opens one socket per queue and puts it into the
// program's map. [Interface.Close] detaches the program first and closes the sockets after it. The attachment is a
// bpf_link: when the process ends, however it ends, the kernel takes the program off the interface.
//
// One goroutine reads one [Socket]: [Socket.Wait], [Socket.Receive], [Socket.Release], again. Everything else may be
// called from anywhere. One goroutine per interface watches the link; none is started per call.
//
// # What lives where
//
// asavie/xdp opens and binds the sockets (bind.go) and is asked for nothing else; the rings are this package's
// (rings.go). The addresses and layouts of the kernel's AF_XDP interface never leave this package, and it imports
// nothing of ours: no frames, no events, no configuration file.
//
// It needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF, a limit of locked memory (or CAP_IPC_LOCK) that covers
// Frames × FrameSize for each queue, and Linux 5.9.
package xsk

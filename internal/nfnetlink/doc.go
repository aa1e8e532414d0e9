// Package nfnetlink reads and writes the messages of the kernel's netfilter subsystems (NETLINK_NETFILTER), without allocating.
//
// A [Socket] takes many datagrams with one system call; [NextMessage] and [NextAttr] walk through what is in them. General
// netlink libraries look at the length of each datagram first, and allocate for each message.
//
//	socket.go    the socket: opened, joined to groups, its buffer and its drops
//	receive.go   many datagrams at a time
//	request.go   requests, and the answer to one
//	message.go   messages and attributes: read and written
package nfnetlink

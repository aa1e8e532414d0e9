package nfnetlink

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

var (
	// ErrProtocol is returned by [Open] where the kernel has no netfilter netlink.
	ErrProtocol = errors.New("the kernel has no nfnetlink (modprobe nfnetlink)")
	// ErrPermission is returned where the kernel refuses because the process lacks CAP_NET_ADMIN in the socket's network namespace.
	ErrPermission = errors.New("netfilter's netlink needs the capability CAP_NET_ADMIN")
	// ErrOverrun is returned by [Socket.Receive] once after the kernel dropped messages, since the socket had no room for them, or the
	// kernel no memory. After it, the kernel drops every message of the joined groups until all that is queued has been received.
	ErrOverrun = errors.New("the kernel dropped netlink messages")
)

// Socket is a netfilter netlink socket. It is for one goroutine, but for [Socket.FD], [Socket.Drops] and [Socket.Skipped].
type Socket struct {
	fd      int
	seq     uint32
	skipped atomic.Uint64
	overrun bool // found by Execute: Receive has yet to return it
	receiver
}

// What [Open] gives a socket: how many datagrams it takes at a time, and how long they may be.
const (
	Datagrams    = 64
	DatagramSize = 1 << 16
)

// Open opens a socket in the network namespace of the calling thread.
func Open() (*Socket, error) { return OpenSized(Datagrams, DatagramSize) }

// OpenSized opens a socket that takes so many datagrams at a time, of up to that size.
func OpenSized(datagrams, size int) (*Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	switch {
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EAFNOSUPPORT):
		return nil, ErrProtocol
	case err != nil:
		return nil, fmt.Errorf("netlink socket: %w", refusal(err))
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, errors.Join(fmt.Errorf("bind the netlink socket: %w", err), unix.Close(fd))
	}
	return &Socket{fd: fd, receiver: newReceiver(datagrams, size)}, nil
}

// refusal returns [ErrPermission] for the kernel's EPERM, else err itself.
func refusal(err error) error {
	if errors.Is(err, unix.EPERM) {
		return ErrPermission
	}
	return err
}

// FD returns the descriptor, which poll(2) reports as readable when there are datagrams, and after an overrun.
func (s *Socket) FD() int { return s.fd }

// Close closes the socket.
func (s *Socket) Close() error { return unix.Close(s.fd) }

// Join makes the socket receive what the kernel sends to a group (NFNLGRP_*).
func (s *Socket) Join(group uint32) error {
	if err := unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, int(group)); err != nil {
		return fmt.Errorf("join the netlink group %d: %w", group, refusal(err))
	}
	return nil
}

// Filter makes the kernel ask a program of socket(7)'s SO_ATTACH_FILTER which messages to hand over. What it refuses is no drop.
func (s *Socket) Filter(program []unix.SockFilter) error {
	f := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.SetsockoptSockFprog(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &f); err != nil {
		return fmt.Errorf("filter of the netlink socket: %w", os.NewSyscallError("setsockopt", err))
	}
	return nil
}

// SetBuffer asks for a receive buffer of that many bytes, and returns how many the kernel granted: fewer, if the process has
// no CAP_NET_ADMIN in the first user namespace, and net.core.rmem_max is less.
func (s *Socket) SetBuffer(bytes int) (got int, err error) {
	if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bytes) != nil {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, bytes); err != nil {
			return 0, fmt.Errorf("size of the receive buffer: %w", os.NewSyscallError("setsockopt", err))
		}
	}
	got, err = unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err != nil {
		return 0, fmt.Errorf("size of the receive buffer: %w", os.NewSyscallError("getsockopt", err))
	}
	return got / 2, nil // the kernel doubles what it is asked for, see socket(7)
}

// Drops returns how many messages the kernel has dropped at this socket; it wraps around. It does not count those that the kernel
// had no memory to make. Safe for concurrent use until Close.
func (s *Socket) Drops() (uint32, error) {
	var info [unix.SK_MEMINFO_VARS]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, fmt.Errorf("drops of the netlink socket: %w", os.NewSyscallError("getsockopt", errno))
	}
	return info[unix.SK_MEMINFO_DROPS], nil
}

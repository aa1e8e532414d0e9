// Package ports reserves ports of loopback for tests and for the daemons that they start.
//
// A test may open a reserved port later, close it, and open it again: the kernel gives it to nobody else in between. Only
// tests import the package.
package ports

import (
	"context"
	"errors"
	"net"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Reserve returns a port of 127.0.0.1, the same for TCP and UDP, that is the test's own until it ends: the kernel gives it to
// nobody who asks for any port, and to no outgoing connection. Until somebody listens on it, connections are refused and
// datagrams are answered with "port unreachable". Who listens on it needs SO_REUSEADDR, which [net.Listen] and most daemons
// set; for datagrams in a test's own process there is [ListenPacket].
func Reserve(tb testing.TB) string {
	tb.Helper()
	for range 100 {
		port, err := reserve(tb, unix.SOCK_STREAM, 0)
		if err == nil {
			_, err = reserve(tb, unix.SOCK_DGRAM, port)
		}
		if err == nil {
			return strconv.Itoa(port)
		}
		if !errors.Is(err, unix.EADDRINUSE) { // of UDP
			tb.Fatal(err)
		}
	}
	tb.Fatal("no port is free for both TCP and UDP")
	return ""
}

// reserve binds a socket that neither listens nor receives, and keeps it open until the test ends.
func reserve(tb testing.TB, kind, port int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	tb.Cleanup(func() { _ = unix.Close(fd) })
	loopback := [4]byte{127, 0, 0, 1}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: loopback, Port: port}); err != nil {
		return 0, err
	}
	// Set only now: for binding, the port must be free altogether.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return 0, err
	}
	if kind == unix.SOCK_DGRAM { // receives from one port only, which is its own
		if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: loopback, Port: port}); err != nil {
			return 0, err
		}
		return port, nil
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	return bound.(*unix.SockaddrInet4).Port, nil
}

// ListenPacket listens for datagrams on a host:port whose port may be a reserved one.
func ListenPacket(address string) (net.PacketConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		failed := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
		return errors.Join(failed, err)
	}}
	return lc.ListenPacket(context.Background(), "udp", address)
}

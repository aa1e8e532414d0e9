package unixsock

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// tableWindow is how many bytes a socket may hold while the session table is written. Nothing acknowledges an entry of
	// the table: without a bound a record would wait for as many of them as the socket and the receiver's buffer hold, and
	// the ring would overflow again.
	tableWindow = 16 << 10 // which the kernel doubles
	// usualBuffer is given back where the size of the buffer cannot be read.
	usualBuffer = 208 << 10
)

// narrow makes the send buffer of a connection small, and returns what gives back its size. It does nothing to a connection
// that has none.
func narrow(conn net.Conn) (widen func()) {
	c, ok := conn.(interface{ SetWriteBuffer(bytes int) error })
	if !ok {
		return func() {}
	}
	size := sendBuffer(conn)
	if err := c.SetWriteBuffer(tableWindow); err != nil {
		return func() {}
	}
	return func() { _ = c.SetWriteBuffer(size / 2) } // fails only on a connection that has ended
}

// sendBuffer returns the size of a send buffer as the kernel counts it.
func sendBuffer(conn net.Conn) int {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return usualBuffer
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return usualBuffer
	}
	size := usualBuffer
	if ctrlErr := raw.Control(func(fd uintptr) {
		size, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF)
	}); ctrlErr != nil || err != nil {
		return usualBuffer
	}
	return size
}

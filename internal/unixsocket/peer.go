package unixsocket

import (
	"errors"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Credentials returns who is at the other end of a Unix socket: the process that has connected, or that listens (SO_PEERCRED of
// unix(7)).
func Credentials(conn net.Conn) (cred *unix.Ucred, err error) {
	ctrlErr := control(conn, func(fd int) { cred, err = unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED) })
	return cred, errors.Join(ctrlErr, err)
}

// firstGroups is for how many groups there is room at first.
const firstGroups = 64

// Groups returns the groups, beside its own, of the process at the other end when it connected, or began to listen (SO_PEERGROUPS).
func Groups(conn net.Conn) (list []uint32, err error) {
	ctrlErr := control(conn, func(fd int) {
		list = make([]uint32, firstGroups)
		n, errno := getGroups(fd, list)
		if errno == unix.ERANGE {
			list = make([]uint32, n)
			n, errno = getGroups(fd, list)
		}
		if errno != 0 {
			list, err = nil, errno
			return
		}
		list = list[:n]
	})
	return list, errors.Join(ctrlErr, err)
}

// getGroups fills in a list that is not empty, and returns how many groups there are.
func getGroups(fd int, list []uint32) (n int, errno unix.Errno) {
	const each = unsafe.Sizeof(list[0])
	size := uint32(uintptr(len(list)) * each)
	_, _, errno = unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
		uintptr(unsafe.Pointer(&list[0])), uintptr(unsafe.Pointer(&size)), 0)
	return int(uintptr(size) / each), errno
}

// control calls f with the descriptor of a connection.
func control(conn net.Conn, f func(fd int)) error {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return errors.New("it is not a socket")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { f(int(fd)) })
}

package unixsock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Dialer returns a connector to a receiver that listens on that path. A path that begins with "@" is an abstract socket.
func Dialer(path string) Connector { return dialer(path) }

type dialer string

func (d dialer) Connect(ctx context.Context, _ <-chan struct{}) (net.Conn, error) {
	var nd net.Dialer
	conn, err := nd.DialContext(ctx, "unix", string(d))
	switch {
	case err == nil:
		return conn, nil
	case errors.Is(err, syscall.ENOENT):
		return nil, fmt.Errorf("unixsock: there is no receiver: %s does not exist", string(d))
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("unixsock: there is no receiver: nobody listens on %s", string(d))
	case errors.Is(err, syscall.EAGAIN):
		return nil, fmt.Errorf("unixsock: the receiver at %s does not accept: its backlog is full", string(d))
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("unixsock: user %d may not connect to %s", os.Geteuid(), string(d))
	case errors.Is(err, syscall.EPROTOTYPE):
		return nil, fmt.Errorf("unixsock: %s is a socket of another type than stream", string(d))
	default:
		return nil, fmt.Errorf("unixsock: %w", err)
	}
}

func (dialer) Close() error    { return nil }
func (dialer) Refused() uint64 { return 0 }

// peerOf names the process at the other end, "" if that cannot be told.
func peerOf(conn net.Conn) string {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return ""
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return ""
	}
	var cred *unix.Ucred
	if ctrlErr := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); ctrlErr != nil || err != nil {
		return ""
	}
	return fmt.Sprintf("pid %d, uid %d", cred.Pid, cred.Uid)
}

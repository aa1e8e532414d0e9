package unixsock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/safefile"
)

// Dialer returns a connector to a receiver that listens on that path. A path that begins with "@" is an abstract socket. A connection to
// anybody but those peers is given up before a byte is sent.
func Dialer(path string, peers Peers) Connector { return dialer{path, peers} }

type dialer struct {
	path  string
	peers Peers
}

func (d dialer) Connect(ctx context.Context, _ <-chan struct{}) (net.Conn, error) {
	conn, err := d.open(ctx)
	if err != nil {
		return nil, d.explain(err)
	}
	if err := d.peers.check(conn); err != nil {
		_ = conn.Close() // nothing was sent
		return nil, err
	}
	return conn, nil
}

// open connects to the socket that the path leads to. Symbolic links that other users could have put on the way are not
// followed (see [safefile.OpenParent]): they could lead to any socket that this process may connect to.
func (d dialer) open(ctx context.Context) (net.Conn, error) {
	var nd net.Dialer
	if strings.HasPrefix(d.path, "@") {
		return nd.DialContext(ctx, "unix", d.path)
	}
	abs, err := filepath.Abs(d.path)
	if err != nil {
		return nil, err
	}
	at, err := safefile.OpenParent(abs, safefile.Options{Shared: true})
	if err != nil {
		return nil, err
	}
	defer func() { _ = at.Close() }()
	// The descriptor is that of the socket, whatever has its name by now; of a link that took its place, it is the link's own.
	fd, err := unix.Open(at.FDPath(at.Name), unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	return nd.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d", fd))
}

// explain says why there is no connection.
func (d dialer) explain(err error) error {
	var unsafe *safefile.UnsafeError
	switch {
	case errors.As(err, &unsafe):
		return fmt.Errorf("unixsock: not connecting to %s: %w", d.path, err)
	case errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("unixsock: there is no receiver: %s does not exist", d.path)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("unixsock: there is no receiver: nobody listens on %s", d.path)
	case errors.Is(err, syscall.EAGAIN):
		return fmt.Errorf("unixsock: the receiver at %s does not accept: its backlog is full", d.path)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("unixsock: user %d may not connect to %s", os.Geteuid(), d.path)
	case errors.Is(err, syscall.EPROTOTYPE):
		return fmt.Errorf("unixsock: %s is a socket of another type than stream", d.path)
	}
	if reason, ok := errors.AsType[syscall.Errno](err); ok {
		return fmt.Errorf("unixsock: cannot connect to %s: %w", d.path, reason)
	}
	return fmt.Errorf("unixsock: cannot connect to %s: %w", d.path, err)
}

func (dialer) Close() error    { return nil }
func (dialer) Refused() uint64 { return 0 }

package unixsock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// Dialer returns a connector to a receiver that listens on that path. A path that begins with "@" is an abstract socket.
func Dialer(path string) Connector { return DialerTo(path, Peers{}) }

// DialerTo is [Dialer] that gives up a connection to anybody but those peers before a byte is sent.
func DialerTo(path string, peers Peers) Connector { return dialer{path, peers} }

type dialer struct {
	path  string
	peers Peers
}

func (d dialer) Connect(ctx context.Context, _ <-chan struct{}) (net.Conn, error) {
	var nd net.Dialer
	conn, err := nd.DialContext(ctx, "unix", d.path)
	switch {
	case err == nil:
		if err := d.peers.check(conn); err != nil {
			_ = conn.Close() // nothing was sent
			return nil, err
		}
		return conn, nil
	case errors.Is(err, syscall.ENOENT):
		return nil, fmt.Errorf("unixsock: there is no receiver: %s does not exist", d.path)
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("unixsock: there is no receiver: nobody listens on %s", d.path)
	case errors.Is(err, syscall.EAGAIN):
		return nil, fmt.Errorf("unixsock: the receiver at %s does not accept: its backlog is full", d.path)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("unixsock: user %d may not connect to %s", os.Geteuid(), d.path)
	case errors.Is(err, syscall.EPROTOTYPE):
		return nil, fmt.Errorf("unixsock: %s is a socket of another type than stream", d.path)
	default:
		return nil, fmt.Errorf("unixsock: %w", err)
	}
}

func (dialer) Close() error    { return nil }
func (dialer) Refused() uint64 { return 0 }

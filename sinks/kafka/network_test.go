package kafka_test

import (
	"net"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kfake"
)

// network is what the brokers listen on; it fails as it is told.
type network struct {
	mute atomic.Bool // what the brokers say is swallowed

	mu    sync.Mutex
	conns map[net.Conn]bool
}

func (n *network) option() kfake.Opt {
	n.conns = make(map[net.Conn]bool)
	return kfake.ListenFn(func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		return &listener{l, n}, err
	})
}

// cut closes every connection.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		c.Close()
	}
	clear(n.conns)
}

type listener struct {
	net.Listener
	network *network
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.network.mu.Lock()
	defer l.network.mu.Unlock()
	l.network.conns[c] = true
	return &conn{c, l.network}, nil
}

type conn struct {
	net.Conn
	network *network
}

func (c *conn) Write(b []byte) (int, error) {
	if c.network.mute.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

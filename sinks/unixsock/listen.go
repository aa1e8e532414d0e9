package unixsock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/eventstream"
)

// acceptPause is the pause after a connection was refused or could not be accepted: whoever tries in a loop gets no CPU.
const acceptPause = 20 * time.Millisecond

const (
	errTakenOver = sdk.Error("unixsock: another receiver has taken over")
	errNobody    = sdk.Error("unixsock: no receiver is connected")
)

// ListenConfig is what a listener is made of.
type ListenConfig struct {
	Path        string // "@name" is an abstract socket
	Permissions fs.FileMode
	Takeover    bool // a receiver that connects while there is one takes its place; otherwise it is refused
	Warn        func(msg string, args ...any)
}

// Listener returns a connector to receivers that dial. It listens from the first Connect until Close: a receiver that
// comes between two connections waits in the backlog.
func Listener(c ListenConfig) Connector {
	return &listener{ListenConfig: c, arrived: make(chan *accepted, 1)}
}

type listener struct {
	ListenConfig
	arrived chan *accepted // the receiver whose turn is next
	refused atomic.Uint64

	mu     sync.Mutex
	l      net.Listener  // nil: not listening
	done   chan struct{} // closed when accept has ended
	active *accepted     // the receiver that was handed out and has not been closed
}

// accepted is a connection with a receiver.
type accepted struct {
	*net.UnixConn
	owner *listener
	taken atomic.Bool // closed because another receiver came
}

// Read tells a connection that was taken over from one that broke.
func (c *accepted) Read(b []byte) (int, error) {
	n, err := c.UnixConn.Read(b)
	if err != nil && c.taken.Load() {
		err = errTakenOver
	}
	return n, err
}

// Close makes room for the next receiver.
func (c *accepted) Close() error {
	c.owner.mu.Lock()
	if c.owner.active == c {
		c.owner.active = nil
	}
	c.owner.mu.Unlock()
	return c.UnixConn.Close()
}

func (n *listener) Refused() uint64 { return n.refused.Load() }

func (n *listener) Connect(ctx context.Context, draining <-chan struct{}) (net.Conn, error) {
	if err := n.open(); err != nil {
		return nil, err
	}
	select { // who is there comes before the end
	case c := <-n.arrived:
		return n.handOut(c), nil
	default:
	}
	select {
	case c := <-n.arrived:
		return n.handOut(c), nil
	case <-draining:
		return nil, errNobody
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (n *listener) handOut(c *accepted) net.Conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.active = c
	return c
}

// open listens, if it does not yet.
func (n *listener) open() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.l != nil {
		return nil
	}
	l, err := eventstream.ListenUnix(n.Path, n.Permissions)
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EACCES) {
		err = fmt.Errorf("is its directory there, and may user %d write to it? %w", os.Geteuid(), err)
	}
	if err != nil {
		return fmt.Errorf("unixsock: %w", err)
	}
	n.l, n.done = l, make(chan struct{})
	go n.accept(l, n.done)
	return nil
}

// accept takes receivers until the listener is closed.
func (n *listener) accept(l net.Listener, done chan struct{}) {
	defer close(done)
	warned := false
	for {
		conn, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			if !warned {
				warned = true
				n.Warn("receivers cannot be accepted; trying again", "path", n.Path, "err", err)
			}
			time.Sleep(acceptPause)
		case !n.admit(&accepted{UnixConn: conn.(*net.UnixConn), owner: n}):
			n.refused.Add(1)
			_ = conn.Close() // it is not wanted: nobody cares how it ends
			time.Sleep(acceptPause)
		default:
			warned = false
		}
	}
}

// admit makes a receiver the next, if there is room for it.
func (n *listener) admit(c *accepted) bool {
	n.mu.Lock()
	active := n.active
	n.mu.Unlock()
	if active != nil {
		if !n.Takeover {
			return false
		}
		active.taken.Store(true)
		_ = active.Close() // as in accept
	}
	for {
		select {
		case n.arrived <- c:
			return true
		default:
		}
		if !n.Takeover {
			return false
		}
		select { // one that came before and was not served yet gives way
		case old := <-n.arrived:
			n.refused.Add(1)
			_ = old.Close() // as above
		default:
		}
	}
}

// Close stops listening, turns away who waits, and removes the socket.
func (n *listener) Close() error {
	n.mu.Lock()
	l, done := n.l, n.done
	n.l = nil
	n.mu.Unlock()
	if l == nil {
		return nil
	}
	err := l.Close()
	<-done
	select {
	case c := <-n.arrived:
		err = errors.Join(err, c.Close())
	default:
	}
	return err
}

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

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/eventstream"
)

// warnAlone is after how long without a receiver the operator is told.
const warnAlone = 10 * time.Second

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
	Peers       Peers
	Warn        func(msg string, args ...any)
}

// Listener returns a connector to receivers that dial. It listens from the first Connect until Close: a receiver that
// comes between two connections waits its turn.
func Listener(c ListenConfig) Connector {
	if c.Warn == nil {
		c.Warn = func(string, ...any) {}
	}
	return &listener{ListenConfig: c, arrived: make(chan struct{}, 1)}
}

type listener struct {
	ListenConfig
	refused atomic.Uint64
	arrived chan struct{} // holds a token when there may be a next

	mu     sync.Mutex
	l      net.Listener  // nil: not listening
	done   chan struct{} // closed when accept has ended
	active *accepted     // the receiver that was handed out and is not closed
	next   *accepted     // the one whose turn is next
}

// accepted is a connection with a receiver.
type accepted struct {
	*net.UnixConn
	owner *listener
	taken atomic.Bool // closed because another receiver came
	told  bool        // that others are refused for it; of the goroutine that accepts
}

// Read tells a connection that was taken over from one that broke.
func (c *accepted) Read(b []byte) (int, error) {
	n, err := c.UnixConn.Read(b)
	return n, c.why(err)
}

// Write does as well.
func (c *accepted) Write(b []byte) (int, error) {
	n, err := c.UnixConn.Write(b)
	return n, c.why(err)
}

func (c *accepted) why(err error) error {
	if err != nil && c.taken.Load() {
		return errTakenOver
	}
	return err
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

// gone reports whether the receiver has closed its end, which this end may not have noticed yet.
func (c *accepted) gone() bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	gone := false
	err = raw.Control(func(fd uintptr) {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(poll, 0)
		gone = err == nil && n > 0
	})
	return gone || err != nil
}

func (n *listener) Refused() uint64 { return n.refused.Load() }

func (n *listener) Connect(ctx context.Context, draining <-chan struct{}) (net.Conn, error) {
	if err := n.open(); err != nil {
		return nil, err
	}
	alone := time.NewTimer(warnAlone)
	defer alone.Stop()
	for {
		if c := n.take(); c != nil {
			return c, nil
		}
		select {
		case <-n.arrived:
		case <-alone.C:
			n.Warn("no receiver has connected; records wait in the ring", "path", n.Path)
		case <-draining:
			return nil, errNobody
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// take makes the next receiver the active one.
func (n *listener) take() *accepted {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.next
	n.next = nil
	if c != nil {
		n.active = c
	}
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
	warned, stranger := false, ""
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
		case !n.allowed(conn, &stranger):
			time.Sleep(acceptPause)
		case n.admit(&accepted{UnixConn: conn.(*net.UnixConn), owner: n}):
			warned = false
		default:
			time.Sleep(acceptPause)
		}
	}
}

// allowed reports whether the peer may connect, and turns it away if not. It warns of each reason once; last is the last.
func (n *listener) allowed(conn net.Conn, last *string) bool {
	err := n.Peers.check(conn)
	if err == nil {
		return true
	}
	n.refused.Add(1)
	if peer := peerOf(conn); peer != *last {
		*last = peer
		n.Warn("a receiver is refused", "path", n.Path, "err", err)
	}
	_ = conn.Close() // as in admit
	return false
}

// admit gives a receiver its turn, or refuses it. One that is gone is in nobody's way.
func (n *listener) admit(c *accepted) bool {
	n.mu.Lock()
	active, waiting := n.active, n.next
	free := (active == nil || active.gone()) && (waiting == nil || waiting.gone())
	if free || n.Takeover {
		n.next = c
	}
	n.mu.Unlock()
	// How the connections end that are closed here is of no interest to anybody.
	if !free && !n.Takeover {
		n.refused.Add(1)
		if active != nil && !active.told {
			active.told = true
			n.Warn("a second receiver is refused", "path", n.Path, "first", peerOf(active), "second", peerOf(c))
		}
		_ = c.UnixConn.Close()
		return false
	}
	if waiting != nil {
		if !free {
			n.refused.Add(1)
		}
		_ = waiting.UnixConn.Close()
	}
	if active != nil && !free {
		active.taken.Store(true)
		_ = active.UnixConn.Close()
	}
	select {
	case n.arrived <- struct{}{}:
	default:
	}
	return true
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
	if c := n.take(); c != nil {
		err = errors.Join(err, c.Close())
	}
	return err
}

package syslog

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rtflow/pipelined/sdk/event"
)

// dialer opens connections to one address. wake is called from any goroutine when a connection breaks by itself.
type dialer interface {
	dial(ctx context.Context, wake func()) (conn, error)
}

// conn is an open connection. Its methods are for the goroutine of Run, but for interrupt.
type conn interface {
	// head appends to b what stands before a message of that kind of event in its frame. The caller appends the message, and has
	// tail complete the frame at the end of b.
	head(b []byte, k event.Kind) []byte
	// tail returns b and what position returns from then on.
	tail(b []byte) (framed []byte, position uint64)
	// position returns where the last message that was framed ends. It counts from the beginning of the connection, in a
	// unit of the transport's own: bytes or messages.
	position() uint64
	// limit is how many messages may be unacknowledged.
	limit() int
	// send writes everything that was framed since the last send. After an error the connection is of no use.
	send(b []byte) error
	// whileBlocked makes do be called now and then while send hangs; its error ends the send.
	whileBlocked(do func() error)
	// acked returns the position up to which the peer has everything, as far as the transport can tell.
	acked() (uint64, error)
	// changed gets a token when acked has moved. It is nil where the transport is not told and has to be asked.
	changed() <-chan struct{}
	// patience is how long messages may stay unacknowledged without any progress, 0 for as long as the kernel lets them.
	patience() time.Duration
	// answers reports whether acked is what the collector itself has answered, not what was sent or its kernel took.
	answers() bool
	// failed returns why the connection broke by itself, nil while it has not.
	failed() error
	// interrupt ends a call that hangs. Safe for concurrent use.
	interrupt()
	// finish tells the peer that nothing follows and closes the connection.
	finish() error
	// drop closes the connection so that nothing of what the kernel still holds reaches the peer.
	drop()
	// peer describes the connection for an operator.
	peer() peerInfo
}

// peerInfo is what is known of an open connection.
type peerInfo struct {
	remote, tls string
	pathMTU     int
}

// breakage is how a connection's reading goroutine tells that the connection is broken.
type breakage struct {
	once sync.Once
	err  atomic.Pointer[error]
	done chan struct{} // closed when the reading goroutine has ended
}

func newBreakage() *breakage { return &breakage{done: make(chan struct{})} }

// set notes the first error.
func (b *breakage) set(err error) { b.once.Do(func() { b.err.Store(&err) }) }

func (b *breakage) get() error {
	if p := b.err.Load(); p != nil {
		return *p
	}
	return nil
}

// within returns the error that the reading goroutine ends with if it does so soon, else what is known: it often knows better
// than a failed write why the peer has gone.
func (b *breakage) within(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-b.done:
	case <-t.C:
	}
	return b.get()
}

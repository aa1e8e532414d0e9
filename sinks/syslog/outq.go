package syslog

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// counted is a TCP connection that counts what was written to it and asks the kernel how much of that the peer has not
// acknowledged. Under TLS it counts ciphertext.
type counted struct {
	*net.TCPConn
	written     atomic.Uint64
	within      time.Duration // how long a write may make no progress
	interrupted atomic.Bool

	// Held by the goroutine of Run but inside a write; meanwhile waiting looks at what is acknowledged. The reading side of TLS
	// may write, too.
	mu      sync.Mutex
	waiting func() error

	raw  syscall.RawConn
	ask  func(fd uintptr)
	outq int
	err  error
}

func newCounted(c *net.TCPConn, within time.Duration) (*counted, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	k := &counted{TCPConn: c, raw: raw, within: within}
	k.mu.Lock()
	k.ask = func(fd uintptr) { k.outq, k.err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }
	return k, nil
}

// lookEvery is how often a write that hangs looks at what is acknowledged.
const lookEvery = 50 * time.Millisecond

// errStuck is a peer that takes nothing.
var errStuck = errors.New("the peer takes nothing")

// Write writes p. It fails when nothing of it can be written for a time, however long the whole takes.
func (k *counted) Write(p []byte) (written int, err error) {
	progress := time.Now()
	for {
		if err := k.SetWriteDeadline(time.Now().Add(lookEvery)); err != nil {
			return written, err
		}
		if k.interrupted.Load() { // looked at behind the deadline: an interruption sets it later
			return written, context.Canceled
		}
		n, err := k.TCPConn.Write(p[written:])
		written += n
		k.written.Add(uint64(n))
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return written, err
		}
		now := time.Now()
		if n > 0 {
			progress = now
		}
		if now.Sub(progress) >= k.within {
			return written, errStuck
		}
		if err := k.lookAround(); err != nil {
			return written, err
		}
	}
}

// lookAround calls waiting if the goroutine of Run is inside a write.
func (k *counted) lookAround() error {
	if !k.mu.TryLock() {
		return nil
	}
	defer k.mu.Unlock()
	if k.waiting != nil {
		return k.waiting()
	}
	return nil
}

// whileBlocked makes do be called now and then while a write hangs; its error ends the write.
func (k *counted) whileBlocked(do func() error) { k.waiting = do }

// interrupt ends reads and writes. Safe for concurrent use.
func (k *counted) interrupt() {
	k.interrupted.Store(true)
	_ = k.SetDeadline(past)
}

// past is a deadline that has passed: it ends calls that hang.
var past = time.Unix(1, 0)

// acked returns how many bytes of what was written the peer's kernel has acknowledged. SIOCOUTQ is what is not sent and what
// is sent and not acknowledged (tcp(7)); it stays true after the connection has broken. The count is read first: the
// reading side of TLS may write, too, and must not make the difference too large.
func (k *counted) acked() (uint64, error) {
	written := k.written.Load()
	if err := k.raw.Control(k.ask); err != nil {
		return 0, fmt.Errorf("the socket's unacknowledged output: %w", err)
	}
	if k.err != nil {
		return 0, fmt.Errorf("the socket's unacknowledged output: %w", k.err)
	}
	if uint64(k.outq) > written {
		return 0, nil
	}
	return written - uint64(k.outq), nil
}

// abort closes the connection with a reset: the kernel forgets what it has not delivered.
func (k *counted) abort() {
	_ = k.SetLinger(0)
	_ = k.Close()
}

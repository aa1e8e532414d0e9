package sim

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

func (e *end) expired(which int) bool {
	at := e.deadline[which].at
	return !at.IsZero() && !time.Now().Before(at)
}

// Read reads what has landed, or part of it.
func (e *end) Read(b []byte) (int, error) {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	for {
		switch h := e.in; {
		case e.closed:
			return 0, net.ErrClosed
		case e.expired(reading):
			return 0, os.ErrDeadlineExceeded
		case len(h.landed) > 0:
			n := min(len(b), len(h.landed))
			if n > 1 && h.reads.IntN(4) == 0 {
				n = 1 + h.reads.IntN(n-1)
			}
			copy(b, h.landed[:n])
			h.landed = h.landed[n:]
			h.size -= n
			e.w.changed.Broadcast()
			return n, nil
		case h.broken, e.cut && e == &e.w.sink:
			return 0, syscall.ECONNRESET
		case h.finished && len(h.flying) == 0:
			return 0, io.EOF
		}
		e.w.changed.Wait()
	}
}

// Write blocks until everything is on its way.
func (e *end) Write(b []byte) (n int, err error) {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	for {
		switch {
		case e.closed:
			return n, net.ErrClosed
		case e.cut && e == &e.w.receiver:
			return len(b), nil
		case e.cut, e.peer().closed:
			return n, syscall.EPIPE
		case e.out.broken:
			return n, syscall.ECONNRESET
		case e.expired(writing):
			return n, os.ErrDeadlineExceeded
		}
		n += e.out.put(b[n:])
		if n == len(b) {
			return n, nil
		}
		e.w.changed.Wait()
	}
}

func (e *end) peer() *end {
	if e == &e.w.sink {
		return &e.w.receiver
	}
	return &e.w.sink
}

// Close ends the connection. What was written still arrives.
func (e *end) Close() error {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	if e.closed {
		return net.ErrClosed
	}
	e.closed, e.out.finished = true, !e.cut || e == &e.w.receiver
	for i := range e.deadline {
		if t := e.deadline[i].timer; t != nil {
			t.Stop()
		}
	}
	if e.onClose != nil {
		e.onClose()
	}
	e.w.changed.Broadcast()
	return nil
}

func (e *end) set(which int, at time.Time) error {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	if e.closed {
		return net.ErrClosed
	}
	d := &e.deadline[which]
	d.at = at
	switch wait := time.Until(at); {
	case at.IsZero():
		if d.timer != nil {
			d.timer.Stop()
		}
	case wait <= 0:
		e.w.changed.Broadcast()
	case d.timer == nil:
		d.timer = time.AfterFunc(wait, func() {
			e.w.mu.Lock()
			defer e.w.mu.Unlock()
			e.w.changed.Broadcast()
		})
	default:
		d.timer.Reset(wait)
	}
	return nil
}

// SetWriteBuffer sets what may be on its way, at most.
func (e *end) SetWriteBuffer(bytes int) error {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	e.out.window = 2 * bytes // as the kernel does
	e.w.changed.Broadcast()
	return nil
}

func (e *end) SetReadDeadline(t time.Time) error  { return e.set(reading, t) }
func (e *end) SetWriteDeadline(t time.Time) error { return e.set(writing, t) }

func (e *end) SetDeadline(t time.Time) error {
	if err := e.set(reading, t); err != nil {
		return err
	}
	return e.set(writing, t)
}

func (e *end) LocalAddr() net.Addr  { return addr{} }
func (e *end) RemoteAddr() net.Addr { return addr{} }

type addr struct{}

func (addr) Network() string { return "memory" }
func (addr) String() string  { return "wire" }

// dock is a listener. It hands over one connection at an instant: the one before gets as far as it can until then.
type dock struct {
	residue  int64
	arriving chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func newDock(sink int) *dock {
	return &dock{residue: int64(acceptResidue + sink), arriving: make(chan net.Conn, 256), closed: make(chan struct{})}
}

func (d *dock) Accept() (net.Conn, error) {
	time.Sleep(time.Until(nextInstant(time.Now(), d.residue)))
	select {
	case c := <-d.arriving:
		time.Sleep(time.Until(nextInstant(time.Now(), d.residue)))
		return c, nil
	case <-d.closed:
		return nil, net.ErrClosed
	}
}

func (d *dock) Close() error {
	d.once.Do(func() {
		close(d.closed)
		for { // nobody will accept them
			select {
			case c := <-d.arriving:
				_ = c.Close()
			default:
				return
			}
		}
	})
	return nil
}

func (d *dock) Addr() net.Addr { return addr{} }

var (
	_ net.Conn     = (*end)(nil)
	_ net.Listener = (*dock)(nil)
)

package unixsocket

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"sync"
	"time"
)

// checkSocket is how often a listener looks whether its socket can still be found.
const checkSocket = time.Second

// listener listens on a Unix socket, and makes it again if somebody removes the file: nobody could connect any more, and
// nothing would say so. Accept is for one goroutine.
type listener struct {
	path string
	o    Options

	mu     sync.Mutex
	l      *net.UnixListener
	file   os.FileInfo // of the socket; nil for an abstract one
	closed bool
}

var _ net.Listener = (*listener)(nil)

// Listen makes a Unix stream socket and listens on it. A socket that a dead process has left at path is removed; one that somebody
// listens on, and a file of another kind, are an error, as is a symbolic link. The socket is made again when somebody removes it, and
// closing the listener removes it if it is still this one. A path that begins with "@" is an abstract name: it has no file and no
// permissions. The connections are of type [*net.UnixConn].
func Listen(path string, o Options) (net.Listener, error) {
	w := &listener{path: path, o: o}
	if err := w.open(); err != nil {
		return nil, err
	}
	return w, nil
}

// open makes the socket.
func (w *listener) open() error {
	l, file, err := w.o.make(w.path)
	if err != nil {
		return err
	}
	w.l, w.file = l, file
	return nil
}

// Accept waits for a connection.
func (w *listener) Accept() (net.Conn, error) {
	for {
		w.mu.Lock()
		l := w.l
		w.mu.Unlock()
		_ = l.SetDeadline(time.Now().Add(checkSocket)) // fails only on a closed one, as Accept will say
		conn, err := l.Accept()
		// It is closed where a check could not make the socket again: the next may.
		if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, net.ErrClosed) {
			return conn, err
		}
		if err := w.check(); err != nil {
			return nil, err
		}
	}
}

// check makes the socket again if it is gone.
func (w *listener) check() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return net.ErrClosed
	case w.there():
		return nil
	}
	_ = w.l.Close() // nobody can have it any more
	if err := w.open(); !errors.Is(err, errRemoved) {
		return err
	}
	return nil // the next check makes it
}

// there reports whether the file at path is the socket.
func (w *listener) there() bool {
	if w.file == nil {
		return true
	}
	now, err := os.Lstat(w.path)
	return err == nil && os.SameFile(now, w.file)
}

// Close ends Accept and removes the file, if it is still the socket.
func (w *listener) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return net.ErrClosed
	}
	w.closed = true
	return errors.Join(w.remove(), w.l.Close())
}

// remove removes the file, if it is still the socket.
func (w *listener) remove() error {
	if w.file == nil {
		return nil
	}
	p, err := openPlace(w.path, w.o.Shared)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the directory is gone
	}
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }() // it was only looked at
	defer p.lock()()
	if now, err := p.stat(); err != nil || !os.SameFile(now, w.file) {
		return nil // it is another's, or gone
	}
	return p.Remove(p.name)
}

// Addr returns the address of the socket.
func (w *listener) Addr() net.Addr { return &net.UnixAddr{Name: w.path, Net: "unix"} }

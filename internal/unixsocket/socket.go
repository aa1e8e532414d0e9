package unixsocket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rtflow/pipelined/internal/safefile"
)

// MaxPath is the longest path of a Unix socket in bytes: sun_path of unix(7) with its NUL.
const MaxPath = 107

// Options say who may connect to a socket that has a file.
type Options struct {
	Mode  fs.FileMode // permissions of the file
	Group int         // of the file; -1 is that of the process
	// Shared accepts a directory that others may write to: they can put a socket of theirs in the place of this one.
	Shared bool
}

// make makes a Unix stream socket, see [Listen]. It also returns its file, nil for an abstract one, which stays when the
// listener is closed.
func (o *Options) make(path string) (*net.UnixListener, fs.FileInfo, error) {
	if path == "" || len(path) > MaxPath {
		return nil, nil, fmt.Errorf("the path of a socket has 1 to %d bytes, not %d: %q", MaxPath, len(path), path)
	}
	if strings.HasPrefix(path, "@") {
		l, err := net.Listen("unix", path)
		if err != nil {
			return nil, nil, err
		}
		return l.(*net.UnixListener), nil, nil
	}
	p, err := openPlace(path, o.Shared)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = p.Close() }() // it was only looked at
	defer p.lock()()
	if err := p.removeStale(); err != nil {
		return nil, nil, err
	}
	// Linux makes the file with the permissions of the descriptor, less the umask: nobody gets in before Chmod. A group gets in when
	// it is the right one.
	first := o.Mode.Perm()
	if o.Group >= 0 {
		first &^= 0o077
	}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var chmodErr error
		err := raw.Control(func(fd uintptr) { chmodErr = syscall.Fchmod(int(fd), uint32(first)) })
		return errors.Join(err, chmodErr)
	}}
	// The path itself: it is what the kernel shows as the address.
	made, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, nil, err
	}
	l := made.(*net.UnixListener)
	l.SetUnlinkOnClose(false) // the file may be another's by then
	if o.Group >= 0 {
		if err := p.Chown(p.name, -1, o.Group); err != nil {
			return nil, nil, errors.Join(err, l.Close(), p.Remove(p.name))
		}
	}
	file, err := p.finish(o.Mode.Perm())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, errors.Join(errRemoved, l.Close())
	}
	if err != nil {
		return nil, nil, errors.Join(err, l.Close(), p.Remove(p.name))
	}
	return l, file, nil
}

// errRemoved is the error of a socket that somebody has removed while it was made.
var errRemoved = errors.New("the socket was removed as soon as it was made")

// place is where the file of a socket is. The directory is opened once: what is looked at is what is changed or removed, whatever
// the path leads to by then. A symbolic link of that name is not followed.
type place struct {
	*safefile.Dir

	path, name string
}

func openPlace(path string, shared bool) (place, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return place{}, err
	}
	dir, err := safefile.OpenDir(filepath.Dir(abs), safefile.Options{Shared: shared})
	return place{dir, path, filepath.Base(abs)}, err
}

// For how long, and how often, the lock of a directory is tried.
const (
	lockPatience = 500 * time.Millisecond
	lockEvery    = 2 * time.Millisecond
)

// lock keeps others out who make sockets in the directory, until release: a socket that is bound and not listened on yet looks like one that
// a dead process has left, and one that was looked at may be another when it is removed. The lock is gone with the process. Whoever may read
// the directory can hold it: after [lockPatience] it is done without.
func (p place) lock() (release func()) {
	for deadline := time.Now().Add(lockPatience); ; time.Sleep(lockEvery) {
		held, err := p.Lock()
		if err == nil {
			return func() { _ = held.Close() } // nothing was written
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(deadline) {
			return func() {}
		}
	}
}

// finish gives the socket its permissions, whatever the umask, and says what is there.
func (p place) finish(mode fs.FileMode) (fs.FileInfo, error) {
	if err := p.ChmodSocket(p.name, mode); err != nil {
		return nil, err
	}
	return p.stat()
}

// stat says what is there.
func (p place) stat() (fs.FileInfo, error) { return os.Lstat(p.FDPath(p.name)) }

// removeStale removes a socket that nobody listens on and that this process may have left: root, or a process of this user.
func (p place) removeStale() error {
	info, err := p.stat()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there and is not a socket", p.path)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s is there and belongs to another user: uid %d", p.path, st.Uid)
	}
	// A datagram socket cannot connect to a stream socket. The error says whether somebody is there, who does not notice.
	conn, err := net.Dial("unixgram", p.FDPath(p.name))
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return p.Remove(p.name)
	case err == nil:
		_ = conn.Close() // nothing was written
	case !errors.Is(err, syscall.EPROTOTYPE):
		return err
	}
	return fmt.Errorf("%s: somebody listens there: %w", p.path, syscall.EADDRINUSE)
}

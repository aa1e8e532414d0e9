package eventstream

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

	"github.com/rtflow/pipelined/internal/safefile"
)

// MaxSocketPath is the longest path of a Unix socket in bytes: sun_path of unix(7) with its NUL.
const MaxSocketPath = 107

// listenUnix makes a Unix stream socket, see [ListenUnix]. It also returns its file, nil for an abstract one, which stays when the
// listener is closed.
func listenUnix(path string, mode fs.FileMode) (*net.UnixListener, fs.FileInfo, error) {
	if path == "" || len(path) > MaxSocketPath {
		return nil, nil, fmt.Errorf("eventstream: the path of a socket has 1 to %d bytes, not %d: %q", MaxSocketPath, len(path), path)
	}
	if strings.HasPrefix(path, "@") {
		l, err := net.Listen("unix", path)
		if err != nil {
			return nil, nil, err
		}
		return l.(*net.UnixListener), nil, nil
	}
	p, err := openPlace(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = p.Close() }() // it was only looked at
	if err := p.removeStale(); err != nil {
		return nil, nil, err
	}
	// Linux makes the file with the permissions of the descriptor, less the umask: nobody gets in before Chmod.
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var chmodErr error
		err := raw.Control(func(fd uintptr) { chmodErr = syscall.Fchmod(int(fd), uint32(mode.Perm())) })
		return errors.Join(err, chmodErr)
	}}
	// The path itself: it is what the kernel shows as the address.
	made, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, nil, err
	}
	l := made.(*net.UnixListener)
	l.SetUnlinkOnClose(false)                                  // the file may be another's by then
	if err := p.ChmodSocket(p.name, mode.Perm()); err != nil { // whatever the umask
		return nil, nil, errors.Join(err, l.Close())
	}
	file, err := p.stat()
	if err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	return l, file, nil
}

// place is where the file of a socket is. The directory is opened once: what is looked at is what is changed or removed, whatever
// the path leads to by then. A symbolic link of that name is not followed.
type place struct {
	*safefile.Dir

	path, name string
}

func openPlace(path string) (place, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return place{}, err
	}
	dir, err := safefile.OpenDir(filepath.Dir(abs), safefile.Options{Shared: true})
	return place{dir, path, filepath.Base(abs)}, err
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
		return fmt.Errorf("eventstream: %s is there and is not a socket", p.path)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("eventstream: %s is there and belongs to another user: uid %d", p.path, st.Uid)
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
	return fmt.Errorf("eventstream: %s: somebody listens there: %w", p.path, syscall.EADDRINUSE)
}

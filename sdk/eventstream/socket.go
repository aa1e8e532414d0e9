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

// listenUnix makes a Unix stream socket, see [ListenUnix].
func listenUnix(path string, mode fs.FileMode) (*net.UnixListener, error) {
	if path == "" || len(path) > MaxSocketPath {
		return nil, fmt.Errorf("eventstream: the path of a socket has 1 to %d bytes, not %d: %q", MaxSocketPath, len(path), path)
	}
	if strings.HasPrefix(path, "@") {
		l, err := net.Listen("unix", path)
		if err != nil {
			return nil, err
		}
		return l.(*net.UnixListener), nil
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	// Linux makes the file with the permissions of the descriptor, less the umask: nobody gets in before Chmod.
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var chmodErr error
		err := raw.Control(func(fd uintptr) { chmodErr = syscall.Fchmod(int(fd), uint32(mode.Perm())) })
		return errors.Join(err, chmodErr)
	}}
	l, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	if err := chmod(path, mode.Perm()); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l.(*net.UnixListener), nil
}

// chmod sets the permissions of a socket that was made, whatever the umask, and follows no symbolic link that has taken its place.
func chmod(path string, mode fs.FileMode) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	e, err := safefile.OpenParent(abs, safefile.Options{Shared: true})
	if err != nil {
		return err
	}
	return errors.Join(e.Chmod(e.Name, mode), e.Close())
}

// removeStale removes a socket that nobody listens on and that this process may have left: root, or a process of this user.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("eventstream: %s is there and is not a socket", path)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("eventstream: %s is there and belongs to another user: uid %d", path, st.Uid)
	}
	// A datagram socket cannot connect to a stream socket. The error says whether somebody is there, who does not notice.
	conn, err := net.Dial("unixgram", path)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	case err == nil:
		_ = conn.Close() // nothing was written
	case !errors.Is(err, syscall.EPROTOTYPE):
		return err
	}
	return fmt.Errorf("eventstream: %s: somebody listens there: %w", path, syscall.EADDRINUSE)
}

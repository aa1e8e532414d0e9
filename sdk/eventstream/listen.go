package eventstream

import (
	"fmt"
	"io/fs"
	"net"

	"github.com/rtflow/pipelined/internal/unixsocket"
)

// MaxSocketPath is the longest path of a Unix socket in bytes: sun_path of unix(7) with its NUL.
const MaxSocketPath = unixsocket.MaxPath

// ListenUnix makes a Unix stream socket with those permissions and listens on it. A socket that a dead process has left
// at path is removed; one that somebody listens on, and a file of another kind, are an error. The socket is made again
// when somebody removes it, and closing the listener removes it if it is still this one. A path that begins with "@" is an
// abstract name: it has no file and no permissions. The connections are of type [*net.UnixConn].
func ListenUnix(path string, mode fs.FileMode) (net.Listener, error) {
	l, err := unixsocket.Listen(path, unixsocket.Options{Mode: mode, Group: -1, Shared: true})
	if err != nil {
		return nil, fmt.Errorf("eventstream: %w", err)
	}
	return l, nil
}

package control

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rtflow/pipelined/internal/httpconns"
	"github.com/rtflow/pipelined/internal/safefile"
	"github.com/rtflow/pipelined/internal/unixsocket"
)

// DefaultMode lets the user and the group of the socket ask.
const DefaultMode fs.FileMode = 0o660

// systemDir is the directory of the daemon's sockets where the service manager has made none.
const systemDir = "/run/pipelined"

// DefaultPath returns where the socket of this process is if its configuration does not say: in the directory that the service manager
// has made, of root in /run/pipelined, else in the user's own runtime directory. "" is nowhere.
func DefaultPath() string {
	dir, _, _ := strings.Cut(os.Getenv("RUNTIME_DIRECTORY"), ":")
	if dir == "" && os.Geteuid() == 0 {
		dir = systemDir
	}
	if dir == "" {
		return userPath()
	}
	return filepath.Join(dir, "control")
}

// userPath returns where a user's own daemon has its socket, "" if the user has no runtime directory.
func userPath() string {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "pipelined", "control")
}

// UsualPaths returns where daemons have their sockets if their configurations do not say, those of the system first.
func UsualPaths() []string {
	paths := []string{filepath.Join(systemDir, "control")}
	for _, path := range []string{DefaultPath(), userPath()} {
		if path != "" && path != paths[0] && path != paths[len(paths)-1] {
			paths = append(paths, path)
		}
	}
	return paths
}

// ListenOptions say where the socket is and who may ask.
type ListenOptions struct {
	Path  string
	Mode  fs.FileMode  // of the socket
	Group int          // of the socket; -1 is that of the process
	Make  bool         // makes the directory if it is missing
	Log   *slog.Logger // nil discards
}

// Listen makes the socket. A socket that a dead process has left is replaced; anything else at its path is an error, and so is a
// directory in which somebody else could put another socket in its place.
func Listen(o ListenOptions) (net.Listener, error) {
	if o.Make {
		dir, err := safefile.OpenDir(filepath.Dir(o.Path), safefile.Options{Make: 0o711})
		if err != nil {
			return nil, err
		}
		if err := dir.Close(); err != nil {
			return nil, err
		}
	}
	l, err := unixsocket.Listen(o.Path, unixsocket.Options{Mode: o.Mode, Group: o.Group})
	if err != nil {
		return nil, err
	}
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &listener{Listener: l, mode: o.Mode, group: o.Group, log: log}, nil
}

// pause is the pause after a connection that was refused or could not be accepted: whoever tries in a loop gets no CPU.
const pause = 20 * time.Millisecond

// listener accepts the connections of those who may ask.
type listener struct {
	net.Listener

	mode    fs.FileMode
	group   int
	log     *slog.Logger
	refused string // who was refused last; of the goroutine that accepts
	failed  bool   // the last connection could not be accepted; the same
}

// Accept waits for somebody who may ask. Others are told that they may not, and are logged once in a row.
func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		if err != nil {
			if !l.failed {
				l.failed = true
				l.log.Warn("the control socket cannot be connected to; trying again", "err", err)
			}
			time.Sleep(pause)
			continue
		}
		l.failed = false
		why := l.allowed(conn)
		if why == nil {
			return conn, nil
		}
		if text := why.Error(); text != l.refused {
			l.refused = text
			l.log.Warn("somebody is refused at the control socket", "err", why)
		}
		refuse(conn)
		time.Sleep(pause)
	}
}

// refuse answers a request with no, and closes the connection. It waits for the request, since a client may take an answer that comes
// before for an error, and no longer than the pause.
func refuse(conn net.Conn) {
	const text = "this user may not ask: see service.control_group\n"
	_ = conn.SetDeadline(time.Now().Add(pause)) // fails on a closed connection alone
	_, _ = conn.Read(make([]byte, httpconns.MaxHeaderBytes))
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(text), text)
	_ = conn.Close()
}

// allowed returns an error if a peer may not ask: neither root nor the user of this process may be kept out, nor whom the permissions
// of the socket let in.
func (l *listener) allowed(conn net.Conn) error {
	cred, err := unixsocket.Credentials(conn)
	if err != nil {
		return fmt.Errorf("who has connected cannot be told: %w", err)
	}
	group := l.group
	if group < 0 {
		group = os.Getegid()
	}
	switch {
	case cred.Uid == 0, int64(cred.Uid) == int64(os.Geteuid()), l.mode&0o002 != 0:
		return nil
	case l.mode&0o020 != 0 && (int64(cred.Gid) == int64(group) || inGroup(conn, group)):
		return nil
	}
	return fmt.Errorf("user %d, group %d, process %d is neither root, nor of this user, nor in group %d", cred.Uid, cred.Gid, cred.Pid, group)
}

// inGroup reports whether a peer was in a group, beside its own, when it connected.
func inGroup(conn net.Conn, group int) bool {
	list, err := unixsocket.Groups(conn)
	return err == nil && slices.Contains(list, uint32(group))
}

package pluginhost

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/safefile"
	"github.com/rtflow/pipelined/sdk"
)

// marker is the environment variable by which processes of a plugin, children included, are recognised after their daemon is
// gone. Its value is the daemon's directory.
const marker = "PIPELINED_INSTANCE"

// RuntimeDir returns where sockets live if the configuration does not say: what systemd calls the service's runtime
// directory, /run/pipelined for root, or a directory in the user's own runtime directory.
func RuntimeDir() (string, error) {
	if dir, _, _ := strings.Cut(os.Getenv("RUNTIME_DIRECTORY"), ":"); dir != "" {
		return filepath.Join(dir, "plugins"), nil
	}
	if os.Geteuid() == 0 {
		return "/run/pipelined/plugins", nil
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "pipelined"), nil
	}
	return "", errors.New("no directory for sockets of plugins: set service.runtime_dir")
}

// instance is the directory of one daemon. A lock on it says that the daemon lives.
type instance struct {
	path   string
	lock   *os.File
	starts chan func(error) // called with what kept the thread from giving up its rights
	closed chan struct{}
}

// newInstance creates the directory and the thread that processes are started from.
func newInstance(base string) (*instance, error) {
	// Others may pass through, to a plugin's own directory that runs as another user, and see nothing.
	dir, err := openBase(base, 0o711)
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()          // nothing was written
	release, err := lockBase(dir, lockPatience) // until it is seen that this daemon lives
	if err != nil {
		return nil, err
	}
	defer release()
	path, err := os.MkdirTemp(dir.Path(""), instancePrefix) // as a sweep names it
	if err != nil {
		return nil, fmt.Errorf("the runtime directory: %w", err)
	}
	in := &instance{path: path, starts: make(chan func(error)), closed: make(chan struct{})}
	if err := errors.Join(os.Chmod(path, 0o711), in.hold()); err != nil {
		return nil, errors.Join(err, os.RemoveAll(path))
	}
	go in.start()
	return in, nil
}

// openBase opens the runtime directory, unless others could replace what daemons create in it. Where it is missing it is made with
// this mode; 0 makes none.
func openBase(base string, perm fs.FileMode) (*safefile.Dir, error) {
	dir, err := safefile.OpenDir(base, safefile.Options{Make: perm})
	if _, ok := errors.AsType[*safefile.UnsafeError](err); ok {
		return nil, fmt.Errorf("the runtime directory: %w: it has to belong to root or the daemon's user, and nobody else may write to it (chown, chmod go-w), or set another service.runtime_dir", err)
	}
	if err != nil {
		return nil, fmt.Errorf("the runtime directory: %w", err)
	}
	return dir, nil
}

// lockBase locks the runtime directory itself, against another daemon that creates its own directory in it or sweeps. Nobody
// holds it for long.
func lockBase(dir *safefile.Dir, patience time.Duration) (release func(), err error) {
	f, err := dir.Open(".", os.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, fmt.Errorf("the runtime directory: %w", err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(lockEvery) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil // nothing was written
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) || time.Now().After(deadline) {
			_ = f.Close()
			return nil, fmt.Errorf("the runtime directory %s cannot be locked: %w", dir.Path(""), err)
		}
	}
}

// For how long, and how often, the lock of the runtime directory is tried.
const (
	lockPatience = 3 * time.Second
	lockEvery    = 2 * time.Millisecond
)

// errStopping is what comes too late to start a process.
const errStopping = sdk.Error("the daemon stops")

func (in *instance) hold() (err error) {
	in.lock, err = os.OpenFile(filepath.Join(in.path, lockFile), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if _, err := in.lock.WriteString(lockText(filepath.Base(in.path))); err != nil {
		return err
	}
	return unix.Flock(int(in.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
}

// start calls functions that start processes. The kernel sends a parent-death signal when the thread ends that has
// started the process, not when the daemon does: this one ends with the instance.
func (in *instance) start() {
	runtime.LockOSThread() // and never unlocks it: the thread ends with the goroutine
	err := confineThread()
	for {
		select {
		case start := <-in.starts:
			start(err)
		case <-in.closed:
			return
		}
	}
}

// do calls a function on the thread that processes are started from.
func (in *instance) do(start func() error) error {
	result := make(chan error, 1)
	select {
	case in.starts <- func(err error) {
		if err == nil {
			err = closeOnExec()
		}
		if err == nil {
			err = start()
		}
		result <- err
	}:
		return <-result
	case <-in.closed:
		return errStopping
	}
}

func (in *instance) close() error {
	close(in.closed)
	return errors.Join(os.RemoveAll(in.path), in.lock.Close())
}

// killMarked kills every process whose environment says that it belongs to the directory of a daemon.
func killMarked(path string) (killed int, err error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	for _, dir := range dirs {
		if !marked(dir, path) {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(dir), "%d", &pid); err != nil {
			continue
		}
		// The process may end and its number be another's meanwhile: what the descriptor names stays the same.
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		if marked(dir, path) && unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil {
			killed++
		}
		_ = unix.Close(fd) // nothing was written to it
	}
	return killed, nil
}

func marked(proc, path string) bool {
	environ, err := os.ReadFile(filepath.Join(proc, "environ"))
	if err != nil {
		return false // gone, or not ours to look at
	}
	for entry := range strings.SplitSeq(string(environ), "\x00") {
		if entry == marker+"="+path {
			return true
		}
	}
	return false
}

package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/safefile"
)

// instance is the directory of one daemon, whose lock is held while the daemon lives, and the thread that its processes are
// started from.
type instance struct {
	path   string
	lock   *os.File
	starts chan func(error) // called on the thread, with the error of confineThread
	closed chan struct{}
}

// newInstance creates the directory and the thread that processes are started from.
func newInstance(base string) (*instance, error) {
	// Others may pass through, since a process of another user has its socket in a directory below, and see nothing.
	dir, err := openBase(base, 0o711)
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()          // nothing was written
	release, err := lockBase(dir, lockPatience) // until the lock in the new directory is held
	if err != nil {
		return nil, err
	}
	defer release()
	path, err := os.MkdirTemp(dir.Path(""), instancePrefix) // the path that a sweep builds, too
	if err != nil {
		return nil, fmt.Errorf("the runtime directory: %w", err)
	}
	in := &instance{path: path, starts: make(chan func(error)), closed: make(chan struct{})}
	if err := errors.Join(os.Chmod(path, 0o711), in.hold()); err != nil {
		return nil, errors.Join(err, os.RemoveAll(path))
	}
	go in.run()
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

// lockBase locks the runtime directory itself, against another daemon that creates its own directory in it or sweeps. It is
// held for a moment only.
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

// run calls the functions that start processes. The kernel sends the parent-death signal when the thread ends that has
// started a process, so that thread is this one, which ends with the instance.
func (in *instance) run() {
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
		return ErrClosed
	}
}

func (in *instance) close() error {
	close(in.closed)
	return errors.Join(os.RemoveAll(in.path), in.lock.Close())
}

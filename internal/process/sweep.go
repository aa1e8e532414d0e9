package process

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/safefile"
)

// What a daemon's directory is called and holds, beside the directories of sockets. A sweep removes nothing else.
const (
	instancePrefix = "d"    // a random number follows
	lockFile       = "lock" // locked while the daemon lives
)

var instanceName = numbered(instancePrefix)

// numbered matches names that consist of a prefix and a number.
func numbered(prefix string) *regexp.Regexp {
	return regexp.MustCompile("^" + regexp.QuoteMeta(prefix) + "[0-9]+$")
}

// lockText is what a lock holds: it shows that the directory of that name is one of a daemon's.
func lockText(name string) string {
	return "directory " + name + " of pipelined; unlocked: left behind\n"
}

// sweeper removes what daemons have left behind.
type sweeper struct {
	log     *slog.Logger
	groups  cgroups
	sockets *regexp.Regexp // names of directories with sockets
}

// sweep removes the directories of daemons that are gone, and kills what still runs for them.
func (s *sweeper) sweep(base string) error {
	dir, err := openBase(base, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }() // what is removed is removed
	release, err := lockBase(dir, lockPatience)
	if err != nil {
		return err
	}
	defer release()
	entries, err := dir.ReadDir()
	if err != nil {
		return fmt.Errorf("the runtime directory: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if !e.IsDir() || !instanceName.MatchString(e.Name()) {
			continue
		}
		if err := s.remove(dir, e.Name()); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// remove removes a directory if it is that of a daemon that is gone.
func (s *sweeper) remove(base *safefile.Dir, name string) error {
	dir, err := base.OpenDir(name)
	if err != nil {
		return nil // another user's, or gone
	}
	defer func() { _ = dir.Close() }()
	lock := leftBehind(dir, name)
	if lock == nil {
		return nil
	}
	defer lock.Close() // held until the directory is gone
	return s.removeLocked(base, dir, name)
}

// removeLocked removes a directory whose lock is held. A daemon that stops removes its directory before it gives up the lock:
// whoever has opened the lock before may find the directory gone, which is no error.
func (s *sweeper) removeLocked(base, dir *safefile.Dir, name string) error {
	path := base.Path(name)
	killed, err := killMarked(path)
	if err != nil {
		return err
	}
	s.groups.sweep(groupName(name))
	err = s.empty(dir)
	if err == nil {
		err = base.Rmdir(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	s.log.Info("removed what a daemon has left behind", "directory", path, "processes", killed)
	return nil
}

// leftBehind returns the lock of a directory that a daemon of this user has made, locked; nil if the daemon lives, or if
// nothing shows that a daemon has made it.
func leftBehind(dir *safefile.Dir, name string) *os.File {
	lock, err := dir.Open(lockFile, os.O_RDWR)
	if err != nil {
		return nil
	}
	if info, err := lock.Stat(); err == nil && info.Mode().IsRegular() && owned(info) && holds(lock, lockText(name)) &&
		unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		return lock
	}
	_ = lock.Close() // nothing was written
	return nil
}

func owned(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid() && st.Nlink == 1
}

func holds(f *os.File, text string) bool {
	got := make([]byte, len(text)+1)
	n, _ := f.ReadAt(got, 0) // shorter than the buffer
	return string(got[:n]) == text
}

// empty removes what a daemon makes: sockets in their directories, and the lock, last. Anything else stays, and is an error.
func (s *sweeper) empty(dir *safefile.Dir) error {
	entries, err := dir.ReadDir()
	if err != nil {
		return err
	}
	var strange []string
	for _, e := range entries {
		switch {
		case e.Name() == lockFile:
		case e.IsDir() && s.sockets.MatchString(e.Name()):
			left, err := emptySockets(dir, e.Name())
			if err != nil {
				return err
			}
			strange = append(strange, left...)
		default:
			strange = append(strange, dir.Path(e.Name()))
		}
	}
	if len(strange) > 0 {
		return fmt.Errorf("left in place, because it is not the daemon's: %s", strings.Join(strange, ", "))
	}
	return dir.Remove(lockFile)
}

// emptySockets removes a directory of sockets and returns what is in the way. The directory may belong to the user that the
// process has run as.
func emptySockets(parent *safefile.Dir, name string) (strange []string, err error) {
	dir, err := parent.OpenSub(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	entries, err := dir.ReadDir()
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Type() != fs.ModeSocket {
			strange = append(strange, filepath.Join(dir.Path(""), e.Name()))
			continue
		}
		if err := dir.Remove(e.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	if len(strange) > 0 {
		return strange, nil
	}
	return nil, parent.Rmdir(name)
}

package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/safefile"
)

// checkEvery is how often it is looked whether the path still leads to the open file.
const checkEvery = time.Second

// logFile is a path: a regular file, or a FIFO or device, which are neither locked, rotated, synced nor repaired.
type logFile struct {
	path    string
	trust   safefile.Options
	mode    fs.FileMode
	owner   owner
	rotate  rotateOptions
	durable bool // a new file's directory entry must be on the disk too
	layout  layout
	warn    func(msg string, args ...any)

	mu sync.Mutex // guards f against interrupt
	f  *os.File
	at safefile.Entry // where f is; valid while it is open

	regular     bool
	rotatable   bool // regular and not behind a symbolic link, which would lead to the new file no longer
	size        int64
	slot        int64     // which rotation interval the file's content is from
	checked     time.Time // that the path leads to f
	rotateAfter time.Time // not before, because it failed
	left        fs.FileInfo
	newest      time.Time     // in the name of a rotated file; zero before the first rotation
	pruned      time.Time     // when old files were last looked for
	pack        chan struct{} // a token: look for files to compress
	noRoom      atomic.Int64  // Unix time in ns: when compression, or a write, last found no room

	asked            atomic.Bool // to reopen
	bytes, rotations counter
	reopened, packed counter
}

var _ target = (*logFile)(nil)

func (l *logFile) open(now time.Time) (err error) {
	l.asked.Store(false)
	l.at, err = safefile.OpenParent(l.path, l.trust)
	if err != nil {
		return l.explain(err)
	}
	f, created, err := l.openFile()
	if err != nil {
		return errors.Join(l.explain(err), l.at.Close())
	}
	if err := l.adopt(f, created, now); err != nil {
		_ = f.Close()
		return errors.Join(err, l.at.Close())
	}
	l.mu.Lock()
	l.f = f
	l.mu.Unlock()
	return nil
}

// openFile opens the file, which it creates if nothing is there.
func (l *logFile) openFile() (f *os.File, created bool, err error) {
	const flags = os.O_WRONLY | os.O_APPEND
	f, err = l.at.OpenFile(flags)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, false, err
	}
	f, err = l.at.Create(l.at.Name, flags, l.mode)
	return f, err == nil, err
}

// adopt makes sure that f can be appended to, and takes its measure.
func (l *logFile) adopt(f *os.File, created bool, now time.Time) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("file: %w", err)
	}
	l.regular, l.size, l.checked = info.Mode().IsRegular(), info.Size(), now
	l.rotatable = l.regular && !l.at.Linked
	if !l.rotatable && (l.rotate.Size != 0 || l.rotate.Interval != 0) {
		l.warn("not a regular file: it is not rotated", "path", l.path)
	}
	if !l.regular {
		return nil
	}
	// Two writers would cut off each other's records. The lock goes with the descriptor, also when the process is killed.
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("file: %s is in use by another sink or process", l.path)
		}
		l.warn("the file system has no locks: make sure that nobody else writes to the file", "path", l.path, "error", err)
	}
	if created {
		if err := l.owner.give(f); err != nil {
			return fmt.Errorf("file: %w", err)
		}
		if err := f.Chmod(l.mode); err != nil { // whatever the umask says
			return fmt.Errorf("file: %w", err)
		}
		if l.durable {
			if err := l.at.Sync(); err != nil {
				return fmt.Errorf("file: cannot sync the directory of %s: %w", l.path, err)
			}
		}
	}
	l.slot = l.slotOf(now)
	if l.size == 0 {
		return nil
	}
	l.slot = l.slotOf(info.ModTime())
	if l.left != nil && os.SameFile(l.left, info) && l.left.Size() == info.Size() {
		return nil // as the last run left it
	}
	return l.repair(f, now)
}

// howToShare says what to do about a directory that others may write to.
const howToShare = "Whoever can replace files there could have the daemon overwrite others: " +
	"give the directory to root or to the daemon's user (chown) and take the permission from the others (chmod go-w), " +
	"or set shared_directory = true"

func (l *logFile) explain(err error) error {
	var unsafe *safefile.UnsafeError
	switch {
	case errors.As(err, &unsafe):
		return fmt.Errorf("file: %s is not opened: %w. %s", l.path, err, howToShare)
	case errors.Is(err, fs.ErrNotExist):
		if _, dirErr := os.Stat(filepath.Dir(l.path)); errors.Is(dirErr, fs.ErrNotExist) {
			return fmt.Errorf("file: the directory of %s does not exist and is not created: %w", l.path, err)
		}
	case errors.Is(err, unix.EISDIR):
		return fmt.Errorf("file: %s is a directory", l.path)
	case errors.Is(err, unix.ENXIO):
		return fmt.Errorf("file: nobody reads from the FIFO %s: %w", l.path, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("file: user %d may not write to %s: %w", os.Geteuid(), l.path, err)
	}
	return fmt.Errorf("file: cannot open %s: %w", l.path, err)
}

func (l *logFile) turn(now time.Time, n int) (first func(time.Time) error) {
	if l.asked.Swap(false) {
		return l.openAgain
	}
	if now.Sub(l.checked) >= checkEvery || now.Before(l.checked) {
		l.checked = now
		info, err := os.Stat(l.path)
		if err != nil || !l.same(info) {
			return l.openAgain
		}
		l.size = info.Size() // somebody may have truncated it
		l.pruneIfDue(now)
	}
	if !l.rotatable || n == 0 {
		return nil
	}
	if l.size == 0 {
		l.slot = l.slotOf(now)
		return nil
	}
	tooBig := l.rotate.Size != 0 && l.size+int64(n) > int64(l.rotate.Size)
	if (tooBig || l.slotOf(now) != l.slot) && !now.Before(l.rotateAfter) {
		return l.rotateNow
	}
	return nil
}

// same reports whether info, what the path leads to, is the open file.
func (l *logFile) same(info fs.FileInfo) bool {
	own, err := l.f.Stat()
	return err == nil && os.SameFile(own, info)
}

// sameFile reports whether two open files are one.
func sameFile(a, b *os.File) bool {
	one, err := a.Stat()
	if err != nil {
		return false
	}
	other, err := b.Stat()
	return err == nil && os.SameFile(one, other)
}

// openAgain lets go of the file and opens the path anew.
func (l *logFile) openAgain(now time.Time) error {
	if err := l.close(); err != nil {
		return err
	}
	if err := l.open(now); err != nil {
		return err
	}
	l.reopened.Add(1)
	return nil
}

func (l *logFile) write(p []byte) (int, error) {
	n, err := l.f.Write(p)
	l.size += int64(n)
	l.bytes.Add(int64(n))
	if isFull(err) {
		l.packLater() // what is in the way may be a file that is being compressed, which goes when the run ends
	}
	if err != nil {
		return n, fmt.Errorf("file: %w", err)
	}
	return n, nil
}

// tear cuts the torn record off. What a FIFO or device has taken cannot be had back.
func (l *logFile) tear(n int, _ []byte) error {
	if !l.regular {
		return nil
	}
	return l.cut(int64(n))
}

// cut takes the last n bytes back, counted from where the file ends now: it may have been truncated by somebody.
func (l *logFile) cut(n int64) error {
	info, err := l.f.Stat()
	if err != nil {
		return err
	}
	l.size = max(0, info.Size()-n)
	return l.f.Truncate(l.size)
}

func (l *logFile) sync() error {
	if !l.regular {
		return nil
	}
	if err := unix.Fdatasync(int(l.f.Fd())); err != nil {
		return fmt.Errorf("file: cannot sync %s: %w", l.path, err)
	}
	return nil
}

func (l *logFile) reopen() { l.asked.Store(true) }

func (l *logFile) interrupt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f != nil {
		_ = l.f.SetWriteDeadline(time.Unix(1, 0)) // an error for regular files, which do not hang
	}
}

func (l *logFile) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	l.left = nil
	if info, err := l.f.Stat(); err == nil && l.regular && info.Size() == l.size {
		l.left = info
	}
	err := errors.Join(l.f.Close(), l.at.Close())
	l.f = nil
	if err != nil {
		return fmt.Errorf("file: %w", err)
	}
	return nil
}

func (l *logFile) status() Status {
	return Status{Path: l.path, Bytes: l.bytes.Load(), Rotations: l.rotations.Load(), Reopened: l.reopened.Load(), Packed: l.packed.Load()}
}

package statedir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/safefile"
)

// lockFile is locked by the process that has the directory open.
const lockFile = "lock"

// maxFile is the largest file that is read, in bytes.
const maxFile = 1 << 20

// Dir is an open state directory. It is for one process at a time. Safe for concurrent use by that process, but for two
// writers of one file.
type Dir struct {
	path string
	dir  *safefile.Dir
	warn func(msg string, args ...any)

	mu       sync.Mutex
	lock     *os.File
	reserved uint64 // the highest epoch that this process has used; 0 = none
}

// Open opens a directory that is there, by an absolute path. warn is called for files that are put aside.
func Open(path string, warn func(msg string, args ...any)) (*Dir, error) {
	d, err := safefile.OpenDir(path, safefile.Options{})
	if err != nil {
		return nil, err
	}
	l, err := lock(d)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return &Dir{path: path, dir: d, lock: l, warn: warn}, nil
}

// remake makes the directory again if somebody has removed it, with the highest epoch that was used: what is written is for the next run.
func (d *Dir) remake() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if removed, err := d.dir.Removed(); err != nil || !removed {
		return err
	}
	if err := os.Mkdir(d.path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	other, err := Open(d.path, d.warn)
	if err != nil {
		return err
	}
	if d.reserved > 0 {
		_, err = other.ReserveEpochs(d.reserved, 1)
	}
	if err == nil {
		err = d.dir.Become(other.dir)
	}
	if err != nil {
		return errors.Join(err, other.Close())
	}
	d.warn("somebody has removed the state directory: it is made again", "dir", d.path)
	_ = d.lock.Close() // of a file that is gone
	d.lock = other.lock
	return other.dir.Close()
}

// lock keeps other processes out. The kernel releases the lock with the descriptor, also when the process is killed.
func lock(d *safefile.Dir) (*os.File, error) {
	f, err := d.Create(lockFile, os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		f, err = d.Open(lockFile, os.O_RDWR)
	}
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is in use by another process: %w", d.Path(lockFile), err), f.Close())
	}
	return f, nil
}

// Path returns the path of an entry.
func (d *Dir) Path(name string) string { return d.dir.Path(name) }

// Close closes the directory.
func (d *Dir) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return errors.Join(d.lock.Close(), d.dir.Close())
}

// errUnusable is the error of a file that cannot be read later either.
var errUnusable = errors.New("cannot be a state file")

// read gives parse what a file holds, unless it is not there. A file that parse refuses, and one that is not regular or is
// too large, is put aside, and read returns nil. One that cannot be read stays: the next try may read it.
func (d *Dir) read(name string, parse func([]byte) error) error {
	b, err := d.content(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil:
		if err = parse(b); err == nil {
			return nil
		}
	case !errors.Is(err, errUnusable):
		return err
	}
	aside := name + ".broken"
	if renameErr := d.dir.Rename(name, aside); renameErr != nil {
		return errors.Join(err, renameErr)
	}
	d.warn("a state file cannot be used and is put aside", "file", d.dir.Path(name), "as", aside, "err", err)
	return nil
}

func (d *Dir) content(name string) ([]byte, error) {
	f, err := d.dir.Open(name, os.O_RDONLY)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) { // a symbolic link, a socket or a device
		return nil, fmt.Errorf("%w: %w", errUnusable, err)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%w: %s, %d bytes, want a regular file of at most %d", errUnusable, info.Mode().Type(), info.Size(), maxFile)
	}
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// write replaces a file.
func (d *Dir) write(name string, b []byte) error {
	return d.replace(name, func(f *os.File) error {
		_, err := f.Write(b)
		return err
	})
}

// replace replaces a file by what write writes.
func (d *Dir) replace(name string, write func(*os.File) error) error {
	if err := d.remake(); err != nil {
		return err
	}
	return d.dir.Replace(name, 0o600, write)
}

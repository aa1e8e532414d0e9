package statedir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

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
	dir  *safefile.Dir
	lock *os.File
	warn func(msg string, args ...any)
}

// Open opens a directory that is there, by an absolute path. warn is told of files that are put aside.
func Open(path string, warn func(msg string, args ...any)) (*Dir, error) {
	d, err := safefile.OpenDir(path, safefile.Options{})
	if err != nil {
		return nil, err
	}
	l, err := lock(d)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return &Dir{dir: d, lock: l, warn: warn}, nil
}

// lock keeps other processes out. The lock goes with the descriptor, also when the process is killed.
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

// Close closes the directory.
func (d *Dir) Close() error { return errors.Join(d.lock.Close(), d.dir.Close()) }

// read returns what a file holds, nil if it is not there. parse says whether it is what it should be; a file that is not is put
// aside, and read returns nil.
func (d *Dir) read(name string, parse func([]byte) error) error {
	b, err := d.content(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = parse(b)
	}
	if err == nil {
		return nil
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
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s, %d bytes, want a regular file of at most %d", info.Mode().Type(), info.Size(), maxFile)
	}
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// write replaces a file.
func (d *Dir) write(name string, b []byte) error {
	return d.dir.Replace(name, 0o600, func(f *os.File) error {
		_, err := f.Write(b)
		return err
	})
}

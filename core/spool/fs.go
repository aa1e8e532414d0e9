package spool

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/safefile"
)

// directory is what a spool needs of the directory of its files. Names have no slash. Safe for concurrent use.
type directory interface {
	// Create creates a file that is not there yet, to be read and written.
	Create(name string) (file, error)
	// Open opens a file that is there, to be read, and written if write is set.
	Open(name string, write bool) (file, error)
	Remove(name string) error
	// Rename replaces what has the name already.
	Rename(from, to string) error
	// List returns the names of all files.
	List() ([]string, error)
	// Sync puts the names on the disk.
	Sync() error
	// Free returns the bytes that this process may still write to the file system.
	Free() (uint64, error)
	Close() error
}

// file is an open file. Safe for concurrent use.
type file interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	// Sync puts the content on the disk.
	Sync() error
	Size() (int64, error)
	Close() error
}

// onDisk is a directory of the file system.
type onDisk struct {
	*safefile.Dir

	path string

	remaking sync.Mutex
	lock     *os.File // nil: others may write. Under remaking
}

// openDir opens a directory by an absolute path. With lock it makes the directory if it is not there, and keeps others out who do so.
func openDir(path string, lock bool) (*onDisk, error) {
	o := safefile.Options{}
	if lock {
		o.Make = 0o700
	}
	dir, err := safefile.OpenDir(path, o)
	if err != nil {
		return nil, err
	}
	d := &onDisk{Dir: dir, path: path}
	if lock {
		if d.lock, err = dir.Lock(); err != nil {
			return nil, errors.Join(err, dir.Close())
		}
	}
	return d, nil
}

func (d *onDisk) Close() error {
	d.remaking.Lock()
	defer d.remaking.Unlock()
	var err error
	if d.lock != nil {
		err = d.lock.Close()
	}
	return errors.Join(err, d.Dir.Close())
}

// Create makes the directory again if somebody has removed it.
func (d *onDisk) Create(name string) (file, error) {
	f, err := opened(d.Dir.Create(name, os.O_RDWR, 0o600))
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	if err := d.remake(); err != nil {
		return nil, err
	}
	return opened(d.Dir.Create(name, os.O_RDWR, 0o600))
}

// remake opens what is at the path, and makes it if it is not there, if the directory was removed.
func (d *onDisk) remake() error {
	d.remaking.Lock()
	defer d.remaking.Unlock()
	if removed, err := d.Removed(); err != nil || !removed || d.lock == nil {
		return err
	}
	other, err := openDir(d.path, true)
	if err != nil {
		return err
	}
	if err := d.Become(other.Dir); err != nil {
		return errors.Join(err, other.Close())
	}
	shut(d.lock)
	d.lock = other.lock
	return other.Dir.Close()
}

func (d *onDisk) Open(name string, write bool) (file, error) {
	flag := os.O_RDONLY
	if write {
		flag = os.O_RDWR
	}
	return opened(d.Dir.Open(name, flag))
}

func opened(f *os.File, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return diskFile{f}, nil
}

func (d *onDisk) List() ([]string, error) {
	entries, err := d.ReadDir()
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

func (d *onDisk) Free() (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(strings.TrimSuffix(d.FDPath(""), "/"), &st); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: d.Path(""), Err: err}
	}
	return st.Bavail * uint64(st.Frsize), nil // Bsize is what a file system wants to be read by, and may be larger
}

type diskFile struct{ *os.File }

func (f diskFile) Sync() error { return unix.Fdatasync(int(f.Fd())) }

func (f diskFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// shut closes what nothing was written to.
func shut(c io.Closer) { _ = c.Close() }

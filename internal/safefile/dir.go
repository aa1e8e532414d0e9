package safefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Dir is an open directory. Names are those of entries, without a slash. Safe for concurrent use until it is closed.
type Dir struct {
	o     Options
	fd    int // opened with O_PATH
	path  string
	risky bool // others may write to it
}

// OpenDir opens a directory by an absolute path.
func OpenDir(path string, o Options) (*Dir, error) {
	p, err := follow(path, false, o)
	if err != nil {
		return nil, err
	}
	return &Dir{o, p.fd, p.dir, p.risky}, nil
}

// Entry is a file as a path names it.
type Entry struct {
	*Dir

	Name   string // in the directory
	Linked bool   // the path's last component is a symbolic link, which was followed to the directory
	magic  bool
}

// OpenParent opens the directory of the file that an absolute path leads to. The file need not be there.
func OpenParent(path string, o Options) (Entry, error) {
	p, err := follow(path, true, o)
	if err != nil {
		return Entry{}, err
	}
	return Entry{&Dir{o, p.fd, p.dir, p.risky}, p.name, p.linked, p.magic}, nil
}

// OpenFile opens the file as [Dir.Open] does.
func (e Entry) OpenFile(flag int) (*os.File, error) {
	if e.magic { // a link of procfs names an open file of this process
		return os.OpenFile(e.Path(e.Name), flag|unix.O_NONBLOCK, 0)
	}
	return e.Open(e.Name, flag)
}

// Path returns the name of an entry for messages: symbolic links on the way are resolved.
func (d *Dir) Path(name string) string { return filepath.Join(d.path, name) }

// FDPath returns a name of an entry that stays the directory's own whatever happens to its path, for calls that know no
// descriptors of directories, such as bind(2). It is valid until the directory is closed. A symbolic link of that name is
// followed as usual.
func (d *Dir) FDPath(name string) string {
	return "/proc/self/fd/" + strconv.Itoa(d.fd) + "/" + name
}

// Removed reports whether somebody has removed the directory since it was opened.
func (d *Dir) Removed() (bool, error) {
	var st unix.Stat_t
	if err := unix.Fstat(d.fd, &st); err != nil {
		return false, d.fail("stat", "", err)
	}
	return st.Nlink == 0, nil
}

// Become makes d the directory that other is. Others may use d meanwhile: each call is of one of the two.
func (d *Dir) Become(other *Dir) error { return unix.Dup3(other.fd, d.fd, unix.O_CLOEXEC) }

// Close closes the directory.
func (d *Dir) Close() error { return unix.Close(d.fd) }

func (d *Dir) fail(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: d.Path(name), Err: err}
}

func (d *Dir) openat(name string, flag int, perm fs.FileMode) (fd int, err error) {
	if strings.Contains(name, "/") || name == ".." {
		return -1, d.fail("open", name, unix.EINVAL)
	}
	for {
		fd, err = unix.Openat(d.fd, name, flag|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, uint32(perm.Perm()))
		if !errors.Is(err, unix.EINTR) {
			return fd, d.fail("open", name, err)
		}
	}
}

// Create creates a file that is not there yet. The umask applies to perm.
func (d *Dir) Create(name string, flag int, perm fs.FileMode) (*os.File, error) {
	fd, err := d.openat(name, flag|unix.O_CREAT|unix.O_EXCL, perm)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), d.Path(name)), nil
}

// Open opens an entry that is there, without waiting for the other end of a FIFO. A symbolic link is an error (ELOOP). In a
// shared directory an entry of another owner, and a regular file with a second link, are an [*UnsafeError].
func (d *Dir) Open(name string, flag int) (*os.File, error) {
	fd, err := d.openat(name, flag&^(unix.O_CREAT|unix.O_TRUNC), 0)
	if err != nil {
		return nil, err
	}
	if err := d.own(fd, name); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), d.Path(name)), nil
}

// own reports whether an open file is one that others cannot have put into the directory to have it overwritten.
func (d *Dir) own(fd int, name string) error {
	if !d.risky {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return d.fail("stat", name, err)
	}
	if !trusted(st.Uid) && !slices.Contains(d.o.Owners, int(st.Uid)) {
		return &UnsafeError{Path: d.Path(name), Why: "belongs to " + userName(st.Uid)}
	}
	if st.Mode&unix.S_IFMT == unix.S_IFREG && st.Nlink > 1 {
		return &UnsafeError{Path: d.Path(name), Why: fmt.Sprintf("is one of %d links to the same file", st.Nlink)}
	}
	return nil
}

// Exists reports whether there is an entry of that name, of any type.
func (d *Dir) Exists(name string) (bool, error) {
	var st unix.Stat_t
	err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil, d.fail("stat", name, err)
}

// Mkdir creates a directory.
func (d *Dir) Mkdir(name string, perm fs.FileMode) error {
	return d.fail("mkdir", name, unix.Mkdirat(d.fd, name, uint32(perm.Perm())))
}

// OpenDir opens a directory in this one, by the same rules.
func (d *Dir) OpenDir(name string) (*Dir, error) {
	sub, err := d.OpenSub(name)
	if err != nil {
		return nil, err
	}
	w := walk{o: d.o, fd: sub.fd, at: sub.path}
	if err := w.holds(); err != nil {
		return nil, errors.Join(err, sub.Close())
	}
	sub.risky = sub.risky || w.risky
	return sub, nil
}

// OpenSub opens a directory in this one, whoever may write to that. Only removing is safe in it.
func (d *Dir) OpenSub(name string) (*Dir, error) {
	fd, err := unix.Openat(d.fd, name, openDir, 0)
	if err != nil {
		return nil, d.fail("open", name, err)
	}
	return &Dir{d.o, fd, d.Path(name), d.risky}, nil
}

// Remove removes an entry that is not a directory.
func (d *Dir) Remove(name string) error {
	return d.fail("remove", name, unix.Unlinkat(d.fd, name, 0))
}

// Rmdir removes an empty directory.
func (d *Dir) Rmdir(name string) error {
	return d.fail("rmdir", name, unix.Unlinkat(d.fd, name, unix.AT_REMOVEDIR))
}

// Rename gives an entry another name. What had that name is replaced.
func (d *Dir) Rename(from, to string) error {
	return d.fail("rename", from, unix.Renameat(d.fd, from, d.fd, to))
}

// RenameNew gives an entry a name that nothing has, else it returns [fs.ErrExist].
func (d *Dir) RenameNew(from, to string) error {
	err := unix.Renameat2(d.fd, from, d.fd, to, unix.RENAME_NOREPLACE)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return d.fail("rename", from, err)
	}
	// A file system without it.
	if taken, err := d.Exists(to); err != nil || taken {
		return errors.Join(err, d.fail("rename", to, fs.ErrExist))
	}
	return d.Rename(from, to)
}

// ChmodSocket sets the permission bits of a socket of this process's user. Anything else of that name is an error, and
// stays as it is: another writer of the directory can have put a file in the place of the socket. The bits of an open file
// are better set by the file.
func (d *Dir) ChmodSocket(name string, perm fs.FileMode) error {
	fd, err := unix.Openat(d.fd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return d.fail("chmod", name, err)
	}
	defer func() { _ = unix.Close(fd) }() // nothing was written
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return d.fail("chmod", name, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return &UnsafeError{Path: d.Path(name), Why: "is not a socket"}
	}
	if int64(st.Uid) != int64(os.Geteuid()) {
		return &UnsafeError{Path: d.Path(name), Why: "belongs to " + userName(st.Uid)}
	}
	return d.fail("chmod", name, unix.Chmod(fdPath(fd), uint32(perm.Perm())))
}

// Chown sets the owner of an entry, of a symbolic link itself. -1 leaves the user or the group as it is.
func (d *Dir) Chown(name string, uid, gid int) error {
	return d.fail("chown", name, unix.Fchownat(d.fd, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW))
}

// entries opens the directory for reading.
func (d *Dir) entries() (*os.File, error) {
	fd, err := d.openat(".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), d.path), nil
}

// ReadDir lists the directory, sorted by name. The entries' Info looks their names up again: only names and types are to be used.
func (d *Dir) ReadDir() ([]fs.DirEntry, error) {
	f, err := d.entries()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list, err := f.ReadDir(-1)
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, err
}

// Sync puts the directory's entries on the disk.
func (d *Dir) Sync() error {
	f, err := d.entries()
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Lock keeps others out who lock the directory, until the file that it returns is closed: also when the process is killed. It
// returns EWOULDBLOCK if somebody else has locked it.
func (d *Dir) Lock() (*os.File, error) {
	f, err := d.entries()
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is in use by another process: %w", d.path, err), f.Close())
	}
	return f, nil
}

// Unfinished is behind the names of files that [Dir.Replace] has not finished, which are hidden.
const Unfinished = ".unfinished"

// Replace puts a new file in the place of whatever has the name, when write has filled it and it is on the disk. Until then, and
// after an error, what was there stays. One goroutine at a time may replace the same name.
func (d *Dir) Replace(name string, perm fs.FileMode, write func(*os.File) error) (err error) {
	temporary := "." + strings.TrimPrefix(name, ".") + Unfinished
	if err := d.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) { // left by a crash
		return err
	}
	f, err := d.Create(temporary, unix.O_WRONLY, perm)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = d.Rename(temporary, name)
	}
	if err != nil {
		_ = d.Remove(temporary) // the first error is returned
		return err
	}
	return d.Sync()
}

// Chtimes sets the access and modification time of an open file.
func Chtimes(f *os.File, t time.Time) error {
	ts, err := unix.TimeToTimespec(t)
	if err != nil {
		return &fs.PathError{Op: "chtimes", Path: f.Name(), Err: err}
	}
	err = unix.UtimesNanoAt(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(int(f.Fd())), []unix.Timespec{ts, ts}, 0)
	if err != nil {
		return &fs.PathError{Op: "chtimes", Path: f.Name(), Err: err}
	}
	return nil
}

// CheckExecutable reports whether a file, by an absolute path, can be changed or replaced by nobody but root and the user of this
// process. Nothing is said about what kind of file it is.
func CheckExecutable(path string) error {
	e, err := OpenParent(path, Options{Strict: true})
	if err != nil {
		return err
	}
	defer func() { _ = e.Close() }()
	fd, err := unix.Openat(e.fd, e.Name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return e.fail("open", e.Name, err)
	}
	defer func() { _ = unix.Close(fd) }() // nothing was written
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return e.fail("stat", e.Name, err)
	}
	return risk(fd, e.Path(e.Name), &st, false)
}

package safefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Options say what is accepted.
type Options struct {
	// Shared accepts directories that others may write to.
	Shared bool
	// Strict refuses directories above that a system group may write to.
	Strict bool
	// Owners are users beside root and the user of this process to whom files in a shared directory may belong.
	Owners []int
	// Make is the mode, less the umask, of directories that [OpenDir] makes where they are missing; 0 makes none.
	Make fs.FileMode
}

// UnsafeError says why a path could be replaced by somebody else.
type UnsafeError struct {
	Path    string // the directory or file at fault
	Why     string
	Writers bool // because of who may write to it, not of whom it belongs to
}

func (e *UnsafeError) Error() string { return e.Path + " " + e.Why }

// firstUserGroup is the lowest number of a group that is not the system's (login.defs, SYS_GID_MAX).
const firstUserGroup = 1000

// maxLinks is how many symbolic links a path may go through, as the kernel has it.
const maxLinks = 40

// walk is a walk through the components of a path.
type walk struct {
	o     Options
	fd    int    // the directory reached, opened with O_PATH
	at    string // its name
	links int
	risky bool // others could replace what the path leads to, which is accepted
}

// place is where a path ends.
type place struct {
	fd     int
	dir    string
	name   string // in the directory; "" if the path leads to the directory itself
	linked bool   // the last component of the path was a symbolic link
	risky  bool   // others could replace it
	magic  bool   // the name is a link of procfs to an open file, which has no other name
}

// follow goes through an absolute path. The last component may be missing, or be another file than a directory, if file is set.
// The caller closes the descriptor.
func follow(path string, file bool, o Options) (p place, err error) {
	if !filepath.IsAbs(path) {
		return p, &fs.PathError{Op: "open", Path: path, Err: errors.New("the path is not absolute")}
	}
	w := walk{o: o, fd: -1}
	defer func() {
		if err != nil && w.fd >= 0 {
			_ = unix.Close(w.fd)
		}
	}()
	if err := w.root(); err != nil {
		return p, err
	}
	rest := components(path)
	given := len(rest) // components of the path itself that are left, behind those of links
	for len(rest) > 0 {
		name := rest[0]
		ofPath := len(rest) == given
		if ofPath {
			given--
		}
		rest = rest[1:]
		last := len(rest) == 0
		if err := w.passable(); err != nil {
			return p, err
		}
		var st unix.Stat_t
		err := unix.Fstatat(w.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if errors.Is(err, unix.ENOENT) && !file && o.Make != 0 {
			err = w.make(name, &st)
		}
		if err != nil && !(file && last && errors.Is(err, unix.ENOENT)) {
			return p, w.fail("stat", name, err)
		}
		if err != nil {
			return w.end(name, p.linked)
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFLNK:
			p.linked = p.linked || last && ofPath
			if file && last && w.procfs() {
				return place{fd: w.fd, dir: w.at, name: name, linked: true, magic: true}, nil
			}
			target, err := w.link(name, &st)
			if err != nil {
				return p, err
			}
			rest = append(target, rest...)
		case unix.S_IFDIR:
			if err := w.enter(name); err != nil {
				return p, err
			}
		default:
			if !file || !last {
				return p, w.fail("open", name, unix.ENOTDIR)
			}
			return w.end(name, p.linked)
		}
	}
	if file {
		return p, &fs.PathError{Op: "open", Path: path, Err: unix.EISDIR}
	}
	return w.end("", p.linked)
}

// end says where the path ends, in the directory reached.
func (w *walk) end(name string, linked bool) (place, error) {
	err := w.holds()
	return place{fd: w.fd, dir: w.at, name: name, linked: linked, risky: w.risky}, err
}

func components(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

func (w *walk) fail(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: filepath.Join(w.at, name), Err: err}
}

// move makes fd the directory reached.
func (w *walk) move(fd int, at string) {
	if w.fd >= 0 {
		_ = unix.Close(w.fd)
	}
	w.fd, w.at = fd, at
}

const openDir = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

func (w *walk) root() error {
	fd, err := unix.Open("/", openDir, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: "/", Err: err}
	}
	w.move(fd, "/")
	return nil
}

func (w *walk) enter(name string) error {
	fd, err := unix.Openat(w.fd, name, openDir, 0)
	if err != nil {
		return w.fail("open", name, err)
	}
	w.move(fd, filepath.Join(w.at, name)) // ".." stands in link targets only, where no link is left in w.at
	return nil
}

// make makes a directory in the one reached, in which others can replace nothing, and looks at what has the name then.
func (w *walk) make(name string, st *unix.Stat_t) error {
	if err := unix.Mkdirat(w.fd, name, uint32(w.o.Make.Perm())); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return unix.Fstatat(w.fd, name, st, unix.AT_SYMLINK_NOFOLLOW)
}

// link returns the components of a symbolic link's target. Those of others are not followed: in a directory with the sticky
// bit they can be anybody's.
func (w *walk) link(name string, st *unix.Stat_t) ([]string, error) {
	if w.links++; w.links > maxLinks {
		return nil, w.fail("open", name, unix.ELOOP)
	}
	if !trusted(st.Uid) {
		return nil, &UnsafeError{Path: filepath.Join(w.at, name), Why: "is a symbolic link that belongs to " + userName(st.Uid)}
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(w.fd, name, buf)
	if err != nil {
		return nil, w.fail("readlink", name, err)
	}
	target := string(buf[:n])
	if filepath.IsAbs(target) {
		if err := w.root(); err != nil {
			return nil, err
		}
	}
	return components(target), nil
}

// passable reports whether others could replace what is in the directory reached, which is one above the last.
func (w *walk) passable() error {
	st, err := w.stat()
	if err != nil {
		return err
	}
	if st.Mode&unix.S_ISVTX != 0 && trusted(st.Uid) {
		return nil // what root and we have in it stays, and the next step sees whether it is ours
	}
	return w.accept(risk(w.fd, w.at, st, !w.o.Strict && st.Uid == 0 && st.Gid < firstUserGroup))
}

// holds reports whether others could put files into the directory reached.
func (w *walk) holds() error {
	st, err := w.stat()
	if err != nil {
		return err
	}
	return w.accept(risk(w.fd, w.at, st, false))
}

// hardlinks reports whether others can make links to files that they may not write (proc_sys_fs(5)).
const hardlinks = "/proc/sys/fs/protected_hardlinks"

// accept returns nil if a risk is to be accepted. While others could make and remove links to any file, no look at a file
// can tell whether it is one.
func (w *walk) accept(risk error) error {
	if risk == nil || !w.o.Shared {
		return risk
	}
	if text, err := os.ReadFile(hardlinks); err != nil || strings.TrimSpace(string(text)) == "0" {
		return fmt.Errorf("%w, and the kernel lets everybody make hard links to any file: set fs.protected_hardlinks to 1", risk)
	}
	w.risky = true
	return nil
}

func (w *walk) stat() (*unix.Stat_t, error) {
	st := new(unix.Stat_t)
	if err := unix.Fstat(w.fd, st); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: w.at, Err: err}
	}
	return st, nil
}

// fdPath names what a descriptor of this process is open on, also one opened with O_PATH.
func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

func (w *walk) procfs() bool {
	var st unix.Statfs_t
	return unix.Fstatfs(w.fd, &st) == nil && st.Type == unix.PROC_SUPER_MAGIC
}

// risk says who else may write to an open file or directory.
func risk(fd int, path string, st *unix.Stat_t, anyGroup bool) error {
	switch {
	case st.Mode&unix.S_IWOTH != 0:
		return &UnsafeError{Path: path, Why: "can be written by everybody", Writers: true}
	case st.Mode&unix.S_IWGRP != 0 && !anyGroup && !ownGroup(st.Gid):
		return &UnsafeError{Path: path, Why: "can be written by " + groupName(st.Gid), Writers: true}
	case !trusted(st.Uid):
		return &UnsafeError{Path: path, Why: "belongs to " + userName(st.Uid)}
	case st.Mode&unix.S_IWGRP != 0:
		return listed(fd, path)
	}
	return nil
}

// trusted reports whether a user is root or the one of this process.
func trusted(uid uint32) bool { return uid == 0 || int64(uid) == int64(os.Geteuid()) }

// ownGroup reports whether nobody but root or the user of this process is in a group. A group with the number of its user is
// that user's own.
func ownGroup(gid uint32) bool { return gid == 0 || trusted(gid) && int64(gid) == int64(os.Getegid()) }

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return fmt.Sprintf("user %s (%s)", u.Username, id)
	}
	return "user " + id
}

func groupName(gid uint32) string {
	id := strconv.FormatUint(uint64(gid), 10)
	if g, err := user.LookupGroupId(id); err == nil {
		return fmt.Sprintf("group %s (%s)", g.Name, id)
	}
	return "group " + id
}

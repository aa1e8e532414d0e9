package xsk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The program of a bridge outlives its daemon by pins in a BPF file system: a directory for each interface, named after the network
// namespace and the index of the interface. Who uses an interface, or takes its pins away, holds a lock on its directory.
const (
	pinLink    = "link"
	pinControl = "control"
	pinUnread  = "unread"
)

var (
	// ErrInUse says that a running daemon reads an interface.
	ErrInUse = errors.New("a running pipelined reads it")
	// ErrForeignPin says that a pin is not what this package pins under its name, or that a newer version has pinned it.
	ErrForeignPin = errors.New("is pinned, and not by a pipelined that this one understands")
)

// pin is the directory of an interface, as a rule locked. What is in it is reached by the open directory alone: another user may own the
// one above, and put something else in its place at any time.
type pin struct {
	path string
	dir  *os.File
}

// pinName returns the name of the directory of an interface of the calling thread's network namespace.
func pinName(index int) (string, error) {
	namespace, err := pinNamespace()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s%d", namespace, index), nil
}

// pinNamespace returns what the names of all interfaces of the namespace begin with.
func pinNamespace() (string, error) {
	var stat unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &stat); err != nil {
		return "", fmt.Errorf("current network namespace: %w", err)
	}
	return fmt.Sprintf("%d-", stat.Ino), nil
}

// lockPin locks the directory at a path and waits for a while if it is locked: a process that was killed holds it a moment longer. It
// makes the directory if create is set; otherwise the error is [fs.ErrNotExist].
func lockPin(path string, create bool, patience time.Duration) (*pin, error) {
	deadline := time.Now().Add(patience)
	for pause := time.Millisecond; ; pause *= 2 {
		p, err := tryLockPin(path, create)
		if err == nil || !errors.Is(err, ErrInUse) || time.Now().After(deadline) {
			return p, err
		}
		time.Sleep(pause)
	}
}

func tryLockPin(path string, create bool) (*pin, error) {
	if create {
		if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, explainPin(path, err)
		}
	}
	beingRemoved := func(err error) error { return fmt.Errorf("%s was being removed: %w (%w)", path, ErrInUse, err) }
	p, err := openPin(path)
	if create && errors.Is(err, fs.ErrNotExist) {
		return nil, beingRemoved(err)
	}
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(p.dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		p.unlock()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", path, ErrInUse)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	// Whoever held it may have removed it.
	mine, err := p.dir.Stat()
	if err == nil {
		var now fs.FileInfo
		if now, err = os.Lstat(path); err == nil && !os.SameFile(mine, now) {
			err = fs.ErrNotExist
		}
	}
	if err != nil {
		p.unlock()
		if create && errors.Is(err, fs.ErrNotExist) {
			return nil, beingRemoved(err)
		}
		return nil, explainPin(path, err)
	}
	return p, nil
}

// openPin opens the directory without a lock.
func openPin(path string) (*pin, error) {
	dir, err := os.OpenFile(path, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, explainPin(path, err)
	}
	return &pin{path, dir}, nil
}

func (p *pin) unlock() { _ = p.dir.Close() } // it was only read

// file returns a path of what is pinned under a name, for system calls that take no directory. It leads there until unlock.
func (p *pin) file(name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", p.dir.Fd(), name)
}

// open opens what is pinned under a name, which is no symbolic link. Until it is closed, loadPath leads to it, for system calls that take
// no descriptor.
func (p *pin) open(name string) (*os.File, error) {
	fd, err := unix.Openat(int(p.dir.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: filepath.Join(p.path, name), Err: err}
	}
	var stat unix.Stat_t
	if err = unix.Fstat(fd, &stat); err == nil && stat.Mode&unix.S_IFMT == unix.S_IFLNK {
		err = errors.New("is a symbolic link")
	}
	if err != nil {
		_ = unix.Close(fd) // nothing was done with it
		return nil, fmt.Errorf("%s: %w", filepath.Join(p.path, name), err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

func loadPath(file *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", file.Fd()) }

// loadMap opens a map that is pinned under a name.
func (p *pin) loadMap(name string) (*ebpf.Map, error) {
	file, err := p.open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return ebpf.LoadPinnedMap(loadPath(file), nil)
}

// loadLink is the same for a link.
func (p *pin) loadLink(name string) (link.Link, error) {
	file, err := p.open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return link.LoadPinnedLink(loadPath(file), nil)
}

// remove removes the directory with all that is in it, and unlocks it.
func (p *pin) remove() error {
	defer p.unlock()
	err := p.clear()
	if e := unix.Rmdir(p.path); e != nil { // of something else that is there now it removes an empty directory at most
		err = errors.Join(err, &fs.PathError{Op: "remove", Path: p.path, Err: e})
	}
	return err
}

// clear removes what is in the directory.
func (p *pin) clear() error {
	if _, err := p.dir.Seek(0, io.SeekStart); err != nil { // it may have been listed before
		return err
	}
	names, err := p.dir.Readdirnames(-1)
	errs := []error{err}
	for _, name := range names {
		errs = append(errs, p.unpin(name))
	}
	return errors.Join(errs...)
}

// unpin removes what is pinned under a name.
func (p *pin) unpin(name string) error {
	if err := unix.Unlinkat(int(p.dir.Fd()), name, 0); err != nil {
		return &fs.PathError{Op: "remove", Path: filepath.Join(p.path, name), Err: err}
	}
	return nil
}

// pinned is what is pinned in a directory.
type pinned struct {
	link     link.Link
	index    int    // of the interface; 0 = it is gone
	program  uint32 // id
	layout   uint32
	settings *ebpf.Map
	control  control   // the settings
	unread   *ebpf.Map // nil: of another layout
}

// load returns what is pinned in the directory; nil if no program is. The error is [ErrForeignPin] if it is not ours.
func (p *pin) load() (_ *pinned, err error) {
	l, err := p.loadLink(pinLink)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // nothing is pinned
	}
	foreign := func(format string, args ...any) error {
		return fmt.Errorf("%s %w: %w", p.path, ErrForeignPin, fmt.Errorf(format, args...))
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, explainPin(filepath.Join(p.path, pinLink), err)
	}
	if err != nil {
		return nil, foreign("no link: %w", err)
	}
	found := &pinned{link: l}
	defer func() {
		if err != nil {
			err = errors.Join(err, found.close())
		}
	}()
	info, err := l.Info()
	if err != nil {
		return nil, foreign("no information of the link: %w", err)
	}
	if info.XDP() == nil {
		return nil, foreign("the link is no XDP link")
	}
	found.index, found.program = int(info.XDP().Ifindex), uint32(info.Program)
	found.settings, err = p.loadMap(pinControl)
	if err != nil {
		return nil, foreign("no settings: %w", err)
	}
	settings := found.settings
	if settings.Type() != ebpf.Array || settings.ValueSize() < controlHeader || settings.Flags()&unix.BPF_F_MMAPABLE == 0 {
		return nil, foreign("the settings are none of pipelined")
	}
	if found.control, err = mapControl(settings); err != nil {
		return nil, err
	}
	if found.control.Magic != controlMagic {
		return nil, foreign("the settings are none of pipelined")
	}
	found.layout = found.control.Layout
	if found.layout != controlLayout {
		return found, nil
	}
	if int(settings.ValueSize()) != tapSettingsSize {
		return nil, foreign("its settings have %d bytes", settings.ValueSize())
	}
	if found.unread, err = p.loadMap(pinUnread); err != nil {
		return nil, foreign("no counters: %w", err)
	}
	if found.unread.Type() != ebpf.PerCPUArray || found.unread.MaxEntries() != uint32(tapFateUNREADS) {
		return nil, foreign("the counters are none of pipelined")
	}
	return found, nil
}

// loadPinned is load, of a directory that may be locked by another process, or be gone.
func loadPinned(path string) (*pinned, error) {
	p, err := openPin(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // nothing is pinned
	}
	if err != nil {
		return nil, err
	}
	defer p.unlock()
	return p.load()
}

// close closes what was loaded, and changes nothing. The link is closed only if nobody took it.
func (p *pinned) close() error {
	errs := []error{p.control.close(), p.settings.Close(), p.unread.Close()}
	if p.link != nil {
		errs = append(errs, p.link.Close())
	}
	return errors.Join(errs...)
}

// detach takes the program off its interface, which is found with queries, and what was set for it back. What is pinned has to be
// removed as well.
func (p *pinned) detach(queries *netlink.Handle) error {
	err := p.link.Detach()
	if err != nil && p.index == 0 { // with the interface it is gone already
		err = nil
	}
	if err != nil {
		return fmt.Errorf("detach the XDP program: %w", err)
	}
	if p.index == 0 || p.layout != controlLayout {
		return nil
	}
	return p.control.restore(p.index, queries)
}

// sweep removes pins of interfaces that are gone, in any namespace, and what a process that was killed did not come to pin.
func sweep(root string) {
	names, _ := pinNames(root, "") // what cannot be listed stays
	for _, name := range names {
		p, err := lockPin(filepath.Join(root, name), false, 0)
		if err != nil {
			continue // a daemon has it, or it is gone
		}
		found, err := p.load()
		if err == nil && found != nil && found.index != 0 || err != nil {
			p.unlock()
		} else {
			_ = p.remove() // what is left is found the next time
		}
		if found != nil {
			_ = found.close() // nothing was changed
		}
	}
}

// pinNames lists the directories whose names begin so.
func pinNames(root, prefix string) (names []string, err error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, explainPin(root, err)
	}
	for _, entry := range entries {
		if entry.IsDir() && strings.HasPrefix(entry.Name(), prefix) {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

package xsk

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Attachment is the program of a bridge on one interface, as it is pinned: with or without a process that reads the interface. Its
// methods are for one goroutine.
type Attachment struct {
	Interface string // "" if it is gone
	Index     int
	Pinned    string // the directory
	// Err says why the rest is not known: the error is [ErrForeignPin] for what an older or newer version, or somebody else, has pinned.
	Err error
	// Read is true while a process reads the interface. It may have stopped, or hang.
	Read      bool
	Bypass    bool // by hand: see SetBypass
	OnFailure Failure
	Patience  time.Duration // after which frames go past a process that hangs (FailOpen)
	Peer      string        // interface by which frames leave; "" if there is none
	Unread    Unread        // since the program was attached
}

// Attachments returns what is pinned in a BPF file system for interfaces of the network namespace of the
// calling thread; if there are names, of those interfaces and their peers. It changes nothing.
func Attachments(bpffs string, names ...string) (list []*Attachment, err error) {
	queries, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	defer queries.Close()
	namespace, err := pinNamespace()
	if err != nil {
		return nil, err
	}
	wanted := make(map[int]bool)
	for _, name := range names {
		found, err := queries.LinkByName(name)
		if notFound(err) {
			return nil, fmt.Errorf("%w: %s", ErrInterfaceMissing, name)
		}
		if err != nil {
			return nil, fmt.Errorf("look up %s: %w", name, err)
		}
		wanted[found.Attrs().Index] = true
	}
	root, err := pinRoot(bpffs)
	if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrNoBPFFS) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	directories, err := pinNames(root, namespace)
	if err != nil {
		return nil, err
	}
	for _, directory := range directories {
		index, err := strconv.Atoi(strings.TrimPrefix(directory, namespace))
		if err != nil {
			continue
		}
		a := &Attachment{Index: index, Pinned: filepath.Join(root, directory)}
		a.read(queries)
		list = append(list, a)
	}
	if len(names) == 0 {
		return list, nil
	}
	peers := make(map[string]bool)
	for _, a := range list {
		if wanted[a.Index] && a.Peer != "" {
			peers[a.Peer] = true
		}
	}
	return slices.DeleteFunc(list, func(a *Attachment) bool { return !wanted[a.Index] && !peers[a.Interface] }), nil
}

// read finds out what is pinned.
func (a *Attachment) read(queries *netlink.Handle) {
	found, err := loadPinned(a.Pinned)
	if err != nil || found == nil {
		a.Interface, a.Err = nameOf(queries, a.Index), err
		return
	}
	defer func() { a.Err = errors.Join(a.Err, found.close()) }()
	a.Interface = nameOf(queries, found.index)
	a.Read = locked(a.Pinned)
	a.Bypass = atomic.LoadUint32(&found.control.Bypass) != 0
	if found.layout != controlLayout {
		a.Err = fmt.Errorf("%s %w: its layout is %d, and this version knows %d", a.Pinned, ErrForeignPin, found.layout, controlLayout)
		return
	}
	if atomic.LoadUint32(&found.control.Open) != 0 {
		a.OnFailure = FailOpen
	}
	a.Peer = nameOf(queries, int(atomic.LoadUint32(&found.control.Peer)))
	counts, err := readUnread(found.unread)
	a.Unread = counts.since(new(unreadCounts))
	a.Unread.PastNotSent = atomic.LoadUint64(&found.control.Lost)
	if went := counts.past(); err == nil && went != a.Unread.PastSent+a.Unread.PastNotSent {
		waitForPrograms() // some may be on their way
		if counts, err = readUnread(found.unread); err == nil {
			a.Unread.PastNotSent = max(a.Unread.PastNotSent, went-min(counts[tapFatePAST_SENT], went))
		}
	}
	a.Err = err
	if jiffy, err := tick(); err == nil {
		a.Patience = time.Duration(atomic.LoadUint64(&found.control.Patience)) * jiffy
	}
}

func nameOf(queries *netlink.Handle, index int) string {
	found, err := queries.LinkByIndex(index)
	if err != nil {
		return ""
	}
	return found.Attrs().Name
}

// locked reports whether a process holds the lock of a directory.
func locked(path string) bool {
	p, err := tryLockPin(path, false)
	if err == nil {
		p.unlock()
	}
	return errors.Is(err, ErrInUse)
}

// SetBypass makes every frame go to the peer, whether or not a process reads the interface, or ends that. It stays so until it is
// ended, also for processes that come later.
func (a *Attachment) SetBypass(on bool) error {
	found, err := loadPinned(a.Pinned)
	if err != nil {
		return err
	}
	if found == nil {
		return fmt.Errorf("%s: no program is pinned", a.Pinned)
	}
	var value uint32
	if on {
		value = 1
	}
	atomic.StoreUint32(&found.control.Bypass, value)
	a.Bypass = on
	return found.close()
}

// Remove takes the program off the interface, and all that was set for it. The error is [ErrInUse] if a process reads the interface,
// unless it is forced.
func (a *Attachment) Remove(force bool) error {
	p, err := lockPin(a.Pinned, false, busyPatience)
	if force && errors.Is(err, ErrInUse) {
		p, err = openPin(a.Pinned)
	}
	if err != nil {
		return err
	}
	found, err := p.load()
	if err != nil && !force {
		p.unlock()
		return err
	}
	if found == nil {
		return p.remove() // of what is not understood the pins alone hold it there
	}
	queries, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		p.unlock()
		return errors.Join(fmt.Errorf("open rtnetlink: %w", err), found.close())
	}
	defer queries.Close()
	if err := found.detach(queries); err != nil {
		p.unlock()
		return errors.Join(err, found.close())
	}
	return errors.Join(p.remove(), found.close())
}

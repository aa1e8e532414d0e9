package xsk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Link is what is known about the interface.
type Link struct {
	Name   string // as it is now: an interface can be renamed
	Index  int
	MTU    int  // bytes, without the Ethernet header
	On     bool // switched on
	Up     bool // switched on, and the carrier is there
	Queues int  // receive queues in use
	Gone   bool // deleted or moved away; the rest is what was known last

	program uint32 // that is attached; 0 = none
}

// linkPeriod is how often the link is looked at without a message: the kernel sends none about the number of queues.
const linkPeriod = time.Second

// linkWatch knows one interface, from one goroutine of its own, which ends in close. It works in the network namespace in
// which it was opened, whatever the thread.
type linkWatch struct {
	messages *os.File // rtnetlink, subscribed to link changes
	queries  *netlink.Handle
	ethtool  *ethtool
	changes  chan struct{} // of length 1: a change that was not received yet
	started  bool
	done     chan struct{} // the goroutine has ended

	mu   sync.Mutex
	link Link

	// Of link, for those who ask for each batch.
	up  atomic.Bool
	mtu atomic.Int64
}

// openLinkWatch finds an interface and subscribes to what happens to it. Until start, its
// descriptors are the caller's.
func openLinkWatch(name string) (*linkWatch, netlink.Link, error) {
	w := &linkWatch{changes: make(chan struct{}, 1), done: make(chan struct{})}
	found, err := w.open(name)
	if err != nil {
		return nil, nil, errors.Join(err, w.closeDescriptors())
	}
	return w, found, nil
}

func (w *linkWatch) open(name string) (found netlink.Link, err error) {
	// Subscribe first: what happens after the look below is then a message.
	if w.messages, err = subscribeLinks(); err != nil {
		return nil, err
	}
	if w.queries, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	if w.ethtool, err = openEthtool(); err != nil {
		return nil, err
	}
	found, err = w.queries.LinkByName(name)
	if notFound(err) {
		return nil, fmt.Errorf("%w: %s", ErrInterfaceMissing, name)
	}
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", name, err)
	}
	w.set(func(l *Link) { *l = w.describe(found) })
	<-w.changes // nobody waits for the first
	return found, nil
}

// start starts the goroutine. gone is called once, from it, when the interface has gone.
func (w *linkWatch) start(gone func()) {
	w.started = true
	go func() {
		defer close(w.done)
		buffer := make([]byte, 1<<16)
		due := time.Now().Add(linkPeriod) // messages about others do not put it off
		for {
			if err := w.messages.SetReadDeadline(due); err != nil {
				return // closed
			}
			n, err := w.messages.Read(buffer)
			if errors.Is(err, os.ErrClosed) {
				return
			}
			relevant, deleted := true, false // on a timeout, and if messages were lost, too
			if err == nil {
				relevant, deleted = linkMessage(buffer[:n], w.current().Index)
			}
			if !relevant {
				continue
			}
			due = time.Now().Add(linkPeriod)
			if deleted || !w.refresh() {
				w.set(func(l *Link) { l.Gone, l.Up = true, false })
				gone()
				return
			}
		}
	}()
}

// close ends the goroutine, if there is one, and waits for it.
func (w *linkWatch) close() error {
	err := w.messages.Close()
	if w.started {
		<-w.done
	}
	w.messages = nil
	return errors.Join(err, w.closeDescriptors())
}

func (w *linkWatch) closeDescriptors() error {
	var errs []error
	if w.messages != nil {
		errs = append(errs, w.messages.Close())
	}
	if w.queries != nil {
		w.queries.Close()
	}
	if w.ethtool != nil {
		errs = append(errs, w.ethtool.close())
	}
	return errors.Join(errs...)
}

func (w *linkWatch) current() Link {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.link
}

// refresh looks at the interface again. It reports false if it has gone.
func (w *linkWatch) refresh() bool {
	found, err := w.queries.LinkByIndex(w.current().Index)
	if notFound(err) {
		return false
	}
	if err != nil {
		return true // unknown; the next turn asks again
	}
	now := w.describe(found)
	w.set(func(l *Link) { *l = now })
	return true
}

// set changes what is known and announces it if it is different.
func (w *linkWatch) set(change func(*Link)) {
	w.mu.Lock()
	before := w.link
	change(&w.link)
	w.up.Store(w.link.Up)
	w.mtu.Store(int64(w.link.MTU))
	changed := w.link != before
	w.mu.Unlock()
	if !changed {
		return
	}
	select {
	case w.changes <- struct{}{}:
	default: // one is announced already, and whoever takes it will see this one too
	}
}

func (w *linkWatch) describe(found netlink.Link) Link {
	attrs := found.Attrs()
	program, _ := attachedProgram(found)
	return Link{
		program: program,

		Name:   attrs.Name,
		Index:  attrs.Index,
		MTU:    attrs.MTU,
		On:     attrs.Flags&net.FlagUp != 0,
		Up:     attrs.Flags&net.FlagUp != 0 && attrs.RawFlags&unix.IFF_LOWER_UP != 0,
		Queues: w.ethtool.receiveQueues(attrs.Name, max(1, attrs.NumRxQueues)),
	}
}

// subscribeLinks returns a socket that gets a message for every change of any link, and whose reads end when it is closed.
func subscribeLinks() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK}); err != nil {
		_ = unix.Close(fd) // nothing was done with it
		return nil, fmt.Errorf("subscribe to link changes: %w", err)
	}
	return os.NewFile(uintptr(fd), "rtnetlink"), nil
}

// linkMessage reports whether a datagram says anything about the interface with this index, and whether it says that it
// was deleted.
func linkMessage(datagram []byte, index int) (relevant, deleted bool) {
	messages, err := syscall.ParseNetlinkMessage(datagram)
	if err != nil {
		return true, false // truncated or malformed: look at the link
	}
	for _, m := range messages {
		if len(m.Data) < unix.SizeofIfInfomsg {
			continue
		}
		family, about := m.Data[0], int(int32(binary.NativeEndian.Uint32(m.Data[4:])))
		if about != index {
			continue
		}
		relevant = true
		// A bridge that lets go of a port announces it as a deletion as well, in a family of its own.
		deleted = deleted || m.Header.Type == unix.RTM_DELLINK && family == unix.AF_UNSPEC
	}
	return relevant, deleted
}

func notFound(err error) bool {
	var missing netlink.LinkNotFoundError
	return errors.As(err, &missing) || errors.Is(err, unix.ENODEV)
}

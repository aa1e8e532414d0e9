package afpacket

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/memory"
	"github.com/rtflow/pipelined/internal/monotonic"
	"github.com/rtflow/pipelined/internal/namespace"
)

// Config says what to read.
type Config struct {
	Interfaces []Interface
	Workers    int  // queues, each with a socket on every interface
	RingSize   int  // bytes of the ring of one socket
	SnapLength int  // bytes of a packet that are read
	Incoming   bool // packets that leave by an interface are not read
	// Promiscuous receives what is addressed to other stations.
	Promiscuous bool
	// Warn is told, from a goroutine of the source, what an operator should know when it happens: a message and pairs of
	// key and value. May be nil.
	Warn func(msg string, args ...any)
	// Info is Warn for what is nothing wrong: an optional interface has come or gone. May be nil.
	Info func(msg string, args ...any)
}

// Interface is an interface to read.
type Interface struct {
	Name string
	ID   uint32 // of its frames, see [packet.Frame.Interface]
	// Optional is an interface that comes and goes, such as that of a VPN. It need not be there when the source is opened, and while it is
	// not there, or is down, nothing is wrong.
	Optional bool
}

// retryPeriod is how often an interface is looked for that is not there or could not be opened.
const retryPeriod = time.Second

// Source is an open source. Its methods are safe for concurrent use.
type Source struct {
	config    Config
	clock     monotonic.Clock
	namespace *namespace.Namespace
	queues    []*Queue
	messages  *os.File // rtnetlink, subscribed to link changes
	queries   *netlink.Handle
	stopped   chan struct{} // the goroutine has ended
	closing   sync.Once
	closeErr  error

	mu    sync.Mutex
	links []*link
}

// link is one interface of the source. The sockets belong to the source's goroutine, the state to whoever holds the lock.
type link struct {
	Interface
	sockets []*socket // one per queue; nil while the interface is not read
	index   int
	state   State
	missing bool // there is no such interface
}

// Open opens the source in the network namespace of the calling thread, in which it looks for its interfaces later, too. An
// interface that does not exist is an error, unless it is optional; one that is down is read when it comes up.
func Open(config Config) (_ *Source, err error) {
	if config.Warn == nil {
		config.Warn = func(string, ...any) {}
	}
	if config.Info == nil {
		config.Info = func(string, ...any) {}
	}
	if err := config.checkMemory(memory.Available()); err != nil {
		return nil, err
	}
	s := &Source{config: config, stopped: make(chan struct{})}
	for _, i := range config.Interfaces {
		s.links = append(s.links, &link{Interface: i, state: State{Interface: i.Name, Since: time.Now()}})
	}
	if s.clock, err = monotonic.New(); err != nil {
		return nil, err
	}
	if s.namespace, err = namespace.Current(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.release())
		}
	}()
	// Subscribe first: what happens after the look below is then a message.
	if s.messages, err = subscribeLinks(); err != nil {
		return nil, err
	}
	if s.queries, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	for range config.Workers {
		q, err := newQueue(&s.clock, config.Warn)
		if err != nil {
			return nil, err
		}
		s.queues = append(s.queues, q)
	}
	for _, l := range s.links {
		err := s.find(l)
		if l.Optional && errors.Is(err, ErrInterfaceMissing) {
			s.become(l, Waiting, err)
			s.tell(l, "interface is not there; it is read when it appears")
			continue
		}
		if err != nil {
			return nil, err
		}
		if l.sockets == nil {
			s.tell(l, "interface is down; it is read when it comes up")
		}
	}
	s.attach()
	go s.run()
	return s, nil
}

// rings returns how many bytes all rings take.
func (c *Config) rings() int64 {
	return int64(c.Workers) * int64(len(c.Interfaces)) * int64(c.RingSize)
}

// checkMemory returns an error if the rings do not fit into what is left: the kernel would take the memory of everybody else for them, as it
// does not swap them out.
func (c *Config) checkMemory(left memory.Left) error {
	if rings := c.rings(); rings > left.Bytes {
		return fmt.Errorf("%w: %d workers, %d interfaces, each a ring of %d MiB, are %d MiB, and %d MiB are left (%s)",
			ErrMemory, c.Workers, len(c.Interfaces), c.RingSize>>20, rings>>20, left.Bytes>>20, left.Limit)
	}
	return nil
}

// Queues returns the queues, each for one worker. Both directions of a flow come from the same one, on whichever interfaces
// they are seen, as long as no address or port is translated in between.
func (s *Source) Queues() []*Queue { return slices.Clone(s.queues) }

// Close closes the sockets. The workers have stopped. Closing twice returns the same error twice.
func (s *Source) Close() error {
	s.closing.Do(func() {
		err := s.messages.Close() // ends the goroutine
		<-s.stopped
		s.messages = nil
		s.closeErr = errors.Join(err, s.release())
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, l := range s.links {
			l.state.become(Closed, nil)
		}
	})
	return s.closeErr
}

// release closes what is open. The source's goroutine does not run.
func (s *Source) release() error {
	var errs []error
	s.attach() // the queues close what they were given
	for _, q := range s.queues {
		errs = append(errs, q.close())
	}
	if s.messages != nil {
		errs = append(errs, s.messages.Close())
	}
	if s.queries != nil {
		s.queries.Close()
	}
	return errors.Join(append(errs, s.namespace.Close())...)
}

// run follows the interfaces until Close.
func (s *Source) run() {
	defer close(s.stopped)
	buffer := make([]byte, 1<<16)
	for {
		var deadline time.Time // none
		if slices.ContainsFunc(s.links, func(l *link) bool { return l.sockets == nil }) {
			deadline = time.Now().Add(retryPeriod)
		}
		if err := s.messages.SetReadDeadline(deadline); err != nil {
			return // closed
		}
		// What a message says is not looked at: after a timeout, and if messages were lost, there is as much to do.
		if _, err := s.messages.Read(buffer); errors.Is(err, os.ErrClosed) {
			return
		}
		changed := false
		for _, l := range s.links {
			changed = s.look(l) || changed
		}
		for _, l := range s.links { // behind all looks: a name may have gone from one to another
			changed = s.seek(l) || changed
		}
		if changed {
			s.attach()
		}
	}
}

// look looks at an interface that is read, and reports whether it is not read any longer.
func (s *Source) look(l *link) (left bool) {
	if l.sockets == nil {
		return false
	}
	found, err := s.queries.LinkByIndex(l.index)
	news := "interface has gone"
	switch {
	case !l.sockets[0].bound(): // one that came back meanwhile may have the same index, as it has from another network namespace
	case err == nil && !s.nameTaken(l, found.Attrs()):
		s.note(l, found)
		return false
	case err == nil:
		news = "interface was renamed, and is not read under its former name any longer"
		for _, open := range l.sockets {
			if err := open.cut(0, false); err != nil { // what is in the ring is read; what comes is the other's
				s.config.Warn("a packet socket cannot be shut", "interface", l.Name, "error", err)
			}
		}
	case !isMissing(err):
		return false // nothing new; the next look asks again
	}
	l.sockets = nil // the queues close them
	s.mu.Lock()
	l.state.Renamed = ""
	s.mu.Unlock()
	s.become(l, Waiting, fmt.Errorf("%w: %s", ErrInterfaceMissing, l.Name))
	s.tell(l, news)
	return true
}

// nameTaken reports whether an interface that is read has lost its name, and either has a name that the source reads another one by, or
// its former name is another interface's. Otherwise one that is renamed stays what it was.
func (s *Source) nameTaken(l *link, attrs *netlink.LinkAttrs) bool {
	if hasName(attrs, l.Name) {
		return false
	}
	if slices.ContainsFunc(s.links, func(other *link) bool { return hasName(attrs, other.Name) }) {
		return true
	}
	_, err := s.queries.LinkByName(l.Name)
	return err == nil
}

func hasName(attrs *netlink.LinkAttrs, name string) bool {
	return attrs.Name == name || slices.Contains(attrs.AltNames, name)
}

// seek looks for an interface that is not read, and reports whether it is now.
func (s *Source) seek(l *link) (found bool) {
	if l.sockets != nil {
		return false
	}
	if err := s.find(l); err != nil {
		if s.become(l, Waiting, err) && !errors.Is(err, ErrInterfaceMissing) {
			s.config.Warn("interface cannot be opened yet", "interface", l.Name, "error", err)
		}
	}
	return l.sockets != nil
}

// find looks an interface up by its name and opens it if it is up.
func (s *Source) find(l *link) error {
	found, err := s.queries.LinkByName(l.Name)
	if isMissing(err) {
		return fmt.Errorf("%w: %s", ErrInterfaceMissing, l.Name)
	}
	if err != nil {
		return fmt.Errorf("look up %s: %w", l.Name, err)
	}
	if found.Attrs().RawFlags&unix.IFF_UP == 0 {
		s.become(l, Down, nil)
		return nil
	}
	index := found.Attrs().Index
	if i := slices.IndexFunc(s.links, func(other *link) bool { return other.sockets != nil && other.index == index }); i >= 0 {
		return fmt.Errorf("%w: %s and %s are names of one interface", ErrReadTwice, s.links[i].Name, l.Name)
	}
	var sockets []*socket
	if nsErr := s.namespace.Run(func() { sockets, err = s.open(l, found.Attrs()) }); nsErr != nil {
		err = errors.Join(err, nsErr)
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", l.Name, err)
	}
	l.sockets, l.index = sockets, index
	s.mu.Lock()
	opened := l.state.Opened
	l.state.Opened++
	s.mu.Unlock()
	s.note(l, found)
	if opened > 0 {
		s.tell(l, "interface is read again")
	}
	return nil
}

// open opens a socket per queue on an interface that is up.
func (s *Source) open(l *link, attrs *netlink.LinkAttrs) (_ []*socket, err error) {
	var sockets []*socket
	// What leaves by the loopback interface comes in on it.
	incoming := s.config.Incoming || attrs.RawFlags&unix.IFF_LOOPBACK != 0
	defer func() {
		if err != nil {
			for _, opened := range sockets {
				err = errors.Join(err, opened.close())
			}
		}
	}()
	for range s.queues {
		opened, err := openSocket(socketOptions{
			index: attrs.Index, id: l.ID, ringSize: s.config.RingSize, blockSize: blockSize(s.config.SnapLength), incoming: incoming,
			promiscuous: s.config.Promiscuous,
		})
		if err != nil {
			return nil, err
		}
		sockets = append(sockets, opened)
		if err := opened.bind(); err != nil {
			return nil, err
		}
	}
	if err := join(sockets, incoming); err != nil {
		return nil, err
	}
	for _, opened := range sockets { // from here on, and not before they share the packets
		if err := opened.cut(s.config.SnapLength, incoming); err != nil {
			return nil, err
		}
	}
	return sockets, nil
}

// attach shares the sockets out to the queues.
func (s *Source) attach() {
	for i, q := range s.queues {
		a := new(attachment)
		for _, l := range s.links {
			if l.sockets != nil {
				a.sockets = append(a.sockets, l.sockets[i])
			}
		}
		q.attach(a)
	}
}

// note keeps the state of an interface that is read.
func (s *Source) note(l *link, found netlink.Link) {
	attrs := found.Attrs()
	condition := Up
	if attrs.RawFlags&unix.IFF_UP == 0 || attrs.RawFlags&unix.IFF_RUNNING == 0 {
		condition = Down
	}
	renamed := ""
	if !hasName(attrs, l.Name) {
		renamed = attrs.Name
	}
	s.mu.Lock()
	news := l.state.Renamed != renamed
	l.state.Index, l.state.MTU, l.state.Renamed = attrs.Index, attrs.MTU, renamed
	s.mu.Unlock()
	if news {
		s.config.Warn("interface has another name now", "interface", l.Name, "name", attrs.Name)
	}
	if s.become(l, condition, nil) {
		s.tell(l, "interface is "+string(condition))
	}
}

// tell says what has become of an interface, which is nothing wrong with an optional one.
func (s *Source) tell(l *link, news string) {
	say := s.config.Warn
	if l.Optional {
		say = s.config.Info
	}
	say(news, "interface", l.Name)
}

// become sets what an interface is doing, and reports whether that, or the reason for it, is another one than before.
func (s *Source) become(l *link, c Condition, reason error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := l.state.Condition == ""
	l.missing = errors.Is(reason, ErrInterfaceMissing)
	return l.state.become(c, reason) && !first
}

func subscribeLinks() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK}); err != nil {
		return nil, errors.Join(fmt.Errorf("subscribe to changes of interfaces: %w", err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "rtnetlink"), nil
}

func isMissing(err error) bool {
	var missing netlink.LinkNotFoundError
	return errors.As(err, &missing)
}

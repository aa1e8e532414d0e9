package routes

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/zone"
)

const (
	// collect is how long changes are collected before they are applied: an interface that comes up, or a routing daemon that
	// starts, makes many.
	collect = 200 * time.Millisecond
	// pause is for how many times as long as the last reading took nothing is read: reading takes about a tenth of a CPU at most.
	pause = 10
	// retry is when reading is tried again after it has failed.
	retry = 5 * time.Second
	// maxRoutes is how many routes are read. It bounds the memory while they are, at 24 bytes each.
	maxRoutes = 8 << 20
	// maxContested is how many prefixes are remembered that have several routes, to several zones.
	maxContested = 1 << 16
)

// Config says what to follow.
type Config struct {
	Zones  *zone.Table
	Routes bool // false: interfaces alone
	// Warn is told, from the follower's goroutine, what an operator should know: a message and pairs of key and value. May be nil.
	Warn func(msg string, args ...any)
	// Applied, if set, is called from the follower's goroutine when what it has read is in the table.
	Applied func()
}

// Status is what the follower knows and has done.
type Status struct {
	Routes     int       `json:"count"`             // that tell the zone of addresses, in the kernel
	Prefixes   int       `json:"prefixes"`          // that are kept of them: none has the zone of the next shorter one
	Zones      int       `json:"zones"`             // that routes lead to
	Interfaces int       `json:"interfaces"`        // that the kernel has
	Updated    time.Time `json:"updated,omitzero"`  // when they were last read
	Reads      uint64    `json:"reads"`             // how often
	Seconds    float64   `json:"seconds"`           // that the last time took
	Overruns   uint64    `json:"overruns"`          // how often the kernel had changes that did not fit into the socket
	Error      string    `json:"error,omitempty"`   // why they cannot be read just now
	Since      time.Time `json:"error_at,omitzero"` // since when
}

// Follower keeps a zone table in step with the kernel. Its methods are safe for concurrent use.
type Follower struct {
	config  Config
	changes *socket
	queries *socket
	stopped chan struct{} // the goroutine has ended
	closed  chan struct{}
	closing sync.Once
	err     error

	// Of the goroutine.
	links     map[uint32]link
	hops      map[uint32]hop
	last      map[uint8]int         // how many routes of a family there were
	contested map[netip.Prefix]bool // have routes to several zones; nil: there are too many
	due       time.Time             // when to read; zero: nothing has changed
	notBefore time.Time             // the pause after the last reading

	mu     sync.Mutex
	status Status
}

// Open reads interfaces and routes of the network namespace of the calling thread into the table, and follows them until Close. What it
// cannot read it tries again later.
func Open(config Config) (*Follower, error) {
	f, err := open(config)
	if err != nil {
		return nil, err
	}
	f.read(time.Now())
	go f.run()
	return f, nil
}

// open opens the sockets of a follower that neither reads nor runs yet.
func open(config Config) (*Follower, error) {
	if config.Warn == nil {
		config.Warn = func(string, ...any) {}
	}
	f := &Follower{
		config: config, stopped: make(chan struct{}), closed: make(chan struct{}),
		links: make(map[uint32]link), hops: make(map[uint32]hop), last: make(map[uint8]int),
	}
	groups := uint32(unix.RTMGRP_LINK)
	if config.Routes {
		const nextHops = 1 << (unix.RTNLGRP_NEXTHOP - 1)
		groups |= unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE | unix.RTMGRP_IPV4_IFADDR | nextHops
	}
	// Subscribe first: what happens while all is read is then a message.
	var err error
	if f.changes, err = openSocket(groups); err != nil {
		return nil, err
	}
	if f.queries, err = openSocket(0); err != nil {
		return nil, errors.Join(err, f.changes.close())
	}
	return f, nil
}

// Close ends the follower. The table keeps what it has. Closing twice returns the same error twice.
func (f *Follower) Close() error {
	f.closing.Do(func() {
		close(f.closed)
		f.err = errors.Join(f.changes.close(), f.queries.close())
		<-f.stopped
	})
	return f.err
}

func (f *Follower) isClosed() bool {
	select {
	case <-f.closed:
		return true
	default:
		return false
	}
}

// Status returns what the follower knows.
func (f *Follower) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}

// run takes changes and reads everything when some are due, until Close.
func (f *Follower) run() {
	defer close(f.stopped)
	for {
		datagram, err := f.changes.receive(f.due)
		now := time.Now()
		switch {
		case err == nil:
			if f.matter(datagram) {
				f.changed(now)
			}
		case f.isClosed():
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
		case errors.Is(err, unix.ENOBUFS):
			f.mu.Lock()
			f.status.Overruns++
			f.mu.Unlock()
			f.changed(now)
		default:
			f.failed(now, fmt.Errorf("follow the kernel's routes: %w", err))
			select {
			case <-time.After(retry): // it may fail again at once
			case <-f.closed:
				return
			}
			now = time.Now()
			f.due = now
		}
		if !f.due.IsZero() && !now.Before(f.due) {
			f.read(now)
		}
	}
}

// changed has everything read when more changes have been collected and the pause is over.
func (f *Follower) changed(now time.Time) {
	if !f.due.IsZero() {
		return
	}
	if f.due = now.Add(collect); f.due.Before(f.notBefore) {
		f.due = f.notBefore
	}
}

// rest begins the pause after a reading.
func (f *Follower) rest(began, ended time.Time) {
	f.due = time.Time{}
	f.notBefore = ended.Add(pause * ended.Sub(began))
}

// read reads everything and puts it into the table.
func (f *Follower) read(began time.Time) {
	status, complete, err := f.readAll()
	ended := time.Now()
	f.rest(began, ended)
	if err != nil {
		if !f.isClosed() {
			f.failed(ended, err)
		}
		return
	}
	if !complete {
		f.changed(ended)
	}
	f.mu.Lock()
	failed := f.status.Error != ""
	status.Reads, status.Overruns = f.status.Reads+1, f.status.Overruns
	status.Updated, status.Seconds = ended, ended.Sub(began).Seconds()
	f.status = status
	f.mu.Unlock()
	if failed {
		f.config.Warn("interfaces and routes are followed again")
	}
	if f.config.Applied != nil {
		f.config.Applied()
	}
}

// failed keeps an error for the status and has everything read later.
func (f *Follower) failed(now time.Time, err error) {
	f.due = now.Add(retry)
	f.mu.Lock()
	first := f.status.Error == ""
	if first {
		f.status.Since = now
	}
	f.status.Error = err.Error()
	f.mu.Unlock()
	if first {
		f.config.Warn("interfaces and routes cannot be read: zones stay as they are", "err", err)
	}
}

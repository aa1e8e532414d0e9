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

// readAll reads interfaces and routes into the table. complete is false if things changed meanwhile.
func (f *Follower) readAll() (status Status, complete bool, err error) {
	if complete, err = f.readLinks(); err != nil {
		return status, false, fmt.Errorf("read interfaces: %w", err)
	}
	status.Interfaces = len(f.links)
	if !f.config.Routes {
		return status, complete, nil
	}
	settled, err := f.readHops()
	if err != nil {
		return status, false, fmt.Errorf("read next hops: %w", err)
	}
	complete = complete && settled
	var ipv4, ipv6 []entry
	for _, of := range []struct {
		family uint8
		list   *[]entry
	}{{unix.AF_INET, &ipv4}, {unix.AF_INET6, &ipv6}} {
		if *of.list, settled, err = f.readRoutes(of.family); err != nil {
			return status, false, fmt.Errorf("read routes: %w", err)
		}
		complete = complete && settled
	}
	status.Routes = len(ipv4) + len(ipv6)
	status.Zones, status.Prefixes = f.apply(ipv4, ipv6)
	return status, complete, nil
}

// apply puts routes into the table. It returns how many zones they lead to, and how many prefixes the table has kept.
func (f *Follower) apply(ipv4, ipv6 []entry) (zones, kept int) {
	for _, p := range noZone {
		e := newEntry(p, zone.Unknown, 0, false)
		if p.Addr().Is4() {
			ipv4 = append(ipv4, e)
		} else {
			ipv6 = append(ipv6, e)
		}
	}
	f.contested = make(map[netip.Prefix]bool)
	ipv4 = settle(ipv4, func(e *entry) { f.contest(e.prefix(true)) })
	ipv6 = settle(ipv6, func(e *entry) { f.contest(e.prefix(false)) })
	led := make(map[uint16]bool)
	for _, list := range [][]entry{ipv4, ipv6} {
		for i := range list {
			led[list[i].zone] = true
		}
	}
	delete(led, zone.Unknown)
	return len(led), f.config.Zones.SetRoutes(prefixes(ipv4, ipv6))
}

// contest remembers that a prefix has routes to several zones.
func (f *Follower) contest(p netip.Prefix) {
	if f.contested == nil {
		return
	}
	if f.contested[p] = true; len(f.contested) > maxContested {
		f.contested = nil
	}
}

// readLinks reads the interfaces into the table.
func (f *Follower) readLinks() (complete bool, err error) {
	const withoutStatistics = 1 << 3 // RTEXT_FILTER_SKIP_STATS
	request := attribute(make([]byte, unix.SizeofIfInfomsg), unix.IFLA_EXT_MASK, withoutStatistics)
	before := f.links
	f.links = make(map[uint32]link, len(before))
	complete, err = f.queries.dump(unix.RTM_GETLINK, request, func(m message) {
		if l, ok := parseLink(m.body); ok && m.kind == unix.RTM_NEWLINK {
			f.keep(l, before)
		}
	})
	if err != nil {
		f.links = before
		return false, err
	}
	list := make([]zone.Link, 0, len(f.links))
	for _, l := range f.links {
		list = append(list, l.Link)
	}
	f.config.Zones.SetLinks(list)
	return complete, nil
}

// keep keeps an interface, with the name that it had among those before.
func (f *Follower) keep(l link, before map[uint32]link) {
	old := before[l.Index]
	l.Former = old.Former
	for _, name := range old.Names {
		if f.config.Zones.Index(name) != 0 {
			l.Former = name
			break
		}
	}
	f.links[l.Index] = l
}

// readHops reads the next hops that routes use by their ids.
func (f *Follower) readHops() (complete bool, err error) {
	f.hops = make(map[uint32]hop)
	complete, err = f.queries.dump(unix.RTM_GETNEXTHOP, make([]byte, unix.SizeofNhmsg), func(m message) {
		if id, h, ok := parseHop(m.body); ok && m.kind == unix.RTM_NEWNEXTHOP {
			f.hops[id] = h
		}
	})
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) {
		return true, nil // a kernel before 5.3 has none
	}
	return complete, err
}

// readRoutes reads the routes of one family.
func (f *Follower) readRoutes(family uint8) (list []entry, complete bool, err error) {
	last := f.last[family]
	list = make([]entry, 0, last+last/8+64)
	complete = true
	for _, table := range []uint32{unix.RT_TABLE_LOCAL, unix.RT_TABLE_MAIN} {
		header := make([]byte, routeHeader)
		header[0] = family
		settled, err := f.queries.dump(unix.RTM_GETROUTE, attribute(header, unix.RTA_TABLE, table), func(m message) {
			r, ok := parseRoute(m.body)
			if !ok || m.kind != unix.RTM_NEWROUTE || r.table != table || r.inactive || r.prefix.Addr().Is4() != (family == unix.AF_INET) {
				return
			}
			if len(list) < maxRoutes {
				list = append(list, newEntry(r.prefix, f.zone(&r), r.metric, table == unix.RT_TABLE_MAIN))
			}
		})
		switch {
		case errors.Is(err, unix.ENOENT): // there is no such table
		case err != nil:
			return nil, false, err
		case len(list) == maxRoutes:
			return nil, false, fmt.Errorf("more than %d", maxRoutes)
		default:
			complete = complete && settled
		}
	}
	f.last[family] = len(list)
	return list, complete, nil
}

// zone returns the zone of the addresses that a route leads to.
func (f *Follower) zone(r *route) uint16 {
	device := r.device
	if device == 0 && r.nextHop != 0 {
		h := f.hops[r.nextHop]
		if h.first != 0 {
			h = f.hops[h.first]
		}
		device = h.device
	}
	if device == 0 {
		return zone.Unknown
	}
	z, _ := f.config.Zones.ByKernel(device)
	return z
}

// matter reports whether what has changed may change the zone of an address, or what is known of an interface.
func (f *Follower) matter(datagram []byte) (matters bool) {
	for {
		m, rest, ok := nextMessage(datagram)
		if !ok {
			return matters || len(datagram) > 0
		}
		datagram = rest
		switch m.kind {
		case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
			matters = f.routeMatters(m) || matters
		case unix.RTM_NEWLINK, unix.RTM_DELLINK:
			matters = f.linkMatters(m) || matters
		case unix.RTM_NEWNEXTHOP, unix.RTM_DELNEXTHOP:
			matters = f.hopMatters(m) || matters
		case unix.RTM_DELADDR:
			matters = true // routes that have it as their source go with it, without a message
		}
	}
}

// routeMatters asks the table, which has the zones of all routes before this one, whether it changes any.
func (f *Follower) routeMatters(m message) bool {
	r, ok := parseRoute(m.body)
	if !ok || f.config.Zones.IsConfigured(r.prefix) {
		return false
	}
	if r.inactive || r.table == unix.RT_TABLE_LOCAL && !r.prefix.IsSingleIP() {
		return true // a prefix of the table local hides those of main that it contains
	}
	around, kept := f.config.Zones.Around(r.prefix)
	switch {
	case around != f.zone(&r):
		return true
	case m.kind == unix.RTM_NEWROUTE:
		return false
	}
	return kept || f.contested == nil || f.contested[r.prefix]
}

// linkMatters keeps what a message says of an interface.
func (f *Follower) linkMatters(m message) bool {
	l, ok := parseLink(m.body)
	if !ok {
		return false
	}
	old, known := f.links[l.Index]
	if m.kind == unix.RTM_DELLINK {
		delete(f.links, l.Index)
		return known
	}
	if known && old.same(&l) {
		return false
	}
	f.keep(l, f.links)
	return true
}

// hopMatters keeps what a message says of a next hop.
func (f *Follower) hopMatters(m message) bool {
	id, h, ok := parseHop(m.body)
	if !ok {
		return false
	}
	old, known := f.hops[id]
	if m.kind == unix.RTM_DELNEXTHOP {
		delete(f.hops, id)
		return known
	}
	f.hops[id] = h
	return known && old != h
}

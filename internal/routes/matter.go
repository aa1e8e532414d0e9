package routes

import (
	"golang.org/x/sys/unix"
)

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

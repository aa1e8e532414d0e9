package routes

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/zone"
)

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

package routes

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/zone"
	"github.com/rtflow/pipelined/internal/nfnetlink"
)

// message is one netlink message without its header.
type message struct {
	kind, flags uint16
	seq         uint32
	body        []byte
}

// nextMessage returns the first message of b, and what follows. ok is false if there is none, or b is malformed.
func nextMessage(b []byte) (m message, rest []byte, ok bool) {
	if len(b) < unix.SizeofNlMsghdr {
		return m, nil, false
	}
	length := int(binary.NativeEndian.Uint32(b))
	if length < unix.SizeofNlMsghdr || length > len(b) {
		return m, nil, false
	}
	m = message{
		kind: binary.NativeEndian.Uint16(b[4:]), flags: binary.NativeEndian.Uint16(b[6:]), seq: binary.NativeEndian.Uint32(b[8:]),
		body: b[unix.SizeofNlMsghdr:length],
	}
	return m, b[min(aligned(length), len(b)):], true
}

// attributes calls yield with each attribute in b. What is malformed ends it.
func attributes(b []byte, yield func(kind uint16, value []byte)) {
	for {
		kind, value, rest, ok := nfnetlink.NextAttr(b)
		if !ok {
			return
		}
		yield(kind, value)
		b = rest
	}
}

// aligned rounds up to what messages and attributes are aligned to.
func aligned(n int) int { return (n + 3) &^ 3 }

// number returns the value of an attribute that is a number of 32 bits, 0 if it is too short for one.
func number(value []byte) uint32 {
	if len(value) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(value)
}

// text returns the value of an attribute that is a string.
func text(value []byte) string { return unix.ByteSliceToString(value) }

// route is what a message says of a route.
type route struct {
	prefix   netip.Prefix
	table    uint32
	metric   uint32
	device   uint32 // 0: none
	nextHop  uint32 // id of the next hop, or group of them, that it uses; 0: none
	nowhere  bool   // it is no way to anywhere: a black hole, or unreachable
	inactive bool   // the kernel does not use it at present
}

const (
	routeHeader = unix.SizeofRtMsg
	hopHeader   = unix.SizeofRtNexthop

	nextHopID = 30 // RTA_NH_ID
)

// parseRoute reads a route message. ok is false for what is no route that packets without a type of service, from anywhere, take
// by one of the tables that are followed; and for what goes to addresses that no route tells the zone of, see noZone.
func parseRoute(body []byte) (r route, ok bool) {
	if len(body) < routeHeader {
		return r, false
	}
	family, bits, sourceBits, service := body[0], int(body[1]), body[2], body[3]
	kind, flags := body[7], binary.NativeEndian.Uint32(body[8:])
	if sourceBits != 0 || service != 0 || flags&unix.RTM_F_CLONED != 0 || kind == unix.RTN_MULTICAST {
		return r, false
	}
	var addr netip.Addr
	switch family {
	case unix.AF_INET:
		addr = netip.IPv4Unspecified()
	case unix.AF_INET6:
		addr = netip.IPv6Unspecified()
	default:
		return r, false
	}
	r.table = uint32(body[4])
	r.inactive = flags&unix.RTNH_F_DEAD != 0
	attributes(body[routeHeader:], func(kind uint16, value []byte) {
		switch kind {
		case unix.RTA_DST:
			if a, ok := netip.AddrFromSlice(value); ok && a.BitLen() == addr.BitLen() {
				addr = a
			}
		case unix.RTA_TABLE:
			r.table = number(value)
		case unix.RTA_PRIORITY:
			r.metric = number(value)
		case unix.RTA_OIF:
			r.device = number(value)
		case nextHopID:
			r.nextHop = number(value)
		case unix.RTA_MULTIPATH:
			r.device, r.inactive = firstHop(value)
		}
	})
	if r.table != unix.RT_TABLE_MAIN && r.table != unix.RT_TABLE_LOCAL {
		return r, false
	}
	switch kind {
	case unix.RTN_UNICAST, unix.RTN_LOCAL, unix.RTN_BROADCAST, unix.RTN_ANYCAST:
	default:
		r.nowhere, r.device, r.nextHop = true, 0, 0
	}
	var err error
	if r.prefix, err = addr.Prefix(bits); err != nil {
		return r, false
	}
	return r, !inNoZone(r.prefix)
}

// firstHop returns the interface of the first next hop that the kernel uses.
func firstHop(hops []byte) (device uint32, inactive bool) {
	for len(hops) >= hopHeader {
		length := int(binary.NativeEndian.Uint16(hops))
		if length < hopHeader || length > len(hops) {
			break
		}
		if hops[2]&unix.RTNH_F_DEAD == 0 {
			return binary.NativeEndian.Uint32(hops[4:]), false
		}
		hops = hops[min(aligned(length), len(hops)):]
	}
	return 0, true
}

// noZone are prefixes of which no route tells the zone: addresses that mean something on one interface only, and groups.
var noZone = [...]netip.Prefix{
	netip.MustParsePrefix("224.0.0.0/4"), netip.MustParsePrefix("255.255.255.255/32"),
	netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff00::/8"),
}

func inNoZone(p netip.Prefix) bool {
	for _, around := range noZone {
		if around.Bits() <= p.Bits() && around.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

// link is what a message says of an interface.
type link struct {
	zone.Link
	flags uint32 // those that decide whether routes by it are used
}

// same reports whether two messages say the same of an interface.
func (l *link) same(o *link) bool {
	return slices.Equal(l.Names, o.Names) && l.Parent == o.Parent && l.Tag == o.Tag && l.flags == o.flags
}

// parseLink reads a link message. ok is false for what is none, such as one about a port of a bridge.
func parseLink(body []byte) (l link, ok bool) {
	if len(body) < unix.SizeofIfInfomsg || body[0] != unix.AF_UNSPEC {
		return l, false
	}
	l.Index = binary.NativeEndian.Uint32(body[4:])
	l.flags = binary.NativeEndian.Uint32(body[8:]) & (unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOWER_UP)
	var parent uint32
	elsewhere := false // the parent is in another network namespace
	attributes(body[unix.SizeofIfInfomsg:], func(kind uint16, value []byte) {
		switch kind {
		case unix.IFLA_IFNAME:
			l.Names = append([]string{text(value)}, l.Names...)
		case unix.IFLA_PROP_LIST:
			attributes(value, func(kind uint16, value []byte) {
				if kind == unix.IFLA_ALT_IFNAME {
					l.Names = append(l.Names, text(value))
				}
			})
		case unix.IFLA_LINK:
			parent = number(value)
		case unix.IFLA_LINK_NETNSID:
			elsewhere = true
		case unix.IFLA_LINKINFO:
			l.Tag = vlanTag(value)
		}
	})
	if l.Tag != 0 && !elsewhere {
		l.Parent = parent
	}
	return l, l.Index != 0
}

// vlanTag returns the VLAN of a VLAN device, 0 for another one.
func vlanTag(info []byte) (tag uint16) {
	isVLAN := false
	var data []byte
	attributes(info, func(kind uint16, value []byte) {
		switch kind {
		case unix.IFLA_INFO_KIND:
			isVLAN = text(value) == "vlan"
		case unix.IFLA_INFO_DATA:
			data = value
		}
	})
	if isVLAN {
		attributes(data, func(kind uint16, value []byte) {
			if kind == unix.IFLA_VLAN_ID && len(value) >= 2 {
				tag = binary.NativeEndian.Uint16(value)
			}
		})
	}
	return tag
}

// hop is a next hop that routes use by its id.
type hop struct {
	device uint32 // 0: it leads nowhere
	first  uint32 // of a group: the id of its first
}

// parseHop reads a message about a next hop.
func parseHop(body []byte) (id uint32, h hop, ok bool) {
	if len(body) < unix.SizeofNhmsg {
		return 0, h, false
	}
	attributes(body[unix.SizeofNhmsg:], func(kind uint16, value []byte) {
		switch kind {
		case unix.NHA_ID:
			id = number(value)
		case unix.NHA_OIF:
			h.device = number(value)
		case unix.NHA_GROUP:
			h.first = number(value)
		}
	})
	return id, h, id != 0
}

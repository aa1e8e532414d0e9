package routes

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/zone"
)

// FuzzDatagram has the follower look at any bytes. Whatever they are, it reads no further than they go, and the table can take what
// it has made of them.
func FuzzDatagram(f *testing.F) {
	f.Add(routeMessage(unix.RTM_NEWROUTE, modelRoute{prefix: netip.MustParsePrefix("10.0.0.0/25"), main: true, metric: 7, device: 3}))
	f.Add(routeMessage(unix.RTM_DELROUTE, modelRoute{prefix: netip.MustParsePrefix("2001:db8::/61"), device: 1}))
	f.Add(routeMessage(unix.RTM_NEWROUTE, modelRoute{prefix: netip.MustParsePrefix("::ffff:10.0.0.0/120"), device: 2}))
	for _, kind := range []uint16{unix.RTM_NEWLINK, unix.RTM_DELLINK} {
		f.Add(linkMessage(kind, 3, "b0"))
	}
	nextHop := attribute(attribute(make([]byte, unix.SizeofNhmsg), unix.NHA_ID, 7), unix.NHA_OIF, 3)
	f.Add(datagramOf(unix.RTM_NEWNEXTHOP, nextHop))
	f.Fuzz(func(t *testing.T, datagram []byte) {
		follower := &Follower{config: Config{Zones: modelZones(nil)}, links: make(map[uint32]link), hops: make(map[uint32]hop)}
		m := &model{zones: map[uint32]uint16{1: 1, 2: 1, 3: 2}}
		follower.apply(m.entries())
		follower.matter(datagram)
		links := make([]zone.Link, 0, len(follower.links))
		for _, l := range follower.links {
			links = append(links, l.Link)
		}
		follower.config.Zones.SetLinks(links)
		for {
			message, rest, ok := nextMessage(datagram)
			if !ok {
				return
			}
			datagram = rest
			if r, ok := parseRoute(message.body); ok {
				e := newEntry(r.prefix, follower.zone(&r), r.metric, true)
				if r.prefix != r.prefix.Masked() || e.prefix(r.prefix.Addr().Is4()) != r.prefix {
					t.Fatalf("%s", r.prefix)
				}
				if r.prefix.Addr().Is4() {
					follower.apply([]entry{e}, nil)
				} else {
					follower.apply(nil, []entry{e})
				}
			}
		}
	})
}

// linkMessage returns a datagram with a message about an interface.
func linkMessage(kind uint16, index uint32, name string) []byte {
	body := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(body[4:], index)
	body = binary.NativeEndian.AppendUint16(body, uint16(unix.SizeofRtAttr+len(name)+1))
	body = append(append(binary.NativeEndian.AppendUint16(body, unix.IFLA_IFNAME), name...), 0)
	return datagramOf(kind, append(body, make([]byte, aligned(len(body))-len(body))...))
}

// datagramOf returns a datagram with one message.
func datagramOf(kind uint16, body []byte) []byte {
	datagram := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(body))
	binary.NativeEndian.PutUint32(datagram, uint32(unix.SizeofNlMsghdr+len(body)))
	binary.NativeEndian.PutUint16(datagram[4:], kind)
	return append(datagram, body...)
}

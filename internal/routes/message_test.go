package routes

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/zone"
)

// attr appends an attribute with a value of any length, padded.
func attr(b []byte, kind uint16, value ...byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, kind), value...)
	return append(b, make([]byte, aligned(len(value))-len(value))...)
}

func str(s string) []byte { return append([]byte(s), 0) }

// TestLinkMessages reads what the kernel says of interfaces; VLAN devices among them, which the kernel of a test machine may lack.
func TestLinkMessages(t *testing.T) {
	header := func(family byte, index, flags uint32) []byte {
		b := make([]byte, unix.SizeofIfInfomsg)
		b[0] = family
		binary.NativeEndian.PutUint32(b[4:], index)
		binary.NativeEndian.PutUint32(b[8:], flags)
		return b
	}
	vlan := attr(attr(nil, unix.IFLA_INFO_KIND, str("vlan")...), unix.IFLA_INFO_DATA|unix.NLA_F_NESTED, attr(nil, unix.IFLA_VLAN_ID, binary.NativeEndian.AppendUint16(nil, 100)...)...)
	veth := attr(nil, unix.IFLA_INFO_KIND, str("veth")...)
	names := attr(attr(nil, unix.IFLA_ALT_IFNAME, str("uplink")...), unix.IFLA_ALT_IFNAME, str("enp1s0")...)
	for _, c := range []struct {
		name string
		body []byte
		want *link
	}{
		{"names", attr(attr(header(0, 3, unix.IFF_UP|unix.IFF_BROADCAST), unix.IFLA_PROP_LIST|unix.NLA_F_NESTED, names...), unix.IFLA_IFNAME, str("wan0")...),
			&link{Link: zone.Link{Index: 3, Names: []string{"wan0", "uplink", "enp1s0"}}, flags: unix.IFF_UP}},
		{"VLAN", attr(attribute(attr(header(0, 7, 0), unix.IFLA_IFNAME, str("partner0")...), unix.IFLA_LINK, 3), unix.IFLA_LINKINFO, vlan...),
			&link{Link: zone.Link{Index: 7, Names: []string{"partner0"}, Parent: 3, Tag: 100}}},
		{"VLAN whose parent is elsewhere", attr(attribute(attribute(attr(header(0, 7, 0), unix.IFLA_IFNAME, str("p")...), unix.IFLA_LINK, 3), unix.IFLA_LINK_NETNSID, 1), unix.IFLA_LINKINFO, vlan...),
			&link{Link: zone.Link{Index: 7, Names: []string{"p"}, Tag: 100}}},
		{"veth, whose link is its other end", attr(attribute(attr(header(0, 8, 0), unix.IFLA_IFNAME, str("v")...), unix.IFLA_LINK, 9), unix.IFLA_LINKINFO, veth...),
			&link{Link: zone.Link{Index: 8, Names: []string{"v"}}}},
		{"port of a bridge", attr(header(unix.AF_BRIDGE, 3, 0), unix.IFLA_IFNAME, str("wan0")...), nil},
		{"no index", header(0, 0, 0), nil},
		{"short", make([]byte, unix.SizeofIfInfomsg-1), nil},
	} {
		l, ok := parseLink(c.body)
		if !ok || c.want == nil {
			if ok || c.want != nil {
				t.Errorf("%s: %+v, %v", c.name, l, ok)
			}
			continue
		}
		if diff := cmp.Diff(*c.want, l, cmp.AllowUnexported(link{})); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

// TestRouteMessages reads what the kernel says of routes.
func TestRouteMessages(t *testing.T) {
	type change func(b []byte) []byte
	set := func(at int, value byte) change { return func(b []byte) []byte { b[at] = value; return b } }
	with := func(kind uint16, value uint32) change {
		return func(b []byte) []byte { return attribute(b, kind, value) }
	}
	flags := func(f uint32) change {
		return func(b []byte) []byte { binary.NativeEndian.PutUint32(b[8:], f); return b }
	}
	hops := func(list ...[2]uint32) change { // flags and interface
		return func(b []byte) []byte {
			var value []byte
			for _, h := range list {
				value = binary.NativeEndian.AppendUint16(value, hopHeader)
				value = append(value, byte(h[0]), 0)
				value = binary.NativeEndian.AppendUint32(value, h[1])
			}
			return attr(b, unix.RTA_MULTIPATH, value...)
		}
	}
	to := func(address string) change {
		return func(b []byte) []byte { return attr(b, unix.RTA_DST, netip.MustParseAddr(address).AsSlice()...) }
	}
	p := netip.MustParsePrefix
	for _, c := range []struct {
		name    string
		changes []change
		want    *route
	}{
		{"by an interface", []change{to("10.0.0.0"), with(unix.RTA_OIF, 3), with(unix.RTA_PRIORITY, 7)}, &route{prefix: p("10.0.0.0/8"), table: 254, metric: 7, device: 3}},
		{"default", []change{set(1, 0), with(unix.RTA_OIF, 3)}, &route{prefix: p("0.0.0.0/0"), table: 254, device: 3}},
		{"host bits", []change{to("10.1.2.3"), with(unix.RTA_OIF, 3)}, &route{prefix: p("10.0.0.0/8"), table: 254, device: 3}},
		{"black hole", []change{to("10.0.0.0"), set(7, unix.RTN_BLACKHOLE)}, &route{prefix: p("10.0.0.0/8"), table: 254, nowhere: true}},
		{"unreachable, IPv6", []change{set(0, unix.AF_INET6), set(1, 32), to("2001:db8::"), set(7, unix.RTN_UNREACHABLE), with(unix.RTA_OIF, 1)}, &route{prefix: p("2001:db8::/32"), table: 254, nowhere: true}},
		{"throw", []change{to("10.0.0.0"), set(7, unix.RTN_THROW)}, &route{prefix: p("10.0.0.0/8"), table: 254, nowhere: true}},
		{"first hop", []change{to("10.0.0.0"), hops([2]uint32{0, 4}, [2]uint32{0, 5})}, &route{prefix: p("10.0.0.0/8"), table: 254, device: 4}},
		{"first hop that is used", []change{to("10.0.0.0"), hops([2]uint32{unix.RTNH_F_DEAD, 4}, [2]uint32{0, 5})}, &route{prefix: p("10.0.0.0/8"), table: 254, device: 5}},
		{"no hop is used", []change{to("10.0.0.0"), hops([2]uint32{unix.RTNH_F_DEAD, 4})}, &route{prefix: p("10.0.0.0/8"), table: 254, inactive: true}},
		{"not used", []change{to("10.0.0.0"), flags(unix.RTNH_F_DEAD), with(unix.RTA_OIF, 3)}, &route{prefix: p("10.0.0.0/8"), table: 254, device: 3, inactive: true}},
		{"next hop by its id", []change{to("10.0.0.0"), with(nextHopID, 9)}, &route{prefix: p("10.0.0.0/8"), table: 254, nextHop: 9}},
		{"table local", []change{to("10.0.0.0"), set(4, unix.RT_TABLE_LOCAL), set(7, unix.RTN_LOCAL), with(unix.RTA_OIF, 3)}, &route{prefix: p("10.0.0.0/8"), table: 255, device: 3}},
		{"another table", []change{to("10.0.0.0"), set(4, 0), with(unix.RTA_TABLE, 1000), with(unix.RTA_OIF, 3)}, nil},
		{"for a type of service", []change{to("10.0.0.0"), set(3, 16), with(unix.RTA_OIF, 3)}, nil},
		{"for a source", []change{to("10.0.0.0"), set(2, 8), with(unix.RTA_OIF, 3)}, nil},
		{"in a cache", []change{to("10.0.0.0"), flags(unix.RTM_F_CLONED), with(unix.RTA_OIF, 3)}, nil},
		{"multicast", []change{to("10.0.0.0"), set(7, unix.RTN_MULTICAST), with(unix.RTA_OIF, 3)}, nil},
		{"to groups", []change{to("224.0.0.0"), with(unix.RTA_OIF, 3)}, nil},
		{"link-local", []change{set(0, unix.AF_INET6), set(1, 64), to("fe80::"), with(unix.RTA_OIF, 3)}, nil},
		{"impossible length", []change{to("10.0.0.0"), set(1, 33), with(unix.RTA_OIF, 3)}, nil},
		{"another family", []change{set(0, unix.AF_MPLS), with(unix.RTA_OIF, 3)}, nil},
		{"short", []change{func(b []byte) []byte { return b[:routeHeader-1] }}, nil},
	} {
		body := make([]byte, routeHeader)
		body[0], body[1], body[4], body[7] = unix.AF_INET, 8, unix.RT_TABLE_MAIN, unix.RTN_UNICAST
		if c.name == "to groups" {
			body[1] = 4
		}
		for _, change := range c.changes {
			body = change(body)
		}
		r, ok := parseRoute(body)
		if ok != (c.want != nil) || ok && r != *c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.name, r, ok, c.want)
		}
	}
}

// TestInterfacesAlone follows interfaces and no routes.
func TestInterfacesAlone(t *testing.T) {
	r := newRouter(t)
	r.config.Routes = false
	r.follow()
	r.expectInterface("at the start", "wan0", wan, "wan0")
	r.add("tun0")
	r.expectInterface("a new one", "tun0", tunnel, "tun0")
	r.expect("by prefix alone", map[string]uint16{"10.0.0.7": 0})
	if st := r.follower.Status(); st.Routes != 0 || st.Interfaces == 0 || st.Error != "" {
		t.Errorf("%+v", st)
	}
}

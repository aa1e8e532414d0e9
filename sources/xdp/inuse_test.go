package xdp

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/testing/nettest"
	"github.com/rtflow/pipelined/xsk"
)

// tryOpen opens an interface of h and closes it again.
func tryOpen(h *nettest.Host, name string, take bool) (err error) {
	h.Do(func() {
		var s *Source
		if s, err = Open(context.Background(), Config{Device: xsk.Config{Interface: name, Frames: 256}, TakeTraffic: take}); err == nil {
			err = s.Close()
		}
	})
	return err
}

// TestInUse gives an interface one use after the other: it is refused for that use alone, and opened where that is meant.
func TestInUse(t *testing.T) {
	for _, c := range []struct {
		name, tap string
		setUp     func(t *testing.T, h *nettest.Host)
		want      string // "": not in use
	}{
		{"a port that only listens", "tap", func(*testing.T, *nettest.Host) {}, ""},
		{"IPv6 link-local", "tap", func(t *testing.T, h *nettest.Host) { h.Address("tap", "fe80::1/64") }, ""},
		{"address", "tap", func(t *testing.T, h *nettest.Host) { h.Address("tap", "192.0.2.1/24") }, "it has the address 192.0.2.1/24"},
		{"IPv6 address", "tap", func(t *testing.T, h *nettest.Host) { h.Address("tap", "2001:db8::1/64") }, "it has the address 2001:db8::1/64"},
		{"default route", "tap", func(t *testing.T, h *nettest.Host) { h.Run("ip", "route", "add", "default", "dev", "tap") }, "it is where the default route leads"},
		{"several default routes", "tap", func(t *testing.T, h *nettest.Host) {
			nettest.Cable(nettest.NewHost(t), "wire", h, "other", 1)
			h.Run("ip", "route", "add", "default", "nexthop", "dev", "tap", "nexthop", "dev", "other")
		}, "it is where the default route leads"},
		{"forwarding", "tap", func(t *testing.T, h *nettest.Host) { h.Run("sysctl", "-w", "net.ipv4.conf.tap.forwarding=1") }, "it forwards IPv4 (net.ipv4.conf.tap.forwarding)"},
		{"port of a bridge", "tap", func(t *testing.T, h *nettest.Host) {
			h.Run("ip", "link", "add", "br0", "type", "bridge")
			h.Run("ip", "link", "set", "tap", "master", "br0")
		}, "it is a port of br0 (bridge)"},
		{"bridge", "br0", func(t *testing.T, h *nettest.Host) {
			h.Run("ip", "link", "add", "br0", "type", "bridge")
			h.Run("ip", "link", "set", "br0", "up")
		}, "it is a bridge"},
		{"loopback", "lo", func(*testing.T, *nettest.Host) {}, "it is the loopback interface"},
		{"address on a macvlan", "tap", func(t *testing.T, h *nettest.Host) {
			stacked(t, h, "m0", "macvlan")
			h.Address("m0", "192.0.2.1/24")
		}, "m0, which is on top of it, has the address 192.0.2.1/24"},
		{"macvlan that only listens", "tap", func(t *testing.T, h *nettest.Host) {
			stacked(t, h, "m0", "macvlan")
		}, ""},
		{"tunnel", "vx", func(t *testing.T, h *nettest.Host) {
			h.Run("ip", "link", "add", "vx", "type", "vxlan", "id", "7", "dstport", "4789", "dev", "tap")
			h.Run("ip", "link", "set", "vx", "up")
		}, "it is the end of a tunnel (vxlan)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, h := cable(t, 1)
			c.setUp(t, h)
			err := tryOpen(h, c.tap, false)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			inUse, ok := errors.AsType[*InUseError](err)
			if !ok || len(inUse.Uses) != 1 || !strings.HasPrefix(inUse.Uses[0], c.want) {
				t.Fatalf("got %v, want one use: %s", err, c.want)
			}
			if text := err.Error(); !strings.Contains(text, "take_traffic = true") || !strings.Contains(text, "mirror port") {
				t.Errorf("the error does not say what to do: %s", text)
			}
			if err := tryOpen(h, c.tap, true); err != nil {
				t.Errorf("with TakeTraffic: %v", err)
			}
		})
	}
}

// stacked makes a link on top of the interface "tap".
func stacked(t *testing.T, h *nettest.Host, name, kind string, options ...string) {
	t.Helper()
	h.Run("ip", append([]string{"link", "add", "link", "tap", "name", name, "type", kind}, options...)...)
}

// kernelLink returns a link of the kind that has a parent, as the kernel describes it in a netlink message.
func kernelLink(t *testing.T, index int, name, kind string, parent int, data *nl.RtAttr) netlink.Link {
	t.Helper()
	info := nl.NewIfInfomsg(unix.AF_UNSPEC)
	info.Type, info.Index = unix.ARPHRD_ETHER, int32(index)
	message := info.Serialize()
	kindOf := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	kindOf.AddRtAttr(nl.IFLA_INFO_KIND, nl.ZeroTerminated(kind))
	if data != nil {
		kindOf.AddChild(data)
	}
	for _, attribute := range []*nl.RtAttr{
		nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)),
		nl.NewRtAttr(unix.IFLA_LINK, nl.Uint32Attr(uint32(parent))),
		kindOf,
	} {
		message = append(message, attribute.Serialize()...)
	}
	link, err := netlink.LinkDeserialize(nil, message)
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// TestStackedUses finds the uses of links that not every kernel can make: VLANs, also on each other, and what is made on top of
// them.
func TestStackedUses(t *testing.T) {
	vlanID := func(id uint16) *nl.RtAttr {
		data := nl.NewRtAttr(nl.IFLA_INFO_DATA, nil)
		data.AddRtAttr(nl.IFLA_VLAN_ID, nl.Uint16Attr(id))
		return data
	}
	tap := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "tap", Index: 2, NetNsID: 1, ParentIndex: 9}}
	s := hostState{proc: fstest.MapFS{}, links: []netlink.Link{
		kernelLink(t, 5, "m0", "macvlan", 4, nil), // before what it is on top of
		kernelLink(t, 3, "tap.7", "vlan", 2, vlanID(7)),
		kernelLink(t, 4, "tap.7.8", "vlan", 3, vlanID(8)),
		kernelLink(t, 6, "other.7", "vlan", 8, vlanID(7)),
		tap,
	}}
	if vlan, ok := s.links[1].(*netlink.Vlan); !ok || vlan.VlanId != 7 {
		t.Fatalf("the message describes %#v", s.links[1])
	}
	if uses := s.usesOf(tap); len(uses) != 0 {
		t.Fatalf("VLANs that only listen are used: %q", uses)
	}
	address := func(index int) netlink.Addr {
		a, err := netlink.ParseAddr("192.0.2.1/24")
		if err != nil {
			t.Fatal(err)
		}
		a.LinkIndex = index
		return *a
	}
	for index, want := range map[int]string{
		2: "it has the address 192.0.2.1/24",
		3: "tap.7, which is on top of it, has the address 192.0.2.1/24",
		4: "tap.7.8, which is on top of it, has the address 192.0.2.1/24",
		5: "m0, which is on top of it, has the address 192.0.2.1/24",
		6: "",
	} {
		s.addresses = []netlink.Addr{address(index)}
		if got := strings.Join(s.usesOf(tap), "; "); got != want {
			t.Errorf("address of interface %d: %q, want %q", index, got, want)
		}
	}
	s.addresses, s.routes = nil, []netlink.Route{{LinkIndex: 4}}
	if got := strings.Join(s.usesOf(tap), "; "); got != "tap.7.8, which is on top of it, is where the default route leads" {
		t.Errorf("default route: %q", got)
	}
}

// TestProcUses finds what the kernel tells in files only: forwarding, MPLS and PPPoE sessions.
func TestProcUses(t *testing.T) {
	tap := kernelLink(t, 2, "tap", "veth", 0, nil)
	links := []netlink.Link{tap, kernelLink(t, 3, "tap.7", "vlan", 2, nil), kernelLink(t, 4, "tap1", "veth", 0, nil)}
	const heading = "Id       Address              Device\n"
	for _, c := range []struct{ name, path, text, want string }{
		{"nothing", "", "", ""},
		{"MPLS", "sys/net/mpls/conf/tap/input", "1\n", "it takes part in MPLS (net.mpls.conf.tap.input)"},
		{"MPLS is there, and off", "sys/net/mpls/conf/tap/input", "0\n", ""},
		{"MPLS of another", "sys/net/mpls/conf/tap1/input", "1\n", ""},
		{"MPLS on a VLAN", "sys/net/mpls/conf/tap.7/input", "1\n", "tap.7, which is on top of it, takes part in MPLS (net.mpls.conf.tap.7.input)"},
		{"IPv4", "sys/net/ipv4/conf/tap/forwarding", "1\n", "it forwards IPv4 (net.ipv4.conf.tap.forwarding)"},
		{"IPv6", "sys/net/ipv6/conf/tap/forwarding", "2\n", "it forwards IPv6 (net.ipv6.conf.tap.forwarding)"},
		{"PPPoE", "thread-self/net/pppoe", heading + "00000100 02:00:00:00:00:01      tap\n", "it carries a PPPoE session of this host (/proc/net/pppoe)"},
		{"PPPoE without a session", "thread-self/net/pppoe", heading, ""},
		{"PPPoE over others", "thread-self/net/pppoe", heading + "00000100 02:00:00:00:00:01     tap1\n00000200 02:00:00:00:00:02     eth0\n", ""},
		{"second PPPoE session", "thread-self/net/pppoe", heading + "00000100 02:00:00:00:00:01     tap1\n00000200 02:00:00:00:00:02      tap\n", "it carries a PPPoE session of this host (/proc/net/pppoe)"},
		{"PPPoE on a VLAN", "thread-self/net/pppoe", heading + "00000100 02:00:00:00:00:01    tap.7\n", "tap.7, which is on top of it, carries a PPPoE session of this host (/proc/net/pppoe)"},
	} {
		s := hostState{links: links, proc: fstest.MapFS{c.path: {Data: []byte(c.text)}}}
		if got := strings.Join(s.usesOf(tap), "; "); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestNotEthernet refuses an interface whose frames have no Ethernet header, whatever the configuration says.
func TestNotEthernet(t *testing.T) {
	_, h := cable(t, 1)
	h.Run("ip", "tuntap", "add", "mode", "tun", "name", "tun0")
	h.Run("ip", "link", "set", "tun0", "up")
	for _, take := range []bool{false, true} {
		if err := tryOpen(h, "tun0", take); !errors.Is(err, ErrNotEthernet) || !strings.Contains(err.Error(), "tun0") {
			t.Errorf("take_traffic = %v: %v", take, err)
		}
	}
}

// TestInUseComesBack checks that an interface that has been deleted is not taken again when its successor is in use.
func TestInUseComesBack(t *testing.T) {
	sender, h := cable(t, 1)
	warn, wait := conditions(t)
	s := open(t, h, Config{Warn: warn})
	h.Delete("tap")
	wait(s, "waiting", func(st State) bool { return st.Condition == Waiting })
	h.Run("ip", "link", "add", "tap", "type", "bridge")
	wait(s, "refused", func(st State) bool { return strings.Contains(st.Error, "it is a bridge") })
	h.Delete("tap")
	nettest.Cable(sender, "wire", h, "tap", 1)
	wait(s, "up", func(st State) bool { return st.Condition == Up })
}

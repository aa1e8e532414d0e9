package survey

import (
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"

	"github.com/rtflow/pipelined/internal/machine"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// sparse compares interfaces without what a test does not set up.
var sparse = cmp.Options{
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmpopts.EquateEmpty(),
	cmpopts.SortSlices(func(a, b netip.Prefix) bool { return a.String() < b.String() }),
}

// TestLook looks at a router with all that a network may have.
func TestLook(t *testing.T) {
	r := nettest.NewRouter(t)
	const bridge = `br"'#ü`
	r.Run("ip", "link", "add", bridge, "type", "bridge")
	r.SetUp(bridge)
	nettest.Cable(r.Host, "port0", r.LAN, "x0", 1)
	r.Run("ip", "link", "set", "port0", "master", bridge)
	nettest.Cable(r.Host, "off0", r.LAN, "x1", 1)
	r.SetDown("off0")
	nettest.Cable(r.Host, "cut0", r.LAN, "x2", 1)
	r.LAN.SetDown("x2")
	r.Route("0.0.0.0/0", nettest.WANHost)
	r.Route("10.77.0.0/16", nettest.DMZHost)
	r.Route("10.78.0.0/16", nettest.DMZHost)
	r.Run("ip", "-6", "route", "add", "default", "via", nettest.LANHost6, "metric", "50")
	r.Run("ip", "-6", "route", "add", "default", "via", nettest.WANHost6, "metric", "500")
	r.Run("ip", "route", "add", "blackhole", "10.79.0.0/16")
	r.Run("ip", "addr", "add", "10.20.2.9/24", "dev", "dmz0", "valid_lft", "1000", "preferred_lft", "1000")
	r.Rules(`table inet filter {
		chain input_lan { }
		chain filter_IN_public { }
		chain forward {
			type filter hook forward priority 0;
			iifname "lan0" jump input_lan
			iifname "wan0" tcp dport 22 goto filter_IN_public
			iifname "dmz*" jump input_lan
			iifname != "dmz0" jump input_lan
			ct state new log prefix "ACCEPT:x " group 7
			log prefix "y"
		}
	}`)
	var host Host
	r.Do(func() { host = Look(machine.This()) })
	for _, i := range host.Interfaces {
		if i.Forwards == i.Loopback {
			t.Errorf("%s forwards: %v", i.Name, i.Forwards)
		}
	}
	got := make(map[string]Interface)
	for _, i := range host.Interfaces {
		if i.Forwards = false; !i.Loopback {
			got[i.Name] = i
		}
	}
	prefixes := func(list ...string) (all []netip.Prefix) {
		for _, text := range list {
			all = append(all, netip.MustParsePrefix(text))
		}
		return all
	}
	want := map[string]Interface{
		"lan0":  {Name: "lan0", Kind: "veth", Up: true, Carrier: true, Addresses: prefixes("10.20.1.1/24", "fd20:1::1/64"), Default: true},
		"wan0":  {Name: "wan0", Kind: "veth", Up: true, Carrier: true, Addresses: prefixes("198.51.100.1/24", "fd20:3::1/64"), Default: true},
		"dmz0":  {Name: "dmz0", Kind: "veth", Up: true, Carrier: true, Addresses: prefixes("10.20.2.1/24", "10.20.2.9/24", "fd20:2::1/64"), Routes: 2, Dynamic: true},
		bridge:  {Name: bridge, Kind: "bridge", Up: true, Carrier: true},
		"port0": {Name: "port0", Kind: "veth", Up: true, Carrier: true, PortOf: bridge, Promiscuous: true},
		"off0":  {Name: "off0", Kind: "veth"},
		"cut0":  {Name: "cut0", Kind: "veth", Up: true},
	}
	for name := range got { // tunnels that the kernel makes in every namespace
		if _, known := want[name]; !known && (strings.HasSuffix(name, "0") && !got[name].Up) {
			delete(got, name)
		}
	}
	if diff := cmp.Diff(want, got, sparse); diff != "" {
		t.Error(diff)
	}
	if !host.IPv4 || !host.IPv6 || len(host.Unseen) > 0 {
		t.Errorf("forwards IPv4 %v, IPv6 %v; not seen: %q", host.IPv4, host.IPv6, host.Unseen)
	}
	firewall := Firewall{
		Known: true, Tracks: true, Groups: []uint16{7}, KernelLog: true,
		Chains: map[string][]string{"lan0": {"input_lan"}, "wan0": {"filter_IN_public"}},
	}
	if diff := cmp.Diff(firewall, host.Firewall, sparse); diff != "" {
		t.Error(diff)
	}
	if host.Conntrack.Absent || host.Conntrack.Max == 0 {
		t.Errorf("connection tracking: %+v", host.Conntrack)
	}
}

// TestLinks looks at interfaces that belong to others.
func TestLinks(t *testing.T) {
	link := func(index int, name string, change func(*netlink.LinkAttrs)) netlink.LinkAttrs {
		a := netlink.NewLinkAttrs()
		a.Index, a.Name, a.NetNsID = index, name, -1
		if change != nil {
			change(&a)
		}
		return a
	}
	parent := func(index int) func(*netlink.LinkAttrs) { return func(a *netlink.LinkAttrs) { a.ParentIndex = index } }
	elsewhere := func(a *netlink.LinkAttrs) { a.ParentIndex, a.NetNsID = 2, 0 }
	l := looker{machine: &machine.Machine{Root: fstest.MapFS{
		"sys/class/net/eth0/device/driver": {Data: []byte("../../../bus/pci/drivers/igb"), Mode: fs.ModeSymlink},
	}}, interfaces: make(map[int]*Interface)}
	l.setLinks([]netlink.Link{
		&netlink.Vlan{LinkAttrs: link(9, "partner0", parent(2)), VlanId: 100}, &netlink.Device{LinkAttrs: link(2, "eth0", nil)},
		&netlink.Veth{LinkAttrs: link(3, "v0", parent(2))}, &netlink.Macvlan{LinkAttrs: link(4, "m0", elsewhere)},
		&netlink.Vrf{LinkAttrs: link(5, "red", nil)}, &netlink.Dummy{LinkAttrs: link(6, "d0", func(a *netlink.LinkAttrs) { a.MasterIndex = 5 })},
		&netlink.Dummy{LinkAttrs: link(7, "d1", func(a *netlink.LinkAttrs) { a.MasterIndex = 77 })},
	})
	var got []Interface
	for _, index := range l.order {
		got = append(got, *l.interfaces[index])
	}
	want := []Interface{
		{Name: "partner0", Kind: "vlan", Parent: "eth0", VLAN: 100}, {Name: "eth0", Kind: "device", Driver: "igb", Carries: true}, {Name: "v0", Kind: "veth"},
		{Name: "m0", Kind: "macvlan"}, {Name: "red", Kind: "vrf"}, {Name: "d0", Kind: "dummy", VRF: "red"}, {Name: "d1", Kind: "dummy"},
	}
	if diff := cmp.Diff(want, got, sparse); diff != "" {
		t.Error(diff)
	}
}

// TestLookUnprivileged has what could not be read said.
func TestLookUnprivileged(t *testing.T) {
	host := Look(&machine.Machine{Root: fstest.MapFS{}})
	if host.IPv4 || host.Firewall.Known || !slices.ContainsFunc(host.Unseen, func(s string) bool { return strings.Contains(s, "rules of the firewall") }) {
		t.Errorf("of a machine without files: %+v", host)
	}
}

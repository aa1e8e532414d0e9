package survey

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/machine"
	"github.com/rtflow/pipelined/internal/ruleset"
	"github.com/rtflow/pipelined/sources/nflog"
)

// Look looks at the machine, in the network namespace of the calling thread, which must stay in it.
func Look(m *machine.Machine) Host {
	l := looker{machine: m, interfaces: make(map[int]*Interface)}
	l.look("interfaces", l.readLinks)
	l.look("addresses", l.readAddresses)
	l.look("routes", l.readRoutes)
	l.readForwarding()
	l.look("the rules of the firewall", l.readRules)
	l.look("who reads groups of NFLOG", l.readGroups)
	l.readConntrack()
	for _, index := range l.order {
		l.host.Interfaces = append(l.host.Interfaces, *l.interfaces[index])
	}
	return l.host
}

// looker collects what is found out.
type looker struct {
	machine    *machine.Machine
	host       Host
	order      []int // indexes of interfaces, as the kernel lists them
	interfaces map[int]*Interface
}

// look calls a function, and notes what could not be looked at if it fails.
func (l *looker) look(what string, at func() error) {
	if err := at(); err != nil {
		l.host.Unseen = append(l.host.Unseen, fmt.Sprintf("%s: %v", what, err))
	}
}

func (l *looker) readLinks() error {
	links, err := machine.Dump(netlink.LinkList)
	l.setLinks(links)
	return err
}

func (l *looker) setLinks(links []netlink.Link) {
	for _, link := range links {
		a := link.Attrs()
		i := &Interface{
			Name: a.Name, Kind: link.Type(), Loopback: a.RawFlags&unix.IFF_LOOPBACK != 0, Up: a.RawFlags&unix.IFF_UP != 0,
			Carrier: a.RawFlags&unix.IFF_LOWER_UP != 0, Promiscuous: a.Promisc > 0 || a.RawFlags&unix.IFF_PROMISC != 0,
		}
		if vlan, ok := link.(*netlink.Vlan); ok && vlan.VlanId > 0 && vlan.VlanId < 4095 {
			i.VLAN = uint16(vlan.VlanId)
		}
		if i.Kind == "device" {
			i.Driver = l.driver(a.Name)
		}
		l.order = append(l.order, a.Index)
		l.interfaces[a.Index] = i
	}
	for _, link := range links {
		a := link.Attrs()
		i := l.interfaces[a.Index]
		// The parent of a veth is its peer, and a parent elsewhere has a number of its own namespace.
		if parent := l.interfaces[a.ParentIndex]; parent != nil && parent != i && i.Kind != "veth" && a.NetNsID < 0 {
			i.Parent, parent.Carries = parent.Name, true
		}
		switch master := l.interfaces[a.MasterIndex]; {
		case master == nil:
		case master.Kind == "vrf":
			i.VRF = master.Name
		default:
			i.PortOf = master.Name
		}
	}
}

// driver returns the driver of a network card, "" if it is not known.
func (l *looker) driver(name string) string {
	link, err := fs.ReadLink(l.machine.Root, path.Join("sys/class/net", name, "device/driver"))
	if err != nil {
		return ""
	}
	return path.Base(link)
}

func (l *looker) readAddresses() error {
	addresses, err := machine.Dump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return err
	}
	for _, a := range addresses {
		i, p := l.interfaces[a.LinkIndex], prefix(a.IPNet)
		if i == nil || !p.IsValid() || p.Addr().IsLinkLocalUnicast() {
			continue
		}
		i.Addresses = append(i.Addresses, p)
		i.Dynamic = i.Dynamic || a.Flags&unix.IFA_F_PERMANENT == 0
	}
	return nil
}

// prefix returns an address with its network, the zero value if it is none.
func prefix(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	ip, ok := netip.AddrFromSlice(n.IP)
	ones, bits := n.Mask.Size()
	if ip = ip.Unmap(); !ok || bits != ip.BitLen() {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(ip, ones)
}

// readRoutes reads the table main. It keeps no route: a router may have a million.
func (l *looker) readRoutes() error {
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		best := -1 // the lowest metric of a default route
		var leads []int
		filter := &netlink.Route{Table: unix.RT_TABLE_MAIN}
		err := netlink.RouteListFilteredIter(family, filter, netlink.RT_FILTER_TABLE, func(r netlink.Route) bool {
			devices := devicesOf(&r)
			switch {
			case r.Type != unix.RTN_UNICAST:
			case isDefault(&r):
				if best < 0 || r.Priority < best {
					best, leads = r.Priority, nil
				}
				if r.Priority == best {
					leads = append(leads, devices...)
				}
			default:
				l.count(&r, devices)
			}
			return true
		})
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) { // a route more or less does not matter here
			return err
		}
		for _, index := range leads {
			if i := l.interfaces[index]; i != nil {
				i.Default = true
			}
		}
	}
	return nil
}

// count counts a route that is no default route, unless it is that of the interface's own network.
func (l *looker) count(r *netlink.Route, devices []int) {
	p := prefix(r.Dst)
	for _, index := range devices {
		i := l.interfaces[index]
		if i == nil || p.Addr().IsLinkLocalUnicast() || p.Addr().IsMulticast() ||
			slices.ContainsFunc(i.Addresses, func(a netip.Prefix) bool { return a.Masked() == p }) {
			continue
		}
		i.Routes++
	}
}

func devicesOf(r *netlink.Route) []int {
	if len(r.MultiPath) == 0 {
		return []int{r.LinkIndex}
	}
	var devices []int
	for _, hop := range r.MultiPath {
		devices = append(devices, hop.LinkIndex)
	}
	return devices
}

func isDefault(r *netlink.Route) bool {
	if r.Dst == nil {
		return true
	}
	ones, _ := r.Dst.Mask.Size()
	return ones == 0
}

func (l *looker) readForwarding() {
	is := func(family, name string) bool {
		value, err := fs.ReadFile(l.machine.Root, path.Join("proc/sys/net", family, "conf", name, "forwarding"))
		return err == nil && strings.TrimSpace(string(value)) != "0"
	}
	l.host.IPv4, l.host.IPv6 = is("ipv4", "all"), is("ipv6", "all")
	for _, i := range l.interfaces {
		i.Forwards = !i.Loopback && (is("ipv4", i.Name) || is("ipv6", i.Name))
	}
}

func (l *looker) readRules() error {
	s, err := ruleset.Read(l.machine)
	f := &l.host.Firewall
	f.Known = err == nil
	f.Tracks, f.KernelLog, f.Chains = s.Tracks, s.KernelLog, s.Chains
	f.Groups = slices.Sorted(maps.Keys(s.Groups))
	return err
}

func (l *looker) readGroups() error {
	if len(l.host.Firewall.Groups) == 0 {
		return nil
	}
	taken, err := nflog.Taken(l.machine)
	for _, group := range l.host.Firewall.Groups {
		if who, is := taken[group]; is {
			if l.host.Firewall.Taken == nil {
				l.host.Firewall.Taken = make(map[uint16]string)
			}
			l.host.Firewall.Taken[group] = who
		}
	}
	return err
}

func (l *looker) readConntrack() {
	c := &l.host.Conntrack
	c.Absent = l.machine.Module("nf_conntrack_netlink", "ctnetlink_get_conntrack") == machine.Absent
	number := func(name string) int {
		value, _ := l.machine.Setting("net.netfilter.nf_conntrack_" + name) // 0 if it is not loaded
		return value
	}
	c.Entries, c.Max = number("count"), number("max")
	c.Accounting, c.Timestamps = number("acct") != 0, number("timestamp") != 0
	c.ReadOnly = l.machine.SettingsReadOnly()
}

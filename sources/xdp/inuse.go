package xdp

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// InUseError says what would stop working if the packets of an interface ended in a tap.
type InUseError struct {
	Interface string
	Uses      []string // one sentence each, without a full stop
}

// Error names the uses, and what to do.
func (e *InUseError) Error() string {
	return fmt.Sprintf("interface %s is in use, and a tap would take its packets away from this host: %s. Use a port that only listens"+
		" (a mirror port, or a tap) instead; take_traffic = true opens it nevertheless", e.Interface, strings.Join(e.Uses, "; "))
}

// ErrNotEthernet says that the frames of an interface have no Ethernet header: a tap could not read them.
var ErrNotEthernet = errors.New("frames have no Ethernet header, so a tap cannot read them")

// checkUse returns [ErrNotEthernet] for an interface whose frames cannot be read, and an [*InUseError] for one that this host needs,
// unless take says that this is meant. It looks in the network namespace of the calling thread. What cannot be found out, such as for
// want of an interface of that name, is left to the opening.
func checkUse(name string, take bool) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open rtnetlink: %w", err)
	}
	defer h.Close()
	link, err := h.LinkByName(name)
	if err != nil {
		return nil
	}
	if encap := link.Attrs().EncapType; encap != "ether" && encap != "loopback" {
		return fmt.Errorf("interface %s (%s, %s): %w", name, link.Type(), encap, ErrNotEthernet)
	}
	if take {
		return nil
	}
	uses, err := usesOf(h, link)
	if err != nil {
		return fmt.Errorf("what interface %s is used for: %w", name, err)
	}
	if len(uses) > 0 {
		return &InUseError{Interface: name, Uses: uses}
	}
	return nil
}

// tunnels are the types of links with an Ethernet header that are ends of tunnels. ERSPAN is not among them: it carries mirrored
// packets by definition.
var tunnels = map[string]bool{"vxlan": true, "geneve": true, "gretap": true, "ip6gretap": true, "l2tpeth": true, "tuntap": true}

// usesOf returns what the packets of a link, and of the links made on top of it, are for.
func usesOf(h *netlink.Handle, link netlink.Link) (uses []string, err error) {
	all, err := h.LinkList()
	if err != nil {
		return nil, err
	}
	routes, err := h.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, err
	}
	// A link is taken with what is stacked on it: VLANs, macvlans. Stacks are finite, but their order in the list is not given.
	stack := []netlink.Link{link}
	for i := 0; i < len(stack); i++ {
		below := stack[i].Attrs().Index
		for _, l := range all {
			if l.Attrs().ParentIndex == below && l.Attrs().Index != below && !contains(stack, l) && onSameHost(l) {
				stack = append(stack, l)
			}
		}
	}
	for i, l := range stack {
		found, err := usesAlone(h, l, all, routes)
		if err != nil {
			return nil, err
		}
		for _, use := range found {
			if i > 0 {
				use = l.Attrs().Name + ", which is on top of it, " + use
			} else {
				use = "it " + use
			}
			uses = append(uses, use)
		}
	}
	return uses, nil
}

func contains(links []netlink.Link, l netlink.Link) bool {
	for _, other := range links {
		if other.Attrs().Index == l.Attrs().Index {
			return true
		}
	}
	return false
}

// onSameHost reports whether the parent of a link is another link of this namespace that its packets come through. The parent of
// a veth is its peer, and the number is one of the peer's namespace.
func onSameHost(l netlink.Link) bool { return l.Type() != "veth" && l.Attrs().NetNsID < 0 }

// usesAlone returns what the packets of one link are for.
func usesAlone(h *netlink.Handle, l netlink.Link, all []netlink.Link, routes []netlink.Route) (uses []string, err error) {
	attrs := l.Attrs()
	switch {
	case attrs.RawFlags&unix.IFF_LOOPBACK != 0:
		return []string{"is the loopback interface, over which programs of this host speak with each other"}, nil
	case l.Type() == "bridge":
		uses = append(uses, "is a bridge, and what it hands to this host would not arrive")
	case tunnels[l.Type()]:
		uses = append(uses, fmt.Sprintf("is the end of a tunnel (%s), and what comes out of it would not arrive", l.Type()))
	}
	if attrs.MasterIndex != 0 {
		use := "is enslaved to another interface, which would get nothing from it"
		for _, m := range all {
			if m.Attrs().Index == attrs.MasterIndex {
				use = fmt.Sprintf("is a port of %s (%s), which would get nothing from it", m.Attrs().Name, m.Type())
			}
		}
		uses = append(uses, use)
	}
	addresses, err := h.AddrList(l, netlink.FAMILY_ALL)
	if err != nil {
		return nil, err
	}
	for _, a := range addresses {
		// Every interface that is up gives itself an fe80:: address, a mirror port too.
		if a.IP.To4() != nil || !a.IP.IsLinkLocalUnicast() {
			uses = append(uses, "has the address "+a.IPNet.String())
		}
	}
	for i := range routes {
		if isDefault(&routes[i]) && leadsTo(&routes[i], attrs.Index) {
			uses = append(uses, "is where the default route leads")
			break
		}
	}
	for _, family := range []struct{ name, path string }{{"IPv4", "ipv4"}, {"IPv6", "ipv6"}} {
		setting, err := os.ReadFile(filepath.Join("/proc/sys/net", family.path, "conf", attrs.Name, "forwarding"))
		if err == nil && strings.TrimSpace(string(setting)) != "0" {
			uses = append(uses, fmt.Sprintf("forwards %s (net.%s.conf.%s.forwarding)", family.name, family.path, attrs.Name))
		}
	}
	return uses, nil
}

func isDefault(r *netlink.Route) bool {
	if r.Dst == nil {
		return true
	}
	ones, _ := r.Dst.Mask.Size()
	return ones == 0 && (r.Dst.IP.Equal(net.IPv4zero) || r.Dst.IP.Equal(net.IPv6zero))
}

func leadsTo(r *netlink.Route, index int) bool {
	for _, hop := range r.MultiPath {
		if hop.LinkIndex == index {
			return true
		}
	}
	return r.LinkIndex == index
}

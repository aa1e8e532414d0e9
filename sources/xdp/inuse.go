package xdp

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/machine"
	"github.com/rtflow/pipelined/xsk"
)

// InUseError says what would stop working if the packets of an interface were taken.
type InUseError struct {
	Interface string
	Bridge    bool     // they would be for a bridge, and not for a tap
	Uses      []string // one sentence each, without a full stop
}

// Error names the uses, and what to do.
func (e *InUseError) Error() string {
	what, instead := "tap", "that only listens (a mirror port, or a tap)"
	if e.Bridge {
		what, instead = "bridge", "without an address, which this host uses for nothing else"
	}
	return fmt.Sprintf("interface %s is in use, and a %s would take its packets away from this host: %s. Use a port %s instead;"+
		" take_traffic = true opens it nevertheless", e.Interface, what, strings.Join(e.Uses, "; "), instead)
}

// ErrNotEthernet says that the frames of an interface have no Ethernet header: a tap could not read them.
var ErrNotEthernet = errors.New("frames have no Ethernet header, so a tap cannot read them")

// ErrMTU says that the packets of an interface may be longer than a packet buffer.
var ErrMTU = errors.New("its longest packets do not fit the packet buffers")

// ErrLoop says that what one interface sends comes in by the other.
var ErrLoop = errors.New("the two interfaces are the ends of one cable, on which packets would go round for ever")

// checkUse returns the index of an interface, [xsk.ErrInterfaceMissing] if there is none of that name, [ErrNotEthernet] if its frames
// cannot be read, [ErrMTU] if they may be too long, and an [*InUseError] if this host needs it, unless the configuration says that this
// is meant. It looks in the network namespace of the calling thread.
func checkUse(config *Config) (index int, err error) {
	name := config.Device.Interface
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return 0, fmt.Errorf("open rtnetlink: %w", err)
	}
	defer h.Close()
	link, err := h.LinkByName(name)
	if _, missing := errors.AsType[netlink.LinkNotFoundError](err); missing {
		return 0, fmt.Errorf("open %s for AF_XDP: %w: %s", name, xsk.ErrInterfaceMissing, name) // as xsk.Open says it
	}
	if err != nil {
		return 0, fmt.Errorf("look up %s: %w", name, err)
	}
	index = link.Attrs().Index
	if encap := link.Attrs().EncapType; encap != "ether" && encap != "loopback" {
		return 0, fmt.Errorf("interface %s (%s, %s): %w", name, link.Type(), encap, ErrNotEthernet)
	}
	if !config.TakeTraffic {
		state, err := readHostState(h)
		if err != nil {
			return 0, fmt.Errorf("what interface %s is used for: %w", name, err)
		}
		if uses := state.usesOf(link); len(uses) > 0 {
			return 0, &InUseError{Interface: name, Bridge: config.Device.Bridge, Uses: uses}
		}
	}
	if link.Attrs().EncapType == "loopback" && !config.Device.Bridge {
		return index, nil // its MTU of 65536 says little about what is on it
	}
	return index, checkMTU(&config.Device, link.Attrs().MTU, xsk.MultiBuffer())
}

// checkMTU returns an error if packets of that MTU do not fit the packet buffers. multi is [xsk.MultiBuffer].
func checkMTU(device *xsk.Config, mtu int, multi bool) error {
	most := device.LargestMTU(multi)
	if mtu <= most {
		return nil
	}
	size, _ := device.BuffersFor(mtu, multi)
	instead := ""
	if best := xsk.FrameSizeFor(mtu); best > size {
		instead = fmt.Sprintf(", or frame_size = %d", best)
	}
	if !multi {
		instead += ", or Linux 6.6 or newer, which spreads longer packets over several buffers"
	}
	return fmt.Errorf("interface %s has an MTU of %d, and buffers of %d bytes hold packets of an MTU up to %d: %w. Use: ip link set %s mtu %d%s",
		device.Interface, mtu, size, most, ErrMTU, device.Interface, most, instead)
}

// checkLoop returns [ErrLoop] if two interfaces are the ends of one virtual cable. It looks in the network namespace of the calling
// thread.
func checkLoop(name, peer string) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open rtnetlink: %w", err)
	}
	defer h.Close()
	link, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("look up %s: %w", name, err)
	}
	other, err := h.LinkByName(peer)
	if err != nil {
		return fmt.Errorf("look up %s: %w", peer, err)
	}
	if link.Type() == "veth" && link.Attrs().NetNsID < 0 && link.Attrs().ParentIndex == other.Attrs().Index {
		return fmt.Errorf("%s and %s: %w", name, peer, ErrLoop)
	}
	return nil
}

// tunnels are the types of links with an Ethernet header that are ends of tunnels. ERSPAN is not among them: it carries mirrored
// packets by definition.
var tunnels = map[string]bool{"vxlan": true, "geneve": true, "gretap": true, "ip6gretap": true, "l2tpeth": true, "tuntap": true}

// hostState is what a network namespace says about the use of its interfaces.
type hostState struct {
	links     []netlink.Link
	addresses []netlink.Addr
	routes    []netlink.Route
	proc      fs.FS // as /proc
}

// readHostState reads the state of the network namespace of h and of the calling thread, which are the same.
func readHostState(h *netlink.Handle) (s hostState, err error) {
	s.proc = os.DirFS("/proc")
	if s.links, err = machine.Dump(h.LinkList); err != nil {
		return s, fmt.Errorf("list the interfaces: %w", err)
	}
	s.addresses, err = machine.Dump(func() ([]netlink.Addr, error) { return h.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return s, fmt.Errorf("list the addresses: %w", err)
	}
	s.routes, err = machine.Dump(func() ([]netlink.Route, error) { return h.RouteList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return s, fmt.Errorf("list the routes: %w", err)
	}
	return s, nil
}

// usesOf returns what the packets of a link, and of the links made on top of it, are for.
func (s *hostState) usesOf(link netlink.Link) (uses []string) {
	// A link is taken with what is stacked on it: VLANs, macvlans. Stacks are finite, but their order in the list is not given.
	stack := []netlink.Link{link}
	for i := 0; i < len(stack); i++ {
		below := stack[i].Attrs().Index
		for _, l := range s.links {
			if l.Attrs().ParentIndex == below && l.Attrs().Index != below && !contains(stack, l) && onSameHost(l) {
				stack = append(stack, l)
			}
		}
	}
	for i, l := range stack {
		subject := "it "
		if i > 0 {
			subject = l.Attrs().Name + ", which is on top of it, "
		}
		for _, use := range s.usesAlone(l) {
			uses = append(uses, subject+use)
		}
	}
	return uses
}

func contains(links []netlink.Link, l netlink.Link) bool {
	return slices.ContainsFunc(links, func(other netlink.Link) bool { return other.Attrs().Index == l.Attrs().Index })
}

// onSameHost reports whether the parent of a link is another link of this namespace that its packets come through. The parent of
// a veth is its peer, and the number is one of the peer's namespace.
func onSameHost(l netlink.Link) bool { return l.Type() != "veth" && l.Attrs().NetNsID < 0 }

// usesAlone returns what the packets of one link are for.
func (s *hostState) usesAlone(l netlink.Link) (uses []string) {
	attrs := l.Attrs()
	switch {
	case attrs.RawFlags&unix.IFF_LOOPBACK != 0:
		return []string{"is the loopback interface, over which programs of this host speak with each other"}
	case l.Type() == "bridge":
		uses = append(uses, "is a bridge, and what it hands to this host would not arrive")
	case tunnels[l.Type()]:
		uses = append(uses, fmt.Sprintf("is the end of a tunnel (%s), and what comes out of it would not arrive", l.Type()))
	}
	if attrs.MasterIndex != 0 {
		use := "is enslaved to another interface, which would get nothing from it"
		for _, m := range s.links {
			if m.Attrs().Index == attrs.MasterIndex {
				use = fmt.Sprintf("is a port of %s (%s), which would get nothing from it", m.Attrs().Name, m.Type())
			}
		}
		uses = append(uses, use)
	}
	for _, a := range s.addresses {
		// Every interface that is up gives itself an fe80:: address, a mirror port too.
		if a.LinkIndex == attrs.Index && (a.IP.To4() != nil || !a.IP.IsLinkLocalUnicast()) {
			uses = append(uses, "has the address "+a.IPNet.String())
		}
	}
	for i := range s.routes {
		if isDefault(&s.routes[i]) && leadsTo(&s.routes[i], attrs.Index) {
			uses = append(uses, "is where the default route leads")
			break
		}
	}
	for _, setting := range []struct{ path, name, use string }{
		{"ipv4/conf", "forwarding", "forwards IPv4"},
		{"ipv6/conf", "forwarding", "forwards IPv6"},
		{"mpls/conf", "input", "takes part in MPLS"},
	} {
		value, err := fs.ReadFile(s.proc, path.Join("sys/net", setting.path, attrs.Name, setting.name))
		if err == nil && strings.TrimSpace(string(value)) != "0" {
			uses = append(uses, fmt.Sprintf("%s (net.%s.%s.%s)", setting.use, strings.ReplaceAll(setting.path, "/", "."), attrs.Name, setting.name))
		}
	}
	if s.carriesPPPoE(attrs.Name) {
		uses = append(uses, "carries a PPPoE session of this host (/proc/net/pppoe)")
	}
	return uses
}

// carriesPPPoE reports whether the kernel has a PPPoE session over an interface. Its list, which is missing without PPPoE, has a
// line for each under a heading: session, address of the other end, interface.
func (s *hostState) carriesPPPoE(name string) bool {
	list, err := fs.ReadFile(s.proc, "thread-self/net/pppoe") // net alone is that of the process's first thread
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(list)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[2] == name && fields[0] != "Id" {
			return true
		}
	}
	return false
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

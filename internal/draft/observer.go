package draft

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/rtflow/pipelined/internal/survey"
)

// The rest of all addresses.
var (
	allIPv4 = netip.MustParsePrefix("0.0.0.0/0")
	allIPv6 = netip.MustParsePrefix("::/0")
)

// private are the addresses that are not routed on the Internet.
func private() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
		netip.MustParsePrefix("fc00::/7"),
	}
}

// tap makes the configuration of a machine with ports that only listen.
func (c *choice) tap(ports []survey.Interface) {
	c.Shape, c.Reads, c.Outside = Tap, ports, "outside"
	c.Zones = []zone{
		{Name: "inside", Prefixes: private(), Note: "CHECK: which networks are yours, also public ones"},
		{Name: "outside", Prefixes: []netip.Prefix{allIPv4, allIPv6}},
	}
	for _, i := range c.with(isEnd) {
		c.leave(i, "this host's own: "+describe(i))
	}
}

// hostOf makes the configuration of a host that has these interfaces.
func (c *choice) hostOf(ends []survey.Interface) {
	c.Shape, c.Outside = HostOf, "outside"
	up := slices.DeleteFunc(slices.Clone(ends), func(i survey.Interface) bool { return !i.Up || len(i.Addresses) == 0 && !i.Default })
	if len(up) == 0 {
		up = ends[:1]
		c.warn("%s is down, or has no address: no packet arrives.", show(up[0].Name))
	}
	reads := once(up)
	for _, i := range ends {
		is := func(r survey.Interface) bool { return r.Name == i.Name }
		switch {
		case !slices.ContainsFunc(up, is):
			c.leave(i, "which is down or has no address: "+describe(i))
		case !slices.ContainsFunc(reads, is):
			c.leave(i, passesBelow+describe(i))
		}
	}
	for n, i := range reads {
		if i.Kind == "bridge" {
			c.warn("%s is a bridge: what only passes between its ports is seen on the ports.", show(i.Name))
		}
		if n >= most {
			c.leave(i, fmt.Sprintf("one of more than %d", most))
		}
	}
	c.Reads = reads[:min(len(reads), most)]
	self, near := zone{Name: "host", Note: "this host's addresses"}, zone{Name: "near", Note: "networks that it is in"}
	add := func(z *zone, p netip.Prefix) {
		if p.Bits() > 0 && !slices.Contains(self.Prefixes, p) && !slices.Contains(z.Prefixes, p) {
			z.Prefixes = append(z.Prefixes, p)
		}
	}
	dynamic := false
	for _, i := range up {
		dynamic = dynamic || i.Dynamic
		for _, a := range i.Addresses {
			add(&self, netip.PrefixFrom(a.Addr().WithZone(""), a.Addr().BitLen()))
		}
	}
	for _, i := range up {
		for _, a := range i.Addresses {
			add(&near, a.Masked())
		}
	}
	if dynamic {
		self.Note += ". CHECK: some were given for a time (DHCP, IPv6 autoconfiguration) and change"
	}
	for _, z := range []zone{self, near} {
		if len(z.Prefixes) > 0 {
			c.Zones = append(c.Zones, z)
		}
	}
	c.Zones = append(c.Zones, zone{Name: "outside", Prefixes: []netip.Prefix{allIPv4, allIPv6}, Note: "everybody else"})
}

package draft

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rtflow/pipelined/internal/survey"
)

// maxGroups is how many groups a source of NFLOG may read.
const maxGroups = 64

// router makes the configuration of a router, whose packets begin, end or turn at these interfaces.
func (c *choice) router(ends []survey.Interface) {
	c.Shape = Router
	c.addZones(ends)
	for _, z := range c.Zones {
		if slices.ContainsFunc(z.Interfaces, func(i survey.Interface) bool { return i.Default }) {
			if c.Outside != "" {
				c.warn("default routes lead to several zones, and the screens look at %s alone.", c.Outside)
				break
			}
			c.Outside = z.Name
			c.Reads = once(z.Interfaces)
		}
	}
	if c.Outside == "" {
		c.warn("no default route was seen, so that no zone is known to lead outside: no screens look at packets.")
	}
	guests := 0
	for _, i := range c.Interfaces {
		switch {
		case i.VRF != "" && isEnd(i):
			c.warn("%s is in the VRF %s, whose routes are not followed: give its zone prefixes.", show(i.Name), show(i.VRF))
		case isGuest(i) && i.PortOf == "" && (i.Routes > 0 || i.Forwards) && i.Up:
			guests++
		}
	}
	if guests > 0 {
		c.warn("%d virtual interfaces without an address (containers?) are in no zone: give a zone the prefixes that are behind them.", guests)
	}
	if c.Conntrack.Absent {
		// Nothing translates addresses, so that all interfaces see a session alike.
		c.Shape, c.Reads = Forward, once(ends)
		for n := range c.Zones {
			c.readBelow(&c.Zones[n])
		}
		c.Zones = slices.DeleteFunc(c.Zones, func(z zone) bool { return len(z.Interfaces) == 0 })
		if !slices.ContainsFunc(c.Zones, func(z zone) bool { return z.Name == c.Outside }) {
			c.Outside = ""
		}
		return
	}
	for _, group := range c.Firewall.Groups {
		if c.Firewall.Taken[group] == "" && len(c.Groups) < maxGroups {
			c.Groups = append(c.Groups, int(group))
		}
	}
}

// passesBelow says why an interface that once leaves out is left out.
const passesBelow = "whose packets pass the interface below it as well: "

// once returns the interfaces without those whose packets pass another one of them as well: VLANs and the like.
func once(interfaces []survey.Interface) (list []survey.Interface) {
	for _, i := range interfaces {
		if !slices.ContainsFunc(interfaces, func(below survey.Interface) bool { return i.Parent != "" && below.Name == i.Parent }) {
			list = append(list, i)
		}
	}
	return list
}

// readBelow has a zone name its interfaces as they are seen by whoever reads the interfaces below them.
func (c *choice) readBelow(z *zone) {
	reads := func(name string) bool {
		return slices.ContainsFunc(c.Reads, func(r survey.Interface) bool { return r.Name == name })
	}
	var seen []survey.Interface
	for _, i := range z.Interfaces {
		switch {
		case reads(i.Name):
			seen = append(seen, i)
		case i.VLAN > 0 && reads(i.Parent):
			i.Name = fmt.Sprintf("%s.%d", i.Parent, i.VLAN)
			seen = append(seen, i)
		default:
			c.leave(i, passesBelow+describe(i))
		}
	}
	z.Interfaces = seen
}

// kernel says what the kernel of a router tells.
func (c *choice) kernel() (lines []string) {
	switch ct := &c.Conntrack; {
	case ct.Entries > 0:
		lines = append(lines, fmt.Sprintf("connection tracking: %d connections of at most %d", ct.Entries, ct.Max))
	case c.Firewall.Tracks:
		lines = append(lines, "connection tracking: a rule switches it on; there is no connection just now")
	case c.Firewall.Known:
		lines = append(lines, "connection tracking: no rule switches it on")
	}
	switch {
	case len(c.Firewall.Groups) > 0:
		lines = append(lines, "rules log to NFLOG groups "+numbers(c.Firewall.Groups))
	case c.Firewall.KernelLog:
		lines = append(lines, "rules log to the kernel's log, and none to a group of NFLOG")
	case c.Firewall.Known:
		lines = append(lines, "no rule logs")
	}
	return lines
}

// numbers lists groups, but not all of very many.
func numbers(groups []uint16) string {
	var text []string
	for n, group := range groups {
		if n == most {
			text = append(text, fmt.Sprintf("and %d more", len(groups)-n))
			break
		}
		text = append(text, fmt.Sprint(group))
	}
	return strings.Join(text, ", ")
}

// Refused returns the groups that rules log to and another program reads.
func (c *choice) Refused() (lines []string) {
	for _, group := range c.Firewall.Groups {
		if who := c.Firewall.Taken[group]; who != "" {
			lines = append(lines, fmt.Sprintf("group %d is read by another program (%s), and a group has one reader: stop it, or log to another one.", group, who))
		}
	}
	return few(lines, "")
}

// Untracked reports whether nothing makes the kernel track connections, as far as that is known.
func (c *choice) Untracked() bool { return c.Conntrack.Entries == 0 && !c.Firewall.Tracks }

// RulesUnknown reports whether the rules could not be read.
func (c *choice) RulesUnknown() bool { return !c.Firewall.Known }

// GroupList returns the groups as TOML has them.
func (c *choice) GroupList() string {
	text := make([]string, len(c.Groups))
	for n, group := range c.Groups {
		text[n] = fmt.Sprint(group)
	}
	return "[" + strings.Join(text, ", ") + "]"
}

// Sources returns the names of the sources that are chained, as TOML has them.
func (c *choice) Sources() string {
	names := []string{`"sessions"`}
	if len(c.Groups) > 0 {
		names = append(names, `"rules"`)
	}
	if len(c.Reads) > 0 {
		names = append(names, `"packets"`)
	}
	return "[" + strings.Join(names, ", ") + "]"
}

// forwardRules are the commands that make the kernel track connections and log those that it lets through, and drop nothing.
var forwardRules = []string{
	"sudo nft add table inet pipelined",
	"sudo nft add chain inet pipelined forward '{ type filter hook forward priority -10; }'",
	`sudo nft add rule  inet pipelined forward ct state new log prefix '"ACCEPT:forward "' group 5`,
}

// Rules returns the commands for nftables that a router lacks.
func (c *choice) Rules() []string { return forwardRules }

// next says what to do to the machine before the configuration is run.
func (c *choice) next() (lines []string) {
	if c.Shape != Router {
		return nil
	}
	if c.Untracked() && c.Firewall.Known {
		lines = []string{"make the kernel track connections; these lines drop nothing, and 'sudo nft delete table inet pipelined' takes them away again:"}
		lines = append(lines, indent(forwardRules)...)
		return append(lines, "and run init again, with another name or without one: it then finds the group of NFLOG that they log to")
	}
	return nil
}

func indent(lines []string) (list []string) {
	for _, line := range lines {
		list = append(list, "  "+line)
	}
	return list
}

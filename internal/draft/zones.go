package draft

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/rtflow/pipelined/internal/survey"
)

// zone is a zone of the configuration.
type zone struct {
	Name       string
	Interfaces []survey.Interface
	Prefixes   []netip.Prefix
	Note       string // "" for none
}

// maxZoneName is how many characters the name of a zone may have.
const maxZoneName = 63

// zoneName makes the name of a zone of any text.
func zoneName(text string) string {
	name := strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-')
	}), "-")
	name = name[:min(len(name), maxZoneName-8)] // room for a number that tells it from others
	switch {
	case strings.Trim(name, "-") == "":
		return "zone"
	case name == "any" || name == "unknown":
		return "zone-" + name
	}
	return name
}

// roles are names that interfaces have for what they are for, with a number behind.
var roles = []string{"lan", "wan", "dmz", "guest", "mgmt", "iot"}

// own returns the name of the zone of an interface alone.
func own(name string) string {
	plain := strings.TrimPrefix(name, "br-")
	if role := strings.TrimRight(plain, "0123456789"); slices.Contains(roles, role) {
		return role
	}
	return zoneName(plain)
}

// chainParts are what tools put before and behind the name of a zone to name the chain of its packets: fw4 of OpenWrt, firewalld, and
// what people write.
var chainParts = struct{ before, behind []string }{
	[]string{"filter_IN_", "filter_FWD_", "filter_FWDI_", "mangle_PRE_", "nat_PRE_", "raw_PRE_", "input_", "forward_", "from_", "zone_", "in_", "fwd_", "input-", "forward-", "from-", "zone-", "in-", "fwd-"},
	[]string{"_input", "_forward", "_in", "_fwd", "-input", "-forward", "-in", "-fwd"},
}

// zoneOfChain returns the name of the zone whose packets a chain is for, "" if its name tells none.
func zoneOfChain(chain string) string {
	for _, before := range chainParts.before {
		if name, ok := strings.CutPrefix(chain, before); ok && name != "" {
			return name
		}
	}
	for _, behind := range chainParts.behind {
		if name, ok := strings.CutSuffix(chain, behind); ok && name != "" {
			return name
		}
	}
	return ""
}

// zoneOfRules returns the zone that the rules of the firewall have for an interface, "" if they have none, or several.
func (c *choice) zoneOfRules(name string) (found string) {
	for _, chain := range c.Firewall.Chains[name] {
		switch name := zoneOfChain(chain); {
		case name == "" || name == found:
		case found != "":
			return ""
		default:
			found = name
		}
	}
	return found
}

// addZones makes zones of interfaces: those that the firewall's rules have, one for the default routes, one for each other interface.
func (c *choice) addZones(interfaces []survey.Interface) {
	shared := make(map[string]int) // zones that several interfaces may be in
	taken := make(map[string]bool)
	for _, i := range interfaces {
		name, note := c.zoneOfRules(i.Name), "the firewall's rules have it"
		if name == "" && i.Default {
			name, note = "wan", "the default route leads there"
		}
		n, there := shared[name]
		switch {
		case name == "":
			c.Zones = append(c.Zones, zone{Name: unused(own(i.Name), taken)})
			n = len(c.Zones) - 1
		case !there:
			c.Zones = append(c.Zones, zone{Name: unused(zoneName(name), taken), Note: note})
			n = len(c.Zones) - 1
			shared[name] = n
		}
		c.Zones[n].Interfaces = append(c.Zones[n].Interfaces, i)
	}
}

// unused returns a name that no zone has, and takes it.
func unused(name string, taken map[string]bool) string {
	for n := 2; taken[name]; n++ {
		base := strings.TrimSuffix(name, "-"+strconv.Itoa(n-1))
		name = fmt.Sprintf("%s-%d", base, n)
	}
	taken[name] = true
	return name
}

package nettest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Router forwards between three hosts, over its interfaces lan0, wan0 and dmz0. It has no rules until [Router.Rules] gives it some.
// Connections are counted and have timestamps, once a rule makes the kernel track them.
type Router struct {
	*Host
	LAN, WAN, DMZ *Host
}

// Addresses of the networks of a [Router]. The host in each is .2, and ::2; the router .1, and ::1.
const (
	LANHost, LANHost6 = "10.20.1.2", "fd20:1::2"
	WANHost, WANHost6 = "198.51.100.2", "fd20:3::2"
	DMZHost, DMZHost6 = "10.20.2.2", "fd20:2::2"
	WANRouter         = "198.51.100.1"
)

// NewRouter makes the router and its hosts. The hosts in lan and dmz have default routes to it; that in wan knows the way to their
// IPv6 prefixes, but not to their IPv4 addresses. The test is skipped where it may not have them, see [Require] and [RequireCommands].
func NewRouter(t testing.TB) *Router {
	t.Helper()
	Require(t)
	RequireCommands(t, "nft", "conntrack")
	r := &Router{Host: NewHost(t), LAN: NewHost(t), WAN: NewHost(t), DMZ: NewHost(t)}
	for _, n := range []struct {
		name                 string
		host                 *Host
		network, network6    string
		defaults, toPrefixes bool
	}{
		{"lan0", r.LAN, "10.20.1.", "fd20:1::", true, false},
		{"wan0", r.WAN, "198.51.100.", "fd20:3::", false, true},
		{"dmz0", r.DMZ, "10.20.2.", "fd20:2::", true, false},
	} {
		Cable(r.Host, n.name, n.host, "eth0", 1)
		r.Address(n.name, n.network+"1/24")
		r.Address(n.name, n.network6+"1/64")
		n.host.Address("eth0", n.network+"2/24")
		n.host.Address("eth0", n.network6+"2/64")
		if n.defaults {
			n.host.Route("0.0.0.0/0", n.network+"1")
			n.host.Route("::/0", n.network6+"1")
		}
		if n.toPrefixes {
			n.host.Route("fd20::/16", n.network6+"1")
		}
	}
	for name, value := range map[string]string{"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1"} {
		r.Set(name, value)
	}
	return r
}

// Set writes a value under /proc/sys/net of the router.
func (r *Router) Set(name, value string) {
	r.t.Helper()
	r.Do(func() { r.must("set "+name, os.WriteFile(filepath.Join("/proc/sys/net", name), []byte(value), 0)) })
}

// Rules adds rules, in the language of nft.
func (r *Router) Rules(text string) {
	r.t.Helper()
	r.Do(func() {
		cmd := exec.Command("nft", "-f", "-")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			r.t.Fatalf("nettest: nft: %v\n%s", err, out)
		}
	})
}

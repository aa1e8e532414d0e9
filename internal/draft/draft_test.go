package draft

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/internal/survey"
)

var update = flag.Bool("update", false, "write the golden files")

// prefixes reads addresses with their networks.
func prefixes(list ...string) (all []netip.Prefix) {
	for _, text := range list {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// card returns a network card that is up.
func card(name string, addresses ...string) survey.Interface {
	return survey.Interface{Name: name, Kind: "device", Driver: "igb", Up: true, Carrier: true, Addresses: prefixes(addresses...)}
}

// like returns an interface with changes.
func like(i survey.Interface, change func(*survey.Interface)) survey.Interface {
	change(&i)
	return i
}

func outwards(i *survey.Interface) { i.Default = true }

var loopback = survey.Interface{Name: "lo", Kind: "device", Loopback: true, Up: true, Carrier: true, Addresses: prefixes("127.0.0.1/8", "::1/128")}

// machines are invented.
var machines = map[string]struct {
	host  survey.Host
	shape Shape
	zones string // names and interfaces or prefixes
	reads string
	says  []string // parts of the text
}{
	"router": {
		survey.Host{
			IPv4: true, IPv6: true,
			Interfaces: []survey.Interface{
				loopback, card("lan0", "10.20.1.1/24", "fd20:1::1/64"), like(card("wan0", "198.51.100.1/24"), outwards), card("dmz0", "10.20.2.1/24"),
			},
			Firewall:  survey.Firewall{Known: true, Tracks: true, Groups: []uint16{5, 7}},
			Conntrack: survey.Conntrack{Max: 65536, Entries: 12},
		}, Router, "lan=lan0 wan=wan0 dmz=dmz0", "wan0", []string{"groups = [5, 7]", `sources = ["sessions", "rules", "packets"]`, `zones  = ["wan"]`},
	},
	"no rules": {
		survey.Host{
			IPv4:       true,
			Interfaces: []survey.Interface{card("eth0", "10.20.1.1/24"), like(card("eth1", "198.51.100.1/24"), outwards)},
			Firewall:   survey.Firewall{Known: true, KernelLog: true},
		}, Router, "eth0=eth0 wan=eth1", "eth1", []string{"no rule makes the kernel track", "no rule logs to a group", `lack "group 5"`, `sources = ["sessions", "packets"]`},
	},
	"not root": {
		survey.Host{
			IPv4:       true,
			Interfaces: []survey.Interface{card("eth0", "10.20.1.1/24"), like(card("eth1", "198.51.100.1/24"), outwards)},
			Conntrack:  survey.Conntrack{ReadOnly: "/proc/sys is mounted read-only here"},
			Unseen:     []string{"the rules of the firewall: operation not permitted"},
		}, Router, "eth0=eth0 wan=eth1", "eth1", []string{"init could not see the rules of the firewall", "CHECK: whether a rule makes", "read-only here"},
	},
	"zones of rules": { // firewalld, and fw4 of OpenWrt
		survey.Host{
			IPv4: true,
			Interfaces: []survey.Interface{
				like(card("eth0"), func(i *survey.Interface) { i.PortOf = "br-lan" }),
				{Name: "br-lan", Kind: "bridge", Up: true, Carrier: true, Addresses: prefixes("192.168.1.1/24")},
				{Name: "wg0", Kind: "wireguard", Up: true, Carrier: true, Addresses: prefixes("10.9.0.1/24")},
				like(card("eth1", "198.51.100.1/24"), outwards), card("eth2", "10.3.0.1/24"),
			},
			Firewall: survey.Firewall{Known: true, Tracks: true, Chains: map[string][]string{
				"br-lan": {"input_lan", "forward_lan", "handle_reject"}, "wg0": {"input_lan"}, "eth1": {"filter_IN_public", "nat_PRE_public"},
				"eth2": {"input_a", "input_b"}, // two
			}},
		}, Router, "lan=br-lan,wg0 public=eth1 eth2=eth2", "eth1", []string{`zones  = ["public"]`},
	},
	"group is taken": {
		survey.Host{
			IPv4:       true,
			Interfaces: []survey.Interface{card("lan0", "10.1.0.1/24"), like(card("wan0", "198.51.100.1/24"), outwards)},
			Firewall:   survey.Firewall{Known: true, Groups: []uint16{5}, Taken: map[uint16]string{5: "ulogd\x1b, process 7"}},
		}, Router, "lan=lan0 wan=wan0", "wan0", []string{"group 5 is read by another program (ulogd?, process 7)", `sources = ["sessions", "packets"]`},
	},
	"no tracking in the kernel": {
		survey.Host{
			IPv4: true,
			Interfaces: []survey.Interface{
				card("eth0", "10.1.0.1/24"),
				{Name: "partner0", Kind: "vlan", Parent: "eth0", VLAN: 100, Up: true, Carrier: true, Addresses: prefixes("10.2.0.1/24")},
				{Name: "mac0", Kind: "macvlan", Parent: "eth0", Up: true, Carrier: true, Addresses: prefixes("10.4.0.1/24"), Default: true},
				card("eth1", "10.3.0.1/24"),
			},
			Conntrack: survey.Conntrack{Absent: true},
		}, Forward, "eth0=eth0 partner0=eth0.100 eth1=eth1", "eth0 eth1", []string{"mac0, whose packets pass the interface below"},
	},
	"nowhere to": { // no default route; a VRF; containers
		survey.Host{
			Interfaces: []survey.Interface{
				like(card("eth0", "10.1.0.1/24"), func(i *survey.Interface) { i.Forwards, i.VRF = true, "red" }),
				{Name: "red", Kind: "vrf", Up: true, Carrier: true}, card("eth1", "10.3.0.1/24"),
				{Name: "cali1", Kind: "veth", Up: true, Carrier: true, Routes: 1}, {Name: "kube-ipvs0", Kind: "dummy", Addresses: prefixes("10.96.0.1/32")},
			},
			Firewall: survey.Firewall{Known: true, Tracks: true},
		}, Router, "eth0=eth0 eth1=eth1", "", []string{"is in the VRF red", "1 virtual interfaces", "no default route was seen", "hooks   = []"},
	},
	"several ways out": {
		survey.Host{
			IPv6: true,
			Interfaces: []survey.Interface{
				like(card("isp0", "198.51.100.1/24"), outwards), like(card("isp1", "203.0.113.1/24"), outwards), card("lan0", "10.1.0.1/24"), card("lan1", "10.2.0.1/24"),
				{Name: "ppp0", Kind: "ppp", Up: true, Carrier: true, Addresses: prefixes("192.0.2.9/32"), Default: true},
			},
			Firewall: survey.Firewall{Known: true, Chains: map[string][]string{"ppp0": {"from-dsl"}}},
		}, Router, "wan=isp0,isp1 lan=lan0 lan-2=lan1 dsl=ppp0", "isp0 isp1", []string{"default routes lead to several zones"},
	},
	"hostile": { // whatever the kernel takes
		survey.Host{
			IPv4: true,
			Interfaces: []survey.Interface{
				card("\"\x1b]'#\\", "10.1.0.1/24"), card("größe\u202e", "10.2.0.1/24"), card("${HOME}", "10.3.0.1/24"), card("$${x}", "10.4.0.1/24"),
				card("\xff\xfe", "10.5.0.1/24"), card("a\u3000b", "10.6.0.1/24"), card("unknown", "10.7.0.1/24"), card("any", "10.8.0.1/24"), card("ößä", "10.9.0.1/24"),
				like(card("--\x7f", "198.51.100.1/24"), outwards), card("wan", "10.10.0.1/24"), card("\U000e0001", "10.11.0.1/24"), card("eth0.100", "10.12.0.1/24"),
				card("eth0", "10.13.0.1/24"),
			},
			Firewall: survey.Firewall{Known: true, Chains: map[string][]string{"eth0": {"input_\"]\n[x"}}},
		}, Router,
		"zone=\"\x1b]'#\\ gr-e=größe\u202e HOME=${HOME} x=$${x} zone-unknown=unknown zone-any=any zone-2=ößä wan=--\x7f wan-2=wan zone-3=\U000e0001 eth0-100=eth0.100 x-2=eth0",
		"--\x7f", []string{`"\xff\xfe", its name cannot be written`, `"a\u3000b"`, `interfaces = ["$${HOME}"]`, `["$$${x}"]`, `"\"\u001B]'#\\"`},
	},
	"host": {
		survey.Host{
			Interfaces: []survey.Interface{
				loopback, like(card("eth0", "192.0.2.2/24", "192.0.2.3/24", "fd00::2/64"), func(i *survey.Interface) { i.Default, i.Dynamic = true, true }),
				{Name: "eth0.5", Kind: "vlan", Parent: "eth0", VLAN: 5, Up: true, Carrier: true, Addresses: prefixes("10.5.0.2/24")},
				card("eth1", "192.0.2.4/24", "10.1.0.2/32"), like(card("eth2", "10.2.0.2/24"), func(i *survey.Interface) { i.Up = false }),
				{Name: "cable", Kind: "veth", Up: true, Carrier: true},
			},
		}, HostOf, "host=192.0.2.2/32,192.0.2.3/32,fd00::2/128,10.5.0.2/32,192.0.2.4/32,10.1.0.2/32 near=192.0.2.0/24,fd00::/64,10.5.0.0/24 outside=0.0.0.0/0,::/0",
		"eth0 eth1", []string{"DHCP", "eth0.5, whose packets pass", "eth2, which is down", "[sources.live-2]"},
	},
	"host with one leg that could forward": {
		survey.Host{IPv4: true, Interfaces: []survey.Interface{like(card("eth0", "192.0.2.2/24"), outwards), {Name: "docker0", Kind: "bridge", Up: true}}},
		HostOf, "host=192.0.2.2/32 near=192.0.2.0/24 outside=0.0.0.0/0,::/0", "eth0", nil,
	},
	"host of virtual machines": {
		survey.Host{Interfaces: []survey.Interface{
			like(card("eth0"), func(i *survey.Interface) { i.PortOf = "br0" }),
			{Name: "br0", Kind: "bridge", Up: true, Carrier: true, Addresses: prefixes("192.0.2.2/24"), Default: true},
		}}, HostOf, "host=192.0.2.2/32 near=192.0.2.0/24 outside=0.0.0.0/0,::/0", "br0", []string{"br0 is a bridge"},
	},
	"host that is down": {
		survey.Host{Interfaces: []survey.Interface{like(card("eth0", "192.0.2.2/24"), func(i *survey.Interface) { i.Up = false })}},
		HostOf, "host=192.0.2.2/32 near=192.0.2.0/24 outside=0.0.0.0/0,::/0", "eth0", []string{"eth0 is down"},
	},
	"mirror port": {
		survey.Host{Interfaces: []survey.Interface{
			loopback, like(card("eth0", "192.0.2.2/24"), outwards), card("mirror0"),
			like(card("off0"), func(i *survey.Interface) { i.Up = false }), like(card("eth3"), func(i *survey.Interface) { i.Carries = true }),
			{Name: "stray", Kind: "veth", Up: true, Carrier: true},
		}}, Tap, "inside=10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7 outside=0.0.0.0/0,::/0", "mirror0",
		[]string{"zones_by_route = false", "promiscuous = true", "eth0, this host's own"},
	},
	"two mirror ports": {
		survey.Host{Interfaces: []survey.Interface{card("tap0"), card("tap1")}}, Tap,
		"inside=10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7 outside=0.0.0.0/0,::/0", "tap0 tap1", []string{"they are mirror ports"},
	},
	"nothing": {
		survey.Host{Interfaces: []survey.Interface{loopback, {Name: "ifb0", Kind: "ifb", Up: true, Carrier: true}}, Unseen: []string{"routes: \x1b[2J\nno"}},
		Capture, "", "", []string{`plugin = "pcap"`, "routes: ?[2J?no."},
	},
	"nothing at all": {survey.Host{}, Capture, "", "", nil},
}

// TestDraft looks at the decisions about every machine, reads the names back from the text, and compares the text with what is in
// testdata, which the tests of the command check as 'pipelined check' does.
func TestDraft(t *testing.T) {
	for name, tt := range machines {
		t.Run(name, func(t *testing.T) {
			c := choose(tt.host)
			if c.Shape != tt.shape {
				t.Fatalf("it is taken for a %s, want %s", c.Shape, tt.shape)
			}
			if got := zonesOf(c.Zones); got != tt.zones {
				t.Errorf("zones\n%q, want\n%q", got, tt.zones)
			}
			if got := strings.Join(names(c.Reads), " "); got != tt.reads {
				t.Errorf("reads %q, want %q", got, tt.reads)
			}
			d, err := New(tt.host)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.says {
				if !strings.Contains(d.Text, want) {
					t.Errorf("the text does not say %q", want)
				}
			}
			file, problems := config.Parse("pipeline.toml", []byte(d.Text))
			for _, p := range problems.All() {
				t.Errorf("%v", p)
			}
			for n, z := range c.Zones {
				if diff := cmp.Diff(names(z.Interfaces), file.Zones[n].Interfaces); diff != "" {
					t.Errorf("zone %s:%s", z.Name, diff)
				}
			}
			path := filepath.Join("testdata", strings.ReplaceAll(name, " ", "-")+".toml")
			if *update {
				if err := os.WriteFile(path, []byte(d.Text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), d.Text); diff != "" {
				t.Errorf("-update writes what has changed:%s", diff)
			}
		})
	}
}

func names(interfaces []survey.Interface) (list []string) {
	for _, i := range interfaces {
		list = append(list, i.Name)
	}
	return list
}

// zonesOf writes zones as the table of machines has them.
func zonesOf(zones []zone) string {
	var text []string
	for _, z := range zones {
		members := names(z.Interfaces)
		for _, p := range z.Prefixes {
			members = append(members, p.String())
		}
		text = append(text, z.Name+"="+strings.Join(members, ","))
	}
	return strings.Join(text, " ")
}

// TestManyInterfaces has lists that end.
func TestManyInterfaces(t *testing.T) {
	var host survey.Host
	for n := range 40 {
		host.Interfaces = append(host.Interfaces, card("e"+strings.Repeat("x", n), "10.0."+string('0'+rune(n%10))+".1/24"))
	}
	c := choose(host)
	if len(c.Reads) != most || len(c.Left) != 40-most || len(c.LeftOut()) != most+1 {
		t.Errorf("%d are read, %d left out, %d listed", len(c.Reads), len(c.Left), len(c.LeftOut()))
	}
	host.IPv4 = true
	if d, err := New(host); err != nil || len(d.Saw) > most+6 || strings.Count(d.Text, "[zones.") != 40 {
		t.Errorf("%d lines, %d zones (%v)", len(d.Saw), strings.Count(d.Text, "[zones."), err)
	}
	host.Firewall.Groups = make([]uint16, 100)
	for n := range host.Firewall.Groups {
		host.Firewall.Groups[n] = uint16(n)
	}
	if c := choose(host); len(c.Groups) != maxGroups || !strings.Contains(strings.Join(c.saw(), "\n"), "0, 1, 2, 3, 4, 5, 6, 7, and 92 more") {
		t.Errorf("%d groups; %q", len(c.Groups), c.saw())
	}
}

// TestZoneName has names that a configuration takes.
func TestZoneName(t *testing.T) {
	taken := make(map[string]bool)
	for _, text := range []string{"lan", "lan", "lan", "lan-2", "", "", "any", "unknown", "a.b", "ä", strings.Repeat("x", 200), strings.Repeat("x", 200)} {
		name := unused(zoneName(text), taken)
		_, problems := config.Parse("pipeline.toml", []byte("[zones."+name+"]\nprefixes = [\"10.0.0.0/8\"]\n"))
		for _, p := range problems.All() {
			t.Errorf("%q becomes %q: %v", text, name, p)
		}
	}
	if len(taken) != 12 {
		t.Errorf("%d names: %v", len(taken), taken)
	}
}

package policydeny

import (
	"slices"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/application"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/packet"
	"github.com/rtflow/pipelined/sdk/event"
)

const (
	tcp   = packet.ProtoTCP
	udp   = packet.ProtoUDP
	icmp  = packet.ProtoICMP
	icmp6 = packet.ProtoICMPv6
)

func permitted(policy string, timeout uint32) result {
	return result{Verdict: hook.Pass, Policy: policy, Timeout: timeout}
}

func denied(policy string) result {
	return result{Verdict: hook.Drop, Policy: policy, Found: true, Action: event.ActionDeny}
}

func rejected(policy string) result {
	return result{Verdict: hook.Reject, Policy: policy, Found: true, Action: event.ActionReject}
}

// web is a packet of a web client in zone trust.
func web() hook.Packet { return pkt(trust, untrust, tcp, "10.1.2.3", "198.51.100.1", 443) }

func with(p hook.Packet, change func(*hook.Packet)) hook.Packet {
	change(&p)
	return p
}

func TestDecide(t *testing.T) {
	type step struct {
		name string
		p    hook.Packet
		want result
	}
	for _, c := range []struct {
		name, text string
		steps      []step
	}{
		{"empty", `[hooks.policies]`, []step{
			{"denied by default, logged", web(), denied("default-deny")},
		}},
		{"default silenced", `[hooks.policies]
			log-default = false`, []step{
			{"", web(), result{Verdict: hook.Drop}},
		}},
		{"default permit", `[hooks.policies]
			default = "permit"`, []step{
			{"", web(), permitted("default-permit", 0)},
			{"timeout of the application", with(web(), func(p *hook.Packet) {
				p.DstPort, p.App = 80, predefined.Service(tcp, 80)
			}), permitted("default-permit", 300)},
		}},
		{"default permit silenced", `[hooks.policies]
			default = "permit"
			log-default = false`, []step{
			{"", web(), result{Verdict: hook.Pass, Policy: "default-permit", NoOpen: true, NoClose: true}},
		}},
		{"first match wins", `
			[[hooks.policies.policy]]
			name = "a"
			from = "trust"
			to = "untrust"
			application = "junos-https"
			then = "permit"
			[[hooks.policies.policy]]
			name = "b"
			from = "trust"
			to = "untrust"
			then = "reject"`, []step{
			{"first", web(), permitted("a", 0)},
			{"second", with(web(), func(p *hook.Packet) { p.DstPort = 22 }), rejected("b")},
			{"other direction", pkt(untrust, trust, tcp, "10.1.2.3", "198.51.100.1", 443), denied("default-deny")},
			{"within the zone", pkt(trust, trust, tcp, "10.1.2.3", "198.51.100.1", 443), denied("default-deny")},
		}},
		{"zone pairs before globals, whatever their place in the file", `
			[[hooks.policies.policy]]
			name = "everywhere"
			from = "any"
			to = "any"
			then = "deny"
			[[hooks.policies.policy]]
			name = "pair"
			from = "trust"
			to = ["untrust", "dmz"]
			then = "permit"`, []step{
			{"pair", web(), permitted("pair", 0)},
			{"second zone of the list", pkt(trust, dmz, tcp, "10.1.2.3", "192.0.2.1", 443), permitted("pair", 0)},
			{"global", pkt(dmz, trust, tcp, "192.0.2.1", "10.1.2.3", 443), denied("everywhere")},
		}},
		{"globals of one side keep the file's order among globals", `
			[[hooks.policies.policy]]
			name = "from-trust"
			from = ["trust"]
			to = "any"
			application = "junos-https"
			then = "permit"
			[[hooks.policies.policy]]
			name = "to-untrust"
			from = "any"
			to = "untrust"
			then = "permit"`, []step{
			{"first", web(), permitted("from-trust", 0)},
			{"second", with(web(), func(p *hook.Packet) { p.DstPort = 22 }), permitted("to-untrust", 0)},
			{"egress unknown matches any", with(web(), func(p *hook.Packet) { p.OutZone = 0 }), permitted("from-trust", 0)},
			{"ingress unknown matches any", with(web(), func(p *hook.Packet) { p.InZone = 0 }), permitted("to-untrust", 0)},
			{"both unknown match neither", with(web(), func(p *hook.Packet) { p.InZone, p.OutZone = 0, 0 }), denied("default-deny")},
		}},
		{"unknown zones match only any", `
			[[hooks.policies.policy]]
			name = "pair"
			from = "trust"
			to = "untrust"
			then = "permit"`, []step{
			{"egress", with(web(), func(p *hook.Packet) { p.OutZone = 0 }), denied("default-deny")},
			{"ingress", with(web(), func(p *hook.Packet) { p.InZone = 0 }), denied("default-deny")},
			{"a zone nobody configured", with(web(), func(p *hook.Packet) { p.OutZone = 999 }), denied("default-deny")},
		}},
		{"families are apart", `
			[[hooks.policies.policy]]
			name = "v4"
			from = "any"
			to = "any"
			source = "0.0.0.0/0"
			then = "permit"
			[[hooks.policies.policy]]
			name = "v6"
			from = "any"
			to = "any"
			destination = ["2001:db8::/32"]
			then = "permit"`, []step{
			{"IPv4", web(), permitted("v4", 0)},
			{"IPv6", pkt(trust, untrust, tcp, "fe80::1", "2001:db8::1", 443), permitted("v6", 0)},
			{"IPv6 of neither", pkt(trust, untrust, tcp, "2001:db8::1", "fe80::1", 443), denied("default-deny")},
			{"IPv4-mapped is IPv6", pkt(trust, untrust, tcp, "::ffff:10.0.0.1", "::ffff:10.0.0.2", 443), denied("default-deny")},
		}},
		{"any of one family", `
			[[hooks.policies.policy]]
			name = "v6"
			from = "any"
			to = "any"
			source = "any-ipv6"
			then = "permit"
			[[hooks.policies.policy]]
			name = "v4"
			from = "any"
			to = "any"
			source = "any"
			destination = "any-ipv4"
			then = "permit"`, []step{
			{"IPv4", web(), permitted("v4", 0)},
			{"IPv6", pkt(trust, untrust, tcp, "fe80::1", "fe80::2", 443), permitted("v6", 0)},
		}},
		{"addresses", `
			[[hooks.policies.policy]]
			name = "a"
			from = "any"
			to = "any"
			source = ["clients", "172.16.0.9"]
			destination = ["servers"]
			then = "permit"
			[hooks.policies.addresses]
			clients = ["homes", "10.1.0.0/16"]
			homes = "10.2.0.0/16"
			servers = ["198.51.100.0/30", "2001:db8::1"]`, []step{
			{"prefix of the set", web(), permitted("a", 0)},
			{"set of the set", pkt(trust, dmz, tcp, "10.2.255.255", "198.51.100.3", 1), permitted("a", 0)},
			{"single address", pkt(trust, dmz, tcp, "172.16.0.9", "198.51.100.0", 1), permitted("a", 0)},
			{"other source", pkt(trust, dmz, tcp, "172.16.0.10", "198.51.100.0", 1), denied("default-deny")},
			{"below", pkt(trust, dmz, tcp, "10.0.255.255", "198.51.100.0", 1), denied("default-deny")},
			{"above", pkt(trust, dmz, tcp, "10.3.0.0", "198.51.100.0", 1), denied("default-deny")},
			{"other destination", pkt(trust, dmz, tcp, "10.1.0.0", "198.51.100.4", 1), denied("default-deny")},
			{"the sides are not mixed up", pkt(trust, dmz, tcp, "198.51.100.1", "10.1.0.1", 1), denied("default-deny")},
		}},
		{"excluded", `
			[[hooks.policies.policy]]
			name = "src"
			from = "any"
			to = "any"
			source = ["10.1.0.0/16", "10.3.0.0/16"]
			source-excluded = true
			application = "junos-ssh"
			then = "permit"
			[[hooks.policies.policy]]
			name = "dst"
			from = "any"
			to = "any"
			destination = ["any-ipv4", "2001:db8::/32"]
			destination-excluded = true
			application = "junos-https"
			then = "permit"`, []step{
			{"listed", pkt(trust, dmz, tcp, "10.1.0.1", "192.0.2.1", 22), denied("default-deny")},
			{"between", pkt(trust, dmz, tcp, "10.2.0.1", "192.0.2.1", 22), permitted("src", 0)},
			{"below", pkt(trust, dmz, tcp, "0.0.0.0", "192.0.2.1", 22), permitted("src", 0)},
			{"above", pkt(trust, dmz, tcp, "255.255.255.255", "192.0.2.1", 22), permitted("src", 0)},
			{"a family that was not named stays out", pkt(trust, dmz, tcp, "fe80::1", "fe80::2", 22), denied("default-deny")},
			{"all of one family", pkt(trust, dmz, tcp, "10.2.0.1", "192.0.2.1", 443), denied("default-deny")},
			{"rest of the other", pkt(trust, dmz, tcp, "fe80::1", "2001:db9::", 443), permitted("dst", 0)},
			{"not the listed", pkt(trust, dmz, tcp, "fe80::1", "2001:db8::", 443), denied("default-deny")},
		}},
		{"applications", `
			[[hooks.policies.policy]]
			name = "a"
			from = "any"
			to = "any"
			application = ["junos-cifs", "mine", "junos-icmp-ping", "junos-gre"]
			then = "permit"
			[hooks.policies.applications.mine]
			members = ["low", "junos-pingv6"]
			[hooks.policies.applications.low]
			protocol = "udp"
			source-port = "40000-40001"
			destination-port = [5, "100-200"]
			inactivity-timeout = 7`, []step{
			{"predefined set", pkt(trust, dmz, tcp, "10.1.0.1", "192.0.2.1", 445), permitted("a", 0)},
			{"other port", pkt(trust, dmz, tcp, "10.1.0.1", "192.0.2.1", 446), denied("default-deny")},
			{"own range and timeout", pkt(trust, dmz, udp, "10.1.0.1", "192.0.2.1", 150), permitted("a", 7)},
			{"other source port", with(pkt(trust, dmz, udp, "10.1.0.1", "192.0.2.1", 150), func(p *hook.Packet) { p.SrcPort = 1 }),
				denied("default-deny")},
			{"other protocol", pkt(trust, dmz, tcp, "10.1.0.1", "192.0.2.1", 150), denied("default-deny")},
			{"fragment without ports", with(pkt(trust, dmz, udp, "10.1.0.1", "192.0.2.1", 0), func(p *hook.Packet) {
				p.HasHead, p.SrcPort = false, 0
			}), denied("default-deny")},
			{"echo, whatever its sequence number", with(pkt(trust, dmz, icmp, "10.1.0.1", "192.0.2.1", 9999), func(p *hook.Packet) { p.ICMPType = 8 }),
				permitted("a", 0)},
			{"other icmp", with(pkt(trust, dmz, icmp, "10.1.0.1", "192.0.2.1", 0), func(p *hook.Packet) { p.ICMPType = 13 }),
				denied("default-deny")},
			{"icmpv6", with(pkt(trust, dmz, icmp6, "fe80::1", "fe80::2", 1), func(p *hook.Packet) { p.ICMPType = 135 }),
				permitted("a", 0)},
			{"protocol", with(pkt(trust, dmz, 47, "10.1.0.1", "192.0.2.1", 0), func(p *hook.Packet) { p.HasHead = false }),
				permitted("a", 0)},
			{"other protocol", with(pkt(trust, dmz, 50, "10.1.0.1", "192.0.2.1", 0), func(p *hook.Packet) { p.HasHead = false }),
				denied("default-deny")},
		}},
		{"timeouts", `
			[[hooks.policies.policy]]
			name = "policy"
			from = "trust"
			to = "untrust"
			application = "mine"
			then = "permit"
			timeout = "1m"
			[[hooks.policies.policy]]
			name = "application"
			from = "trust"
			to = "dmz"
			application = ["mine", "junos-tcp-any"]
			then = "permit"
			[[hooks.policies.policy]]
			name = "never"
			from = "dmz"
			to = "trust"
			then = "permit"
			timeout = "never"
			[hooks.policies.applications.mine]
			protocol = "tcp"
			destination-port = 443
			inactivity-timeout = 9`, []step{
			{"the policy's", web(), permitted("policy", 60)},
			{"the application's", pkt(trust, dmz, tcp, "10.1.0.1", "192.0.2.1", 443), permitted("application", 9)},
			{"the predefined application's", pkt(trust, dmz, tcp, "10.1.0.1", "192.0.2.1", 80), permitted("application", 300)},
			{"by protocol", pkt(trust, dmz, tcp, "10.1.0.1", "192.0.2.1", 81), permitted("application", 0)},
			{"never", pkt(dmz, trust, tcp, "192.0.2.1", "10.1.0.1", 80), permitted("never", application.Never)},
		}},
		{"log of permits", `
			[[hooks.policies.policy]]
			name = "nothing"
			from = "any"
			to = "any"
			application = "junos-ftp"
			then = "permit"
			log = []
			[[hooks.policies.policy]]
			name = "open"
			from = "any"
			to = "any"
			application = "junos-ssh"
			then = "permit"
			log = "session-init"
			[[hooks.policies.policy]]
			name = "close"
			from = "any"
			to = "any"
			application = "junos-telnet"
			then = "permit"
			log = ["session-close"]
			[[hooks.policies.policy]]
			name = "both"
			from = "any"
			to = "any"
			then = "permit"`, []step{
			{"", with(web(), func(p *hook.Packet) { p.DstPort = 21 }), result{Policy: "nothing", NoOpen: true, NoClose: true}},
			{"", with(web(), func(p *hook.Packet) { p.DstPort = 22 }), result{Policy: "open", NoClose: true}},
			{"", with(web(), func(p *hook.Packet) { p.DstPort = 23 }), result{Policy: "close", NoOpen: true}},
			{"", web(), result{Policy: "both"}},
		}},
		{"log of denials", `
			[[hooks.policies.policy]]
			name = "silent"
			from = "any"
			to = "any"
			application = "junos-ftp"
			then = "deny"
			log = []
			[[hooks.policies.policy]]
			name = "silent-reject"
			from = "any"
			to = "any"
			application = "junos-ssh"
			then = "reject"
			log = []
			[[hooks.policies.policy]]
			name = "logged"
			from = "any"
			to = "any"
			application = "junos-telnet"
			then = "deny"
			log = ["session-init", "session-close"]`, []step{
			{"", with(web(), func(p *hook.Packet) { p.DstPort = 21 }), result{Verdict: hook.Drop}},
			{"", with(web(), func(p *hook.Packet) { p.DstPort = 22 }), result{Verdict: hook.Reject}},
			{"", with(web(), func(p *hook.Packet) { p.DstPort = 23 }), denied("logged")},
		}},
		{"who is told of a reject", `
			[[hooks.policies.policy]]
			name = "r"
			from = "any"
			to = "any"
			then = "reject"`, []step{
			{"tcp", web(), rejected("r")},
			{"udp", pkt(trust, untrust, udp, "fe80::1", "fe80::2", 53), rejected("r")},
			{"icmp", pkt(trust, untrust, icmp, "10.1.0.1", "192.0.2.1", 1),
				result{Verdict: hook.Drop, Policy: "r", Found: true, Action: event.ActionReject}},
			{"later fragment", with(web(), func(p *hook.Packet) { p.HasHead = false }),
				result{Verdict: hook.Drop, Policy: "r", Found: true, Action: event.ActionReject}},
		}},
		{"disabled", `
			[[hooks.policies.policy]]
			name = "off"
			from = "any"
			to = "any"
			then = "permit"
			enabled = false
			[[hooks.policies.policy]]
			name = "on"
			from = "any"
			to = "any"
			then = "reject"
			enabled = true`, []step{
			{"", web(), rejected("on")},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := load(t, c.text)
			for _, s := range c.steps {
				if got := x.decide(s.p); got != s.want {
					t.Errorf("%s: %+v, want %+v", s.name, got, s.want)
				}
			}
		})
	}
}

// TestGlobalNames checks that a policy from any zone to any zone says so in records, and others do not.
func TestGlobalNames(t *testing.T) {
	for zones, want := range map[string]string{
		`from = "any", to = "any"`:       "p(global)",
		`from = "trust", to = "any"`:     "p",
		`from = "any", to = "untrust"`:   "p",
		`from = "trust", to = "untrust"`: "p",
	} {
		x := load(t, "[hooks.policies]\npolicy = [{ name = \"p\", "+zones+", then = \"permit\" }]")
		var permit hook.Permit
		var f hook.Finding
		p := web()
		if v := x.Session.Decide(&p, &permit, &f); v != hook.Pass || x.names.Policy(permit.Policy) != want {
			t.Errorf("%s: %v, policy %q, want %q", zones, v, x.names.Policy(permit.Policy), want)
		}
	}
}

// TestDecideOverwrites: what an earlier hook left in the permit is gone.
func TestDecideOverwrites(t *testing.T) {
	x := load(t, "[hooks.policies]\ndefault = \"permit\"")
	permit := hook.Permit{Policy: 9, NoOpen: true, NoClose: true, Timeout: 9}
	var f hook.Finding
	p := web()
	if v := x.Session.Decide(&p, &permit, &f); v != hook.Pass || f != (hook.Finding{}) {
		t.Fatalf("%v, %+v", v, f)
	}
	if permit.NoOpen || permit.NoClose || permit.Timeout != 0 || x.names.Policy(permit.Policy) != "default-permit" {
		t.Errorf("permit %+v", permit)
	}
}

func TestTwoHooksShareNames(t *testing.T) {
	env := testEnv(1)
	first, _ := build("[hooks.policies]", env)
	second, _ := build("[hooks.policies]", env)
	ids := make(map[uint32]bool)
	for _, inst := range []hook.Instance{first, second} {
		var (
			permit hook.Permit
			f      hook.Finding
		)
		p := web()
		inst.Session.Decide(&p, &permit, &f)
		if f.Policy == 0 || ids[f.Policy] {
			t.Errorf("policy id %d is none or stands for two", f.Policy)
		}
		ids[f.Policy] = true
	}
}

// TestNamesAfterReload changes the policies as a reload does. What a packet is decided by is named by records as it is in the file, and
// what was recorded before keeps its name.
func TestNamesAfterReload(t *testing.T) {
	policies := map[string]string{
		"web":  "[[hooks.policies.policy]]\nname = \"web\"\nfrom = \"trust\"\nto = \"untrust\"\napplication = \"junos-https\"\nthen = \"permit\"\n",
		"ping": "[[hooks.policies.policy]]\nname = \"ping\"\nfrom = \"trust\"\nto = \"untrust\"\napplication = \"junos-icmp-all\"\nthen = \"permit\"\n",
		"dns":  "[[hooks.policies.policy]]\nname = \"dns\"\nfrom = \"trust\"\nto = \"untrust\"\napplication = \"junos-dns-udp\"\nthen = \"deny\"\n",
	}
	packets := map[string]hook.Packet{
		"web": web(), "ping": pkt(trust, untrust, packet.ProtoICMP, "10.1.2.3", "198.51.100.1", 0), "dns": pkt(trust, untrust, udp, "10.1.2.3", "198.51.100.1", 53),
		"default-deny": pkt(trust, untrust, tcp, "10.1.2.3", "198.51.100.1", 7000),
	}
	p := packets["ping"]
	p.HasL4, p.ICMPType = true, packet.ICMPEchoRequest
	packets["ping"] = p
	for name, generations := range map[string][][]string{
		"added behind": {{"web"}, {"web", "ping"}}, "added before": {{"web"}, {"ping", "web"}}, "swapped": {{"web", "ping"}, {"ping", "web"}},
		"removed": {{"web", "ping"}, {"web"}}, "back again": {{"web", "dns"}, {"ping"}, {"dns", "ping", "web"}},
	} {
		t.Run(name, func(t *testing.T) {
			env := testEnv(1)
			before := make(map[uint32]string) // names by id, of all generations
			for i, order := range generations {
				var text strings.Builder
				text.WriteString("[hooks.policies]\nlog-default = true\n")
				for _, name := range order {
					text.WriteString(policies[name])
				}
				inst, problems := build(text.String(), env)
				if err := problems.Err(); err != nil {
					t.Fatal(err)
				}
				x := fixture{Instance: inst}
				env.Names.Fill(&x.names)
				for name, p := range packets {
					want := "default-deny"
					if slices.Contains(order, name) {
						want = name
					}
					if got := x.decide(p); got.Policy != want {
						t.Errorf("generation %d: the packet of %s is of the policy %q, want %q", i, name, got.Policy, want)
					}
				}
				for id, name := range x.names.Policies {
					if was, known := before[uint32(id)]; known && was != name {
						t.Errorf("generation %d: id %d is %q, and was %q", i, id, name, was)
					}
					before[uint32(id)] = name
				}
				env.Names = hook.NextNames(&x.names)
			}
		})
	}
}

package policydeny

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMistakes pins each message with its place. The head of the table is line 1; each text begins at line 2.
func TestMistakes(t *testing.T) {
	const head = "[hooks.policies]\n"
	policy := func(lines ...string) string {
		return head + "[[hooks.policies.policy]]\n" + strings.Join(lines, "\n")
	}
	const (
		name = `name = "p"`
		from = `from = "trust"`
		to   = `to = "untrust"`
		then = `then = "permit"`
	)
	for _, c := range []struct{ name, text, want string }{
		{"default", head + `default = "reject"`,
			`2:1: hooks.policies.default: "reject" is not a default; there is "deny", "permit"`},
		{"unknown key", head + `log-defalt = false`, `2:1: hooks.policies.log-defalt: unknown key; did you mean "log-default"?`},
		{"everything is missing", policy(),
			`2:18: hooks.policies.policy[0].from: a policy needs a zone, a list of zones or "any" here
2:18: hooks.policies.policy[0].name: a policy needs a name
2:18: hooks.policies.policy[0].then: a policy needs an action: "permit", "deny" or "reject"
2:18: hooks.policies.policy[0].to: a policy needs a zone, a list of zones or "any" here`},
		{"unknown zones", policy(name, `from = "trst"`, `to = ["untrust", "lan"]`, then),
			`4:1: hooks.policies.policy[0].from[0]: there is no zone "trst"; did you mean "trust"?
5:18: hooks.policies.policy[0].to[1]: there is no zone "lan"; there are dmz, trust, untrust`},
		{"no zones", policy(name, `from = []`, to, then),
			`4:1: hooks.policies.policy[0].from: a policy needs a zone, a list of zones or "any" here`},
		{"any beside others", policy(name, `from = ["any", "trust"]`, to, `source = ["any", "10.0.0.0/8"]`,
			`application = ["junos-http", "any"]`, then),
			`4:9: hooks.policies.policy[0].from[0]: "any" stands alone
6:11: hooks.policies.policy[0].source[0]: "any" stands alone
7:30: hooks.policies.policy[0].application[1]: "any" stands alone`},
		{"addresses", policy(name, from, to, `source = ["10.0.0.0/33", "10.0.0.1/8", "10.0.0.256", "fe80::1%eth0", "servrs"]`, then,
			`[hooks.policies.addresses]`, `servers = "192.0.2.0/24"`),
			`6:11: hooks.policies.policy[0].source[0]: "10.0.0.0/33" is too long: an IPv4 prefix has at most 32 bits
6:26: hooks.policies.policy[0].source[1]: "10.0.0.1/8" has host bits set: write 10.0.0.0/8, or 10.0.0.1 for the one address
6:40: hooks.policies.policy[0].source[2]: "10.0.0.256" is neither a prefix nor an address
6:54: hooks.policies.policy[0].source[3]: "fe80::1%eth0" names an interface, which no packet does: leave out %eth0
6:70: hooks.policies.policy[0].source[4]: no address or address set is called "servrs"; did you mean "servers"?`},
		{"empty lists", policy(name, from, to, `source = []`, `application = []`, then),
			`6:1: hooks.policies.policy[0].source: an empty list matches nothing; leave the key out or write "any" for every address
7:1: hooks.policies.policy[0].application: an empty list matches nothing; leave the key out or write "any" for every application`},
		{"excluded everything", policy(name, from, to, `source = "any"`, `source-excluded = true`, then),
			`7:1: hooks.policies.policy[0].source-excluded: nothing is left when every address is excluded`},
		{"excluded nothing", policy(name, from, to, `destination-excluded = true`, then),
			`6:1: hooks.policies.policy[0].destination-excluded: there is no list of addresses to exclude`},
		{"families", policy(name, from, to, `source = "10.0.0.0/8"`, `destination = "2001:db8::/32"`, then),
			`2:18: hooks.policies.policy[0]: source and destination have no address family in common: the policy matches nothing`},
		{"application", policy(name, from, to, `application = "junos-htps"`, then),
			`6:1: hooks.policies.policy[0].application[0]: no application or set is called "junos-htps"; did you mean "junos-https"?`},
		{"action", policy(name, from, to, `then = "allow"`),
			`6:1: hooks.policies.policy[0].then: "allow" is not an action; there is "permit", "deny", "reject"`},
		{"action misspelt", policy(name, from, to, `then = "permt"`),
			`6:1: hooks.policies.policy[0].then: "permt" is not an action; did you mean "permit"?`},
		{"log", policy(name, from, to, then, `log = ["session-init", "all"]`),
			`7:24: hooks.policies.policy[0].log[1]: "all" is nothing to log; there is "session-init", "session-close"`},
		{"close of a denial", policy(name, from, to, `then = "deny"`, `log = "session-close"`),
			`7:1: hooks.policies.policy[0].log: a policy that does not permit has no session to close; write "session-init" to log its denials`},
		{"timeout of a denial", policy(name, from, to, `then = "reject"`, `timeout = 5`),
			`7:1: hooks.policies.policy[0].timeout: a policy that does not permit has no session and no timeout`},
		{"timeout", policy(name, from, to, then, `timeout = "soon"`),
			`7:1: hooks.policies.policy[0].timeout: "soon" is not a timeout; want whole seconds, a duration such as "5m", or "never"`},
		{"a name twice", policy(name, from, to, then, `[[hooks.policies.policy]]`, name, from, to, then),
			`8:1: hooks.policies.policy[1].name: policy[0] is called "p" already`},
		{"name of the default", policy(`name = "default-deny"`, from, to, then),
			`3:1: hooks.policies.policy[0].name: "default-deny" is what records call the default, which is logged already; choose another name`},
		{"a disabled policy is checked", policy(name, `from = "trst"`, to, then, `enabled = false`),
			`4:1: hooks.policies.policy[0].from[0]: there is no zone "trst"; did you mean "trust"?`},
		{"wrong types", policy(name, from, to, then, `source-excluded = "yes"`, `enabled = 1`),
			`7:1: hooks.policies.policy[0].source-excluded: must be true or false, not the string "yes"
8:1: hooks.policies.policy[0].enabled: must be true or false, not 1`},
		{"address book", head + `[hooks.policies.addresses]
any = "10.0.0.0/8"
"10.0.0.1" = "10.0.0.0/8"
none = []
a = ["b", "10.0.0.0/33"]
b = ["a", "any-ipv4"]
"my net" = "x"`,
			`3:1: hooks.policies.addresses.any: "any" has a meaning of its own and cannot name an address
4:1: hooks.policies.addresses."10.0.0.1": "10.0.0.1" reads as an address and cannot name one
5:1: hooks.policies.addresses.none: an empty set matches nothing
6:11: hooks.policies.addresses.a[1]: "10.0.0.0/33" is too long: an IPv4 prefix has at most 32 bits
7:6: hooks.policies.addresses.b[0]: the set contains itself: a > b > a
7:11: hooks.policies.addresses.b[1]: "any-ipv4" stands in policies only, not in an address set
8:1: hooks.policies.addresses."my net"[0]: no address or address set is called "x"; there is "10.0.0.1", "a", "any", "b", "my net", "none"`},
		{"applications", head + `[hooks.policies.applications]
junos-x = { protocol = "tcp" }
"a.b" = { protocol = "tpc", destination-port = 80 }
c = { members = ["junos-htp"] }
d = { term = [{ protocol = "udp", icmp-type = 3 }] }
e = { protocoll = "tcp" }`,
			`3:1: hooks.policies.applications.junos-x: names that begin with "junos-" belong to the predefined applications
4:11: hooks.policies.applications."a.b".protocol: "tpc" is no protocol; want a name or a number within 0 to 255; did you mean "tcp"?
5:18: hooks.policies.applications.c.members[0]: no application or set is called "junos-htp"; did you mean "junos-http"?
6:35: hooks.policies.applications.d.term[0].icmp-type: udp has no ICMP type
7:1: hooks.policies.applications.e.protocol: an application needs a protocol
7:7: hooks.policies.applications.e.protocoll: unknown key; did you mean "protocol"?`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, problems := build(c.text, testEnv(1))
			var lines []string
			for _, p := range problems.All() {
				lines = append(lines, strings.TrimPrefix(p.String(), "policy.toml:"))
			}
			if diff := cmp.Diff(c.want, strings.Join(lines, "\n")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

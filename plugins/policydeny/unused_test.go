package policydeny

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/core/hook"
	"github.com/rtflow/pipelined/core/zone"
)

// TestWarnings pins what works and was probably not meant.
func TestWarnings(t *testing.T) {
	env := testEnv(1)
	prefixes := func(list ...string) (p []netip.Prefix) {
		for _, text := range list {
			p = append(p, netip.MustParsePrefix(text))
		}
		return p
	}
	env.Zones = zone.New([]zone.Zone{
		{ID: trust, Name: "trust", Prefixes: prefixes("10.0.1.0/24", "2001:db8:1::/64")},
		{ID: untrust, Name: "untrust", Prefixes: prefixes("0.0.0.0/0")},
		{ID: dmz, Name: "dmz", Interfaces: []string{"dmz0"}},
	}, nil, nil)
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"no policies", "", []string{
			`policy: there is none: every session is denied; write default = "permit" to log sessions and deny none`}},
		{"no policies, permitted", `default = "permit"`, nil},
		{"all is used", `
policy = [{ name = "a", from = "trust", to = "untrust", source = ["set"], application = ["apps"], then = "permit" }]
addresses = { lan = "10.0.1.0/25", set = ["lan"] }
applications = { one = { protocol = "tcp" }, apps = { members = ["one", "junos-http"] } }`, nil},
		{"not used", `
policy = [{ name = "a", from = "trust", to = "untrust", then = "permit" }]
addresses = { lan = "10.0.1.0/25", set = ["lan"] }
applications = { one = { protocol = "tcp" } }`, []string{"addresses: no policy uses lan, set", "applications: no policy uses one"}},
		{"elsewhere", `
policy = [
{ name = "a", from = "trust", to = "untrust", source = ["10.0.1.7", "10.0.2.0/24", "any-ipv4"], then = "permit" },
{ name = "b", from = "untrust", to = "trust", destination = ["10.0.0.0/8", "172.16.0.0/12", "2001:db8:2::/64", "2001:db8:1::5"], then = "permit" },
{ name = "c", from = "trust", to = "dmz", source = "10.9.0.0/16", destination = "192.0.2.1", then = "deny" },
{ name = "d", from = ["dmz", "trust"], to = "any", source = "10.9.0.0/16", destination = "192.0.2.1", then = "permit" },
{ name = "e", from = "trust", to = "untrust", source = "2001:db8:9::/48", source-excluded = true, destination = ["2001:db8::1"], then = "permit" },
]`, []string{
			"policy[0].source[1]: no address of 10.0.2.0/24 is in the prefixes of trust: no packet comes from there with one",
			"policy[1].destination[1]: no address of 172.16.0.0/12 is in the prefixes of trust: no packet goes to there with one",
			"policy[1].destination[2]: no address of 2001:db8:2::/64 is in the prefixes of trust: no packet goes to there with one",
			"policy[4].destination[0]: no address of 2001:db8::1 is in the prefixes of untrust: no packet goes to there with one",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, warnings(t, c.text, env)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestNoPrefixes warns once of a zone without prefixes that policies name as the one that packets go to, where nothing else than
// prefixes would tell.
func TestNoPrefixes(t *testing.T) {
	env := testEnv(1)
	env.Zones = zone.New([]zone.Zone{
		{ID: trust, Name: "trust", Interfaces: []string{"lan0"}, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		{ID: untrust, Name: "untrust", Interfaces: []string{"wan0"}},
	}, nil, nil)
	const text = `
policy = [
{ name = "off", from = "trust", to = "untrust", application = "junos-ssh", then = "permit", enabled = false },
{ name = "a", from = "trust", to = ["trust", "untrust"], application = "junos-http", then = "permit" },
{ name = "b", from = "untrust", to = ["untrust", "trust"], application = "junos-http", then = "permit" },
{ name = "c", from = "untrust", to = "any", then = "deny" },
]`
	for _, c := range []struct {
		byPrefix bool
		want     []string
	}{
		{false, nil},
		{true, []string{"policy[1].to[1]: no packet goes to zone untrust: prefixes tell the zone that a packet goes to, and it has none"}},
	} {
		env.EgressByPrefix = c.byPrefix
		if diff := cmp.Diff(c.want, warnings(t, text, env)); diff != "" {
			t.Errorf("by prefix %v: %s", c.byPrefix, diff)
		}
	}
}

// TestElsewhereByRoute: where routes tell zones, a zone with interfaces has addresses outside of its prefixes, too.
func TestElsewhereByRoute(t *testing.T) {
	env := testEnv(1)
	env.Zones = zone.New([]zone.Zone{
		{ID: trust, Name: "trust", Interfaces: []string{"lan0"}, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.1.0/24")}},
		{ID: untrust, Name: "untrust", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.2.0/24")}},
	}, nil, nil)
	const text = `
policy = [
{ name = "a", from = "any", to = "trust", destination = "10.0.3.0/24", then = "permit" },
{ name = "b", from = "any", to = "untrust", destination = "10.0.3.0/24", then = "permit" },
]`
	const trusted = "policy[0].destination[0]: no address of 10.0.3.0/24 is in the prefixes of trust: no packet goes to there with one"
	const untrusted = "policy[1].destination[0]: no address of 10.0.3.0/24 is in the prefixes of untrust: no packet goes to there with one"
	for byRoute, want := range map[bool][]string{false: {trusted, untrusted}, true: {untrusted}} {
		env.ZonesByRoute = byRoute
		if diff := cmp.Diff(want, warnings(t, text, env)); diff != "" {
			t.Errorf("by route %v: %s", byRoute, diff)
		}
	}
}

// warnings returns the warnings of a table without mistakes.
func warnings(t *testing.T, text string, env hook.Env) (list []string) {
	t.Helper()
	cfg, problems := config.ParseTable("", []byte(text))
	Plugin().Configure(cfg, env)
	for _, p := range problems.All() {
		if list = append(list, p.Key+": "+p.Message); p.Severity != config.Warning {
			t.Errorf("a mistake: %v", p)
		}
	}
	return list
}

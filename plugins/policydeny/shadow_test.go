package policydeny

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestShadowed pins which pairs of policies are warned of. Each case has two policies, "first" and "second".
func TestShadowed(t *testing.T) {
	for _, c := range []struct {
		name          string
		first, second string
		shadowed      bool
	}{
		{"the same", `from = "trust", to = "untrust"`, `from = "trust", to = "untrust"`, true},
		{"more zones first", `from = ["dmz", "trust"], to = "untrust"`, `from = "trust", to = "untrust"`, true},
		{"fewer zones first", `from = "trust", to = "untrust"`, `from = ["dmz", "trust"], to = "untrust"`, false},
		{"other zones", `from = "trust", to = "untrust"`, `from = "trust", to = "dmz"`, false},
		{"global first is asked last", `from = "any", to = "any"`, `from = "trust", to = "untrust"`, false},
		{"global last", `from = ["trust", "untrust", "dmz"], to = ["trust", "untrust", "dmz"]`, `from = "any", to = "any"`, false},
		{"both global", `from = "any", to = "any"`, `from = "trust", to = "any"`, true},
		{"both global, narrower first", `from = "any", to = "dmz"`, `from = "any", to = "any"`, false},
		{"not used", `from = "trust", to = "untrust", enabled = false`, `from = "trust", to = "untrust"`, false},
		{"second not used", `from = "trust", to = "untrust"`, `from = "trust", to = "untrust", enabled = false`, false},

		{"wider prefix", `from = "trust", to = "untrust", source = "10.0.0.0/8"`, `from = "trust", to = "untrust", source = ["10.1.0.0/16", "10.255.255.255"]`, true},
		{"narrower prefix", `from = "trust", to = "untrust", source = "10.0.0.0/9"`, `from = "trust", to = "untrust", source = "10.0.0.0/8"`, false},
		{"halves make a whole", `from = "trust", to = "untrust", source = ["10.128.0.0/9", "10.0.0.0/9"]`, `from = "trust", to = "untrust", source = "10.0.0.0/8"`, true},
		{"a hole", `from = "trust", to = "untrust", source = "10.0.0.1", source-excluded = true`, `from = "trust", to = "untrust", source = "10.0.0.0/8"`, false},
		{"beside the hole", `from = "trust", to = "untrust", source = "10.0.0.1", source-excluded = true`, `from = "trust", to = "untrust", source = "10.0.0.2/31"`, true},
		{"destination differs", `from = "trust", to = "untrust", destination = "10.0.0.0/8"`, `from = "trust", to = "untrust", source = "10.0.0.0/8"`, false},
		{"other family", `from = "trust", to = "untrust", source = "any-ipv4"`, `from = "trust", to = "untrust", source = "2001:db8::/32"`, false},
		{"one family of two", `from = "trust", to = "untrust", source = "any-ipv4"`, `from = "trust", to = "untrust"`, false},
		{"the family that the other side rules out", `from = "trust", to = "untrust", source = "any-ipv4"`, `from = "trust", to = "untrust", destination = "10.0.0.0/8"`, true},
		{"IPv6 within", `from = "trust", to = "untrust", source = "2001:db8::/32"`, `from = "trust", to = "untrust", source = "2001:db8:1::/48"`, true},
		{"IPv6 around", `from = "trust", to = "untrust", source = "2001:db8:1::/48"`, `from = "trust", to = "untrust", source = "2001:db8::/32"`, false},

		{"any application first", `from = "trust", to = "untrust"`, `from = "trust", to = "untrust", application = "junos-http"`, true},
		{"any application last", `from = "trust", to = "untrust", application = "junos-http"`, `from = "trust", to = "untrust"`, false},
		{"all ports of TCP", `from = "trust", to = "untrust", application = "junos-tcp-any"`, `from = "trust", to = "untrust", application = ["junos-http", "junos-https"]`, true},
		{"TCP of every sort last", `from = "trust", to = "untrust", application = "junos-http"`, `from = "trust", to = "untrust", application = "tcp"`, false},
		{"TCP of every sort first", `from = "trust", to = "untrust", application = "tcp"`, `from = "trust", to = "untrust", application = ["junos-http", "junos-https"]`, true},
		{"one of two applications", `from = "trust", to = "untrust", application = "junos-http"`, `from = "trust", to = "untrust", application = ["junos-http", "junos-https"]`, false},
		{"every ICMP", `from = "trust", to = "untrust", application = "junos-icmp-all"`, `from = "trust", to = "untrust", application = "junos-icmp-ping"`, true},
		{"one ICMP", `from = "trust", to = "untrust", application = "junos-icmp-ping"`, `from = "trust", to = "untrust", application = "junos-icmp-all"`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := "[hooks.policies]\npolicy = [\n{ name = \"first\", then = \"permit\", " + c.first +
				" },\n{ name = \"second\", then = \"deny\", " + c.second + " },\n]\n" +
				"[hooks.policies.applications]\ntcp = { protocol = \"tcp\" }\n"
			_, problems := build(text, testEnv(1))
			if err := problems.Err(); err != nil {
				t.Fatal(err)
			}
			want := ""
			if c.shadowed {
				want = `policy.toml:4:1: warning: hooks.policies.policy[1]: never decides: policy[0], "first", matches all that it matches`
			}
			var got []string
			for _, p := range problems.All() {
				if p.Key != "hooks.policies.applications" { // not all cases use it
					got = append(got, p.String())
				}
			}
			if diff := cmp.Diff(want, strings.Join(got, "\n")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestNoShadowBesideMistakes: what a mistake left out could make one policy cover another.
func TestNoShadowBesideMistakes(t *testing.T) {
	for _, mistake := range []string{`source = 5`, `source = ["10.0.0.0/33", "10.0.0.0/8"]`, `application = "nothing"`} {
		text := `[[hooks.policies.policy]]
name = "first"
from = "trust"
to = "untrust"
then = "permit"
[[hooks.policies.policy]]
name = "second"
from = "trust"
to = "untrust"
then = "permit"
` + mistake
		_, problems := build(text, testEnv(1))
		if problems.Err() == nil {
			t.Fatalf("%s is accepted", mistake)
		}
		for _, p := range problems.All() {
			if strings.Contains(p.Message, "never decides") {
				t.Errorf("%s: %v", mistake, p)
			}
		}
	}
}

// TestShadowCheckIsBounded: so many policies are not compared, and load.
func TestShadowCheckIsBounded(t *testing.T) {
	var text strings.Builder
	for i := range maxShadowCheck + 1 {
		fmt.Fprintf(&text, "[[hooks.policies.policy]]\nname = \"p%d\"\nfrom = \"trust\"\nto = \"untrust\"\nthen = \"deny\"\n", i)
	}
	_, problems := build(text.String(), testEnv(1))
	if all := problems.All(); len(all) != 0 {
		t.Errorf("%d problems, the first is %v", len(all), all[0])
	}
}

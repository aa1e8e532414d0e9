package policydeny

import (
	"fmt"
	"testing"

	"github.com/rtflow/pipelined/core/hook"
)

// TestOverlap says of two policies whether a packet can match both, so that their order matters.
func TestOverlap(t *testing.T) {
	const zones = `from = "trust", to = "untrust"`
	for _, c := range []struct {
		name, a, b string
		want       bool
	}{
		{"the same", zones, zones, true},
		{"other zones", zones, `from = "trust", to = "dmz"`, false},
		{"zones that have one in common", `from = "trust", to = ["untrust", "dmz"]`, `from = ["trust", "dmz"], to = "dmz"`, true},
		{"both global", `from = "any", to = "untrust"`, `from = "trust", to = "any"`, true},
		{"global, and asked last anyway", `from = "any", to = "any"`, zones, false},
		{"apart", zones + `, source = "10.0.0.0/9"`, zones + `, source = "10.128.0.0/9"`, false},
		{"one within the other", zones + `, source = "10.0.0.0/8"`, zones + `, source = "10.1.2.3"`, true},
		{"excluded", zones + `, source = "10.0.0.0/8"`, zones + `, source = "10.0.0.0/8", source-excluded = true`, false},
		{"excluded in part", zones + `, source = "10.0.0.0/7"`, zones + `, source = "10.0.0.0/8", source-excluded = true`, true},
		{"both excluded", zones + `, source = "10.0.0.0/8", source-excluded = true`, zones + `, source = "11.0.0.0/8", source-excluded = true`, true},
		{"all is excluded", zones + `, source = "0.0.0.0/1", source-excluded = true`, zones + `, source = "128.0.0.0/1", source-excluded = true`, false},
		{"families apart", zones + `, source = "10.0.0.0/8"`, zones + `, source = "2001:db8::/32"`, false},
		{"families apart, by two sides", zones + `, source = ["10.0.0.0/8", "2001:db8::/32"], destination = "10.0.0.0/8"`, zones + `, source = "2001:db8::/32"`, false},
		{"other ports", zones + `, application = "junos-http"`, zones + `, application = "junos-https"`, false},
		{"a port in common", zones + `, application = ["junos-http", "junos-ssh"]`, zones + `, application = "junos-ssh"`, true},
		{"every application", zones, zones + `, application = "junos-ssh"`, true},
		{"echoes among all of ICMP", zones + `, application = "junos-icmp-all"`, zones + `, application = "junos-ping"`, true},
	} {
		x := load(t, fmt.Sprintf("[hooks.policies]\npolicy = [{ name = \"a\", then = \"permit\", %s }, { name = \"b\", then = \"deny\", %s }]\n", c.a, c.b))
		o := x.Session.(hook.Overlapper)
		if got := o.Overlap("policy[0]", "policy[1]"); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if o.Overlap("policy[0]", "policy[1]") != o.Overlap("policy[1]", "policy[0]") {
			t.Errorf("%s: it matters which is named first", c.name)
		}
		if o.Overlap("policy[0]", "default") {
			t.Errorf("%s: the default is asked last", c.name)
		}
	}
}

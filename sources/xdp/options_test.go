package xdp

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/table"
)

// TestOptions reads tables of the source: what they mean, and what is wrong with them.
func TestOptions(t *testing.T) {
	for _, c := range []struct {
		name, table string
		peer        string
		incoming    bool
		want        []string // pieces of the problems, one each
	}{
		{"tap", `{"interface": "lan0"}`, "", true, nil},
		{"bridge", `{"interface": "lan0", "mode": "bridge", "peer": "wan"}`, "wan", false, nil},
		{"no peer", `{"interface": "lan0", "mode": "bridge"}`, "", false, []string{`peer: missing: the name of the source by whose interface packets leave, which has mode = "bridge" and peer = "live"`}},
		{"peer of a tap", `{"interface": "lan0", "peer": "wan"}`, "wan", true, []string{`peer: is for mode = "bridge"`}},
		{"mode", `{"interface": "lan0", "mode": "brigde"}`, "", false, []string{`mode: want "tap" or "bridge", got "brigde"`}},
		{"mode, with the options of a bridge", `{"interface": "lan0", "mode": "brigde", "peer": "wan", "pass_types": [34825]}`, "wan", false, []string{`mode: want "tap" or "bridge", got "brigde"`}},
		{"pass_ports", `{"interface": "lan0", "mode": "bridge", "peer": "wan", "pass_ports": [22]}`, "wan", false, []string{`pass_ports: is for mode = "tap"`}},
		{"not promiscuous", `{"interface": "lan0", "mode": "bridge", "peer": "wan", "promiscuous": false}`, "wan", false, []string{"promiscuous: a bridge must receive"}},
		{"pass_types", `{"interface": "lan0", "mode": "bridge", "peer": "wan", "pass_types": [34825, 1500]}`, "wan", false, []string{"pass_types[1]: an Ethernet type is 0x0600 or more"}},
		{"pass_types of a tap", `{"interface": "lan0", "pass_types": []}`, "", true, []string{`pass_types: is for mode = "bridge"`}},
		{"on_failure", `{"interface": "lan0", "mode": "bridge", "peer": "wan", "on_failure": "open", "on_failure_after": "2s", "bpffs": ""}`, "wan", false, nil},
		{"on_failure, misspelled", `{"interface": "lan0", "mode": "bridge", "peer": "wan", "on_failure": "opne"}`, "wan", false, []string{`on_failure: want "open" or "closed", got "opne"`}},
		{"on_failure_after", `{"interface": "lan0", "mode": "bridge", "peer": "wan", "on_failure": "open", "on_failure_after": "1ms"}`, "wan", false, []string{"on_failure_after: 1ms is not between 100ms and 1m0s"}},
		{"on_failure_after, closed", `{"interface": "lan0", "mode": "bridge", "peer": "wan", "on_failure_after": "1s"}`, "wan", false, []string{`on_failure_after: is for on_failure = "open"`}},
		{"on_failure of a tap", `{"interface": "lan0", "on_failure": "closed"}`, "", true, []string{`on_failure: is for mode = "bridge"`}},
		{"link_propagation", `{"interface": "lan0", "mode": "bridge", "peer": "wan", "link_propagation": true}`, "wan", false, nil},
		{"link_propagation of a tap", `{"interface": "lan0", "link_propagation": true}`, "", true, []string{`link_propagation: is for mode = "bridge"`}},
		{"bpffs", `{"interface": "lan0", "mode": "bridge", "peer": "wan", "bpffs": "bpf"}`, "wan", false, []string{`bpffs: "bpf" is no absolute path`}},
		{"offload", `{"interface": "lan0", "offload": true, "offload_flows": 1000}`, "", true, nil},
		{"offload_flows of a bridge", `{"interface": "lan0", "mode": "bridge", "peer": "wan", "offload_flows": 1000}`, "wan", false, nil},
		{"offload_flows of a tap", `{"interface": "lan0", "offload_flows": 1000}`, "", true, []string{"offload_flows: is for offload = true"}},
		{"offload_flows of nothing", `{"interface": "lan0", "mode": "bridge", "peer": "wan", "offload": false, "offload_flows": 1000}`, "wan", false, []string{"offload_flows: is for offload = true"}},
		{"few flows", `{"interface": "lan0", "offload": true, "offload_flows": 15}`, "", true, []string{"offload_flows: 15 is not between 16 and 8388608"}},
		{"many flows", `{"interface": "lan0", "offload": true, "offload_flows": 8388609}`, "", true, []string{"offload_flows: 8388609 is not between"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, err := table.Parse("live", c.table)
			if err != nil {
				t.Fatal(err)
			}
			configured := Plugin().Configure(cfg, source.Env{})
			problems := cfg.Problems()
			if len(problems) != len(c.want) {
				t.Fatalf("problems %v, want %d", problems, len(c.want))
			}
			for i, p := range problems {
				if !strings.Contains(p.String(), c.want[i]) {
					t.Errorf("%q, want %q in it", p, c.want[i])
				}
			}
			if !configured.Live || configured.Incoming != c.incoming || configured.Peer != c.peer {
				t.Errorf("live %v, incoming %v, peer %q", configured.Live, configured.Incoming, configured.Peer)
			}
		})
	}
}

// A bridge has its packets carried by the XDP program, and a tap has not, unless something else is said.
func TestOffloadByDefault(t *testing.T) {
	for text, want := range map[string]int{
		`{"interface": "lan0"}`:                                                         0,
		`{"interface": "lan0", "offload": true}`:                                        1 << 16,
		`{"interface": "lan0", "offload": true, "offload_flows": 99}`:                   99,
		`{"interface": "lan0", "mode": "bridge", "peer": "wan"}`:                        1 << 16,
		`{"interface": "lan0", "mode": "bridge", "peer": "wan", "offload": false}`:      0,
		`{"interface": "lan0", "mode": "bridge", "peer": "wan", "offload_flows": 2000}`: 2000,
	} {
		cfg, err := table.Parse("live", text)
		if err != nil {
			t.Fatal(err)
		}
		if o := decode(cfg); o.flows() != want {
			t.Errorf("%s: %d flows, want %d", text, o.flows(), want)
		}
	}
}

// Without a list, pause frames alone stay with the host; an empty list leaves it nothing.
func TestPassTypes(t *testing.T) {
	for text, want := range map[string][]uint16{
		`{"interface": "lan0", "mode": "bridge", "peer": "wan"}`:                        {0x8808},
		`{"interface": "lan0", "mode": "bridge", "peer": "wan", "pass_types": []}`:      {},
		`{"interface": "lan0", "mode": "bridge", "peer": "wan", "pass_types": [35020]}`: {0x88cc},
	} {
		cfg, err := table.Parse("live", text)
		if err != nil {
			t.Fatal(err)
		}
		o := decode(cfg)
		if diff := cmp.Diff(want, o.device().PassTypes); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
}

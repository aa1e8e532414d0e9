package afpacket

import (
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/table"
)

// TestTranslator asks for translations where the table says so.
func TestTranslator(t *testing.T) {
	cfg, err := table.Parse("live", `{"interfaces": ["lan0"], "nat": "conntrack"}`)
	if err != nil {
		t.Fatal(err)
	}
	if Plugin().Configure(cfg, source.Env{}).Translator == nil || len(cfg.Problems()) > 0 {
		t.Errorf("no translator; problems %v", cfg.Problems())
	}
}

// TestOptions reads tables of the source: what they mean, and what is wrong with them.
func TestOptions(t *testing.T) {
	for _, c := range []struct {
		name, table string
		incoming    bool
		want        []string // pieces of the problems, one each
	}{
		{"one interface", `{"interfaces": ["lan0"]}`, false, nil},
		{"several interfaces", `{"interfaces": ["lan0", "wan0"]}`, true, nil},
		{"one interface, in", `{"interfaces": ["lan0"], "direction": "in"}`, true, nil},
		{"several interfaces, both", `{"interfaces": ["lan0", "wan0"], "direction": "both"}`, false, []string{"warning: direction: a packet that is forwarded"}},
		{"none", `{}`, false, []string{"interfaces: names no interface"}},
		{"no name", `{"interfaces": [""]}`, false, []string{`interfaces[0]: "" is no name`}},
		{"twice", `{"interfaces": ["lan0", "lan0"]}`, true, []string{`interfaces[1]: "lan0" is listed twice`}},
		{"direction", `{"interfaces": ["lan0"], "direction": "out"}`, false, []string{`direction: want "in" or "both", got "out"`}},
		{"one, and an optional one", `{"interfaces": ["lan0"], "optional": ["tun0"]}`, false, []string{`warning: optional: there is no direction, so that "both" is read as with "lan0" alone`}},
		{"one, and an optional one, in", `{"interfaces": ["lan0"], "optional": ["tun0"], "direction": "in"}`, true, nil},
		{"one, and an optional one, both", `{"interfaces": ["lan0"], "optional": ["tun0"], "direction": "both"}`, false, []string{"warning: direction: a packet that is forwarded"}},
		{"one, and none optional", `{"interfaces": ["lan0"], "optional": []}`, false, nil},
		{"several, one optional", `{"interfaces": ["lan0", "wan0"], "optional": ["tun0"]}`, true, nil},
		{"several, optional", `{"optional": ["tun0", "ppp0"]}`, true, nil},
		{"one, optional", `{"optional": "tun0"}`, false, nil},
		{"twice, once optional", `{"interfaces": ["lan0", "tun0"], "optional": ["ppp0", "tun0"]}`, true, []string{`optional[1]: "tun0" is listed twice`}},
		{"optional without a name", `{"interfaces": ["lan0", "wan0"], "optional": [""]}`, true, []string{`optional[0]: "" is no name`}},
		{"workers", `{"interfaces": ["lan0"], "workers": 65}`, false, []string{"workers: 65 is not between 1 and 64"}},
		{"small ring", `{"interfaces": ["lan0"], "ring": "1MiB"}`, false, []string{"ring: 1048576 bytes are not between 2MiB"}},
		{"large packets", `{"interfaces": ["lan0"], "snaplen": 65535, "ring": "8MiB"}`, false, []string{"ring: 8388608 bytes are not between 16MiB"}},
		{"snaplen", `{"interfaces": ["lan0"], "snaplen": 95}`, false, []string{"snaplen: 95 is not between 96 and 65535"}},
		{"translation", `{"interfaces": ["lan0"], "nat": "nftables"}`, false, []string{`nat: want "none" or "conntrack", got "nftables"`}},
		{"unknown key", `{"interfaces": ["lan0"], "worker": 2}`, false, []string{"workers"}},
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
			if configured.Translator != nil {
				t.Error("asks for translations")
			}
			if !configured.Live || configured.Incoming != c.incoming {
				t.Errorf("live %v, incoming %v", configured.Live, configured.Incoming)
			}
		})
	}
}

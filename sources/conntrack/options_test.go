package conntrack

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/table"
)

// TestOptions reads tables of the source: what they mean, and what is wrong with them.
func TestOptions(t *testing.T) {
	env := source.Env{Zone: func(name string) (uint16, error) {
		if name != "guests" {
			return 0, errors.New("there is no zone " + name)
		}
		return 3, nil
	}}
	all := ^uint32(0)
	for _, c := range []struct {
		name, table string
		rules       []zoneRule
		want        []string // pieces of the problems, one each
	}{
		{"nothing", `{}`, nil, nil},
		{"everything", `{"close": "at-destroy", "max": 1024, "accounting": true, "buffer": "64KiB"}`, nil, nil},
		{"close", `{"close": "at-ends"}`, nil, []string{`close: want "at-end" or "at-destroy", got "at-ends"; did you mean "at-end"?`}},
		{"few", `{"max": 1023}`, nil, []string{"max: 1023 is not between 1024 and 16777216"}},
		{"small buffer", `{"buffer": "63KiB"}`, nil, []string{"buffer: 64512 bytes are not between 64KiB and 1024MiB"}},
		{"mark", `{"zone_by_mark": [{"mark": 16, "zone": "guests"}]}`, []zoneRule{{mark: 16, mask: all, zone: 3}}, nil},
		{"mark and mask", `{"zone_by_mark": [{"mark": 16, "mask": 240, "zone": "guests"}]}`, []zoneRule{{mark: 16, mask: 240, zone: 3}}, nil},
		{"conntrack zone", `{"zone_by_mark": [{"conntrack_zone": 5, "zone": "guests"}]}`, []zoneRule{{byConntrackZone: true, conntrackZone: 5, zone: 3}}, nil},
		{"bits outside", `{"zone_by_mark": [{"mark": 17, "mask": 240, "zone": "guests"}]}`, nil, []string{"zone_by_mark[0].mark: 0x11 has bits outside of the mask 0xf0"}},
		{"mask alone", `{"zone_by_mark": [{"mask": 240, "zone": "guests"}]}`, nil, []string{"zone_by_mark[0]: has neither", "zone_by_mark[0].mask: is nothing without mark"}},
		{"no zone", `{"zone_by_mark": [{"mark": 1, "zone": "guests"}, {"mark": 2}]}`, nil, []string{"zone_by_mark[1].zone: names no zone"}},
		{"another zone", `{"zone_by_mark": [{"mark": 2, "zone": "gusts"}]}`, nil, []string{"zone_by_mark[0].zone: there is no zone gusts"}},
		{"unknown key", `{"bufer": "1MiB"}`, nil, []string{"buffer"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, err := table.Parse("sessions", c.table)
			if err != nil {
				t.Fatal(err)
			}
			_, rules := decode(cfg, env)
			problems := cfg.Problems()
			if len(problems) != len(c.want) {
				t.Fatalf("problems %v, want %d", problems, len(c.want))
			}
			for i, p := range problems {
				if !strings.Contains(p.String(), c.want[i]) {
					t.Errorf("%q, want %q in it", p, c.want[i])
				}
			}
			if diff := cmp.Diff(c.rules, rules, cmp.AllowUnexported(zoneRule{})); len(problems) == 0 && diff != "" {
				t.Errorf("rules (-want +got):\n%s", diff)
			}
		})
	}
	cfg, err := table.Parse("sessions", `{}`)
	if err != nil {
		t.Fatal(err)
	}
	if c := Plugin().Configure(cfg, env); !c.Live || !c.Incoming || len(c.Interfaces) != 0 {
		t.Errorf("%+v", c)
	}
}

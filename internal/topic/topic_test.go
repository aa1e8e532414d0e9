package topic

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/sdk/event"
)

// upper is an escape that shows where it was used.
func upper(dst []byte, value string) []byte { return append(dst, strings.ToUpper(value)...) }

func record(kind event.Kind, in, out uint16) *event.Record {
	var r event.Record
	r.Reset(kind)
	r.SetZones(in, out)
	return &r
}

var names = &event.Names{Zones: map[uint16]string{1: "trust", 2: "untrust"}}

func TestOf(t *testing.T) {
	loss := record(event.Loss, 0, 0)
	loss.SetLoss(event.LossRateLimited, 2, &event.LossCounts{7, 7, 7, 7, 7}, 1, 2)
	for _, c := range []struct {
		template string
		r        *event.Record
		n        *event.Names
		want     string
	}{
		{"events", record(event.SessionOpen, 1, 2), names, "events"},
		{"", record(event.SessionOpen, 1, 2), names, ""},
		{"{kind}", record(event.PolicyDeny, 1, 2), names, "POLICY-DENY"},
		{"a.{kind}.{zone}-{egress-zone}.z", record(event.SessionClose, 1, 2), names, "a.SESSION-CLOSE.TRUST-UNTRUST.z"},
		{"{zone}{zone}", record(event.ScreenDrop, 2, 0), names, "UNTRUSTUNTRUST"},
		{"{egress-zone}", record(event.ScreenDrop, 2, 0), names, "UNKNOWN"},
		{"{zone}", record(event.ScreenDrop, 9, 0), names, "UNKNOWN"},
		{"{zone}", record(event.ScreenDrop, 1, 0), nil, "UNKNOWN"},
		{"{kind}.{zone}.{egress-zone}", loss, names, "LOSS.UNTRUST.UNKNOWN"},
		{"{host}.{sink}.x", record(event.ScreenDrop, 1, 0), names, "FW1.BROKER.x"},
	} {
		tpl, err := Parse(c.template, map[string]string{"host": "fw1", "sink": "broker"}, upper)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time from the cache
			if got := tpl.Of(c.r, c.n); got != c.want {
				t.Errorf("%q: %q, want %q", c.template, got, c.want)
			}
		}
	}
}

func TestMistakes(t *testing.T) {
	for template, want := range map[string]string{
		"{zon}":   "there is no placeholder {zon}; known are {egress-zone}, {host}, {kind}, {zone}",
		"{}":      "there is no placeholder {}",
		"a{zone":  "a { without its }",
		"a}b":     "a } without its {",
		"{kind}}": "a } without its {",
		"{{kind}": "there is no placeholder {{kind}",
	} {
		if _, err := Parse(template, map[string]string{"host": "fw1"}, upper); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", template, err, want)
		}
	}
}

// TestGenerations changes the names under the same ids.
func TestGenerations(t *testing.T) {
	tpl, err := Parse("{zone}", nil, upper)
	if err != nil {
		t.Fatal(err)
	}
	r := record(event.ScreenDrop, 1, 0)
	other := &event.Names{Generation: 1, Zones: map[uint16]string{1: "lan"}}
	for _, c := range []struct {
		n    *event.Names
		want string
	}{{names, "TRUST"}, {other, "LAN"}, {names, "TRUST"}} {
		if got := tpl.Of(r, c.n); got != c.want {
			t.Errorf("generation %d: %q, want %q", c.n.Generation, got, c.want)
		}
	}
}

// TestManyZones: what is remembered is bounded, whatever ids records hold.
func TestManyZones(t *testing.T) {
	tpl, err := Parse("{zone}.{egress-zone}", nil, upper)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 * maxCached {
		if got := tpl.Of(record(event.ScreenDrop, uint16(i), uint16(i+7)), names); got == "" {
			t.Fatal("no name")
		}
		if len(tpl.cache) > maxCached {
			t.Fatalf("%d names are remembered", len(tpl.cache))
		}
	}
}

func TestPattern(t *testing.T) {
	for template, want := range map[string]string{
		"a.{kind}.x-{zone}.{host}": "a.*.x-*.FW1", "a": "a", "{egress-zone}": "*",
	} {
		tpl, err := Parse(template, map[string]string{"host": "fw1"}, upper)
		if err != nil {
			t.Fatal(err)
		}
		if got := tpl.Pattern("*"); got != want {
			t.Errorf("%q: %q, want %q", template, got, want)
		}
	}
}

// FuzzParse: a template that is taken makes names, and a name without placeholders is the template.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "a", "{kind}.{zone}", "{host}{", "}{", "{egress-zone}}", "{{{}}}"} {
		f.Add(s)
	}
	r := record(event.PolicyDeny, 1, 2)
	f.Fuzz(func(t *testing.T, s string) {
		tpl, err := Parse(s, map[string]string{"host": "fw1"}, upper)
		if err != nil {
			return
		}
		want := strings.NewReplacer("{kind}", "POLICY-DENY", "{zone}", "TRUST", "{egress-zone}", "UNTRUST", "{host}", "FW1").Replace(s)
		if got := tpl.Of(r, names); got != want {
			t.Errorf("%q gives %q, want %q", s, got, want)
		}
	})
}

func TestAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	tpl, err := Parse("events.{kind}.{zone}.{egress-zone}", nil, upper)
	if err != nil {
		t.Fatal(err)
	}
	r := record(event.SessionOpen, 1, 2)
	if got := testing.AllocsPerRun(1000, func() { _ = tpl.Of(r, names) }); got != 0 {
		t.Errorf("%v allocations per name", got)
	}
}

func BenchmarkOf(b *testing.B) {
	tpl, err := Parse("events.{kind}.{zone}", nil, upper)
	if err != nil {
		b.Fatal(err)
	}
	r := record(event.SessionOpen, 1, 2)
	b.ReportAllocs()
	for b.Loop() {
		_ = tpl.Of(r, names)
	}
}

func ExampleTemplate_Of() {
	escape := func(dst []byte, value string) []byte { return append(dst, strings.ReplaceAll(value, ".", "_")...) }
	tpl, err := Parse("{host}/{kind}/{zone}", map[string]string{"host": "fw.example"}, escape)
	if err != nil {
		panic(err)
	}
	fmt.Println(tpl.Of(record(event.PolicyDeny, 2, 1), names))
	// Output: fw_example/policy-deny/untrust
}

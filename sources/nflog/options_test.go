package nflog

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/rtflow/pipelined/core/source"
	"github.com/rtflow/pipelined/internal/table"
)

// TestOptions reads tables of the source: what is wrong with them.
func TestOptions(t *testing.T) {
	for _, c := range []struct {
		name, table string
		want        []string // pieces of the problems, one each
	}{
		{"one group", `{"groups": [5]}`, nil},
		{"least and last group", `{"groups": [0, 65535]}`, nil},
		{"everything", `{"groups": [5], "prefix": ["^(?P<action>\\w+) (?P<rule>.*)$", "(?<rule>x)"], "action": "accept", "buffer": "64KiB", "snaplen": 64,
			"queue_threshold": 512, "flush": "10ms"}`, nil},
		{"no patterns", `{"groups": [5], "prefix": []}`, nil},
		{"none", `{}`, []string{"groups: names no group; such as [5]"}},
		{"group", `{"groups": [65536, -1]}`, []string{"groups[0]: 65536 is not between 0 and 65535", "groups[1]: -1 is not"}},
		{"twice", `{"groups": [5, 6, 5]}`, []string{"groups[2]: 5 is listed twice"}},
		{"many", `{"groups": [` + strings.TrimSuffix(strings.Repeat("1,", 65), ",") + `]}`, append([]string{"groups: 65 groups are more than 64"},
			strings.Split(strings.TrimSuffix(strings.Repeat("1 is listed twice,", 64), ","), ",")...)},
		{"pattern", `{"groups": [5], "prefix": ["(?P<rule>x)", "("]}`, []string{"prefix[1]: error parsing regexp: missing closing )"}},
		{"no group in the pattern", `{"groups": [5], "prefix": ["^(x)$"]}`, []string{`prefix[0]: has no group named "rule" or "action"`}},
		{"name of a group", `{"groups": [5], "prefix": ["(?P<rul>x)(?P<action>y)"]}`, []string{`prefix[0]: has a group named "rul"; the names are`}},
		{"action", `{"groups": [5], "action": "drop"}`, []string{`action: there is no action "drop"; there are`}},
		{"nearly an action", `{"groups": [5], "action": "acept"}`, []string{`action: there is no action "acept"; did you mean "accept"?`}},
		{"small buffer", `{"groups": [5], "buffer": "1KiB"}`, []string{"buffer: 1024 bytes are not between 64KiB and 1024MiB"}},
		{"snaplen", `{"groups": [5], "snaplen": 20}`, []string{"snaplen: 20 is not between 64 and 1024"}},
		{"threshold", `{"groups": [5], "queue_threshold": 0}`, []string{"queue_threshold: 0 is not between 1 and 512"}},
		{"flush", `{"groups": [5], "flush": "1ms"}`, []string{"flush: 1ms is not between 10ms and 1m0s"}},
		{"unknown key", `{"groups": [5], "group": 5}`, []string{"groups"}},
	} {
		configured, problems := configureTable(t, c.table)
		if !configured.Live || !configured.Incoming || len(configured.Interfaces) != 0 {
			t.Errorf("%s: %+v", c.name, configured)
		}
		if !slices.EqualFunc(problems, c.want, strings.Contains) {
			t.Errorf("%s: problems %q, want pieces of them %q", c.name, problems, c.want)
		}
	}
}

// configureTable returns what a table becomes, and what is wrong with it.
func configureTable(t *testing.T, text string) (c source.Configured, problems []string) {
	t.Helper()
	cfg, err := table.Parse("fw", text)
	if err != nil {
		t.Fatal(err)
	}
	c = Plugin().Configure(cfg, source.Env{})
	for _, p := range cfg.Problems() {
		problems = append(problems, p.String())
	}
	return c, problems
}

// TestDefaults pins what the documents say, and that the sample shows the defaults.
func TestDefaults(t *testing.T) {
	c := config(t, `{"groups": [5]}`)
	var shown struct{ Sources struct{ Fw map[string]any } }
	if _, err := toml.Decode(sample, &shown); err != nil {
		t.Fatal(err)
	}
	delete(shown.Sources.Fw, "plugin")
	cfg := table.New("fw", shown.Sources.Fw)
	if fromSample := decode(cfg); cfg.Err() != nil || !reflect.DeepEqual(fromSample, c) {
		t.Errorf("the sample is %+v, the defaults %+v (%v)", fromSample, c, cfg.Err())
	}
	if c.Buffer != 8<<20 || c.SnapLength != 192 || c.QueueThreshold != 1 || c.Flush != 100*time.Millisecond || c.Outcome != logged ||
		len(c.Patterns) != len(defaultPatterns) {
		t.Errorf("%+v", c)
	}
}

// TestExclusive names what no other source can read, at the key.
func TestExclusive(t *testing.T) {
	c, _ := configureTable(t, `{"groups": [5, 0]}`)
	want := []source.Exclusive{{Key: "groups[0]", What: "NFLOG group 5"}, {Key: "groups[1]", What: "NFLOG group 0"}}
	if !slices.Equal(c.Exclusive, want) {
		t.Errorf("%+v, want %+v", c.Exclusive, want)
	}
}

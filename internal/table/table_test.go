package table_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/rtflow/pipelined/internal/table"
	"github.com/rtflow/pipelined/sdk"
)

var _ sdk.Config = (*table.Table)(nil)

type options struct {
	URL     string        `toml:"url"`
	Retries int           `toml:"retries"`
	Rate    float64       `toml:"rate"`
	Every   time.Duration `toml:"every"`
	When    time.Time     `toml:"when"`
	Any     any           `toml:"any"`
	Hosts   []string      `toml:"hosts"`
	Servers []struct {
		Port uint16 `toml:"port"`
	} `toml:"servers"`
}

func TestParse(t *testing.T) {
	c, err := table.Parse("hook", `{"url": "http://x", "retries": 9007199254740993, "rate": 1.5, "every": "5s",
		"when": "2026-03-01T10:15:20Z", "any": {"a": [1, 2.5]}, "hosts": "one", "servers": [{"port": 80}]}`)
	if err != nil {
		t.Fatal(err)
	}
	var o options
	if !c.Decode(&o) || c.Err() != nil || c.Name() != "hook" {
		t.Fatal(c.Problems())
	}
	if o.Retries != 9007199254740993 || o.Rate != 1.5 || o.Every != 5*time.Second || o.When.Unix() != 1772360120 ||
		!slices.Equal(o.Hosts, []string{"one"}) || o.Servers[0].Port != 80 {
		t.Errorf("%+v", o)
	}
	inner, ok := o.Any.(map[string]any)
	if !ok || !slices.Equal(inner["a"].([]any), []any{int64(1), 2.5}) {
		t.Errorf("%#v", o.Any)
	}
}

// TestMistakesOfSecrets: the value of a key that is secret by its name is not shown.
func TestMistakesOfSecrets(t *testing.T) {
	c, err := table.Parse("sink", `{"password": 12345678, "api_key": 1.5, "auth": {"tokens": ["a", 12345678], "secret": "hunter2"}}`)
	if err != nil {
		t.Fatal(err)
	}
	var o struct {
		Password string `toml:"password"`
		APIKey   string `toml:"api_key"`
		Auth     struct {
			Tokens []string `toml:"tokens"`
			Secret int      `toml:"secret"`
		} `toml:"auth"`
	}
	c.Decode(&o)
	want := `password: must be a string, not a number
api_key: must be a string, not a number
auth.tokens[1]: must be a string, not a number
auth.secret: must be an integer, not a string`
	if got := fmt.Sprint(c.Err()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestMistakes(t *testing.T) {
	c, err := table.Parse("hook", `{"ulr": "x", "retries": "3", "rate": 1e400, "every": 5, "when": null, "hosts": [1, null],
		"servers": [{"port": 80}, {"prot": 1, "port": 70000}], "a.b": 1}`)
	if err != nil {
		t.Fatal(err)
	}
	var o options
	if c.Decode(&o) {
		t.Error("no mistake was found")
	}
	c.Errorf("url", "missing")
	for _, key := range []string{"when", "hosts", "hosts[1]", "retries", "servers[1].port"} {
		c.Errorf(key, "follows from what Decode has said")
		c.Warnf(key, "follows from what Decode has said")
	}
	c.Warnf("", "odd")
	var got []string
	for _, p := range c.Problems() {
		got = append(got, p.String())
	}
	want := []string{ // fields in their order, then unknown keys
		`retries: must be an integer, not the string "3"`,
		`rate: must be a number, not the string "1e400"`,
		`every: must be a duration such as "5s" or "10m", not 5`,
		`when: must be a date or time, not null`,
		`hosts[0]: must be a string, not 1`,
		`hosts[1]: must be a string, not null`,
		`servers[1].port: must be an integer from 0 to 65535, not 70000`,
		`servers[1].prot: unknown key; did you mean "port"?`,
		`"a.b": unknown key; the keys are: any, every, hosts, rate, retries, servers, url, when`,
		`ulr: unknown key; did you mean "url"?`,
		`url: missing`,
		`warning: odd`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	if c.Err() == nil {
		t.Error("Err = nil")
	}
}

// An unlisted key is read, and no message suggests it.
func TestUnlisted(t *testing.T) {
	c, err := table.Parse("hook", `{"old": 3, "odl": 1, "x": 1}`)
	if err != nil {
		t.Fatal(err)
	}
	var o struct {
		New int `toml:"new"`
		Old int `toml:"old,unlisted"`
	}
	if c.Decode(&o) || o.Old != 3 {
		t.Errorf("%+v", o)
	}
	want := "odl: unknown key; the keys are: new\nx: unknown key; the keys are: new"
	if err := c.Err(); err == nil || err.Error() != want {
		t.Errorf("got %v; want %s", err, want)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"[1]", "{", "{} {}", `"x"`} {
		if _, err := table.Parse("x", text); err == nil {
			t.Errorf("%s was taken", text)
		}
	}
	if c, err := table.Parse("x", ""); err != nil || !c.Decode(&options{}) {
		t.Error("an empty text is no empty table")
	}
}

// FuzzParse decodes any text: a daemon's mistake must not take a plugin down.
func FuzzParse(f *testing.F) {
	f.Add(`{"url": "x", "servers": [{"port": 1}], "any": [null, {}, 1e400]}`)
	f.Add(`{"when": "2026-03-01T10:15:20Z", "every": "5s", "rate": 1, "hosts": [[]]}`)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := table.Parse("x", text)
		if err != nil {
			return
		}
		o := options{Rate: 1}
		if c.Decode(&o) != (c.Err() == nil) {
			t.Error("Decode and Err disagree")
		}
		if math.IsInf(o.Rate, 0) {
			t.Error("a number that is none")
		}
		var all map[string]any
		c.Decode(&all)
	})
}

package sinkcheck

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/sdk"
)

// Load makes the sink [sinks.broker] with that table, and returns the mistakes in it, "" if there are none.
func Load(p sdk.SinkPlugin, table string, env sdk.Env) (sdk.Sink, string) {
	text := "[sinks.broker]\nplugin = \"" + p.Name + "\"\n" + table
	section, problems := config.ParseTable("test.toml", []byte(text), "sinks", "broker")
	sink := p.Configure(section, env)
	if err := problems.Err(); err != nil {
		return sink, err.Error()
	}
	return sink, ""
}

// New makes the sink [sinks.broker] with that table on the host fw1.
func New(tb testing.TB, p sdk.SinkPlugin, table string) sdk.Sink {
	tb.Helper()
	sink, problems := Load(p, table, sdk.Env{
		Hostname: "fw1", Warn: func(msg string, args ...any) { tb.Log(append([]any{msg}, args...)...) },
	})
	if problems != "" {
		tb.Fatal(problems)
	}
	return sink
}

var tableName = regexp.MustCompile(`\[sinks\.([a-z0-9-]+)\]`)

// WantLoads fails unless a configuration of one sink loads without a mistake or warning.
func WantLoads(t *testing.T, p sdk.SinkPlugin, text string) {
	t.Helper()
	table := tableName.FindStringSubmatch(text)
	if table == nil {
		t.Fatalf("not a sink:\n%s", text)
	}
	section, problems := config.ParseTable("test.toml", []byte(text), "sinks", table[1])
	if sink := p.Configure(section, sdk.Env{Hostname: "fw1"}); sink == nil || len(problems.All()) > 0 {
		t.Errorf("%s\ndoes not load: %v", text, problems.All())
	}
}

// Sample loads the plugin's sample as it is, and with everything in it that is commented out, but for the keys that cannot
// stand beside others.
func Sample(t *testing.T, p sdk.SinkPlugin, but ...string) {
	t.Helper()
	if p.Summary == "" {
		t.Errorf("%s has no summary", p.Name)
	}
	WantLoads(t, p, p.Sample)
	text := regexp.MustCompile(`(?m)^# ((\[|[a-z_]+ +=).*)$`).ReplaceAllString(p.Sample, "$1")
	if text == p.Sample {
		t.Error("nothing in the sample is commented out")
	}
	// What is commented out beside the format is for this one.
	text = regexp.MustCompile(`(?m)^(format +=) "json"`).ReplaceAllString(text, `$1 "rfc5424"`)
	for _, key := range but {
		line := regexp.MustCompile(`(?m)^` + key + ` .*$`)
		if !line.MatchString(text) {
			t.Errorf("the sample has no %s", key)
		}
		text = line.ReplaceAllString(text, "")
	}
	WantLoads(t, p, text)
}

// Snippets returns the configurations in README.md, of which there are at least so many.
func Snippets(t *testing.T, least int) (list []string) {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	snippets := regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(snippets) < least {
		t.Errorf("only %d snippets", len(snippets))
	}
	for _, s := range snippets {
		list = append(list, s[1])
	}
	return list
}

// Readme loads every configuration in README.md, of which there are at least so many.
func Readme(t *testing.T, p sdk.SinkPlugin, least int) {
	t.Helper()
	for _, s := range Snippets(t, least) {
		WantLoads(t, p, s)
	}
}

// Mistakes checks what the plugin says about tables: the words that its messages hold, nil for no message.
func Mistakes(t *testing.T, p sdk.SinkPlugin, wanted map[string][]string) {
	t.Helper()
	for table, want := range wanted {
		sink, problems := Load(p, table, sdk.Env{Hostname: "fw1"})
		if (problems == "") != (want == nil) || (sink == nil) != (want != nil) {
			t.Errorf("%s: sink %v, mistakes %q", table, sink, problems)
		}
		if i := slices.IndexFunc(want, func(w string) bool { return !strings.Contains(problems, w) }); i >= 0 {
			t.Errorf("%s: %q does not mention %s", table, problems, want[i])
		}
	}
}

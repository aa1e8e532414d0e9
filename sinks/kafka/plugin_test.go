package kafka_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sinks/kafka"
)

func TestSample(t *testing.T) {
	p := kafka.Plugin()
	if p.Name != "kafka" || p.Summary == "" {
		t.Errorf("plugin %q, %q", p.Name, p.Summary)
	}
	wantLoads(t, p.Sample)
	// What is commented out loads too.
	text := regexp.MustCompile(`(?m)^# ((\[|[a-z_]+ +=).*)$`).ReplaceAllString(p.Sample, "$1")
	if !strings.Contains(text, "\n[sinks.broker.tls]\n") || !strings.Contains(text, "\nmechanism") {
		t.Errorf("the comments are not taken off:\n%s", text)
	}
	wantLoads(t, text)
}

func wantLoads(t *testing.T, text string) {
	t.Helper()
	table := regexp.MustCompile(`\[sinks\.([a-z]+)\]`).FindStringSubmatch(text)
	if table == nil {
		t.Fatalf("not a sink:\n%s", text)
	}
	section, problems := config.ParseTable("test.toml", []byte(text), "sinks", table[1])
	if sink := kafka.Plugin().New(section, sdk.Env{Hostname: "fw1"}); sink == nil || len(problems.All()) > 0 {
		t.Errorf("%s\ndoes not load: %v", text, problems.All())
	}
}

// TestReadme loads every configuration in README.md.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	snippets := regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(snippets) < 3 {
		t.Errorf("only %d snippets", len(snippets))
	}
	for _, s := range snippets {
		wantLoads(t, s[1])
	}
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string // in the messages, nil for no mistake
	}{
		{"", nil},
		{`brokers = ["a:9092", "[2001:db8::1]:9093"]`, nil},
		{`topic = "x.{sink}.{host}.{kind}.{zone}.{egress-zone}"`, nil},
		{`tls = {}` + "\nlinger = \"0s\"", nil},
		{`brokers = []`, []string{"brokers: want at least one"}},
		{`brokers = ["kafka-1", "kafka:x", ":9092", "kafka://x:1", "x:0"]`,
			[]string{`"kafka-1"`, `"kafka:x"`, `":9092"`, `"kafka://x:1"`, `"x:0"`}},
		{`broker = "x"`, []string{"did you mean \"brokers\"?"}},
		{`topic = "x.{zon}"`, []string{"no placeholder {zon}; known are {egress-zone}, {host}, {kind}, {sink}, {zone}"}},
		{`topic = ""`, []string{"topic: the topic is missing"}},
		{`topic = ".."`, []string{"no name of a topic"}},
		{`topic = "a/{zone}"`, []string{"topics do not have"}},
		{`topic = "é"`, []string{"topics do not have"}},
		{`topic = "` + strings.Repeat("x", 250) + `"`, []string{"250 bytes"}},
		{`compression = "brotli"`, []string{"brotli"}},
		{"max_in_flight = 0\nlinger = \"2s\"\nack_timeout = \"1ms\"\nconnect_timeout = \"1h\"\nbatch_bytes = \"1kB\"",
			[]string{"max_in_flight: want 1 to 65536", "linger: want 0s to 1s", "ack_timeout: want 1s", "connect_timeout: want", "batch_bytes: want"}},
		{"format = \"xml\"", []string{"xml"}},
		{"profile = \"junos-99\"", []string{"junos-99"}},
		{`sasl = {}`, []string{"sasl.mechanism", "sasl.user", "sasl.password"}},
		{`sasl = { mechanism = "gssapi", user = "x", password = "y", password_file = "z" }`, []string{"gssapi", "sasl.password_file"}},
		{`tls = { cert = "c.pem" }`, []string{"tls.key: missing"}},
		{`tls = { verify = false }`, []string{"verify"}},
	} {
		sink, problems := load(c.text, sdk.Env{Hostname: "fw1"})
		if (problems == "") != (c.want == nil) || (sink == nil) != (c.want != nil) {
			t.Errorf("%s: sink %v, mistakes %q", c.text, sink, problems)
		}
		if i := slices.IndexFunc(c.want, func(w string) bool { return !strings.Contains(problems, w) }); i >= 0 {
			t.Errorf("%s: %q does not mention %s", c.text, problems, c.want[i])
		}
	}
}

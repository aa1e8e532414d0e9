package nats_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sinks/nats"
)

func TestSample(t *testing.T) {
	p := nats.Plugin()
	if p.Name != "nats" || p.Summary == "" {
		t.Errorf("plugin %q, %q", p.Name, p.Summary)
	}
	wantLoads(t, p.Sample)
	// What is commented out loads too, but for the ways to log in, of which one is allowed.
	text := regexp.MustCompile(`(?m)^# ((\[|[a-z_]+ +=).*)$`).ReplaceAllString(p.Sample, "$1")
	text = regexp.MustCompile(`(?m)^(nkey|user|password_file|token_file) .*$`).ReplaceAllString(text, "")
	if !strings.Contains(text, "\n[sinks.broker.tls]\n") || !strings.Contains(text, "\ncredentials") || !strings.Contains(text, "\ndomain") {
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
	if sink := nats.Plugin().New(section, sdk.Env{Hostname: "fw1"}); sink == nil || len(problems.All()) > 0 {
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
	const name = "stream.name = \"E\"\n"
	for _, c := range []struct {
		text string
		want []string // in the messages, nil for no mistake
	}{
		{name, nil},
		{name + `servers = ["nats://a:4222", "tls://b"]`, nil},
		{name + `subject = "x.{sink}.{host}.{kind}.{zone}.{egress-zone}.%"`, nil},
		{name + `tls = {}` + "\ntls_first = true", nil},
		{name + "batch = 500\nlinger = \"0s\"\nformat = \"frames\"", nil},
		{"", []string{"stream.name: the name of the stream is missing"}},
		{"stream.name = \"a.b\"", []string{"no name of a stream"}},
		{name + `servers = []`, []string{"servers: want at least one"}},
		{name + `servers = ["nats-1:4222", "http://x:1", "nats://u:p@x:1", "nats://x/y"]`,
			[]string{`"nats-1:4222"`, `"http://x:1"`, "stand in the table auth", `"nats://x/y"`}},
		{name + `server = "x"`, []string{"did you mean \"servers\"?"}},
		{name + `subject = "x.{zon}"`, []string{"no placeholder {zon}; known are {egress-zone}, {host}, {kind}, {sink}, {zone}"}},
		{name + `subject = "x.{zone"`, []string{"a { without its }"}},
		{name + `subject = "x.zone}"`, []string{"a } without its {"}},
		{name + `subject = "x..{zone}"`, []string{"empty token"}},
		{name + `subject = ""`, []string{"empty token"}},
		{name + `subject = "x.*.{zone}"`, []string{"wildcard"}},
		{name + `subject = "x y"`, []string{"blank"}},
		{name + `subject = "$SYS.x"`, []string{"$"}},
		{name + "batch = 0\nmax_in_flight = 0\nlinger = \"2s\"\nack_timeout = \"1ms\"\nconnect_timeout = \"1h\"",
			[]string{"batch: want 1 to 4096", "max_in_flight: want 1 to 65536", "linger: want 0s to 1s", "ack_timeout: want 100ms", "connect_timeout: want"}},
		{name + "format = \"xml\"", []string{"xml"}},
		{name + "profile = \"junos-99\"", []string{"junos-99"}},
		{name + "platform = 0", []string{"SD-ID"}},
		{"stream = { name = \"E\", replicas = 6, storage = \"tape\", max_age = \"-1s\", duplicates = \"1ms\", max_bytes = \"many\" }", []string{"many"}},
		{"stream = { name = \"E\", replicas = 6, storage = \"tape\", max_age = \"-1s\", duplicates = \"1ms\" }",
			[]string{"replicas: want 1 to 5", "tape", "max_age", "duplicates: want at least"}},
		{"stream = { name = \"E\", max_age = \"1m\" }", []string{"at most max_age"}},
		{name + `auth = { user = "x" }`, []string{"auth.password: missing"}},
		{name + `auth = { password = "x" }`, []string{"auth.user: missing"}},
		{name + `auth = { user = "x", password = "y", password_file = "z" }`, []string{"auth.password_file"}},
		{name + `auth = { token = "x", token_file = "z" }`, []string{"auth.token_file"}},
		{name + `auth = { token = "x", nkey = "z" }`, []string{"more than one way"}},
		{name + `tls = { cert = "c.pem" }`, []string{"tls.key: missing"}},
		{name + `tls = { key = "k.pem" }`, []string{"tls.cert: missing"}},
		{name + `tls = { verify = false }`, []string{"verify"}},
		{name + `tls_first = true`, []string{"needs a table tls"}},
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

package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAccess(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "token"), filepath.Join(dir, "bad")
	for path, text := range map[string]string{good: "s3cret\n", bad: "two words\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const open = "2:1: warning: service.metrics: "
	const reached = " is reached from other hosts, and anybody there may read status and metrics: set metrics_token_file, or listen on 127.0.0.1"
	for _, c := range []struct {
		text string
		want []string
	}{
		{`metrics = "127.0.0.1:9464"`, nil},
		{`metrics = "127.3.2.1:9464"`, nil},
		{`metrics = "[::1]:9464"`, nil},
		{`metrics = "LocalHost:9464"`, nil},
		{`metrics = ""`, nil},
		{`metrics = ":9464"`, []string{open + ":9464" + reached}},
		{`metrics = "0.0.0.0:9464"`, []string{open + "0.0.0.0:9464" + reached}},
		{`metrics = "[::]:9464"`, []string{open + "[::]:9464" + reached}},
		{`metrics = "fw1.example.net:9464"`, []string{open + "fw1.example.net:9464" + reached}},
		{"metrics = \":9464\"\nmetrics_token = \"s3cret\"", nil},
		{"metrics = \":9464\"\nmetrics_token_file = \"" + good + "\"", nil},
		{`metrics = "127.0.0.1:0"`, []string{open + "port 0 is a free port that the kernel chooses at each start: only the log tells which"}},
		{`metrics_token = "two words"`, []string{`2:1: service.metrics_token: must be visible ASCII characters`}},
		{`metrics_token = 12345678`, []string{`2:1: service.metrics_token: must be a string, not a number`}}, // not shown: it is secret
		{`metrics_token = true`, []string{`2:1: service.metrics_token: must be a string, not true or false`}},
		{`metrics_token = ["abc"]`, []string{`2:1: service.metrics_token: must be a string, not an array`}},
		{`metrics_token_file = 12345678`, []string{`2:1: service.metrics_token_file: must be a string, not 12345678`}},
		{`metrics_token_file = "` + bad + `"`, []string{
			"2:1: service.metrics_token_file: " + bad + " holds no token: one line of visible ASCII characters"}},
		{`metrics_token_file = "/nonexistent/token"`, []string{
			"2:1: warning: service.metrics_token_file: cannot be read: no such file or directory; the daemon must be able to read it when it starts"}},
		{"metrics_token = \"x\"\nmetrics_token_file = \"" + good + "\"", []string{
			"3:1: service.metrics_token_file: there is metrics_token already: one of them is enough"}},
		{`metrics_hosts = ["fw1", "fw1.example.net"]`, nil},
		{`metrics_hosts = ["fw1:9464", "http://fw1", "[::1]", ""]`, []string{
			`2:18: service.metrics_hosts[0]: must be a host name without a port, not "fw1:9464"`,
			`2:30: service.metrics_hosts[1]: must be a host name without a port, not "http://fw1"`,
			`2:44: service.metrics_hosts[2]: must be a host name without a port, not "[::1]"`,
			`2:53: service.metrics_hosts[3]: must be a host name without a port, not ""`}},
		{"metrics = \"\"\nmetrics_token = \"x\"\nmetrics_hosts = \"y\"", []string{
			"3:1: warning: service.metrics_token: means nothing here: service.metrics is empty, so nothing listens",
			"4:1: warning: service.metrics_hosts: means nothing here: service.metrics is empty, so nothing listens"}},
	} {
		_, problems := Parse("pipeline.toml", []byte("[service]\n"+c.text))
		t.Run(c.text, func(t *testing.T) { wantProblems(t, problems, c.want...) })
	}
	if token, err := (&Service{TokenFile: good}).Token(); token != "s3cret" || err != nil {
		t.Errorf("the token is %q, %v", token, err)
	}
}

// The page is served where not everybody may see it.
func TestServesPage(t *testing.T) {
	const open = "2:1: service.page: 0.0.0.0:9464 is reached from other hosts, and anybody there could see the page: " +
		"set metrics_token_file, or listen on 127.0.0.1"
	for _, c := range []struct {
		service string
		served  bool
		problem string
	}{
		{``, true, ""},
		{`page = false`, false, ""},
		{`metrics = "[::1]:9464"`, true, ""},
		{`metrics = "0.0.0.0:9464"`, false, ""},
		{"page = true\nmetrics = \"0.0.0.0:9464\"", false, open},
		{"page = true\nmetrics = \"0.0.0.0:9464\"\nmetrics_token = \"x\"", true, ""},
		{"metrics = \"0.0.0.0:9464\"\nmetrics_token = \"x\"", true, ""},
		{"metrics = \"0.0.0.0:9464\"\nmetrics_token = \"x\"\npage = false", false, ""},
		{`metrics = ""`, false, ""},
	} {
		f, problems := Parse("pipeline.toml", []byte("[service]\n"+c.service+"\n"))
		if got := f.Service.ServesPage(); got != c.served {
			t.Errorf("%s: served is %v", c.service, got)
		}
		all := strings.Join(messages(problems), "\n")
		if c.problem == "" && strings.Contains(all, "service.page") || !strings.Contains(all, c.problem) {
			t.Errorf("%s: want %q, got\n%s", c.service, c.problem, all)
		}
	}
}

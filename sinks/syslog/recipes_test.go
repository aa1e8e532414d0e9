package syslog

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/internal/logverify"
	"github.com/rtflow/pipelined/internal/testing/await"
	"github.com/rtflow/pipelined/internal/testing/collectors"
	"github.com/rtflow/pipelined/internal/testing/ports"
	"github.com/rtflow/pipelined/internal/testing/testcert"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// recipe is a section of README.md with the configuration of a sink and that of a collector.
type recipe struct{ heading, sink, kind, collector string }

func recipes(tb testing.TB) (list []recipe) {
	tb.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		tb.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```([a-z-]+)\n(.*?)```")
	for section := range strings.SplitSeq(string(text), "\n### ") {
		r := recipe{}
		r.heading, _, _ = strings.Cut(section, "\n")
		for _, m := range blocks.FindAllStringSubmatch(section, -1) {
			switch m[1] {
			case "toml":
				r.sink = m[2]
			case "rsyslog", "syslog-ng":
				r.kind, r.collector = m[1], m[2]
			}
		}
		if r.kind != "" {
			list = append(list, r)
		}
	}
	return list
}

var (
	portOf   = regexp.MustCompile(`(port(?:="|\())([0-9]+)`)
	schemeOf = regexp.MustCompile(`address = "([a-z]+)://`)
)

// TestRecipesStore runs every recipe as it is printed, but for paths, ports and hosts: what the collector has stored is what was
// sent, and passes verify.
func TestRecipesStore(t *testing.T) {
	collectors.Require(t)
	records := sinktest.Records(11, 300)
	list := recipes(t)
	if len(list) < 7 {
		t.Fatalf("only %d recipes", len(list))
	}
	for _, r := range list {
		t.Run(r.heading, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			ca := testcert.NewAuthority(t)
			cert, key := ca.Issue(t, "127.0.0.1")
			ownCert, ownKey := ca.Issue(t, "fw1.example.net")
			port := ports.Reserve(t)
			socket := filepath.Join(dir, "firewall")
			here := strings.NewReplacer(
				"/etc/ssl/syslog/ca.pem", ca.File, "/etc/ssl/syslog/collector.pem", cert, "/etc/ssl/syslog/collector.key", key,
				"/etc/pipelined/ca.pem", ca.File, "/etc/pipelined/client.pem", ownCert, "/etc/pipelined/client.key", ownKey,
				"/var/log/", dir+"/", "/run/rsyslog/firewall", socket, "siem.example.net", "127.0.0.1",
			)
			own := portOf.FindStringSubmatch(r.collector)
			config := here.Replace(portOf.ReplaceAllString(r.collector, "${1}"+port))
			scheme := schemeOf.FindStringSubmatch(r.sink)[1]
			listens := socket
			if own != nil {
				listens = "tcp:" + port
				if scheme == "udp" {
					listens = "udp:" + port
				}
				r.sink = strings.Replace(r.sink, ":"+own[2], ":"+port, 1)
			}
			var d *collectors.Daemon
			if r.kind == "syslog-ng" {
				d = collectors.SyslogNG(t, "@version: 3.38\n"+config)
			} else {
				d = collectors.Rsyslog(t, config)
			}
			d.Start(listens)
			table := regexp.MustCompile(`\[sinks\.([a-z0-9-]+)\]`).FindStringSubmatch(r.sink)[1]
			sink, problems := load(t, sdk.Env{Hostname: "fw1"}, here.Replace(r.sink), "sinks", table)
			if problems != "" {
				t.Fatal(problems)
			}
			stored := func() []string { return lines(t, filepath.Join(dir, "firewall.log")) }
			if scheme == "udp" {
				drip(t, sinktest.NewStream(t), sink, records, func() int { return len(stored()) })
			} else {
				drained(t, sink, records...)
			}
			await.Until(t, "the collector's file", func() bool { return len(stored()) >= len(records) })
			got := stored()
			for i, line := range got {
				got[i] = strings.TrimSuffix(line, " ")               // an empty MSG
				got[i] = strings.Replace(got[i], "+00:00 ", "Z ", 1) // syslog-ng knows no Z
			}
			sameMessages(t, got, want(t, format.Options{}, 1, records...))
			f, err := os.Open(filepath.Join(dir, "firewall.log"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			res, err := logverify.All(f, logverify.Options{}, func(line int, p logverify.Problem) { t.Errorf("%d: %v", line, p) })
			if err != nil || res.Messages != len(records) || res.Problems > 0 {
				t.Errorf("%v, %+v", err, res)
			}
		})
	}
}

// lines returns the whole lines of a file, none if there is none.
func lines(tb testing.TB, path string) []string {
	tb.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		tb.Fatal(err)
	}
	list := strings.Split(string(text), "\n")
	return slices.Clip(list[:len(list)-1])
}

// TestRecipes lets the collectors read their configurations in the pages of the sinks.
func TestRecipes(t *testing.T) {
	collectors.Require(t)
	ca := testcert.NewAuthority(t)
	cert, key := ca.Issue(t, "127.0.0.1")
	here := strings.NewReplacer("/etc/ssl/syslog/ca.pem", ca.File, "/etc/ssl/syslog/collector.pem", cert,
		"/etc/ssl/syslog/collector.key", key, "/var/spool/rsyslog", t.TempDir())
	seen := map[string]int{}
	for _, page := range []string{"README.md", "../file/README.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("(?s)```(rsyslog|syslog-ng)\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
			seen[m[1]]++
			d := collectors.Rsyslog
			config := here.Replace(m[2])
			if m[1] == "syslog-ng" {
				d, config = collectors.SyslogNG, "@version: 3.38\n"+config
			}
			if err := d(t, config).Check(); err != nil {
				t.Errorf("%s: %v\n%s", page, err, config)
			}
			if err := d(t, strings.Replace(config, "port", "prt", 1)).Check(); err == nil && strings.Contains(config, "port") {
				t.Errorf("%s: a mistake is not found in\n%s", page, config)
			}
		}
	}
	if seen["rsyslog"] < 4 || seen["syslog-ng"] < 2 {
		t.Errorf("only %v", seen)
	}
}

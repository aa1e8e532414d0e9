package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/config"
)

// changeable are other values for the keys of a configuration, by table: those that a reload changes, and those that it refuses, which begin
// with "restart ". A capture is read: live sources have their zones changed, which core/pipeline tests.
var changeable = map[string]map[string]string{
	"node": {"name": `"edge-2"`},
	"service": {
		"control": `"DIR/moved"`, "control_group": `restart "0"`, "control_mode": `restart "0600"`, "drain": `"6s"`, "metrics": `"127.0.0.1:0"`,
		"metrics_hosts": `["pipelined.example"]`, "metrics_token": `"s3cret"`, "metrics_token_file": `"DIR/token"`, "page": "false", "watch": "true",
		"plugin_dir": `restart "/opt/plugins"`, "runtime_dir": `restart "/run/elsewhere"`, "state": `restart "/var/lib/elsewhere"`,
	},
	"pipeline": {"hooks": `["policies"]`, "sinks": `["events", "more"]`, "sources": `restart ["other"]`, "zones_by_route": "false"},
	"admission": {
		"burst": "99", "rate": "99", "filter-log": "{ rate = 5 }", "policy-deny": "{ rate = 5 }", "screen-drop": "{ rate = 5 }", "unanswered": "{ rate = 5 }",
	},
	"replay": {"overflow": `"evict"`, "per_kind": "999", "slots": "16384", "telemetry": "2048"},
	"sessions": {
		"adopt": `restart "1s"`, "closed_timeout": `"3s"`, "icmp_timeout": `"9s"`, "log": "false", "max": "restart 2048", "ospf_timeout": `"9s"`,
		"other_timeout": `"9m"`, "rematch": "true", "separate": `restart "none"`, "syn_check": "true", "tcp_initial_timeout": `"9s"`,
		"tcp_time_wait": `"9s"`, "tcp_timeout": `"9m"`, "udp_timeout": `"9s"`,
	},
	"zones.trust": {"id": "restart 9", "interfaces": `restart ["lan9"]`, "prefixes": `restart ["10.0.7.0/24"]`},
}

// TestReloadEveryKey changes each key of the tables of the core, one at a time: it is changed, or refused by its name.
func TestReloadEveryKey(t *testing.T) {
	c := controlPipeline(t)
	dir := filepath.Dir(c.path)
	c.configure(t)
	file, err := os.ReadFile(c.path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(file)
	text = regexp.MustCompile(`(?s)\[admission\.policy-deny\].*?(\n\[)`).ReplaceAllString(text, "$1")
	text = text[:strings.Index(text, "[[test]]")] +
		"[sinks.more]\nplugin = \"file\"\npath = \"" + dir + "/more.log\"\n[sources.other]\nplugin = \"pcap\"\nfile = \"testdata/edge.pcapng.gz\"\n"
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	reload := func(text string) (taken bool, what string) {
		t.Helper()
		if err := os.WriteFile(c.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		o, err := c.reloads.ask(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return o.Taken, fmt.Sprint(o.Error, o.Changes, o.Problems)
	}
	for table, values := range changeable {
		for _, key := range keysOf(t, table) {
			value, decided := values[key]
			if !decided {
				t.Errorf("%s.%s: does a reload change it, or refuse it?", table, key)
				continue
			}
			if taken, what := reload(text); !taken {
				t.Fatalf("as it was: %s", what)
			}
			value, restart := strings.CutPrefix(value, "restart ")
			value = strings.ReplaceAll(value, "DIR", dir)
			taken, what := reload(withKey(t, text, table, key, value))
			name := regexp.MustCompile(`\b` + table + `\b`)
			if !strings.HasPrefix(table, "zones.") {
				name = regexp.MustCompile(`\b` + table + `\.` + key + `\b`)
			} else if restart {
				name = regexp.MustCompile(`restart is needed for what has changed in zones`)
			}
			if taken == restart || !name.MatchString(what) {
				t.Errorf("%s.%s = %s: taken %v: %s", table, key, value, taken, what)
			}
		}
	}
}

// keysOf returns the keys of a table, as a mistake in one lists them.
func keysOf(t *testing.T, table string) []string {
	t.Helper()
	_, problems := config.LoadText("p.toml", []byte("["+table+"]\nnot-a-key = 1\n"))
	for _, p := range problems.All() {
		if _, list, ok := strings.Cut(p.String(), "unknown key; the keys are: "); ok {
			return strings.Split(list, ", ")
		}
	}
	t.Fatalf("the keys of %s are not known: %v", table, problems.All())
	return nil
}

// withKey sets a key of a table that stands in the text.
func withKey(t *testing.T, text, table, key, value string) string {
	t.Helper()
	head := "\n[" + table + "]"
	before, rest, ok := strings.Cut(text, head)
	if !ok {
		t.Fatalf("there is no [%s]", table)
	}
	comment, rest, _ := strings.Cut(rest, "\n")
	body, after := rest, ""
	if i := strings.Index(rest, "\n["); i >= 0 {
		body, after = rest[:i], rest[i:]
	}
	body = regexp.MustCompile(`(?m)^`+key+` *=.*$`).ReplaceAllString(body, "")
	return before + head + comment + "\n" + key + " = " + value + "\n" + body + after
}

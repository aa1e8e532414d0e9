package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/rtflow/pipelined"
	"github.com/rtflow/pipelined/internal/doctor"
	"github.com/rtflow/pipelined/internal/machine"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// runDoctor runs the command and returns what it prints and the exit code.
func runDoctor(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), append([]string{"doctor"}, args...), &out, &errs)
	return out.String(), errs.String(), code
}

// report decodes what doctor --json prints.
func report(t *testing.T, text string) (r doctor.Report) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return r
}

// TestDoctorExit looks at the exit status of what any machine has or has not.
func TestDoctorExit(t *testing.T) {
	t.Chdir(t.TempDir())
	capture := writeFile(t, "capture.toml", "[pipeline]\nsources = [\"c\"]\nsinks = [\"o\"]\n[sources]\nc = { plugin = \"pcap\", file = \"x.pcap\" }\n[sinks]\no = { plugin = \"stdout\" }\n")
	out, errs, code := runDoctor(t, "--config", capture)
	if code != 0 || errs != "" || !strings.Contains(out, "they need nothing of the machine\n") || !strings.Contains(out, "nothing is missing") {
		t.Errorf("a capture: %d, %s%s", code, errs, out)
	}
	const hostile = "x\x1b[2J\u202ey"
	out, errs, code = runDoctor(t, hostile)
	if code != exitFailure || errs != "" || !strings.Contains(out, "missing  link ") || strings.ContainsAny(out, "\x1b\u202e") {
		t.Errorf("no such interface: %d, %s%s", code, errs, out)
	}
	out, _, code = runDoctor(t, "--json", hostile)
	if r := report(t, out); code != exitFailure || r.Ready || strings.ContainsAny(out, "\x1b\u202e") {
		t.Errorf("no such interface, as JSON: %d, %s", code, out)
	}
	if _, errs, code = runDoctor(t, "--config", writeFile(t, "mistake.toml", "[pipelin]\n")); code != exitFailure || !strings.Contains(errs, "mistake.toml:1:") {
		t.Errorf("a mistake: %d, %s", code, errs)
	}
	if _, errs, code = runDoctor(t, "--config", "none.toml"); code != exitFailure || !strings.Contains(errs, "none.toml") {
		t.Errorf("no configuration: %d, %s", code, errs)
	}
	for _, args := range [][]string{{"--jsno"}, {""}} {
		if _, errs, code = runDoctor(t, args...); code != exitUsage {
			t.Errorf("%q: %d, %s", args, code, errs)
		}
	}
}

// TestDoctorRouter looks at what the sample of a router needs, first of a router that has no rules and then of one that has.
func TestDoctorRouter(t *testing.T) {
	nettest.Require(t)
	t.Chdir(t.TempDir())
	config := writeFile(t, "router.toml", pipelined.Router)
	// A rule in another namespace has the kernel load its modules, where it has not.
	nettest.NewRouter(t).Rules("table inet load { chain track { type filter hook forward priority 0; ct state new; }; }")
	r := nettest.NewRouter(t)
	look := func(args ...string) (doctor.Report, int) {
		var out string
		var code int
		r.Do(func() { out, _, code = runDoctor(t, append([]string{"--json", "--config", config}, args...)...) })
		return report(t, out), code
	}
	missing := func(rep doctor.Report) (list []string) {
		for _, f := range rep.Findings {
			if f.Verdict == machine.Missing {
				list = append(list, f.Part+": "+f.Subject)
			}
		}
		return list
	}
	if rep, code := look(); code != exitFailure || rep.Ready || rep.Configuration != config || strings.Join(missing(rep), "; ") != "conntrack: tracking" {
		t.Errorf("without rules: %d, %v", code, missing(rep))
	}
	r.Rules(`table inet filter { chain forward { type filter hook forward priority 0; ct state new log prefix "ACCEPT:forward " group 5; }; }`)
	rep, code := look()
	if code != 0 || !rep.Ready {
		t.Errorf("with rules: %d, %v", code, missing(rep))
	}
	for _, f := range rep.Findings {
		if f.Part == "NFLOG" && f.Subject == "group 5" && f.Verdict != machine.OK {
			t.Errorf("the group: %+v", f)
		}
	}
	if rep, code := look("none0"); code != exitFailure || strings.Join(missing(rep), "; ") != "interface none0: link" {
		t.Errorf("with one more interface: %d, %v", code, missing(rep))
	}
}

// TestDoctorHere takes the configuration that is here, unless it needs nothing or an interface is named.
func TestDoctorHere(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		args []string
		want string // the configuration that was looked at
	}{
		"none":               {"", nil, ""},
		"one that needs":     {"[pipeline]\nsources = [\"n\"]\nsinks = [\"o\"]\n[sources]\nn = { plugin = \"nflog\", groups = [5] }\n[sinks]\no = { plugin = \"stdout\" }\n", nil, "pipeline.toml"},
		"the same, named if": {"[pipeline]\nsources = [\"n\"]\nsinks = [\"o\"]\n[sources]\nn = { plugin = \"nflog\", groups = [5] }\n[sinks]\no = { plugin = \"stdout\" }\n", []string{"lo"}, ""},
		"one that needs not": {pipelined.Sample, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if tt.text != "" {
				if err := os.WriteFile("pipeline.toml", []byte(tt.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			out, errs, _ := runDoctor(t, append([]string{"--json"}, tt.args...)...)
			if errs != "" {
				t.Error(errs)
			}
			if got := report(t, out).Configuration; got != tt.want {
				t.Errorf("looked at %q, want %q", got, tt.want)
			}
		})
	}
}

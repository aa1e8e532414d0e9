package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// changed writes the configuration that ships, changed as docs/policy-testing.md changes it, and returns its path.
func changed(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("pipeline.toml")
	if err != nil {
		t.Fatal(err)
	}
	const rule = "[[hooks.policies.policy]]\nname        = \"no-telnet\""
	before, after, ok := strings.Cut(string(text), rule)
	if !ok {
		t.Fatal("there is no policy no-telnet")
	}
	body, rest, _ := strings.Cut(after, "\n\n")
	first, out, _ := strings.Cut(before, "[[hooks.policies.policy]]\nname        = \"out\"")
	out = strings.Replace(out, `"junos-ssh", `, `"junos-ssh", "junos-telnet", `, 1)
	out = strings.Replace(out, "[\"junos-http\", \"ping\"]\nthen        = \"permit\"\nlog         = \"session-close\"", "[\"junos-http\", \"ping\"]\nthen        = \"deny\"", 1)
	path := filepath.Join(t.TempDir(), "new.toml")
	// The policy no-telnet stands before all others.
	moved := first + rule + body + "\n\n[[hooks.policies.policy]]\nname        = \"out\"" + out + rest
	if err := os.WriteFile(path, []byte(moved), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestDiff compares the configuration that ships with a changed one: by itself, over the capture, and over the log of the capture.
func TestDiff(t *testing.T) {
	path := changed(t)
	out, errs, code := runCommand(t, "diff", "pipeline.toml", path)
	if code != 1 || errs != "" || !strings.Contains(out, "moved    hooks.policies.policy[no-telnet]") || strings.Contains(out, "flows") {
		t.Errorf("exit code %d, %s%s", code, errs, out)
	}
	if out, errs, code := runCommand(t, "diff", "pipeline.toml", "pipeline.toml"); code != 0 || errs != "" || out != "the configurations say the same\n" {
		t.Errorf("the same twice: exit code %d, %s%s", code, errs, out)
	}
	if _, errs, code := runCommand(t, "diff", "pipeline.toml", path+"x"); code != 2 || !strings.Contains(errs, "no such file") {
		t.Errorf("a missing file: exit code %d, %s", code, errs)
	}
	if _, errs, code := runCommand(t, "diff", "pipeline.toml", path, "missing.pcap"); code != 2 || !strings.Contains(errs, "missing.pcap") {
		t.Errorf("a missing capture: exit code %d, %s", code, errs)
	}

	over := func(args ...string) difference {
		t.Helper()
		out, errs, code := runCommand(t, append([]string{"diff", "--json", "pipeline.toml", path}, args...)...)
		var d difference
		if err := json.Unmarshal([]byte(out), &d); err != nil || code != 1 {
			t.Fatalf("exit code %d, %s%v", code, errs, err)
		}
		return d
	}
	capture := over(edge)
	if capture.Flows.Changed < 300 || capture.Flows.Changed == capture.Flows.Flows || len(capture.Changes) != 4 {
		t.Errorf("over the capture: %+v", capture)
	}

	// A flow that the log tells of is judged alike by the log; of the others the log says nothing.
	for format, screen := range map[string]string{"rfc5424": " RT_SCREEN_", "json": `"kind":"alert"`, "text": " screen "} {
		events := mustRun(t, "read", "--format", format, edge)
		log := filepath.Join(t.TempDir(), "events.log.gz")
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		if _, err := z.Write([]byte(events + "another program's line\n")); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(log, packed.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		d := over("--flows", log)
		screens := strings.Count(events, screen)
		if d.Flows.Changed == 0 || d.Flows.Changed == d.Flows.Flows || d.Unread < screens+1 {
			t.Errorf("%s: over the log: %d of %d flows, %d lines of none, %d screens", format, d.Flows.Changed, d.Flows.Flows, d.Unread, screens)
		}
		for _, g := range d.Flows.Groups {
			if g.Verdict != nil && g.Rules == nil {
				t.Errorf("%s: no rule is responsible for %+v", format, g)
			}
		}
	}
}

// TestDiffPage holds what the page shows of diff against what the program prints.
func TestDiffPage(t *testing.T) {
	page, err := os.ReadFile("docs/policy-testing.md")
	if err != nil {
		t.Fatal(err)
	}
	path := changed(t)
	_, rest, ok := strings.Cut(string(page), "$ pipelined diff pipeline.toml new.toml testdata/edge.pcapng.gz\n")
	if !ok {
		t.Fatal("the page does not show diff")
	}
	want, _, _ := strings.Cut(rest, "```")
	out, _, code := runCommand(t, "diff", "pipeline.toml", path, edge)
	if diff := cmp.Diff(want, strings.ReplaceAll(out, path, "new.toml")); diff != "" || code != 1 {
		t.Errorf("exit code %d (-page +program):\n%s", code, diff)
	}
}

// runCommand runs a command and returns its outputs and exit code.
func runCommand(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return out.String(), errs.String(), code
}

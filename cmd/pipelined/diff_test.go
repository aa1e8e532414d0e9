package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rtflow/pipelined/core/compare"
	"github.com/rtflow/pipelined/internal/syslogframe"
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
	if _, errs, code := runCommand(t, "diff", "pipeline.toml", path, "missing.pcap"); code != 2 || strings.Count(errs, "missing.pcap") != 1 {
		t.Errorf("a missing capture: exit code %d, %s", code, errs)
	}

	broken := writeFile(t, "broken.toml", "[pipeline]\nsinks = [\"evnts\"]\n")
	for _, args := range [][]string{{broken, "pipeline.toml"}, {"pipeline.toml", broken}} {
		out, errs, code := runCommand(t, append([]string{"diff", "--json"}, args...)...)
		if code != 2 || out != "" || !strings.Contains(errs, broken+":2:") || !strings.HasSuffix(errs, "pipelined: nothing was compared: "+broken+" has mistakes\n") {
			t.Errorf("with a mistake: exit code %d, %s%s", code, out, errs)
		}
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

// TestDiffLog compares over lines of which not every one can be carried: each of them is counted, and none ends the comparison.
func TestDiffLog(t *testing.T) {
	shipped, err := os.ReadFile("pipeline.toml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	replaced := func(pairs ...string) string {
		text := string(shipped)
		for i := 0; i < len(pairs); i += 2 {
			if !strings.Contains(text, pairs[i]) {
				t.Fatalf("pipeline.toml has no %q", pairs[i])
			}
			text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
		}
		return text
	}
	// The new configuration permits no ping, and has not the interface of the zone dmz.
	now := write("new.toml", replaced(`"junos-ntp", "junos-smtp", "ping"`, `"junos-ntp", "junos-smtp"`, `interfaces = ["dmz0"]`, `interfaces = ["dmz1"]`))
	const good = "10:15:21.100 open   10.0.1.5:40000 > 192.0.2.80:80 http out trust>dmz\n"
	for name, c := range map[string]struct {
		log  string
		want compare.LogLines
		code int
	}{
		"all":                {good, compare.LogLines{}, 0},
		"two directions":     {"10:15:21.100 deny   198.51.100.9 > 192.0.2.80 icmp 8 x\n10:15:21.100 deny   10.0.1.5 > 198.51.100.9 icmp 8 x\n", compare.LogLines{}, 1},
		"no application":     {good + "10:15:21.100 deny   10.0.1.5:4 > 192.0.2.80:80 fax x\n", compare.LogLines{Misread: 1, FirstMisread: `:2: the record is of an unknown protocol or application, "fax"`}, 0},
		"another program's":  {good + "sshd[1]: session opened\n", compare.LogLines{Unread: 1}, 0},
		"one interface less": {good + "10:15:23.000 filter 10.0.1.5:5 > 192.0.2.80:80 tcp discard e/ssh dmz0\n", compare.LogLines{Elsewhere: 1, Interfaces: []string{"dmz0"}}, 1},
		"no such interface":  {good + "10:15:23.000 filter 10.0.1.5:5 > 192.0.2.80:80 tcp discard e/ssh dmz9\n", compare.LogLines{Misread: 1, FirstMisread: `:2: there is no interface "dmz9"`}, 0},
		"no interface":       {good + "10:15:23.000 filter 10.0.1.5:5 > 192.0.2.80:80 tcp discard e/ssh\n", compare.LogLines{}, 0},
		"a long line":        {strings.Repeat("x", syslogframe.MaxMessage+1) + "\n" + good, compare.LogLines{Misread: 1, FirstMisread: ":1: longer than 65536 bytes"}, 0},
		"a long last line":   {good + strings.Repeat("x", 3*syslogframe.MaxMessage), compare.LogLines{Misread: 1, FirstMisread: ":2: longer than 65536 bytes"}, 0},
		"no end of line":     {strings.TrimSpace(good), compare.LogLines{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			log := write("events.log", c.log)
			out, errs, code := runCommand(t, "diff", "--json", "pipeline.toml", now, "--flows", log)
			var d difference
			if err := json.Unmarshal([]byte(out), &d); err != nil || code != c.code {
				t.Fatalf("exit code %d, %s%v %s", code, errs, err, out)
			}
			first, _ := strings.CutPrefix(d.FirstMisread, log)
			d.FirstMisread = first[:min(len(first), len(c.want.FirstMisread))]
			if diff := cmp.Diff(c.want, d.LogLines); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if wants := strings.Count(strings.TrimSpace(c.log), "\n") + 1 - c.want.Unread - c.want.Misread - c.want.Elsewhere; d.Flows.Flows != wants {
				t.Errorf("%d flows, want %d", d.Flows.Flows, wants)
			}
		})
	}
	if _, errs, code := runCommand(t, "diff", "pipeline.toml", now, "--flows", write("events.log", strings.Repeat("x", syslogframe.MaxMessage+1)+"\n"+good)); code != 0 ||
		!strings.Contains(errs, "lines of the log that are not understood: 1, the first at "+filepath.Join(dir, "events.log")+":1: longer") {
		t.Errorf("exit code %d, %s", code, errs)
	}
	if _, errs, code := runCommand(t, "diff", "pipeline.toml", now, "--flows", write("events.log", "hello world\n")); code != 2 ||
		!strings.Contains(errs, "none of its lines tells of a flow") {
		t.Errorf("exit code %d, %s", code, errs)
	}
	for _, capture := range []string{"-", "/dev/null"} {
		if _, errs, code := runCommand(t, "diff", "pipeline.toml", now, capture); code != 2 || !strings.Contains(errs, "read twice") {
			t.Errorf("%s as capture: exit code %d, %s", capture, code, errs)
		}
	}
}

// TestDiffFraming compares over the same events as lines, octet-counted and in a mixture of both: the result is the same. What is cut off
// or runs into another message is counted, on standard error too.
func TestDiffFraming(t *testing.T) {
	now := changed(t)
	var lines []string
	for i, line := range strings.Split(strings.TrimSpace(mustRun(t, "read", "--format", "rfc5424", edge)), "\n") {
		if i%16 == 0 {
			lines = append(lines, line)
		}
	}
	var plain, counted, mixed strings.Builder
	for i, line := range lines {
		fmt.Fprintf(&plain, "%s\n", line)
		fmt.Fprintf(&counted, "%d %s", len(line), line)
		switch i % 3 {
		case 0:
			fmt.Fprintf(&mixed, "%s\r\n", line)
		case 1:
			fmt.Fprintf(&mixed, "%d %s", len(line), line)
		default:
			fmt.Fprintf(&mixed, "%d %s\n\n", len(line)+1, line+"\n")
		}
	}
	over := func(log string) (d difference, path, errs string) {
		t.Helper()
		path = writeFile(t, "siem.log", log)
		out, errs, code := runCommand(t, "diff", "--json", "pipeline.toml", now, "--flows", path)
		if err := json.Unmarshal([]byte(out), &d); err != nil || code != 1 {
			t.Fatalf("exit code %d, %s%v", code, errs, err)
		}
		return d, path, errs
	}
	want, _, _ := over(plain.String())
	if want.Flows.Changed == 0 || want.Flows.Changed == want.Flows.Flows || want.Misread > 0 {
		t.Fatalf("over lines: %+v, %+v", want.Flows, want.LogLines)
	}
	for name, log := range map[string]string{"octet-counted": counted.String(), "mixed": mixed.String()} {
		got, _, _ := over(log)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-lines +%s):\n%s", name, name, diff)
		}
	}

	last := lines[slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, "RT_FLOW_SESSION_CLOSE") })]
	torn := last[:strings.Index(last, "destination-port")]
	for name, c := range map[string]struct{ more, reason string }{
		"a frame cut off":         {fmt.Sprintf("%d %s", len(last), torn), "the stream ends in the middle of it"},
		"a length cut off":        {"66", "the stream ends in the middle of it"},
		"a line cut off":          {torn, "the record is cut off"},
		"a frame within another":  {fmt.Sprintf("%d %s%d %s", len(torn)+4+len(last), torn, len(last), last), "more than one record in a line"},
		"lines run into another":  {last + last + "\n", "more than one record in a line"},
		"a length of another one": {fmt.Sprintf("%d %s", len(torn), last), "the record is cut off"},
	} {
		got, path, errs := over(counted.String() + c.more)
		first := fmt.Sprintf("%s:%d: %s", path, len(lines)+1, c.reason)
		if got.Misread != 1 || got.FirstMisread != first || !strings.Contains(errs, "lines of the log that are not understood: 1, the first at "+first+"\n") {
			t.Errorf("%s: %+v, want %s; %s", name, got.LogLines, first, errs)
		}
		if got.Flows.Flows != want.Flows.Flows || got.Flows.Changed != want.Flows.Changed {
			t.Errorf("%s: %d flows, want %d", name, got.Flows.Flows, want.Flows.Flows)
		}
	}
}

// TestDiffEvents compares over a log where one of the configurations, or both, have sources of events: that these tell of the flows is said.
func TestDiffEvents(t *testing.T) {
	log := writeFile(t, "events.log", "10:15:21.100 open   10.0.1.5:40000 > 192.0.2.80:80 http forward lan>wan\n")
	with := writeFile(t, "with.toml", routed)
	text := strings.Replace(routed, `sources = ["sessions", "rules"]`, `sources = ["packets"]`, 1)
	without := writeFile(t, "without.toml", strings.Replace(text, "[sinks]", `packets = { plugin = "afpacket", interfaces = ["wan0"] }`+"\n[sinks]", 1))
	for _, c := range []struct{ old, now, want string }{
		{with, without, "sources.sessions and sources.rules of " + with},
		{without, with, "sources.sessions and sources.rules of " + with},
		{with, with, "sources.sessions and sources.rules of " + with + "; sources.sessions and sources.rules of " + with},
		{without, without, ""},
	} {
		out, errs, _ := runCommand(t, "diff", c.old, c.now, "--flows", log)
		asJSON, _, _ := runCommand(t, "diff", "--json", c.old, c.now, "--flows", log)
		var d difference
		if err := json.Unmarshal([]byte(asJSON), &d); err != nil {
			t.Fatalf("%v: %s%s", err, asJSON, errs)
		}
		if c.want == "" {
			if strings.Contains(out, "note: ") || len(d.Notes) > 0 {
				t.Errorf("without such sources:\n%s%v", out, d.Notes)
			}
			continue
		}
		if !strings.Contains(out, "what is logged: "+c.want+"\n") || len(d.Notes) != 1 || !strings.HasSuffix(d.Notes[0], ": "+c.want) {
			t.Errorf("without %q:\n%s%v", c.want, out, d.Notes)
		}
		if strings.Contains(out, ",, ") {
			t.Errorf("two commas:\n%s", out)
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

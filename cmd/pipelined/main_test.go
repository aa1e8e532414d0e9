package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/rtflow/pipelined/core/metrics"
	"github.com/rtflow/pipelined/internal/rfc5424"
	"github.com/rtflow/pipelined/sdk/format"
)

// TestMain runs the tests in the folder that the shipped configuration's paths are relative to, with a runtime directory of their own:
// a daemon of the machine, or one that another package tests, is no business of theirs.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	if err := os.Chdir("../.."); err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "pipelined-cmd")
	if err != nil {
		panic(err)
	}
	if err := os.Setenv("RUNTIME_DIRECTORY", dir); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir) // a directory for temporary files
		os.Exit(code)
	}))
}

const edge = "testdata/edge.pcapng.gz"

// invoke runs the command in this process and returns its output.
func invoke(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	root := newRoot()
	var out, errs bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&errs)
	root.SetArgs(args)
	err = root.ExecuteContext(context.Background())
	return out.String(), errs.String(), err
}

func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	out, errs, err := invoke(t, args...)
	if err != nil {
		t.Fatalf("pipelined %s: %v\n%s", strings.Join(args, " "), err, errs)
	}
	return out
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// tag returns the MSGID of a line, or "filter" for the line of a firewall filter.
func tag(line string) string {
	f := strings.Fields(line)
	if f[5] == "-" {
		return "filter"
	}
	return f[5]
}

func tags(lines string) map[string]int {
	n := make(map[string]int)
	for line := range strings.Lines(lines) {
		n[tag(line)]++
	}
	return n
}

// TestReadGolden pins what the shipped pipeline says of the shipped capture: how many lines of each tag, and the first
// two of each to the letter.
func TestReadGolden(t *testing.T) {
	out := mustRun(t, "read", edge)
	var got strings.Builder
	counts := tags(out)
	seen := make(map[string]int)
	for line := range strings.Lines(out) {
		if k := tag(line); seen[k] < 2 {
			seen[k]++
			got.WriteString(line)
		}
	}
	text, err := json.MarshalIndent(counts, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got.Write(text)
	got.WriteByte('\n')
	compareGolden(t, "cmd/pipelined/testdata/read.golden", got.String())
}

// compareGolden compares with a file; PIPELINED_UPDATE_GOLDEN=1 rewrites it.
func compareGolden(t *testing.T, path, got string) {
	t.Helper()
	if os.Getenv("PIPELINED_UPDATE_GOLDEN") == "1" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("differs from %s (-want +got):\n%s", path, diff)
	}
}

// TestReadIsDeterministic reads the capture several times, from a file, from a pipe, unpacked, and through frames: the
// bytes are the same.
func TestReadIsDeterministic(t *testing.T) {
	want := mustRun(t, "read", edge)
	if want == "" {
		t.Fatal("no events")
	}
	for i := range 3 {
		if mustRun(t, "read", edge) != want {
			t.Fatalf("run %d gave other bytes", i)
		}
	}
	plain := filepath.Join(t.TempDir(), "edge.pcapng")
	if err := os.WriteFile(plain, gunzip(t, edge), 0o600); err != nil {
		t.Fatal(err)
	}
	if mustRun(t, "read", plain) != want {
		t.Error("the unpacked capture gave other bytes")
	}
	stdin(t, plain)
	if mustRun(t, "read", "-") != want {
		t.Error("standard input gave other bytes")
	}
	for _, format := range []string{"rfc5424", "json"} {
		frames := writeFile(t, "edge.frames", mustRun(t, "read", "--format", "frames", edge))
		if mustRun(t, "read", "--format", format, frames) != mustRun(t, "read", "--format", format, edge) {
			t.Errorf("%s from frames differs from %s from the capture", format, format)
		}
	}
}

// TestReadFramesRefuses refuses options that mean nothing for a file of frames, and writes no ledger.
func TestReadFramesRefuses(t *testing.T) {
	frames := writeFile(t, "edge.frames", mustRun(t, "read", "--format", "frames", edge))
	ledger := filepath.Join(t.TempDir(), "ledger.json")
	for option, value := range map[string]string{"--ledger": ledger, "--interface": "lan0"} {
		out, _, err := invoke(t, "read", option, value, frames)
		if _, ok := errors.AsType[*usageError](err); !ok || !strings.Contains(err.Error(), option) || out != "" {
			t.Errorf("%s: error %v, printed %d bytes", option, err, len(out))
		}
	}
	if _, err := os.Stat(ledger); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the ledger: %v", err)
	}
}

func gunzip(t *testing.T, path string) []byte {
	t.Helper()
	packed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return gunzipped(t, packed)
}

func gunzipped(t testing.TB, packed []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(z); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// stdin makes a file the standard input of this process for the test.
func stdin(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stdin
	os.Stdin = f
	t.Cleanup(func() { os.Stdin = before; f.Close() })
}

// TestReadLinesAreStrictSyslog parses every line with a strict parser of RFC 5424.
func TestReadLinesAreStrictSyslog(t *testing.T) {
	for _, profile := range format.Profiles() {
		p := rfc5424.NewParser()
		for line := range strings.Lines(mustRun(t, "read", "--profile", profile, edge)) {
			if _, err := p.Parse([]byte(strings.TrimSuffix(line, "\n"))); err != nil {
				t.Fatalf("%v\n%s", err, line)
			}
		}
	}
}

// TestReadLedgerNowhere reads nothing if the ledger has no place: it is missed after hours otherwise.
func TestReadLedgerNowhere(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{filepath.Join(dir, "none", "l.json"): "no such file", dir: "is a directory"} {
		out, _, err := invoke(t, "read", "--ledger", path, edge)
		if err == nil || !strings.HasPrefix(err.Error(), "--ledger: ") || !strings.Contains(err.Error(), want) || out != "" {
			t.Errorf("%s: %v, and %d bytes of records", path, err, len(out))
		}
	}
}

// TestP1ReadLedger checks the sums of the ledger, and the ledger against the lines.
func TestP1ReadLedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.json")
	out := mustRun(t, "read", "--ledger", path, edge)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var led metrics.Ledger
	if err := json.Unmarshal(text, &led); err != nil {
		t.Fatal(err)
	}
	if led.Packets.Received != 5477 {
		t.Errorf("received %d packets, the capture has 5477", led.Packets.Received)
	}
	if led.Unaccounted != 0 {
		t.Errorf("%d unaccounted for", led.Unaccounted)
	}
	byTag := tags(out)
	lines := 0
	for _, n := range byTag {
		lines += n
	}
	var acknowledged uint64
	for kind, q := range led.Sinks["stdout"] {
		acknowledged += q.Acknowledged
		if q.OverBudget+q.Closed+q.Abandoned+q.Evicted+q.Rejected+q.InFlight != 0 {
			t.Errorf("a capture lost %s events: %+v", kind, q)
		}
	}
	if uint64(lines) != acknowledged {
		t.Errorf("%d lines, %d records acknowledged", lines, acknowledged)
	}
	for kind, want := range map[string]int{
		"session-open": byTag["RT_FLOW_SESSION_CREATE"], "session-close": byTag["RT_FLOW_SESSION_CLOSE"],
		"policy-deny": byTag["RT_FLOW_SESSION_DENY"], "filter-log": byTag["filter"],
	} {
		if got := led.Events[kind].Admitted; got != uint64(want) {
			t.Errorf("%s: %d admitted, %d lines", kind, got, want)
		}
	}
	if led.Events["policy-deny"].RateLimited == 0 || byTag["LOSS"] == 0 {
		t.Error("the shipped pipeline limits denials in its UDP flood and says so; it did not")
	}
}

// TestReadSmallRings reads with the smallest rings there can be: a capture waits, and the lines are the same.
func TestReadSmallRings(t *testing.T) {
	config, err := os.ReadFile("pipeline.toml")
	if err != nil {
		t.Fatal(err)
	}
	small := regexp.MustCompile(`(?m)^slots .*\ntelemetry .*\nper_kind .*$`).ReplaceAllString(string(config),
		"slots = 64\ntelemetry = 3\nper_kind = 1")
	if small == string(config) {
		t.Fatal("the shipped configuration has no [replay] to replace")
	}
	path := writeFile(t, "pipeline.toml", small)
	if mustRun(t, "read", "--config", path, edge) != mustRun(t, "read", edge) {
		t.Error("small rings changed the events")
	}
}

// TestReadLinkTypes reads the same packets in link types other than Ethernet.
func TestReadLinkTypes(t *testing.T) {
	raw, cooked := mustRun(t, "read", "testdata/captures/raw-ip.pcap"), mustRun(t, "read", "testdata/captures/sll.pcap")
	if raw == "" || raw != cooked {
		t.Errorf("raw IP gives\n%s, Linux cooked frames\n%s", raw, cooked)
	}
}

func TestReadBadCaptures(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ path, want string }{
		{"testdata/captures/cut.pcap", `cut.pcap: packet 10`},
		{"testdata/captures/cut.pcapng", `cut.pcapng: packet 10`},
		{"testdata/captures/zero.bin", `empty`},
		{"testdata/captures/not-a-capture.txt", `not a capture`},
		{writeFile(t, "wifi.pcap", "\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04\x00\x69\x00\x00\x00"), `link type 105`},
		{dir, `directory`},
		{filepath.Join(dir, "missing"), `no such file`},
	} {
		_, _, err := invoke(t, "read", c.path)
		if err == nil {
			t.Errorf("%s: no error", c.path)
			continue
		}
		if !regexp.MustCompile(c.want).MatchString(err.Error()) {
			t.Errorf("%s: %q does not say %q", c.path, err, c.want)
		}
	}
	// The packets before the cut are not lost, and an empty capture is a capture.
	out, _, _ := invoke(t, "read", "testdata/captures/cut.pcap")
	if !strings.Contains(out, "RT_FLOW_SESSION_CREATE") && !strings.Contains(out, "RT_FLOW_SESSION_DENY") {
		t.Error("the packets before the cut gave no event")
	}
	if out := mustRun(t, "read", "testdata/captures/empty.pcap"); out != "" {
		t.Errorf("an empty capture gave %q", out)
	}
}

// TestReadFormatsOfCaptures reads one session from every kind of capture file.
func TestReadFormatsOfCaptures(t *testing.T) {
	for _, name := range []string{"http.pcap", "http-ns-be.pcap", "http.pcapng.gz"} {
		out := mustRun(t, "read", "--interface", "lan0", "testdata/captures/"+name)
		if n := tags(out)["RT_FLOW_SESSION_CREATE"]; n != 1 {
			t.Errorf("%s: %d sessions, want 1:\n%s", name, n, out)
		}
		if !strings.Contains(out, `packet-incoming-interface="lan0"`) {
			t.Errorf("%s: the interface is not named:\n%s", name, out)
		}
	}
}

func TestCheck(t *testing.T) {
	out := mustRun(t, "check")
	for _, want := range []string{"edge-1", "capture", "screens", "edge-in", "policies", "events", "trust"} {
		if !strings.Contains(out, want) {
			t.Errorf("check of the shipped pipeline does not mention %s:\n%s", want, out)
		}
	}
	if want := "\nok: 1 source, 3 hooks, 3 terms, 4 policies, 4 zones, 1 sink\n"; !strings.HasSuffix(out, want) {
		t.Errorf("check of the shipped pipeline does not end with %q:\n%s", want, out)
	}
}

// TestCheckFor checks a file without any source and sink as one for read, unless it is said to be for run.
func TestCheckFor(t *testing.T) {
	read := writeFile(t, "read.toml", "[zones.all]\nprefixes = [\"0.0.0.0/0\", \"::/0\"]\n")
	for _, args := range [][]string{{}, {"--for", "read"}} {
		if out := mustRun(t, append([]string{"check", "-c", read}, args...)...); !strings.HasSuffix(out, "\nok: 0 sources, 0 hooks, 1 zone, 0 sinks\n") {
			t.Errorf("%v: %s", args, out)
		}
	}
	forgotten := writeFile(t, "run.toml", "[sinks.out]\nplugin = \"stdout\"\n")
	for _, args := range [][]string{{"-c", read, "--for", "run"}, {"-c", forgotten}, {"-c", forgotten, "--for", "run"}} {
		if _, errs, err := invoke(t, append([]string{"check"}, args...)...); err == nil || !strings.Contains(errs, "the daemon needs at least one source") {
			t.Errorf("%v: %v\n%s", args, err, errs)
		}
	}
	mustRun(t, "check", "-c", forgotten, "--for", "read")
	if _, _, err := invoke(t, "check", "--for", "raed"); err == nil || err.Error() != `--for: there is no command "raed"; did you mean "read"?` {
		t.Errorf("a misspelled command: %v", err)
	}
}

// TestCheckZoneOfSource checks a source that names a zone: one that is configured, unless the tables of zones are misspelled.
func TestCheckZoneOfSource(t *testing.T) {
	const text = "[pipeline]\nsources = [\"s\"]\nsinks = [\"out\"]\n[sinks.out]\nplugin = \"stdout\"\n[sources.s]\nplugin = \"conntrack\"\n" +
		"[[sources.s.zone_by_mark]]\nmark = 5\nzone = \"gests\"\n[zones.guests]\nprefixes = [\"10.0.0.0/8\"]\n"
	const want = `10:1: sources.s.zone_by_mark[0].zone: there is no zone "gests"; did you mean "guests"?`
	if _, errs, err := invoke(t, "check", "-c", writeFile(t, "p.toml", text)); err == nil || !strings.Contains(errs, want) {
		t.Errorf("%v: %s", err, errs)
	}
	mistaken := strings.Replace(text, "[zones.guests]", "[zone.guests]", 1)
	if _, errs, err := invoke(t, "check", "-c", writeFile(t, "p.toml", mistaken)); err == nil || strings.Contains(errs, "gests") {
		t.Errorf("%v: %s", err, errs)
	}
	mustRun(t, "check", "-c", writeFile(t, "p.toml", strings.Replace(text, "gests", "guests", 1)))
}

// TestCheckTouchesNothing checks a configuration whose interface and destination do not exist.
func TestCheckTouchesNothing(t *testing.T) {
	dir := t.TempDir()
	path := writeFile(t, "p.toml", `
[pipeline]
sources = ["wan"]
sinks   = ["out"]
[sources.wan]
plugin    = "xdp"
interface = "nosuch0"
[sinks.out]
plugin = "file"
path   = "`+dir+`/missing/out.log"
`)
	_, errs, err := invoke(t, "check", "--config", path)
	if err != nil || !strings.HasPrefix(errs, "pipelined: warning: "+path+":5:10: sources.wan: this host has no interface \"nosuch0\"") {
		t.Errorf("%v, %q", err, errs)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("check made %v (%v)", entries, err)
	}
}

// TestCheckOptional checks a source with an optional interface that this host does not have: check says so without a warning and without
// another name, and which direction is read. A direction that is not given is a warning with one other interface.
func TestCheckOptional(t *testing.T) {
	for _, c := range []struct {
		name, options, mode string
		warned              bool
	}{
		{"none optional", "", "afpacket lo  live: packets that come in, and those that leave", false},
		{"one", `optional = ["nosuch0"]`, "afpacket lo nosuch0  live: packets that come in, and those that leave", true},
		{"one, in", "direction = \"in\"\noptional = [\"nosuch0\"]", "afpacket lo nosuch0  live: packets that come in\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := writeFile(t, "p.toml", "[pipeline]\nsources = [\"live\"]\nsinks = [\"out\"]\n[sinks.out]\nplugin = \"stdout\"\n[zones.vpn]\ninterfaces = [\"nosuch0\"]\n"+
				"[sources.live]\nplugin = \"afpacket\"\ninterfaces = [\"lo\"]\n"+c.options+"\n")
			out, errs, err := invoke(t, "check", "--for", "run", "--config", path)
			if err != nil || !strings.Contains(out, c.mode) {
				t.Errorf("%v, want %q in\n%s", err, c.mode, out)
			}
			if c.options == "" {
				return // the zone's interface is a warning
			}
			if !strings.Contains(errs, `pipelined: note: `) || !strings.Contains(errs, "this host has no interface \"nosuch0\", and it is read when it appears\n") {
				t.Errorf("the optional interface is not noted:\n%s", errs)
			}
			if strings.Contains(errs, "pipelined: warning:") {
				t.Errorf("check warns of an interface:\n%s", errs)
			}
			if got := strings.Contains(errs, `warning: sources.live.optional: there is no direction, so that "both" is read`); got != c.warned {
				t.Errorf("warned of the direction %v, want %v:\n%s", got, c.warned, errs)
			}
		})
	}
}

// TestCheckMistakes pins the messages for mistakes in every part of a file, plugins included.
func TestCheckMistakes(t *testing.T) {
	out, errs, err := invoke(t, "check", "--config", "cmd/pipelined/testdata/mistakes.toml")
	if err == nil || out != "" {
		t.Errorf("mistakes accepted: %v %q", err, out)
	}
	compareGolden(t, "cmd/pipelined/testdata/mistakes.golden", errs)
}

// TestSamplesLoad checks every sample that the command prints.
func TestSamplesLoad(t *testing.T) {
	samples, err := allSamples()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range samples {
		if got := mustRun(t, "sample", name); got != text {
			t.Errorf("sample %s prints something else", name)
		}
		if name == "pipeline" {
			continue // checked by TestCheck
		}
		if name == "router" || name == "bridge" {
			if _, errs, err := invoke(t, "check", "--for", "run", "--config", writeFile(t, name+".toml", text)); err != nil || strings.Count(errs, "warning") != strings.Count(errs, "this host has no interface") {
				t.Errorf("sample %s: %v\n%s", name, err, errs)
			}
			continue
		}
		table := regexp.MustCompile(`(?m)^\[(sources|hooks|sinks)\.([a-z-]+)\]`).FindStringSubmatch(text)
		if table == nil {
			t.Errorf("sample %s has no table of its own", name)
			continue
		}
		chain := map[string]string{"sources": `"capture"`, "sinks": `"stdout"`, "hooks": ``}
		chain[table[1]] = `"` + table[2] + `"`
		whole := text + "\n[pipeline]\n"
		for kind, names := range chain {
			whole += kind + " = [" + names + "]\n"
		}
		if table[1] != "sources" {
			whole += "[sources.capture]\nplugin = \"pcap\"\nfile = \"x.pcap\"\n"
		}
		if table[1] != "sinks" {
			whole += "[sinks.stdout]\nplugin = \"stdout\"\n"
		}
		whole += `
[zones.trust]
interfaces = ["lan0"]
[zones.untrust]
interfaces = ["wan0"]
[zones.dmz]
prefixes = ["192.0.2.0/24"]
`
		if _, errs, err := invoke(t, "check", "--config", writeFile(t, "sample.toml", whole)); err != nil {
			t.Errorf("sample %s: %v\n%s", name, err, errs)
		}
	}
	if mustRun(t, "sample") != samples["pipeline"] {
		t.Error("sample without a name does not print the whole file")
	}
	if _, _, err := invoke(t, "sample", "screndrop"); err == nil || !strings.Contains(err.Error(), `"screendrop"`) {
		t.Errorf("a misspelled sample: %v", err)
	}
}

func TestPluginsListsEverything(t *testing.T) {
	out := mustRun(t, "plugins")
	for _, name := range []string{"pcap", "xdp", "screendrop", "filterlog", "policydeny", "file", "stdout"} {
		if !regexp.MustCompile(`(?m)^(source|hook|sink) +` + name + ` +\S`).MatchString(out) {
			t.Errorf("%s is not listed with a summary:\n%s", name, out)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"red"}, `there is no command "red"; did you mean "read"?`},
		{[]string{"frobnicate"}, `there is no command "frobnicate"; there are bypass, check, completion, detach, diff, doctor, explain, help, init, plugin, `},
		{[]string{"bypass"}, "on, off or status?"},
		{[]string{"bypass", "of"}, `did you mean "off"?`},
		{[]string{"read"}, "arg"},
		{[]string{"read", "--frmat", "x", "y"}, "unknown flag: --frmat; did you mean --format?"},
		{[]string{"read", "--frobnicate", "y"}, "unknown flag: --frobnicate"},
		{[]string{"read", "-z", "y"}, "'z' in -z"},
		{[]string{"read", "--format", "xml", edge}, "rfc5424"},
		{[]string{"sample", "a", "b"}, "arg"},
		{[]string{"test", "fw.toml"}, "a configuration is named by an option: pipelined test --config fw.toml"},
		{[]string{"check", "fw.toml"}, "pipelined check --config fw.toml"},
		{[]string{"check", "fw"}, `unknown command "fw"`},
		{[]string{"run", "--log-level", "wran"}, `--log-level: there is no level "wran"; did you mean "warn"?`},
		{[]string{"spool", "lss", "/"}, `there is no command "lss"; did you mean "ls"?`},
		{[]string{"plugin", "tets"}, `there is no command "tets"; did you mean "test"?`},
		{[]string{"completion", "csh"}, `there is no command "csh"; `},
		{[]string{"help", "raed"}, `there is no command "raed"; did you mean "read"?`},
		{[]string{"help", "spool", "vrify"}, `there is no command "vrify"; did you mean "verify"?`},
		{[]string{"run", "--log-level", "loud"}, `--log-level: there is no level "loud"; there are debug, info, warn, error`},
	} {
		_, _, err := invoke(t, c.args...)
		if _, ok := errors.AsType[*usageError](err); !ok || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v is no usage error that says %q", c.args, err, c.want)
		}
	}
}

func TestLevels(t *testing.T) {
	for name, want := range map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError, "WARN": slog.LevelWarn,
	} {
		if got, err := parseLevel(name); got != want || err != nil {
			t.Errorf("parseLevel(%q) = %v, %v", name, got, err)
		}
	}
}

func TestVersion(t *testing.T) {
	out := mustRun(t, "version")
	if !strings.HasPrefix(out, "pipelined "+version+" go") || mustRun(t, "--version") != out {
		t.Errorf("version prints %q, --version %q", out, mustRun(t, "--version"))
	}
}

// TestRunCapture runs the daemon on a capture: it ends by itself, with every event in the file and the ledger printed.
func TestRunCapture(t *testing.T) {
	dir := t.TempDir()
	config, err := os.ReadFile("pipeline.toml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(`"bin/events.log"`, `"`+dir+`/events.log"`, `"127.0.0.1:9464"`, `"127.0.0.1:0"`).Replace(string(config))
	_, errs, err := invoke(t, "run", "--config", writeFile(t, "p.toml", text))
	if err != nil {
		t.Fatalf("%v\n%s", err, errs)
	}
	if !strings.Contains(errs, "\n0 unaccounted for\n") {
		t.Errorf("the ledger does not say that nothing is unaccounted for:\n%s", errs)
	}
	got, err := os.ReadFile(filepath.Join(dir, "events.log"))
	if err != nil {
		t.Fatal(err)
	}
	if want := mustRun(t, "read", edge); string(got) != want {
		t.Error("run wrote other events than read prints")
	}
}

package pluginkit

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rtflow/pipelined/sdk/sinktest"
)

// busy is what a plugin without a fault may take longer where other tests run beside: how fast the machine is, is not the question.
const busy = 20 * time.Second

// try runs the checks whose names contain only on the plugin with that fault.
func try(t *testing.T, fault, only string, patience time.Duration) (string, error) {
	t.Helper()
	return tryMany(t, fault, only, patience, 20_000)
}

func tryMany(t *testing.T, fault, only string, patience time.Duration, records int) (string, error) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "pk")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	var out bytes.Buffer
	slack := time.Duration(0)
	if fault == "none" {
		slack = busy
	}
	err = Test(t.Context(), &out, Options{
		Command: []string{exe, pluginArg, fault}, Config: []byte("[sinks.x]\npath = \"/dev/null\"\nprocess.env = [\"GORACE=atexit_sleep_ms=0\"]\n"), ConfigName: "x.toml",
		RuntimeDir: dir, Records: records, Patience: patience, Only: only, Slack: slack,
	})
	return out.String(), err
}

func TestGood(t *testing.T) {
	out, err := try(t, "none", "", time.Minute)
	if err != nil || strings.Contains(out, "FAIL") || strings.Contains(out, "flaw ") {
		t.Errorf("%v\n%s", err, out)
	}
	if n := strings.Count(out, "pass "); n != len(checks()) {
		t.Errorf("%d checks passed, there are %d\n%s", n, len(checks()), out)
	}
}

// TestFaults checks that each check finds the fault it is there for.
func TestFaults(t *testing.T) {
	for _, c := range []struct{ fault, check, want string }{
		{"any-version", "refuses a version", "claims to speak any version"},
		{"runs-alone", "somebody else starts it", "it still runs"},
		{"blind", "does not know", "would go unnoticed"},
		{"one-short", "before it returns from a drain", "acknowledged up to 2999, want 3000"},
		{"hoards", "without waiting for more", "of 3 records 0 are acknowledged"},
		{"one-short", "survives an eviction", "acknowledged up to 100, want 101"},
		{"one-short", "in order and only", "of record 4999, not 5000"},
		{"hoards", "one by one", "record 1, the only one under way"},
		{"deaf", "in the middle of a stream", "did not end within"},
		{"crashes", "after it was killed", "exit status 1"},
		{"acknowledges-blindly", "what cannot be read", "whose frames are no frames"},
		{"chokes", "messages that it does not know", "what is this?"},
		{"crashes", "a great many", "exit status 1"},
		{"slow-health", "health under load", "within 2s"},
		{"wide-open", "sent ahead", "a slow destination would fill its memory"},
		{"lingers", "when it is told to", "has to be killed"},
		{"deaf", "goes on where it stopped", "the second run"},
	} {
		t.Run(c.fault+" "+c.check, func(t *testing.T) {
			t.Parallel() // most of them wait for what does not come
			patience := time.Minute
			switch {
			case c.fault == "hoards":
				patience = 3 * time.Second // passes, and says the same if the plugin takes longer to start
			case c.check == "goes on where it stopped":
				patience = 20 * time.Second // passes, after the plugin has started
			}
			out, err := try(t, c.fault, c.check, patience)
			if !strings.Contains(out, c.want) {
				t.Errorf("want %q in\n%s", c.want, out)
			}
			if (err != nil) != strings.Contains(out, "FAIL") || !strings.Contains(out, "FAIL") && !strings.Contains(out, "flaw  ") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestEndsWithTheRun tries a plugin whose runs end at once: no check waits for what cannot come.
func TestEndsWithTheRun(t *testing.T) {
	for _, only := range []string{"one by one", "in the middle of a stream", "health under load", "after it was killed",
		"without waiting for more", "goes on where it stopped"} {
		t.Run(only, func(t *testing.T) {
			t.Parallel()
			out, err := try(t, "gives-up", only, time.Hour)
			if err == nil || !strings.Contains(out, "no destination") || strings.Contains(out, "not done within") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestKillsNone checks that the number of no process does not stand for the processes of the caller.
func TestKillsNone(t *testing.T) {
	if err := kill(0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("%v, want %v", err, syscall.ESRCH)
	}
}

// TestBadConfiguration checks what is found before the plugin is started.
func TestBadConfiguration(t *testing.T) {
	for text, want := range map[string]string{
		"x =":                    "x.toml:1",
		"process.cpu = -1":       "process.cpu",
		"[sinks.a]\n[sinks.b]\n": "want the table of one sink",
	} {
		err := Test(t.Context(), new(bytes.Buffer), Options{
			Command: []string{"/bin/true"}, Config: []byte(text), ConfigName: "x.toml", RuntimeDir: t.TempDir(), Patience: time.Second,
		})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// TestNoPlugin tries an executable that is none.
func TestNoPlugin(t *testing.T) {
	var out bytes.Buffer
	err := Test(t.Context(), &out, Options{
		Command: []string{"/bin/true"}, RuntimeDir: t.TempDir(), Patience: 10 * time.Second,
	})
	// It is told so once, and not rule by rule.
	if err == nil || !strings.Contains(out.String(), "Unrecognized remote plugin message") || strings.Count(out.String(), "FAIL") != 1 {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// TestNew writes a module, builds it, runs its test, and tries the executable.
func TestNew(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "new")
	if _, err := New(Module{Name: "webhook", Dir: dir, Version: "v0.0.0", Replace: root}); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"mod", "tidy"}, {"vet", "./..."}, {"test", "./..."}, {"build"}} {
		cmd := exec.Command("go", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %v: %v\n%s", args, err, out)
		}
	}
	var refusal bytes.Buffer
	if err := Test(t.Context(), &refusal, Options{
		Command: []string{filepath.Join(dir, "pipelined-sink-webhook")}, RuntimeDir: dir, Patience: time.Minute, Slack: busy,
	}); err == nil || !strings.Contains(refusal.String(), "path: missing") {
		t.Errorf("without a path: %v\n%s", err, &refusal)
	}
	options, err := os.ReadFile(filepath.Join(dir, "test.toml"))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Test(t.Context(), &out, Options{
		Command: []string{filepath.Join(dir, "pipelined-sink-webhook")}, Config: options, ConfigName: "test.toml",
		RuntimeDir: dir, Records: 10_000, Patience: time.Minute, Slack: busy,
	}); err != nil || strings.Contains(out.String(), "flaw  ") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// TestNewReplaced puts another sink in the place of a new module's: its tests still build, and none fails.
func TestNewReplaced(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "new")
	if _, err := New(Module{Name: "webhook", Dir: dir, Version: "v0.0.0", Replace: root}); err != nil {
		t.Fatal(err)
	}
	const other = `package main

import (
	"context"

	"github.com/rtflow/pipelined/sdk"
)

func Plugin() sdk.SinkPlugin {
	return sdk.SinkPlugin{Name: "webhook", Summary: "posts", Configure: func(cfg sdk.Config, _ sdk.Env) sdk.Sink {
		var o struct {
			URL string ` + "`toml:\"url\"`" + `
		}
		if !cfg.Decode(&o) {
			return nil
		}
		if o.URL == "" {
			cfg.Errorf("url", "missing")
			return nil
		}
		return sdk.Writer(func(_ context.Context, b sdk.Batch) (int, error) { return b.Len(), nil })
	}}
}
`
	if err := os.WriteFile(filepath.Join(dir, "sink.go"), []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, config := range []string{"", `{"url": "http://127.0.0.1"}`} {
		if config != "" {
			path := filepath.Join(dir, "sink_test.go")
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			changed := strings.Replace(string(text), `{"path": "DIR/out.json"}`, config, 1)
			if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		test := exec.Command("sh", "-c", "go mod tidy && go test -v ./...")
		test.Dir = dir
		out, err := test.CombinedOutput()
		if skips := strings.Contains(string(out), "--- SKIP: TestConform"); err != nil || skips != (config == "") {
			t.Errorf("with %q: %v\n%s", config, err, out)
		}
	}
}

// TestTimeoutSaysHowFar tries a plugin with more records than it can take.
func TestTimeoutSaysHowFar(t *testing.T) {
	out, err := tryMany(t, "none", "takes a great many records", time.Second, 1<<40)
	if err == nil || !strings.Contains(out, " of 1099511627776 records are acknowledged") || !strings.Contains(out, "--timeout") ||
		!strings.Contains(out, "--records") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, name := range []string{"", "Web", "a b", "1a", "../x", strings.Repeat("a", 40)} {
		if _, err := New(Module{Name: name, Dir: filepath.Join(t.TempDir(), "x")}); err == nil {
			t.Errorf("%q was taken", name)
		}
	}
	if _, err := New(Module{Name: "a", Dir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("%v", err)
	}
}

// TestChecksAreNamedOnce keeps the names apart: they are how a check is picked, and documented.
func TestChecksAreNamedOnce(t *testing.T) {
	seen := make(map[string]bool)
	for _, c := range checks() {
		if seen[c.name] {
			t.Errorf("%q twice", c.name)
		}
		seen[c.name] = true
	}
	for _, c := range sinktest.Checks() {
		if !seen[c.Name] {
			t.Errorf("%q is not tried", c.Name)
		}
	}
}

package pluginhost

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

func TestSampleLoads(t *testing.T) {
	h, _ := newHost(t)
	section, problems := config.ParseTable("sample.toml", []byte(execSample), "sinks", "mine")
	sink := h.Exec().Configure(section, sdk.Env{})
	if err := problems.Err(); err != nil || sink == nil {
		t.Errorf("%v, %v", sink, err)
	}
}

func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	files := map[string]os.FileMode{"good": 0o755, "plain": 0o644, "open": 0o777}
	for name, mode := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	good := fmt.Sprintf("command = %q\n", filepath.Join(dir, "good"))
	for _, c := range []struct{ text, want string }{
		{good, ""},
		{good + `env = ["A=1", "B"]`, ""},
		{good + `memory = "64MB"` + "\ncpu = 2", ""},
		{good + `config = { a = 1, b = ["x", 2.5], when = 2026-03-01T10:15:20Z }`, ""},
		{good + `sha256 = "770e607624d689265ca6c44884d0807d9b054d23c473c106c72be9de08b7376c"`, ""},
		{"", "command: missing"},
		{`command = []`, "command: missing"},
		{`command = "good"`, "absolute path"},
		{fmt.Sprintf("command = %q", filepath.Join(dir, "none")), "no such file"},
		{fmt.Sprintf("command = %q", filepath.Join(dir, "plain")), "no executable"},
		{fmt.Sprintf("command = %q", filepath.Join(dir, "open")), "written by everybody"},
		{fmt.Sprintf("command = %q", dir), "no executable"},
		{good + `comand = "x"`, `did you mean "command"`},
		{good + `sha256 = "12"`, "64 hexadecimal digits"},
		{good + `sha256 = "` + strings.Repeat("0", 64) + `"`, "is another file: its SHA-256 is 770e60"},
		{good + `env = ["=x"]`, "env[0]"},
		{good + `env = ["A=1", "PLUGIN_MIN_PORT=1"]`, "env[1]"},
		{good + `memory = "1MiB"`, "at least 16MiB"},
		{good + `memory = "much"`, "want a size"},
		{good + `cpu = -1`, "how many processors"},
		{good + `cpu = 0.001`, "how many processors"},
		{good + `cpu = nan`, "how many processors"},
		{good + `health = "1ms"`, "100ms to 10m"},
		{good + `user = "no-such-user"`, "there is no user"},
		{good + `group = "no-such-group"`, "there is no group"},
		{good + `config = { x = inf }`, "cannot be handed"},
		{good + `config = 1`, "must be a table"},
	} {
		h, _ := newHost(t)
		section, problems := config.ParseTable("p.toml", []byte(c.text))
		sink := h.Exec().Configure(section, sdk.Env{})
		err := problems.Err()
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.text, err, c.want)
		}
		if (err != nil) != (sink == nil) {
			t.Errorf("%s: sink %v", c.text, sink)
		}
	}
}

// TestDiscover finds executables by name, and configures one as if it were compiled in.
func TestDiscover(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\nexec " + executablePath(t) + " " + pluginArg + "\n"
	for name, mode := range map[string]os.FileMode{
		"pipelined-sink-good": 0o755, "pipelined-sink-file": 0o755, "pipelined-sink-plain": 0o644, "pipelined-sink-": 0o755,
		"other": 0o755, "pipelined-sink-open": 0o777,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
	}
	h, log := newHost(t)
	found, err := h.Discover(dir, []string{"file", "exec"})
	if err != nil || len(found) != 2 || found[0].Name != "good" || found[1].Name != "open" {
		t.Fatalf("%v, %v", found, err)
	}
	if !strings.Contains(log.String(), "pipelined-sink-file") {
		t.Errorf("log: %s", log.String())
	}
	section, problems := config.ParseTable("p.toml", []byte("[sinks.mine]\nplugin = \"open\"\n"), "sinks", "mine")
	found[1].Configure(section, sdk.Env{})
	if err := problems.Err(); err == nil || !strings.Contains(err.Error(), "p.toml:2:") ||
		!strings.Contains(err.Error(), "can be written by everybody") || !strings.Contains(err.Error(), "process.shared_directory = true") {
		t.Errorf("a plugin that everybody may write to: %v", err)
	}
	if none, err := h.Discover(filepath.Join(dir, "none"), nil); err != nil || none != nil {
		t.Errorf("%v, %v", none, err)
	}
	load := func(text string) (*Sink, *config.Problems) {
		section, problems := config.ParseTable("p.toml", []byte("[sinks.mine]\nplugin = \"good\"\n"+text), "sinks", "mine")
		sink, _ := found[0].Configure(section, sdk.Env{}).(*Sink)
		return sink, problems
	}
	sink, problems := load("path = \"/dev/null\"\n[sinks.mine.process]\nmtls = false\nhealth = \"3s\"\n")
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	if sink.request.GetConfig() != `{"path":"/dev/null"}` || sink.options.MTLS || sink.options.Health != 3e9 {
		t.Errorf("config %s, options %+v", sink.request.GetConfig(), sink.options)
	}
	s := sinktest.NewStream(t)
	s.Append(sinktest.Records(1, 10)...)
	s.Drain()
	if err := s.Run(t.Context(), sink); err != nil {
		t.Error(err)
	}
	for text, want := range map[string]string{
		"process = 1":                "p.toml:3:1: sinks.mine.process: must be a table, not 1",
		"process.mtl = true":         `p.toml:3:9: sinks.mine.process.mtl: unknown key; did you mean "mtls"?`,
		"process.cpu = -1":           "p.toml:3:9: sinks.mine.process.cpu: must be how many processors",
		"process.command = \"/x\"":   "sinks.mine.process.command: unknown key",
		"process.sha256 = \"0\"":     "p.toml:3:9: sinks.mine.process.sha256: must be the 64",
		"process.env = [\"a b\"]":    "p.toml:3:16: sinks.mine.process.env[0]: must be",
		"process.memory = \"x\"":     "want a size",
		"process.user = \"no-such\"": "sinks.mine.process.user: there is no user",
	} {
		_, problems := load(text)
		if err := problems.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	// Its own mistakes stand at its own keys.
	sink, problems = load("pth = \"x\"\n")
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	_, err = sink.acquire(t.Context())
	if err := sink.report(err); err != nil {
		t.Fatal(err)
	}
	if err := problems.Err(); err == nil || err.Error() != `p.toml:3:1: sinks.mine.pth: unknown key; did you mean "path"?` {
		t.Errorf("%v", err)
	}
}

func TestRuntimeDir(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", "/run/one:/run/two")
	if dir, err := RuntimeDir(); err != nil || dir != "/run/one/plugins" {
		t.Errorf("%s, %v", dir, err)
	}
}

func TestCounterNames(t *testing.T) {
	for name, want := range map[string]bool{"a": true, "a_1": true, "": false, "A": false, "a b": false, strings.Repeat("a", 65): false} {
		if validCounter(name) != want {
			t.Errorf("%q", name)
		}
	}
}

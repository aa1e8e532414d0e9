package plugins

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// pipeline returns a configuration that reads the shipped capture into a sink that is compiled in and the same sink in two
// processes: named by its path, and found in the plugin directory.
func pipeline(t *testing.T, dir, own string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	plugins := filepath.Join(dir, "plugins")
	if err := os.MkdirAll(plugins, 0o755); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(plugins, "pipelined-sink-filed")
	write(t, script, "#!/bin/sh\nexec "+exe+" file\n")
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	return write(t, filepath.Join(dir, "p.toml"), fmt.Sprintf(`
[pipeline]
sources = ["capture"]
sinks   = ["inside", "outside", "found"]
[service]
metrics     = ""
plugin_dir  = %q
runtime_dir = %q
[sources.capture]
plugin = "pcap"
file   = "testdata/edge.pcapng.gz"
[sinks.inside]
plugin = "file"
path   = %q
[sinks.outside]
plugin  = "exec"
command = [%q, "file"]
[sinks.outside.config]
path = %q
[sinks.found]
plugin = "filed"
path   = %q
%s
`, plugins, sockets(t), filepath.Join(dir, "inside"), exe, filepath.Join(dir, "outside"), filepath.Join(dir, "found"), own))
}

// sockets returns a directory for sockets that the daemon accepts: it refuses /tmp.
func sockets(t *testing.T) string {
	t.Helper()
	for _, base := range []string{"/run", os.Getenv("XDG_RUNTIME_DIR"), os.Getenv("HOME")} {
		if dir, err := os.MkdirTemp(base, "pp"); err == nil && base != "" {
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			return dir
		}
	}
	t.Fatal("no directory for sockets")
	return ""
}

// TestDaemon runs the built daemon with plugins: they write the same bytes as the sink that is compiled in.
func TestDaemon(t *testing.T) {
	dir := t.TempDir()
	path := pipeline(t, dir, "")
	out, err := pipelined(t, "check", "-c", path)
	if err != nil || !strings.Contains(out, "sink outside: the options of the plugin itself are checked with --plugins only") {
		t.Errorf("check: %v\n%s", err, out)
	}
	if out, err := pipelined(t, "check", "--plugins", "-c", path); err != nil || strings.Contains(out, "only") {
		t.Errorf("check --plugins: %v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "outside")); err == nil {
		t.Error("check has touched the destination")
	}
	out, err = pipelined(t, "run", "-c", path)
	if err != nil || !strings.Contains(out, "\n0 unaccounted for") {
		t.Fatalf("run: %v\n%s", err, out)
	}
	inside, err := os.ReadFile(filepath.Join(dir, "inside"))
	if err != nil || len(inside) == 0 {
		t.Fatal(err)
	}
	for _, name := range []string{"outside", "found"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, inside) {
			t.Errorf("%s differs from what the sink in the daemon has written: %v", name, err)
		}
	}
}

// TestDaemonRefuses starts the daemon with options that a plugin does not take: it names them where they stand, and does not run.
func TestDaemonRefuses(t *testing.T) {
	path := pipeline(t, t.TempDir(), "formt = \"json\"")
	for _, args := range [][]string{{"run", "-c", path}, {"check", "--plugins", "-c", path}} {
		out, err := pipelined(t, args...)
		if ended(err) != 1 || !strings.Contains(out, `p.toml:23:1: sinks.found.formt: unknown key; did you mean "format"?`) {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
	if out, err := pipelined(t, "check", "-c", path); err != nil {
		t.Errorf("check, which starts nothing: %v\n%s", err, out)
	}
}

// TestCheckNoPlugin checks a configuration whose executable is no plugin.
func TestCheckNoPlugin(t *testing.T) {
	path := pipeline(t, t.TempDir(), "")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, strings.ReplaceAll(string(text), fmt.Sprintf("[%q, \"file\"]", exe), `"/bin/true"`))
	out, err := pipelined(t, "check", "--plugins", "-c", path)
	if ended(err) != 1 || !strings.Contains(out, "sink outside: ") || !strings.Contains(out, "handshake") {
		t.Errorf("%v\n%s", err, out)
	}
}

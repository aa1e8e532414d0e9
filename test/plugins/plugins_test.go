package plugins

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/internal/pluginhost"
	"github.com/rtflow/pipelined/internal/pluginkit"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/sinkplugin"
	"github.com/rtflow/pipelined/sinks/file"
	"github.com/rtflow/pipelined/sinks/syslog"
	"github.com/rtflow/pipelined/sinks/unixsock"
)

const root = "../../"

// served are the sinks of this project that the test binary serves as a plugin, when its first argument is the name.
func served() map[string]sdk.SinkPlugin {
	return map[string]sdk.SinkPlugin{"file": file.Plugin(), "syslog": syslog.Plugin(), "unixsock": unixsock.Plugin()}
}

func TestMain(m *testing.M) {
	if len(os.Args) == 2 {
		if p, ok := served()[os.Args[1]]; ok {
			sinkplugin.Serve(p)
			return
		}
	}
	// The daemons' control socket is nobody else's: tests of another package may run a daemon at the same time.
	dir, err := os.MkdirTemp("", "pp")
	if err == nil {
		err = os.Setenv("RUNTIME_DIRECTORY", dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir) // a directory for temporary files
	if built != "" {
		_ = os.RemoveAll(built) // a directory for temporary files
	}
	os.Exit(code)
}

// built is where executables were built, "" if none was.
var built string

// build builds a package of this project and returns the executable.
func build(t *testing.T, pkg string) string {
	t.Helper()
	if built == "" {
		dir, err := os.MkdirTemp("", "pp")
		if err != nil {
			t.Fatal(err)
		}
		built = dir
	}
	path := filepath.Join(built, filepath.Base(pkg))
	if _, err := os.Stat(path); err == nil {
		return path
	}
	cmd := exec.Command("go", "build", "-o", path, pkg)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// runtimeDir returns a directory whose path is short enough for sockets.
func runtimeDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// open returns the sink of an executable with that table.
func open(t *testing.T, table string, command ...string) *pluginhost.Sink {
	t.Helper()
	h := pluginhost.New(pluginhost.Options{RuntimeDir: runtimeDir(t)})
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	section, problems := config.ParseTable("test.toml", []byte(table))
	sink := h.Named("mine", command...).Configure(section, sdk.Env{Hostname: "fw1", Window: 1000})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return sink.(*pluginhost.Sink)
}

// conform tries an executable as `pipelined plugin test` does, and wants no flaw either.
func conform(t *testing.T, table string, records int, command ...string) {
	t.Helper()
	var out bytes.Buffer
	err := pluginkit.Test(t.Context(), &out, pluginkit.Options{
		Command: command, Config: []byte(table), ConfigName: "test.toml", RuntimeDir: runtimeDir(t), Records: records,
		Patience: time.Minute, Slack: 20 * time.Second,
	})
	if err != nil || strings.Contains(out.String(), "flaw  ") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// pipelined runs the built daemon and returns what it prints.
func pipelined(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(build(t, "./cmd/pipelined"), args...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// skipUnless skips a test whose tools are missing, but where CI demands them.
func skipUnless(t *testing.T, variable string, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv(variable) == "1" {
				t.Fatalf("%s=1 and %v", variable, err)
			}
			t.Skipf("needs %s", tool)
		}
	}
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// copyFile copies a file, executable or not.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// ended returns the exit status of a command.
func ended(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return 0
}

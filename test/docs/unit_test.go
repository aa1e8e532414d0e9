package docs

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// unit returns the settings of the shipped unit, in order.
func unit(t *testing.T) (settings map[string][]string) {
	t.Helper()
	text, err := os.ReadFile(root + "dist/pipelined.service")
	if err != nil {
		t.Fatal(err)
	}
	settings = make(map[string][]string)
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			settings[key] = append(settings[key], value)
		}
	}
	return settings
}

// The shipped unit runs as a user that sysusers.d makes, whose group reads the logs.
func TestUnit(t *testing.T) {
	u := unit(t)
	for key, want := range map[string]string{
		"User": "pipelined", "Group": "pipelined", "LogsDirectory": "pipelined", "LogsDirectoryMode": "0750",
		"BindPaths": "-/sys/fs/bpf/pipelined", "RuntimeDirectory": "pipelined", "RuntimeDirectoryMode": "0750", "UMask": "0027", "LimitNOFILE": "65536",
		"ExecStartPre": "-+/usr/bin/install -d -m 0700 -o pipelined -g pipelined /sys/fs/bpf/pipelined /usr/bin/pipelined check --for run --config /etc/pipelined/pipeline.toml",
	} {
		if got := strings.Join(u[key], " "); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	users, err := os.ReadFile(root + "dist/pipelined.sysusers")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(users), "\nu "+strings.Join(u["User"], " ")+" ") {
		t.Errorf("sysusers.d does not make the unit's user:\n%s", users)
	}
	makefile, err := os.ReadFile(root + "Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"dist/pipelined.service", "dist/pipelined.sysusers", "dist/notify-reload.conf"} {
		if !strings.Contains(string(makefile), " "+file+" ") {
			t.Errorf("make install leaves out %s", file)
		}
	}
}

// systemd takes the unit and the user as they are shipped.
func TestUnitVerifies(t *testing.T) {
	text, err := os.ReadFile(root + "dist/pipelined.service")
	if err != nil {
		t.Fatal(err)
	}
	users, err := filepath.Abs(root + "dist/pipelined.sysusers")
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "pipelined.service") // with a command that is there: systemd looks for it
	if err := os.WriteFile(copied, []byte(strings.ReplaceAll(string(text), "/usr/bin/pipelined", "/bin/true")), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"systemd-analyze", "verify", copied}, {"systemd-sysusers", "--dry-run", users}} {
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		switch {
		case errors.Is(err, exec.ErrNotFound) && os.Getenv("PIPELINED_REQUIRE_SYSTEMD") != "1":
			t.Skipf("there is no %s", args[0])
		case err != nil || strings.Contains(string(out), copied) || strings.Contains(string(out), users):
			t.Errorf("%s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

package pluginhost

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/sdk"
)

// TestPrivileges reads what the kernel says of a plugin's process: no capability, no way to get one, and no descriptor but its own.
func TestPrivileges(t *testing.T) {
	leak, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer leak.Close()
	if _, err := unix.FcntlInt(leak.Fd(), unix.F_SETFD, 0); err != nil { // as if the daemon had inherited it
		t.Fatal(err)
	}
	h, _ := newHost(t)
	path := filepath.Join(t.TempDir(), "status")
	newTestSink(t, h, "", "status", path)
	if err := h.Configure(t.Context(), []string{"mine"}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	none := "0000000000000000"
	want := map[string]string{"NoNewPrivs": "1", "CapInh": none, "CapPrm": none, "CapEff": none, "CapAmb": none}
	if os.Geteuid() == 0 {
		want["CapBnd"] = none
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		key, value, _ := strings.Cut(line, ":")
		if w, ok := want[key]; ok && strings.TrimSpace(value) != w {
			t.Errorf("%s is %s, want %s", key, strings.TrimSpace(value), w)
		}
		delete(want, key)
		if fd, ok := strings.CutPrefix(line, "fd "); ok && strings.Contains(fd, "/dev/zero") {
			t.Errorf("it has inherited descriptor %s", fd)
		}
		var n int
		var target string
		if got, _ := fmt.Sscanf(line, "fd %d %s", &n, &target); got == 2 && n > 2 && !strings.HasPrefix(target, "anon_inode:") &&
			!strings.HasPrefix(target, "/sys/fs/cgroup") { // those of the Go runtime
			t.Errorf("it has descriptor %d: %s", n, target)
		}
	}
	if len(want) > 0 {
		t.Errorf("the kernel does not say %v", want)
	}
}

// TestAdopted ends a plugin that has left a process behind with a session of its own, no environment, and a parent that has ended.
// Processes that are no plugin's are left alone.
func TestAdopted(t *testing.T) {
	h, log := newHost(t)
	h.adopted = newAdopted(true, textLog(log))
	t.Cleanup(func() { // the next tests are without
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0); err != nil {
			t.Error(err)
		}
	})
	own, err := os.StartProcess("/bin/sleep", []string{"sleep", "600"}, new(os.ProcAttr))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "pid")
	sink := newTestSink(t, h, "", "escapes", path)
	if err := h.Configure(t.Context(), []string{"mine"}); err != nil {
		t.Fatal(err)
	}
	escaped := toldNumber(t, path)
	h.adopted.sweep(false)
	if gone(escaped) {
		t.Error("the process has ended before its plugin")
	}
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", escaped)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the process %d is there after its plugin has ended: %v", escaped, err)
	}
	if !strings.Contains(log.String(), "killed what a plugin has left behind") {
		t.Errorf("the log says %s", log)
	}
	if err := own.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if state, err := own.Wait(); err != nil || state.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("a process of somebody else has ended with %v, %v", state, err)
	}
}

// TestSweepSparesTheStrange sweeps a runtime directory with what looks like a daemon's directory and is none.
func TestSweepSparesTheStrange(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(t *testing.T, dir string) // in a directory of this name
		gone bool
		says string
	}{
		{"d1", func(t *testing.T, dir string) { put(t, dir, lockFile, lockText("d1")) }, true, ""},
		{"d2", func(t *testing.T, dir string) {
			put(t, dir, lockFile, lockText("d2"))
			sockets := filepath.Join(dir, socketPrefix+"123")
			if err := os.Mkdir(sockets, 0o700); err != nil {
				t.Fatal(err)
			}
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = unix.Close(fd) }()
			if err := unix.Bind(fd, &unix.SockaddrUnix{Name: filepath.Join(sockets, "plugin1")}); err != nil {
				t.Fatal(err)
			}
		}, true, ""},
		{"backup", func(t *testing.T, dir string) { put(t, dir, lockFile, lockText("backup")) }, false, ""},
		{"d", func(t *testing.T, dir string) { put(t, dir, lockFile, lockText("d")) }, false, ""},
		{"d3", func(t *testing.T, dir string) { put(t, dir, lockFile, "") }, false, ""},
		{"d4", func(t *testing.T, dir string) { put(t, dir, lockFile, lockText("d5")) }, false, ""},
		{"d6", func(t *testing.T, dir string) {
			put(t, dir, lockFile, lockText("d6"))
			put(t, dir, "thesis.tex", "text")
		}, false, "thesis.tex"},
		{"d7", func(t *testing.T, dir string) {
			put(t, dir, lockFile, lockText("d7"))
			if err := os.MkdirAll(filepath.Join(dir, socketPrefix+"1", "sub"), 0o700); err != nil {
				t.Fatal(err)
			}
		}, false, "sub"},
		{"d8", func(t *testing.T, dir string) {
			put(t, dir, "other", lockText("d8"))
			if err := os.Symlink("other", filepath.Join(dir, lockFile)); err != nil {
				t.Fatal(err)
			}
		}, false, ""},
		{"d9", func(t *testing.T, dir string) {
			put(t, dir, lockFile, lockText("d9"))
			if err := os.Link(filepath.Join(dir, lockFile), filepath.Join(filepath.Dir(dir), "link")); err != nil {
				t.Fatal(err)
			}
		}, false, ""},
		{"d10", func(t *testing.T, dir string) {
			put(t, dir, lockFile, lockText("d10"))
			if err := os.Chmod(dir, 0o777); err != nil {
				t.Fatal(err)
			}
		}, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			base, err := os.MkdirTemp("/run", "ps") // short enough for sockets
			if err != nil {
				base = t.TempDir()
			}
			defer os.RemoveAll(base)
			dir := filepath.Join(base, c.name)
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			c.make(t, dir)
			err = sweep(base, cgroups{proc: t.Name()}, slog.New(slog.DiscardHandler))
			if (err != nil) != (c.says != "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("sweep: %v, want %q", err, c.says)
			}
			if _, err := os.Lstat(filepath.Join(dir, lockFile)); errors.Is(err, fs.ErrNotExist) != c.gone {
				t.Errorf("after the sweep: %v", err)
			}
		})
	}
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestUnsafePlaces starts executables, and creates sockets, where others could replace them.
func TestUnsafePlaces(t *testing.T) {
	h, _ := newHost(t)
	path := filepath.Join(t.TempDir(), "plugin")
	copyFile(t, executablePath(t), path)
	for _, c := range []struct {
		file, dir os.FileMode
		more      string
		want      string
	}{
		{0o755, 0o755, "", ""},
		{0o757, 0o755, "", "plugin can be written by everybody, who could replace it"},
		{0o755, 0o777, "", "can be written by everybody"},
		{0o755, 0o1777, "", "can be written by everybody"},
		{0o757, 0o777, "shared_directory = true", ""},
	} {
		for name, mode := range map[string]os.FileMode{path: c.file, filepath.Dir(path): c.dir} {
			if err := unix.Chmod(name, uint32(mode)); err != nil {
				t.Fatal(err)
			}
		}
		section, problems := config.ParseTable("test.toml", []byte("command = ["+quote(path)+"]\n"+c.more))
		h.Exec().Configure(section, sdk.Env{Hostname: "fw1"})
		err := problems.Err()
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "shared_directory = true")) {
			t.Errorf("file %v in %v, %q: %v, want %q", c.file, c.dir, c.more, err, c.want)
		}
	}
	shared := filepath.Join(t.TempDir(), "run")
	if err := errors.Join(os.Mkdir(shared, 0o755), os.Chmod(shared, 0o777)); err != nil {
		t.Fatal(err)
	}
	if _, err := newInstance(shared); err == nil || !strings.Contains(err.Error(), "can be written by everybody: it has to belong to") {
		t.Errorf("a runtime directory of everybody: %v", err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, text, 0o755); err != nil {
		t.Fatal(err)
	}
}

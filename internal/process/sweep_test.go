package process

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/testing/await"
	"github.com/rtflow/pipelined/internal/testing/logbuffer"
)

// testSockets begins the names of directories with sockets.
const testSockets = "sockets"

func newSweeper(t *testing.T) *sweeper {
	return &sweeper{log: slog.New(slog.DiscardHandler), groups: cgroups{proc: t.Name()}, sockets: numbered(testSockets)}
}

// TestSweepSparesTheStrange sweeps a runtime directory with what looks like a daemon's directory and is none.
func TestSweepSparesTheStrange(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(t *testing.T, dir string) // in a directory of this name
		gone bool
		says string
	}{
		{"d1", func(t *testing.T, dir string) { putIn(t, dir, lockFile, lockText("d1")) }, true, ""},
		{"d2", func(t *testing.T, dir string) {
			putIn(t, dir, lockFile, lockText("d2"))
			sockets := filepath.Join(dir, testSockets+"123")
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
		{"backup", func(t *testing.T, dir string) { putIn(t, dir, lockFile, lockText("backup")) }, false, ""},
		{"d", func(t *testing.T, dir string) { putIn(t, dir, lockFile, lockText("d")) }, false, ""},
		{"d3", func(t *testing.T, dir string) { putIn(t, dir, lockFile, "") }, false, ""},
		{"d4", func(t *testing.T, dir string) { putIn(t, dir, lockFile, lockText("d5")) }, false, ""},
		{"d6", func(t *testing.T, dir string) {
			putIn(t, dir, lockFile, lockText("d6"))
			putIn(t, dir, "thesis.tex", "text")
		}, false, "thesis.tex"},
		{"d7", func(t *testing.T, dir string) {
			putIn(t, dir, lockFile, lockText("d7"))
			if err := os.MkdirAll(filepath.Join(dir, testSockets+"1", "sub"), 0o700); err != nil {
				t.Fatal(err)
			}
		}, false, "sub"},
		{"d8", func(t *testing.T, dir string) {
			putIn(t, dir, "other", lockText("d8"))
			if err := os.Symlink("other", filepath.Join(dir, lockFile)); err != nil {
				t.Fatal(err)
			}
		}, false, ""},
		{"d9", func(t *testing.T, dir string) {
			putIn(t, dir, lockFile, lockText("d9"))
			if err := os.Link(filepath.Join(dir, lockFile), filepath.Join(filepath.Dir(dir), "link")); err != nil {
				t.Fatal(err)
			}
		}, false, ""},
		{"d10", func(t *testing.T, dir string) {
			putIn(t, dir, lockFile, lockText("d10"))
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
			err = newSweeper(t).sweep(base)
			if (err != nil) != (c.says != "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("sweep: %v, want %q", err, c.says)
			}
			if _, err := os.Lstat(filepath.Join(dir, lockFile)); errors.Is(err, fs.ErrNotExist) != c.gone {
				t.Errorf("after the sweep: %v", err)
			}
		})
	}
}

func putIn(t *testing.T, dir, name, text string) {
	t.Helper()
	put(t, filepath.Join(dir, name), text, 0o600)
}

func put(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// TestSweepFindsItGone sweeps a directory that a daemon removes as it stops, between the opening of its lock and the rest.
func TestSweepFindsItGone(t *testing.T) {
	parent := t.TempDir()
	in, err := newInstance(parent)
	if err != nil {
		t.Fatal(err)
	}
	base, err := openBase(parent, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = base.Close() }()
	name := filepath.Base(in.path)
	dir, err := base.OpenDir(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dir.Close() }()
	if err := in.close(); err != nil {
		t.Fatal(err)
	}
	log := new(logbuffer.Buffer)
	s := newSweeper(t)
	s.log = textLog(log)
	if err := s.removeLocked(base, dir, name); err != nil || log.String() != "" {
		t.Errorf("%v, log: %s", err, log.String())
	}
}

// TestSweepSparesTheLiving checks that a daemon's directory is left alone as long as the daemon lives, and what is no daemon's
// always.
func TestSweepSparesTheLiving(t *testing.T) {
	s, _ := newSupervisor(t, Config{})
	p := start(t, s, spec("runs"))
	dir, err := s.Dir()
	if err != nil {
		t.Fatal(err)
	}
	other := New(Config{RuntimeDir: s.config.RuntimeDir})
	other.Sweep()
	if _, err := os.Stat(dir); err != nil || gone(p.PID()) {
		t.Errorf("%v, process gone: %v", err, gone(p.PID()))
	}
	strange := filepath.Join(filepath.Dir(dir), "somebody-elses")
	if err := os.Mkdir(strange, 0o700); err != nil {
		t.Fatal(err)
	}
	other.Sweep()
	if err := os.Remove(strange); err != nil {
		t.Error(err)
	}
}

// TestDaemonKilled kills a daemon with SIGKILL: its process goes with it, and what escaped that is swept by the next daemon.
func TestDaemonKilled(t *testing.T) {
	dir, leader, escaped := t.TempDir(), file(t, "leader"), file(t, "escaped")
	var said strings.Builder
	cmd := exec.Command(os.Args[0], childArg, "daemon", dir, leader, escaped)
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	process, child := toldNumber(t, leader), toldNumber(t, escaped)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	await.Until(t, "the process has gone", func() bool { return gone(process) })
	if gone(child) {
		t.Errorf("the child did not escape: %s", said.String())
	}
	log := new(logbuffer.Buffer)
	New(Config{RuntimeDir: at(dir), Log: textLog(log)}).Sweep()
	await.Until(t, "what escaped has gone", func() bool { return gone(child) })
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if !strings.Contains(log.String(), "processes=1") {
		t.Errorf("log: %s", log.String())
	}
}

// daemon has one process, which has a child that escapes. It tells its process's number and waits to be killed.
func daemon(dir, leader, escaped string) {
	p, err := New(Config{RuntimeDir: at(dir), Log: textLog(os.Stderr)}).Process(spec("orphan", escaped))
	must(err)
	must(p.Start())
	tell(leader, p.PID())
	time.Sleep(time.Hour)
}

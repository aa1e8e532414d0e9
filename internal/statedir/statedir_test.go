package statedir

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/safefile"
)

func open(t *testing.T, path string) (*Dir, *[]string) {
	t.Helper()
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
	warned := new([]string)
	d, err := Open(path, func(msg string, _ ...any) { *warned = append(*warned, msg) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() }) // once more where a test has closed it
	return d, warned
}

// TestEpochsGrow sets the clock back and restarts: an epoch is never used twice.
func TestEpochsGrow(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		now  uint64
		n    int
		want uint64
	}{{1000, 3, 1000}, {1001, 1, 1003}, {10, 2, 1004}, {5000, 1, 5000}, {0, 1, 5001}} {
		d, _ := open(t, dir)
		if got, err := d.ReserveEpochs(c.now, c.n); err != nil || got != c.want {
			t.Errorf("at %d: %d, %v, want %d", c.now, got, err, c.want)
		}
		if _, err := Open(dir, nil); err == nil {
			t.Error("two processes have one directory")
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRemoved removes the directory while it is in use: it is made again for what is written next, locked, and with the epochs that were used.
func TestRemoved(t *testing.T) {
	for name, write := range map[string]func(*Dir) error{
		"losses": func(d *Dir) error { return d.WriteLosses(Losses{"a": {Since: 1, Until: 2}}) },
		"kept": func(d *Dir) error {
			return d.WriteKept(func(w *FrameWriter) error { return nil })
		},
		"epochs": func(d *Dir) error {
			got, err := d.ReserveEpochs(10, 1)
			if got != 1003 {
				t.Errorf("epoch %d", got)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			d, warned := open(t, dir)
			if _, err := d.ReserveEpochs(1000, 3); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			if err := write(d); err != nil || len(*warned) != 1 {
				t.Errorf("%v, warnings %q", err, *warned)
			}
			info, err := os.Stat(dir)
			if err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("%v, %v", info, err)
			}
			if _, err := Open(dir, nil); err == nil {
				t.Error("two processes have one directory")
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			d, _ = open(t, dir)
			if got, err := d.ReserveEpochs(5, 1); err != nil || got < 1003 {
				t.Errorf("epoch %d is used again, %v", got, err)
			}
		})
	}
	t.Run("its parent, too", func(t *testing.T) {
		parent := filepath.Join(t.TempDir(), "lib")
		if err := os.MkdirAll(filepath.Join(parent, "state"), 0o700); err != nil {
			t.Fatal(err)
		}
		d, _ := open(t, filepath.Join(parent, "state"))
		if err := os.RemoveAll(parent); err != nil {
			t.Fatal(err)
		}
		if err := d.WriteLosses(Losses{}); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%v", err)
		}
	})
}

// TestBrokenFiles checks that nothing of a file that cannot be read is used, and that it is kept aside.
func TestBrokenFiles(t *testing.T) {
	good := `{"version":1,"sinks":{"a":{"since":1,"until":2,"events":{"policy-deny":3}}}}`
	for _, c := range []struct{ name, content string }{
		{epochFile, "x"}, {epochFile, ""}, {epochFile, "-1"}, {epochFile, "18446744073709551615"}, {epochFile, "9223372036854775807"},
		{lossFile, ""}, {lossFile, good[:40]}, {lossFile, strings.Replace(good, "1", "2", 1)}, {lossFile, good + good},
		{lossFile, strings.Replace(good, "since", "sincee", 1)}, {lossFile, strings.Repeat("x", maxFile+1)},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, c.name)
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		d, warned := open(t, dir)
		first, err := d.ReserveEpochs(7, 1)
		losses, lossErr := d.Losses()
		if err != nil || lossErr != nil || first != 7 || len(losses) != 0 || len(*warned) != 1 {
			t.Errorf("%s %.20q: epoch %d, losses %v, warnings %q, %v, %v", c.name, c.content, first, losses, *warned, err, lossErr)
		}
		if b, err := os.ReadFile(path + ".broken"); err != nil || string(b) != c.content {
			t.Errorf("%s %.20q is not kept: %v", c.name, c.content, err)
		}
	}
}

// TestUnreadable reads files while the process has no descriptor left: they stay where they are, and are read afterwards.
func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	d, warned := open(t, dir)
	losses := Losses{"a": {Since: 1, Until: 2, Events: map[string]uint64{"policy-deny": 3}}}
	if first, err := d.ReserveEpochs(5000, 1); err != nil || first != 5000 {
		t.Fatal(first, err)
	}
	if err := d.WriteLosses(losses); err != nil {
		t.Fatal(err)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	first, err := d.ReserveEpochs(7, 1)
	_, lossErr := d.Losses()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, unix.EMFILE) || first != 0 || !errors.Is(lossErr, unix.EMFILE) || len(*warned) != 0 {
		t.Errorf("epoch %d, %v; losses: %v; warnings %q", first, err, lossErr, *warned)
	}
	if first, err := d.ReserveEpochs(7, 1); err != nil || first != 5001 {
		t.Errorf("afterwards the epoch is %d, %v", first, err)
	}
	if got, err := d.Losses(); err != nil || !cmp.Equal(got, losses) {
		t.Errorf("afterwards losses are %v, %v", got, err)
	}
}

// TestUnwritable reserves epochs where they cannot be noted: what is returned was not used before.
func TestUnwritable(t *testing.T) {
	dir := t.TempDir()
	d, _ := open(t, dir)
	if _, err := d.ReserveEpochs(5000, 2); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "."+epochFile+safefile.Unfinished), 0o700); err != nil { // in the way of the new file
		t.Fatal(err)
	}
	if first, err := d.ReserveEpochs(7, 1); err == nil || first != 5002 {
		t.Errorf("epoch %d, %v", first, err)
	}
}

// TestNotRegular puts aside what is in the place of a file.
func TestNotRegular(t *testing.T) {
	for what, put := range map[string]func(path string) error{
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"FIFO":      func(path string) error { return unix.Mkfifo(path, 0o600) },
		"socket":    func(path string) error { return unix.Mknod(path, unix.S_IFSOCK|0o600, 0) },
	} {
		dir := t.TempDir()
		if err := put(filepath.Join(dir, epochFile)); err != nil {
			t.Fatal(err)
		}
		d, warned := open(t, dir)
		if first, err := d.ReserveEpochs(7, 1); err != nil || first != 7 || len(*warned) != 1 {
			t.Errorf("%s: %d, %v, warnings %q", what, first, err, *warned)
		}
	}
}

// TestSymbolicLink checks that a link is put aside and what it leads to is left alone.
func TestSymbolicLink(t *testing.T) {
	dir, other := t.TempDir(), filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(other, []byte("5000"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, filepath.Join(dir, epochFile)); err != nil {
		t.Fatal(err)
	}
	d, warned := open(t, dir)
	if first, err := d.ReserveEpochs(7, 1); err != nil || first != 7 || len(*warned) != 1 {
		t.Errorf("%d, %v, warnings %q", first, err, *warned)
	}
	if b, err := os.ReadFile(other); err != nil || string(b) != "5000" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestLosses(t *testing.T) {
	d, warned := open(t, t.TempDir())
	if l, err := d.Losses(); err != nil || len(l) != 0 {
		t.Errorf("%v, %v of nothing", l, err)
	}
	want := Losses{"a": {Since: 1, Until: 2, Events: map[string]uint64{"policy-deny": 3}}}
	if err := d.WriteLosses(want); err != nil {
		t.Fatal(err)
	}
	got, err := d.Losses()
	if diff := cmp.Diff(want, got); diff != "" || err != nil || len(*warned) != 0 {
		t.Errorf("%v, warnings %q (-want +got):\n%s", err, *warned, diff)
	}
}

// TestForeignWriters checks that a directory in which others can write is refused.
func TestForeignWriters(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, nil); err == nil {
		t.Error("opened")
	}
}

// TestBoot tells the clocks of time namespaces apart, and leaves that of the machine the name that it had.
func TestBoot(t *testing.T) {
	const id = "7e9a6f3c-66f0-4a8e-9f21-0f6ab2a3c0de"
	offsets := func(monotonic string) string {
		return "monotonic  " + monotonic + "\nboottime           7         0\n"
	}
	for _, same := range []string{"", offsets("        0         0")} {
		if got := boot(id, same); got != id {
			t.Errorf("%q: %q, want %q", same, got, id)
		}
	}
	names := map[string]bool{id: true}
	for _, other := range []string{"1000         0", "-1000         0", "0         1000", "1000         1"} {
		names[boot(id, offsets(other))] = true
	}
	if len(names) != 5 {
		t.Errorf("the names of 5 clocks are %v", names)
	}
	if got, err := Boot(); err != nil || len(got) < len(id) {
		t.Errorf("%q, %v", got, err)
	}
}

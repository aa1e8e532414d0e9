package file

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/internal/safefile"
	"github.com/rtflow/pipelined/sdk"
)

// stranger is neither root nor the user of the test.
const stranger = 1234

func needRoot(t *testing.T) {
	t.Helper()
	switch {
	case os.Geteuid() == 0:
	case os.Getenv("PIPELINED_REQUIRE_XDP") == "1": // the run is meant to be root's
		t.Fatal("giving files away needs root")
	default:
		t.Skip("giving files away needs root")
	}
}

// sharedDir returns a directory that others may write to, with a file beside it that they may not, and a log in it.
func sharedDir(t *testing.T, o rotateOptions, shared bool) (l *logFile, dir, secret string) {
	t.Helper()
	base := t.TempDir()
	dir, secret = filepath.Join(base, "log"), filepath.Join(base, "secret")
	for _, err := range []error{
		os.Chmod(filepath.Dir(base), 0o711), os.Mkdir(dir, 0o755), os.Chmod(dir, 0o777),
		os.WriteFile(secret, []byte("root:secret\n"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return &logFile{
		path: filepath.Join(dir, "audit.log"), trust: safefile.Options{Shared: shared}, mode: 0o640, owner: owner{-1, stranger},
		rotate: o, layout: layout{"<"}, warn: func(string, ...any) {},
	}, dir, secret
}

// unharmed fails if the file that others may not write is not as it was.
func unharmed(t *testing.T, secret string) {
	t.Helper()
	text, err := os.ReadFile(secret)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(secret)
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	if string(text) != "root:secret\n" || info.Mode() != 0o600 || st.Gid == stranger {
		t.Errorf("the secret is %q, %v, of group %d", text, info.Mode(), st.Gid)
	}
}

// TestSharedDirectory opens logs in directories that others may write to. What they have put there is not opened.
func TestSharedDirectory(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		name   string
		put    func(path, secret string) error
		shared bool
		want   string // in the error, "" for none
	}{
		{"by default", func(string, string) error { return nil }, false, "log can be written by everybody. Whoever can replace files there"},
		{"allowed", func(string, string) error { return nil }, true, ""},
		{"own file", func(path, _ string) error { return os.WriteFile(path, []byte("<14>1\n"), 0o640) }, true, ""},
		{"symbolic link of another", func(path, secret string) error {
			if err := os.Symlink(secret, path); err != nil {
				return err
			}
			return os.Lchown(path, stranger, stranger)
		}, true, "is a symbolic link that belongs to user 1234"},
		{"hard link", func(path, secret string) error { return os.Link(secret, path) }, true, "is one of 2 links"},
		{"file of another", func(path, _ string) error {
			if err := os.WriteFile(path, nil, 0o666); err != nil {
				return err
			}
			return os.Chown(path, stranger, stranger)
		}, true, "belongs to user 1234"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, _, secret := sharedDir(t, rotateOptions{}, c.shared)
			if err := c.put(l.path, secret); err != nil {
				t.Fatal(err)
			}
			err := l.open(time.Now())
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("open: %v, want %q", err, c.want)
			}
			if err == nil {
				if _, err := l.write([]byte("<14>1 x\n")); err != nil {
					t.Error(err)
				}
			}
			if err := l.close(); err != nil {
				t.Error(err)
			}
			unharmed(t, secret)
		})
	}
}

// TestSharedDirectoryWarning checks what the configuration is told before anything is opened.
func TestSharedDirectoryWarning(t *testing.T) {
	for _, c := range []struct {
		mode os.FileMode
		more string
		want int
	}{{0o755, "", 0}, {0o777, "", 1}, {0o1777, "", 1}, {0o777, "shared_directory = true", 0}, {0o755, "shared_directory = true", 0}} {
		dir := t.TempDir()
		if err := unix.Chmod(dir, uint32(c.mode)); err != nil {
			t.Fatal(err)
		}
		section, problems := config.ParseTable("test.toml", []byte("path = \""+dir+"/x.log\"\n"+c.more))
		if Plugin().Configure(section, sdk.Env{Hostname: "fw1"}) == nil {
			t.Errorf("%v: no sink", c.mode)
		}
		all := problems.All()
		if len(all) != c.want || c.want > 0 && (all[0].Key != "path" || all[0].Severity != config.Warning || !strings.Contains(all[0].Message, "shared_directory")) {
			t.Errorf("mode %v, %q: %v", c.mode, c.more, all)
		}
	}
}

// TestCompressThroughLink puts symbolic and hard links where compression reads and writes.
func TestCompressThroughLink(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		name string
		put  func(dir, rotated, secret string) error
	}{
		{"temporary file", func(dir, rotated, secret string) error {
			return os.Symlink(secret, filepath.Join(dir, "."+rotated+".gz"+safefile.Unfinished))
		}},
		{"temporary file, hard", func(dir, rotated, secret string) error {
			return os.Link(secret, filepath.Join(dir, "."+rotated+".gz"+safefile.Unfinished))
		}},
		{"compressed file", func(dir, rotated, secret string) error {
			return os.Symlink(secret, filepath.Join(dir, rotated+".gz"))
		}},
		{"rotated file", func(dir, rotated, secret string) error {
			if err := os.Remove(filepath.Join(dir, rotated)); err != nil {
				return err
			}
			return os.Symlink(secret, filepath.Join(dir, rotated))
		}},
		{"rotated file, hard", func(dir, rotated, secret string) error {
			if err := os.Remove(filepath.Join(dir, rotated)); err != nil {
				return err
			}
			return os.Link(secret, filepath.Join(dir, rotated))
		}},
	} {
		for _, shared := range []bool{false, true} {
			l, dir, secret := sharedDir(t, rotateOptions{Compress: gzipped, Keep: 1}, shared)
			rotated := rotatedName("audit.log", time.Now())
			if err := os.WriteFile(filepath.Join(dir, rotated), []byte("<14>1 ...\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := c.put(dir, rotated, secret); err != nil {
				t.Fatal(err)
			}
			err := l.packAll(t.Context())
			if refused := !shared || c.name == "rotated file, hard"; (err != nil) != refused {
				t.Errorf("%s, shared %v: %v", c.name, shared, err)
			}
			unharmed(t, secret)
			if entries, err := os.ReadDir(dir); err != nil {
				t.Error(err)
			} else {
				for _, e := range entries {
					info, err := e.Info()
					if err != nil {
						t.Error(err)
					} else if info.Mode().IsRegular() && strings.HasSuffix(e.Name(), ".gz") && info.Mode().Perm() != 0o644 {
						t.Errorf("%s: %s has mode %v", c.name, e.Name(), info.Mode())
					}
				}
			}
		}
	}
}

// TestRotationRace rotates, compresses and deletes while another user swaps every name for a link to a file that is not theirs.
func TestRotationRace(t *testing.T) {
	needRoot(t)
	l, dir, secret := sharedDir(t, rotateOptions{Compress: gzipped, Keep: 2}, true)
	stop, stopped := make(chan struct{}), make(chan int)
	go func() {
		runtime.LockOSThread() // and never unlocks it: the thread ends with another user's rights
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, stranger, stranger, stranger); errno != 0 {
			t.Error(errno)
		}
		links := 0
		for {
			select {
			case <-stop:
				stopped <- links
				return
			default:
			}
			entries, _ := os.ReadDir(dir)
			for _, e := range entries {
				if !strings.HasSuffix(e.Name(), ".log") {
					continue
				}
				name := filepath.Join(dir, e.Name())
				for _, name := range []string{filepath.Join(dir, "."+e.Name()+".gz"+safefile.Unfinished), name + ".gz", name} {
					_ = os.Remove(name)
					_ = os.Link(secret, name)
					if os.Symlink(secret, name) == nil {
						links++
					}
				}
			}
		}
	}()
	line := []byte("<14>1 " + strings.Repeat("x", 100) + "\n")
	now := time.Now()
	for range 200 {
		now = now.Add(time.Second)
		if l.open(now) != nil {
			_ = os.Remove(l.path) // the other user's link
			continue
		}
		_, _ = l.write(line)
		_ = l.rotateNow(now)
		_ = l.packAll(t.Context())
		if err := l.close(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	if links := <-stopped; links == 0 {
		t.Error("no link was made")
	}
	unharmed(t, secret)
}

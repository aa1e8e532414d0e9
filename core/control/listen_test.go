package control

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// TestWhoMayAsk connects as several users to sockets of several groups and modes.
func TestWhoMayAsk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to become other users")
	}
	const answer, denied = `^200 \{ "pid"`, `^0 .*permission denied`
	for name, c := range map[string]struct {
		mode     fs.FileMode
		group    int
		uid, gid uint32
		groups   []uint32
		want     string
	}{
		"root":                 {0o660, -1, 0, 0, nil, answer},
		"a stranger":           {0o660, -1, 4001, 4001, nil, denied},
		"the group":            {0o660, 4100, 4001, 4100, nil, answer},
		"a member":             {0o660, 4100, 4001, 4001, []uint32{1, 4100}, answer},
		"a member of many":     {0o660, 4100, 4001, 4001, append(numbers(5000, 300), 4100), answer},
		"a member of others":   {0o660, 4100, 4001, 4001, numbers(5000, 300), denied},
		"a group without bits": {0o600, 4100, 4001, 4100, nil, denied},
		"everybody":            {0o666, -1, 4001, 4001, nil, answer},
	} {
		t.Run(name, func(t *testing.T) {
			client := serve(t, Daemon{}, ListenOptions{Mode: c.mode, Group: c.group})
			if got := askAs(t, client.Path(), c.uid, c.gid, c.groups...); !regexp.MustCompile(c.want).MatchString(got) {
				t.Errorf("answered %q, want %s", got, c.want)
			}
		})
	}
}

func numbers(first uint32, n int) (list []uint32) {
	for i := range n {
		list = append(list, first+uint32(i))
	}
	return list
}

// TestLoosenedSocket loosens the permissions of the socket behind the daemon's back: who connects is told that it may not ask.
func TestLoosenedSocket(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to become another user")
	}
	client := serve(t, Daemon{}, ListenOptions{Mode: 0o660, Group: 4100})
	if err := os.Chmod(client.Path(), 0o666); err != nil {
		t.Fatal(err)
	}
	if got := askAs(t, client.Path(), 4001, 4001, 4002); !strings.HasPrefix(got, "403 this user may not ask") {
		t.Errorf("a stranger is answered %q", got)
	}
	if got := askAs(t, client.Path(), 4001, 4001, 4100); !strings.HasPrefix(got, "200 ") {
		t.Errorf("a member is answered %q", got)
	}
}

// TestSocketFile checks what is at the path before and after.
func TestSocketFile(t *testing.T) {
	dir := publicDir(t)
	path := filepath.Join(dir, "control")
	o := ListenOptions{Path: path, Mode: 0o660, Group: -1}
	old, err := net.Listen("unix", path) // of a process that has died
	if err != nil {
		t.Fatal(err)
	}
	old.(*net.UnixListener).SetUnlinkOnClose(false)
	if _, err := Listen(o); err == nil || !strings.Contains(err.Error(), "somebody listens there") {
		t.Errorf("a second daemon: %v", err)
	}
	old.Close()
	l, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o660 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("after the end: %v", err)
	}
}

// TestRefusedPlaces listens where somebody else could listen instead, or would lose a file.
func TestRefusedPlaces(t *testing.T) {
	dir := publicDir(t)
	if err := os.Mkdir(filepath.Join(dir, "shared"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "shared"), 0o777); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(dir, "target")
	for name, err := range map[string]error{
		"target": os.WriteFile(target, nil, 0o600), "link": os.Symlink(target, filepath.Join(dir, "link")),
		"hanging": os.Symlink(filepath.Join(dir, "nothing"), filepath.Join(dir, "hanging")),
	} {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for path, want := range map[string]string{
		"shared/control": "can be written by everybody", "target": "not a socket", "link": "not a socket", "hanging": "not a socket",
		"missing/control": "no such file", strings.Repeat("x", 200): "bytes",
	} {
		if l, err := Listen(ListenOptions{Path: filepath.Join(dir, path), Mode: 0o660, Group: -1}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", path, err, want)
			if err == nil {
				l.Close()
			}
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "nothing")); !os.IsNotExist(err) {
		t.Errorf("a symbolic link is followed: %v", err)
	}
}

// TestGroupAfterRenewal removes the socket: the one that takes its place has the same group and mode.
func TestGroupAfterRenewal(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to give a socket to another group")
	}
	client := serve(t, Daemon{}, ListenOptions{Mode: 0o640, Group: 4100})
	if err := os.Remove(client.Path()); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := client.Daemon(t.Context()); err == nil {
			break
		} else if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Lstat(client.Path())
	if err != nil || info.Mode().Perm() != 0o640 || info.Sys().(*syscall.Stat_t).Gid != 4100 {
		t.Errorf("the new socket: %v, %v", info.Mode(), err)
	}
}

func TestPaths(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", "/run/a:/run/b")
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/1")
	if got := DefaultPath(); got != "/run/a/control" {
		t.Errorf("with a directory of the service manager: %s", got)
	}
	if got := strings.Join(UsualPaths(), " "); got != "/run/pipelined/control /run/a/control /run/user/1/pipelined/control" {
		t.Errorf("usual paths: %s", got)
	}
	t.Setenv("RUNTIME_DIRECTORY", "")
	want := "/run/user/1/pipelined/control"
	if os.Geteuid() == 0 {
		want = "/run/pipelined/control"
	}
	if got := DefaultPath(); got != want {
		t.Errorf("without: %s", got)
	}
}

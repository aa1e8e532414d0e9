package safefile_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/safefile"
)

const (
	stranger    = 1234 // neither root nor the user of the test
	systemGroup = 104
)

func TestMain(m *testing.M) {
	const setting = "/proc/sys/fs/protected_hardlinks"
	code := m.Run()
	if text, err := os.ReadFile(setting); code != 0 && (err != nil || strings.TrimSpace(string(text)) == "0") {
		fmt.Fprintf(os.Stderr, "%s is %q, %v: the tests of shared directories need sysctl -w fs.protected_hardlinks=1\n", setting, text, err)
	}
	os.Exit(code)
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("giving files away needs root")
	}
}

// tree makes directories, files and links below a new directory and returns it. A line is "TYPE PATH [MODE UID GID]" or "l PATH TARGET [UID]";
// $ stands for the new directory.
func tree(t *testing.T, lines ...string) string {
	t.Helper()
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range lines {
		f := strings.Fields(strings.ReplaceAll(line, "$", base))
		path := filepath.Join(base, f[1])
		switch f[0] {
		case "d":
			do(os.Mkdir(path, 0o755))
		case "f":
			do(os.WriteFile(path, []byte("text\n"), 0o644))
		case "l":
			do(os.Symlink(f[2], path))
			if len(f) > 3 {
				do(os.Lchown(path, atoi(f[3]), -1))
			}
			continue
		case "h":
			do(os.Link(filepath.Join(base, f[2]), path))
			continue
		}
		if len(f) > 3 {
			do(os.Chown(path, atoi(f[3]), atoi(f[4])))
		}
		if len(f) > 2 {
			do(unix.Chmod(path, uint32(octal(f[2]))))
		}
	}
	return base
}

func atoi(s string) (n int) {
	for _, c := range s {
		n = 10*n + int(c-'0')
	}
	return n
}

func octal(s string) (n int) {
	for _, c := range s {
		n = 8*n + int(c-'0')
	}
	return n
}

// TestOpenParent goes through paths that others can and cannot redirect.
func TestOpenParent(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		name    string
		tree    []string
		path    string // of the file
		want    string // where it is found
		wantErr string // what the error says, "" for none
		strict  string // what it says with Strict if that differs
		shared  string // what it says with Shared; the same place is found if it says nothing
	}{
		{name: "own directory", tree: []string{"d log"}, path: "log/a", want: "log/a"},
		{name: "a file that is there", tree: []string{"d log", "f log/a"}, path: "log/a", want: "log/a"},
		{name: "written by everybody", tree: []string{"d log 0777"}, path: "log/a", want: "log/a", wantErr: "log can be written by everybody"},
		{name: "sticky", tree: []string{"d log 1777"}, path: "log/a", want: "log/a", wantErr: "log can be written by everybody"},
		{name: "written by a group", tree: []string{"d log 0775 0 104"}, path: "log/a", want: "log/a", wantErr: "log can be written by group"},
		{name: "written by root's group", tree: []string{"d log 0775 0 0"}, path: "log/a", want: "log/a"},
		{name: "another owner", tree: []string{"d log 0755 1234 0"}, path: "log/a", want: "log/a", wantErr: "log belongs to user 1234"},
		{name: "above: another owner", tree: []string{"d up 0755 1234 0", "d up/log"}, path: "up/log/a", want: "up/log/a", wantErr: "up belongs to user 1234"},
		{name: "above: everybody", tree: []string{"d up 0777", "d up/log"}, path: "up/log/a", want: "up/log/a", wantErr: "up can be written by everybody"},
		{name: "above: sticky", tree: []string{"d up 1777", "d up/log"}, path: "up/log/a", want: "up/log/a"},
		{name: "above: sticky, of another owner", tree: []string{"d up 1777 1234 0", "d up/log"}, path: "up/log/a", want: "up/log/a", wantErr: "up can be written by everybody"},
		{
			name: "above: sticky, the next of another owner", tree: []string{"d up 1777", "d up/log 0755 1234 0"},
			path: "up/log/a", want: "up/log/a", wantErr: "log belongs to",
		},
		{
			name: "above: a system group", tree: []string{"d up 0775 0 104", "d up/log"}, path: "up/log/a", want: "up/log/a",
			strict: "up can be written by group",
		},
		{name: "above: a group of users", tree: []string{"d up 0775 0 1234", "d up/log"}, path: "up/log/a", want: "up/log/a", wantErr: "up can be written by group"},
		{name: "root's link to a directory", tree: []string{"d data", "l log data"}, path: "log/a", want: "data/a"},
		{name: "root's absolute link", tree: []string{"d data", "l log $/data"}, path: "log/a", want: "data/a"},
		{name: "root's link upwards", tree: []string{"d x", "d data", "l x/log ../data"}, path: "x/log/a", want: "data/a"},
		{name: "root's link to an unsafe directory", tree: []string{"d data 0777", "l log data"}, path: "log/a", want: "data/a", wantErr: "data can be written by everybody"},
		{name: "root's link to a file", tree: []string{"d data", "f data/b", "d log", "l log/a ../data/b"}, path: "log/a", want: "data/b"},
		{name: "root's link to nothing", tree: []string{"d data", "d log", "l log/a ../data/b"}, path: "log/a", want: "data/b"},
		{
			name: "another's link to a directory", tree: []string{"d up 1777", "d data", "l up/log ../data 1234"}, path: "up/log/a",
			wantErr: "log is a symbolic link that belongs to user 1234", shared: "log is a symbolic link that belongs to user 1234",
		},
		{
			name: "another's link to a file", tree: []string{"d log 1777", "d data", "f data/b", "l log/a ../data/b 1234"}, path: "log/a",
			wantErr: "a is a symbolic link that belongs to", shared: "a is a symbolic link that belongs to",
		},
		{name: "links in a circle", tree: []string{"l a b", "l b a"}, path: "a", wantErr: "too many levels", shared: "too many levels"},
		{name: "a file on the way", tree: []string{"f log"}, path: "log/a", wantErr: "not a directory", shared: "not a directory"},
		{name: "a directory as file", tree: []string{"d log"}, path: "log", wantErr: "is a directory", shared: "is a directory"},
		{name: "no directory", path: "log/a", wantErr: "no such file", shared: "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			base := tree(t, c.tree...)
			try := func(what string, o safefile.Options, wantErr string) {
				t.Helper()
				e, err := safefile.OpenParent(filepath.Join(base, c.path), o)
				if wantErr != "" {
					if err == nil || !strings.Contains(err.Error(), wantErr) {
						t.Errorf("%s: error %v, want %q", what, err, wantErr)
					}
					var unsafe *safefile.UnsafeError
					if names := strings.Contains(wantErr, "written") || strings.Contains(wantErr, "belongs"); errors.As(err, &unsafe) != names {
						t.Errorf("%s: %T", what, err)
					}
					return
				}
				if err != nil {
					t.Errorf("%s: %v", what, err)
					return
				}
				if got := e.Path(e.Name); got != filepath.Join(base, c.want) {
					t.Errorf("%s: found %s, want %s", what, got, c.want)
				}
				if e.Linked != (strings.HasPrefix(c.name, "root's link to a file") || c.name == "root's link to nothing") {
					t.Errorf("%s: linked is %v", what, e.Linked)
				}
				if err := e.Close(); err != nil {
					t.Error(err)
				}
			}
			if c.strict == "" {
				c.strict = c.wantErr
			}
			try("default", safefile.Options{}, c.wantErr)
			try("strict", safefile.Options{Strict: true}, c.strict)
			try("shared", safefile.Options{Shared: true}, c.shared)
		})
	}
	if _, err := safefile.OpenParent("log/a", safefile.Options{}); err == nil {
		t.Error("a relative path was accepted")
	}
}

// TestProcfs follows the name that a process has for its own open file.
func TestProcfs(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	e, err := safefile.OpenParent(filepath.Join("/proc/self/fd", itoa(int(w.Fd()))), safefile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	f, err := e.OpenFile(os.O_WRONLY)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("x"); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

// TestFilesOfOthers opens, in directories that others may write to, what they can have put there.
func TestFilesOfOthers(t *testing.T) {
	needRoot(t)
	base := tree(t, "d log 0777", "f secret 0600", "f log/own", "f log/theirs 0644 1234 1234", "f log/syslogs 0644 104 104",
		"l log/link ../secret", "l log/theirlink ../secret 1234", "h log/hard secret")
	for _, c := range []struct{ name, shared, owner string }{
		{"own", "", ""},
		{"theirs", "theirs belongs to user 1234", "theirs belongs to user 1234"},
		{"syslogs", "syslogs belongs to user", ""},
		{"link", "too many levels", "too many levels"},
		{"theirlink", "too many levels", "too many levels"},
		{"hard", "hard is one of 2 links", "hard is one of 2 links"},
		{"none", "no such file", "no such file"},
		{"../secret", "invalid argument", "invalid argument"},
	} {
		for o, wantErr := range map[*safefile.Options]string{
			{Shared: true}: c.shared,
			{Shared: true, Owners: []int{systemGroup}}: c.owner,
		} {
			d, err := safefile.OpenDir(filepath.Join(base, "log"), *o)
			if err != nil {
				t.Fatal(err)
			}
			f, err := d.Open(c.name, os.O_WRONLY|os.O_TRUNC|os.O_CREATE)
			if (err == nil) != (wantErr == "") || err != nil && !strings.Contains(err.Error(), wantErr) {
				t.Errorf("%s with owners %v: %v, want %q", c.name, o.Owners, err, wantErr)
			}
			if err == nil {
				_ = f.Close() // nothing was written
			}
			if c.name != "none" {
				if _, err := d.Create(c.name, os.O_WRONLY, 0o600); err == nil {
					t.Errorf("%s was created", c.name)
				}
			}
			_ = d.Close()
		}
	}
	if text, err := os.ReadFile(filepath.Join(base, "secret")); string(text) != "text\n" {
		t.Errorf("the secret is %q, %v", text, err)
	}
}

// TestDir tries the rest of a directory's methods, in one that was moved away meanwhile.
func TestDir(t *testing.T) {
	base := tree(t, "d log", "f log/b", "f log/a")
	d, err := safefile.OpenDir(filepath.Join(base, "log"), safefile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := os.Rename(filepath.Join(base, "log"), filepath.Join(base, "moved")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/", filepath.Join(base, "log")); err != nil {
		t.Fatal(err)
	}
	names := func() string {
		t.Helper()
		list, err := d.ReadDir()
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, e := range list {
			all = append(all, e.Name())
		}
		return strings.Join(all, " ")
	}
	is := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	if got := names(); got != "a b" {
		t.Errorf("entries %q", got)
	}
	is("RenameNew to a taken name", d.RenameNew("a", "b"), fs.ErrExist)
	is("RenameNew", d.RenameNew("a", "c"), nil)
	is("Rename to a taken name", d.Rename("c", "b"), nil)
	is("Remove", d.Remove("b"), nil)
	is("Remove again", d.Remove("b"), fs.ErrNotExist)
	is("Mkdir", d.Mkdir("sub", 0o755), nil)
	sub, err := d.OpenDir("sub")
	is("OpenDir", err, nil)
	is("Close", sub.Close(), nil)
	is("Remove of a directory", d.Remove("sub"), unix.EISDIR)
	is("Rmdir", d.Rmdir("sub"), nil)
	is("Sync", d.Sync(), nil)

	then := time.Unix(1e9, 5)
	is("Replace", d.Replace("r", 0o640, func(f *os.File) error {
		_, err := f.WriteString("new")
		return errors.Join(err, safefile.Chtimes(f, then))
	}), nil)
	full := errors.New("full")
	is("Replace that fails", d.Replace("r", 0o640, func(f *os.File) error {
		_, _ = f.WriteString("half")
		return full
	}), full)
	if err := os.WriteFile(filepath.Join(base, "moved", ".r"+safefile.Unfinished), []byte("left"), 0o600); err != nil {
		t.Fatal(err)
	}
	is("Replace after a crash", d.Replace("r", 0o640, func(f *os.File) error { return full }), full)
	if got := names(); got != "r" {
		t.Errorf("entries %q", got)
	}
	info, err := os.Stat(filepath.Join(base, "moved", "r"))
	if err != nil || info.Size() != 3 || !info.ModTime().Equal(then) {
		t.Errorf("%v of %v, %v", info.Size(), info.ModTime(), err)
	}
	if err := os.Chmod(filepath.Join(base, "moved", "r"), 0o600); err != nil {
		t.Fatal(err)
	}
	is("Chown", d.Chown("r", -1, -1), nil)
	if info, err := os.Stat(filepath.Join(base, "moved", "r")); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := os.Symlink("r", filepath.Join(base, "moved", "l")); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", d.FDPath("s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	is("ChmodSocket", d.ChmodSocket("s", 0o660), nil)
	if info, err := os.Stat(filepath.Join(base, "moved", "s")); err != nil || info.Mode() != fs.ModeSocket|0o660 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// TestCheckExecutable goes through what others can put in the place of an executable.
func TestWriteFile(t *testing.T) {
	needRoot(t)
	base := tree(t,
		"d own", "f own/file", "l own/link $/own/file",
		"d shared 01777 0 0", "f shared/own", "f shared/theirs 0644 1234 1234", "f precious", "l shared/link $/precious 1234", "h shared/hard precious",
	)
	for path, refused := range map[string]bool{
		"own/file": false, "own/new": false, "own/link": false,
		"shared/own": false, "shared/new": false,
		"shared/theirs": true, "shared/link": true, "shared/hard": true,
	} {
		path = filepath.Join(base, path)
		before, _ := os.ReadFile(path) // nothing if it is not there
		err := safefile.WriteFile(path, []byte("x"), 0o600)
		var unsafe *safefile.UnsafeError
		if errors.As(err, &unsafe) != refused || !refused && err != nil {
			t.Errorf("%s: %v", path, err)
		}
		want := "x"
		if refused {
			want = string(before)
		}
		if got, err := os.ReadFile(path); string(got) != want {
			t.Errorf("%s holds %q, %v, want %q", path, got, err, want)
		}
	}
	if err := safefile.WriteFile("/dev/null", []byte("x"), 0o600); err != nil {
		t.Error(err)
	}
}

func TestCheckExecutable(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		name    string
		tree    []string
		path    string
		wantErr string
	}{
		{"root's", []string{"d bin", "f bin/p 0755"}, "bin/p", ""},
		{"behind root's link", []string{"d bin", "f bin/p 0755", "l bin/q p"}, "bin/q", ""},
		{"written by a group", []string{"d bin", "f bin/p 0775 0 104"}, "bin/p", "p can be written by group"},
		{"written by everybody", []string{"d bin", "f bin/p 0757"}, "bin/p", "p can be written by everybody"},
		{"another's", []string{"d bin", "f bin/p 0755 1234 0"}, "bin/p", "p belongs to user 1234"},
		{"in another's directory", []string{"d bin 0755 1234 0", "f bin/p 0755"}, "bin/p", "bin belongs to user 1234"},
		{"in a group's directory", []string{"d bin 0775 0 104", "f bin/p 0755"}, "bin/p", "bin can be written by group"},
		{"below a group's directory", []string{"d up 0775 0 104", "d up/bin", "f up/bin/p 0755"}, "up/bin/p", "up can be written by group"},
		{"in a sticky directory", []string{"d bin 1777", "f bin/p 0755"}, "bin/p", "bin can be written by everybody"},
		{"missing", []string{"d bin"}, "bin/p", "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := safefile.CheckExecutable(filepath.Join(tree(t, c.tree...), c.path))
			if (err == nil) != (c.wantErr == "") || err != nil && !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("error %v, want %q", err, c.wantErr)
			}
		})
	}
}

// TestChmodSocket gives modes to what another writer of the directory can have put in the place of a socket: only a socket of this
// user gets one.
func TestChmodSocket(t *testing.T) {
	needRoot(t)
	base := tree(t, "d run", "d run/dir 0700", "f run/file 0600", "f secret 0600", "l run/link ../secret", "l run/sock.link own")
	for _, name := range []string{"own", "theirs"} {
		l, err := net.Listen("unix", filepath.Join(base, "run", name))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if err := os.Chmod(filepath.Join(base, "run", name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(filepath.Join(base, "run", "theirs"), stranger, stranger); err != nil {
		t.Fatal(err)
	}
	d, err := safefile.OpenDir(filepath.Join(base, "run"), safefile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, c := range []struct{ name, wantErr string }{
		{"file", "file is not a socket"},
		{"dir", "dir is not a socket"},
		{"link", "link is not a socket"},
		{"theirs", "theirs belongs to user 1234"},
		{"sock.link", "sock.link is not a socket"},
		{"none", "no such file"},
		{"own", ""}, // last: the others must not change it
	} {
		before := modes(base)
		err := d.ChmodSocket(c.name, 0o666)
		if (err == nil) != (c.wantErr == "") || err != nil && !strings.Contains(err.Error(), c.wantErr) {
			t.Errorf("%s: %v, want %q", c.name, err, c.wantErr)
		}
		if after := modes(base); (after == before) != (c.wantErr != "") {
			t.Errorf("%s: the modes were\n%s and are\n%s", c.name, before, after)
		}
	}
}

// modes lists the files below a directory with their modes.
func modes(base string) string {
	var list strings.Builder
	_ = filepath.WalkDir(base, func(path string, e fs.DirEntry, err error) error {
		if info, infoErr := e.Info(); err == nil && infoErr == nil {
			list.WriteString(info.Mode().String() + " " + path + "\n")
		}
		return nil
	})
	return list.String()
}

// TestRace replaces and renames files in a shared directory while another user swaps their names for links to a file that is
// not theirs, which stays as it is.
func TestRace(t *testing.T) {
	needRoot(t)
	base := tree(t, "d log 0777", "f secret 0600")
	if err := os.Chmod(filepath.Dir(base), 0o711); err != nil { // for the other user
		t.Fatal(err)
	}
	secret := filepath.Join(base, "secret")
	d, err := safefile.OpenDir(filepath.Join(base, "log"), safefile.Options{Shared: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	stop, stopped := make(chan struct{}), make(chan int)
	go asStranger(t, func() {
		n := 0
		for i := 0; ; i++ {
			select {
			case <-stop:
				stopped <- n
				return
			default:
			}
			name := filepath.Join(base, "log", []string{"a", "a.old", ".a" + safefile.Unfinished}[i%3])
			_ = os.Remove(name)
			if os.Symlink(secret, name) == nil {
				n++
			}
			_ = os.Remove(name)
			_ = os.Link(secret, name)
		}
	})
	for range 2000 {
		_ = d.Replace("a", 0o644, func(f *os.File) error {
			_, err := f.WriteString("log\n")
			return err
		})
		if f, err := d.Open("a", os.O_WRONLY|os.O_APPEND); err == nil {
			_, _ = f.WriteString("more\n")
			_ = f.Chmod(0o644)
			_ = f.Close()
		}
		_ = d.ChmodSocket("a.old", 0o644)
		_ = d.RenameNew("a", "a.old")
		_ = d.Remove("a.old")
	}
	close(stop)
	if n := <-stopped; n == 0 {
		t.Error("no link was made")
	}
	text, err := os.ReadFile(secret)
	info, statErr := os.Stat(secret)
	if string(text) != "text\n" || err != nil || statErr != nil || info.Mode() != 0o600 {
		t.Errorf("the secret is %q with %v; %v, %v", text, info.Mode(), err, statErr)
	}
}

// asStranger calls a function as another user, on a thread that ends with it.
func asStranger(t *testing.T, f func()) {
	runtime.LockOSThread() // and never unlocks it
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, stranger, stranger, stranger); errno != 0 {
		t.Error(errno)
	}
	f()
}

// TestBecome removes a directory that is open, and has what was opened by its path afterwards take its place.
func TestBecome(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d")
	d, err := safefile.OpenDir(path, safefile.Options{Make: 0o700})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if removed, err := d.Removed(); removed || err != nil {
		t.Fatalf("%v, %v", removed, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if removed, err := d.Removed(); !removed || err != nil {
		t.Fatalf("%v, %v", removed, err)
	}
	if _, err := d.Create("f", os.O_WRONLY, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a file in a directory that is gone: %v", err)
	}
	other, err := safefile.OpenDir(path, safefile.Options{Make: 0o700})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Become(other), other.Close()); err != nil {
		t.Fatal(err)
	}
	f, err := d.Create("f", os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := os.Stat(filepath.Join(path, "f")); err != nil {
		t.Error(err)
	}
}

package process

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/testing/await"
)

// TestRuns starts a process, tells it to end, and asks how it has.
func TestRuns(t *testing.T) {
	s, _ := newSupervisor(t, Config{})
	p := start(t, s, spec("runs"))
	if p.PID() == 0 || gone(p.PID()) {
		t.Errorf("process %d is not there", p.PID())
	}
	if err := p.CloseInput(); err != nil {
		t.Error(err)
	}
	p.wait()
	if p.Err() != nil || p.Killed() || p.Exit() != "exit status 0" {
		t.Errorf("it has ended with %v: %s", p.Err(), p.Exit())
	}
}

// TestExit says how processes have ended, and what they have printed.
func TestExit(t *testing.T) {
	s, _ := newSupervisor(t, Config{})
	failed := start(t, s, spec("exits"))
	failed.wait()
	if failed.Err() == nil || failed.Killed() || failed.Exit() != "exit status 7" {
		t.Errorf("it has failed with %v: %s", failed.Err(), failed.Exit())
	}
	if last := failed.output.Last(); len(last) != 1 || last[0] != "no license" {
		t.Errorf("it has printed %q", last)
	}
	killed := start(t, s, spec("ignores-input"))
	killed.Kill("has not answered")
	killed.Kill("a later reason")
	killed.wait()
	if !killed.Killed() || killed.Exit() != "has not answered (signal: killed)" {
		t.Errorf("it was killed: %s", killed.Exit())
	}
}

// TestDoesNotStart starts files that cannot be executed: Start returns the reason, and Close does not wait for anything.
func TestDoesNotStart(t *testing.T) {
	s, _ := newSupervisor(t, Config{})
	path := file(t, "script")
	put(t, path, "#!/nonexistent/interpreter\n", 0o700)
	p, err := s.Process(&Spec{Command: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err == nil || err.Error() != path+": no such file or directory" {
		t.Errorf("Start = %v", err)
	}
	<-p.Done()
	if p.PID() != 0 {
		t.Errorf("process %d", p.PID())
	}
	p.Close()
	if p, err = s.Process(spec("runs")); err != nil {
		t.Fatal(err)
	}
	p.Close()
}

// TestKilledBeforeStart kills a process before it is started.
func TestKilledBeforeStart(t *testing.T) {
	s, _ := newSupervisor(t, Config{})
	p, err := s.Process(spec("ignores-input"))
	if err != nil {
		t.Fatal(err)
	}
	p.Kill("")
	run(t, p).wait()
}

// TestClosed starts nothing after the supervisor was closed.
func TestClosed(t *testing.T) {
	s, _ := newSupervisor(t, Config{})
	p, err := s.Process(spec("runs"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); !errors.Is(err, ErrClosed) {
		t.Errorf("Start = %v", err)
	}
	if _, err := s.Process(spec("runs")); !errors.Is(err, ErrClosed) {
		t.Errorf("Process = %v", err)
	}
}

// TestClosedUnderProcess closes a supervisor whose process still runs: the process is killed.
func TestClosedUnderProcess(t *testing.T) {
	s, _ := newSupervisor(t, Config{})
	p := start(t, s, spec("ignores-input"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	p.wait()
	if p.Exit() != "signal: killed" {
		t.Error(p.Exit())
	}
}

// TestLeavesGroup kills a process that has left its process group.
func TestLeavesGroup(t *testing.T) {
	s, _ := newSupervisor(t, Config{})
	path := file(t, "pid")
	p := start(t, s, spec("leaves-group", path))
	if n := toldNumber(t, path); n != p.PID() {
		t.Errorf("process %d says that it is %d", p.PID(), n)
	}
	p.kill()
	if err := unix.Kill(p.PID(), 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("process %d is there: %v", p.PID(), err)
	}
}

// TestChildren checks that what a process starts ends with it: told to end, killed here, or killed by somebody else.
func TestChildren(t *testing.T) {
	for _, end := range []func(p *running) error{
		func(p *running) error { return p.CloseInput() },
		func(p *running) error { p.Kill(""); return nil },
		func(p *running) error { return unix.Kill(p.PID(), unix.SIGKILL) },
	} {
		s, _ := newSupervisor(t, Config{})
		path := file(t, "pid")
		p := start(t, s, spec("parent", path))
		child := toldNumber(t, path)
		if gone(child) {
			t.Error("the child has ended before its parent")
		}
		if err := end(p); err != nil {
			t.Fatal(err)
		}
		p.wait()
		await.Until(t, "the child has gone", func() bool { return gone(child) })
	}
}

// TestEscapedChild ends a process whose child has left the group and holds standard error open: nothing waits for it, and
// the supervisor's Close kills it.
func TestEscapedChild(t *testing.T) {
	s, _ := newSupervisor(t, Config{})
	path := file(t, "pid")
	p := start(t, s, spec("orphan", path))
	child := toldNumber(t, path)
	p.kill()
	if gone(child) {
		t.Error("the child has ended: it did not escape")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the child has gone", func() bool { return gone(child) })
}

// TestEnvironment checks that only what is named is inherited.
func TestEnvironment(t *testing.T) {
	t.Setenv("PASSED_ON", "yes")
	t.Setenv("SECRET", "no")
	s, _ := newSupervisor(t, Config{})
	path := file(t, "env")
	sp := spec("environment", path)
	sp.Env = append(sp.Env, "PASSED_ON", "NOT_SET", "LEVEL=debug")
	p, err := s.Process(sp)
	if err != nil {
		t.Fatal(err)
	}
	p.Env = []string{"FROM_CALLER=1"}
	r := run(t, p)
	if err := r.CloseInput(); err != nil {
		t.Fatal(err)
	}
	r.wait()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	env := make(map[string]string)
	for line := range strings.SplitSeq(string(text), "\n") {
		if name, value, ok := strings.Cut(line, "="); ok {
			env[name] = value
		}
	}
	dir, err := s.Dir()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"PASSED_ON": "yes", "LEVEL": "debug", "FROM_CALLER": "1", marker: dir} {
		if env[name] != want {
			t.Errorf("%s is %q, want %q", name, env[name], want)
		}
	}
	for _, name := range []string{"SECRET", "NOT_SET", "HOME", "PATH"} {
		if _, ok := env[name]; ok {
			t.Errorf("%s is inherited", name)
		}
	}
}

// TestUser runs a process as another user, in a process group of its own, from an executable with and without a checksum.
func TestUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir, err := os.MkdirTemp("/var/tmp", "pu") // others cannot enter a test's directory
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := dir + "/copy"
	sum := copyFile(t, os.Args[0], path)
	for _, pin := range []string{"", sum} {
		s, _ := newSupervisor(t, Config{})
		sp := spec("id")
		sp.Command[0], sp.SHA256, sp.User, sp.Group = path, pin, "nobody", "daemon"
		if says := check(sp); says != "" {
			t.Fatal(says)
		}
		p := start(t, s, sp)
		if err := p.CloseInput(); err != nil {
			t.Fatal(err)
		}
		p.wait()
		if want := fmt.Sprintf("%d %d 0", *sp.uid, *sp.gid); len(p.output.Last()) != 1 || p.output.Last()[0] != want {
			t.Errorf("it says %q, want %q", p.output.Last(), want)
		}
		owned := file(t, "owned")
		put(t, owned, "", 0o600)
		if err := sp.Chown(owned); err != nil {
			t.Fatal(err)
		}
		var st syscall.Stat_t
		if err := syscall.Stat(owned, &st); err != nil || st.Uid != *sp.uid || st.Gid != *sp.gid {
			t.Errorf("the file belongs to %d %d, %v", st.Uid, st.Gid, err)
		}
	}
}

// TestPrivileges reads what the kernel says of a process: no capability, no way to get one, and no descriptor but its own.
func TestPrivileges(t *testing.T) {
	leak, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer leak.Close()
	if _, err := unix.FcntlInt(leak.Fd(), unix.F_SETFD, 0); err != nil { // as if the daemon had inherited it
		t.Fatal(err)
	}
	s, _ := newSupervisor(t, Config{})
	path := file(t, "status")
	p := start(t, s, spec("status", path))
	if err := p.CloseInput(); err != nil {
		t.Fatal(err)
	}
	p.wait()
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

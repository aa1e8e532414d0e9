package process

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAdopted ends a process that has left another one behind with a session of its own, no environment, and a parent that
// has ended. Children of other code are left alone.
func TestAdopted(t *testing.T) {
	s, log := newSupervisor(t, Config{Adopt: true})
	t.Cleanup(func() { // the next tests are without
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0); err != nil {
			t.Error(err)
		}
	})
	own, err := os.StartProcess("/bin/sleep", []string{"sleep", "600"}, new(os.ProcAttr))
	if err != nil {
		t.Fatal(err)
	}
	path := file(t, "pid")
	p := start(t, s, spec("escapes", path))
	escaped := toldNumber(t, path)
	s.Reap()
	if gone(escaped) {
		t.Error("the process has ended before the one that has started it")
	}
	p.kill()
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", escaped)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the process %d is there after the one that has started it has ended: %v", escaped, err)
	}
	if !strings.Contains(log.String(), "killed what a process has left behind") {
		t.Errorf("the log says %s", log)
	}
	if err := own.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if state, err := own.Wait(); err != nil || state.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("a process of somebody else has ended with %v, %v", state, err)
	}
}

// TestAdoptedUnderNoNewPrivs kills, where every child has no_new_privs, those whose environment names this daemon, and no other.
func TestAdoptedUnderNoNewPrivs(t *testing.T) {
	var log strings.Builder
	a := &adopted{log: textLog(&log), on: true, common: true, live: make(map[int]bool), instance: "/run/pipelined/plugins/d1"}
	run := func(path string, group bool, env ...string) *exec.Cmd {
		t.Helper()
		cmd := exec.Command(path)
		cmd.Env = append(env, "LANG=C")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: group}
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		started := make(chan error)
		go func() {
			runtime.LockOSThread() // and never unlocks it
			err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
			if err == nil {
				err = cmd.Start()
			}
			started <- err
		}()
		if err := <-started; err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closeAndWait(in, cmd) })
		return cmd
	}
	ours := run("/bin/cat", true, marker+"=/run/pipelined/plugins/d1")
	other, none := run("/bin/cat", true, marker+"=/run/pipelined/plugins/d12"), run("/bin/cat", true)
	ended, endedHere := run("/bin/true", true), run("/bin/true", false)
	for _, cmd := range []*exec.Cmd{ended, endedHere} {
		if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
			t.Fatal(err)
		}
	}
	a.sweep(false)
	if err := endedHere.Wait(); err != nil {
		t.Errorf("a process of this one's group: %v", err)
	}
	if err := ended.Wait(); err == nil {
		t.Error("a process that has ended was not waited for")
	}
	a.sweep(true)
	if err := ours.Process.Signal(syscall.Signal(0)); err == nil {
		t.Error("a process of this daemon was left")
	}
	for _, cmd := range []*exec.Cmd{other, none} {
		if err := unix.Kill(cmd.Process.Pid, 0); err != nil {
			t.Errorf("a process of somebody else was killed: %v", err)
		}
	}
	if !strings.Contains(log.String(), "processes=1") {
		t.Errorf("the log says %s", log.String())
	}
	a.common = false
	if found := a.find(); len(found) != 2 {
		t.Errorf("without a common no_new_privs %d processes are adopted, want 2", len(found))
	}
}

func closeAndWait(in io.Closer, cmd *exec.Cmd) {
	_ = in.Close()
	_ = cmd.Wait() // one of them was waited for
}

// TestChildEnded sees that a child has ended, once and again, and lets it be waited for.
func TestChildEnded(t *testing.T) {
	cmd := exec.Command("/bin/true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	if !childEnded() || !childEnded() {
		t.Error("it is not seen")
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if childEnded() {
		t.Error("a child is seen that was waited for")
	}
}

package process

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rtflow/pipelined/internal/testing/await"
	"github.com/rtflow/pipelined/internal/testing/logbuffer"
)

// childArg makes the test binary one of the processes below, instead of running tests.
const childArg = "child"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == childArg {
		child(os.Args[2], os.Args[3:])
		return
	}
	goleak.VerifyTestMain(m)
}

// child does what a mode says. Unless the mode says otherwise it ends when its standard input does.
func child(mode string, args []string) {
	switch mode {
	case "runs":
	case "exits":
		fmt.Fprintln(os.Stderr, "no license")
		os.Exit(7)
	case "ignores-input":
		time.Sleep(time.Hour)
	case "prints":
		for i := range 20_000 {
			fmt.Fprintln(os.Stderr, "line", i)
		}
	case "leaves-group": // for that of the daemon, and stays
		group, err := syscall.Getpgid(os.Getppid())
		must(err)
		must(syscall.Setpgid(0, group))
		tell(args[0], os.Getpid())
		time.Sleep(time.Hour)
	case "parent": // leaves a child behind in its group
		must(command("stays", args[0]).Start())
	case "orphan": // leaves a child behind that has a session of its own and holds standard error open
		last := command("stays", args[0])
		last.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		last.Stderr = os.Stderr
		must(last.Start())
	case "escapes": // leaves a process behind that has a session of its own, no environment, and a parent that has ended
		middle := command("middle", args[0])
		middle.SysProcAttr, middle.Env = &syscall.SysProcAttr{Setsid: true}, []string{}
		must(middle.Run())
	case "middle":
		last := command("stays", args[0])
		last.SysProcAttr, last.Env = &syscall.SysProcAttr{Setsid: true}, []string{}
		must(last.Start())
		return
	case "stays":
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
		tell(args[0], os.Getpid())
		time.Sleep(time.Hour)
	case "status": // writes what the kernel says of it, and which descriptors it has
		status, err := os.ReadFile("/proc/self/status")
		must(err)
		entries, err := os.ReadDir("/proc/self/fd")
		must(err)
		for _, e := range entries {
			target, _ := os.Readlink("/proc/self/fd/" + e.Name()) // that of the listing is gone
			status = fmt.Appendf(status, "fd %s %s\n", e.Name(), target)
		}
		must(os.WriteFile(args[0], status, 0o600))
	case "environment":
		must(os.WriteFile(args[0], []byte(strings.Join(os.Environ(), "\n")), 0o600))
	case "id":
		fmt.Println(os.Getuid(), os.Getgid(), syscall.Getpgrp()-os.Getpid())
	case "eats":
		var kept [][]byte
		for {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 1
			}
			kept = append(kept, b)
			runtime.KeepAlive(kept)
		}
	case "daemon":
		daemon(args[0], args[1], args[2])
	default:
		panic(mode)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// command is the test binary as a child of a child.
func command(mode string, args ...string) *exec.Cmd {
	return exec.Command(os.Args[0], append([]string{childArg, mode}, args...)...)
}

// tell writes a number where a test waits for it.
func tell(path string, n int) {
	must(os.WriteFile(path+".new", fmt.Appendln(nil, n), 0o600))
	must(os.Rename(path+".new", path))
}

// toldNumber waits for a number in a file.
func toldNumber(t *testing.T, path string) (n int) {
	t.Helper()
	await.Until(t, "a number in "+path, func() bool {
		text, err := os.ReadFile(path)
		if err == nil {
			n, err = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		return err == nil
	})
	return n
}

// gone reports whether a process has ended; what is left of it may wait for whoever is its parent now.
func gone(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, after, _ := strings.Cut(string(text), ") ")
	return strings.HasPrefix(after, "Z") || strings.HasPrefix(after, "X")
}

func textLog(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// at is a runtime directory.
func at(dir string) func() (string, error) { return func() (string, error) { return dir, nil } }

// newSupervisor returns a supervisor with a runtime directory of its own, in which it leaves nothing, and its log.
func newSupervisor(t *testing.T, c Config) (*Supervisor, *logbuffer.Buffer) {
	t.Helper()
	dir, log := t.TempDir(), new(logbuffer.Buffer)
	c.RuntimeDir, c.Log = at(dir), textLog(log)
	s := New(c)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
	return s, log
}

// spec is the test binary in a mode.
func spec(mode string, args ...string) *Spec {
	return &Spec{
		Command: append([]string{os.Args[0], childArg, mode}, args...), Options: Options{Env: []string{"GORACE=atexit_sleep_ms=0"}},
	}
}

// running is a process whose output is read to its end.
type running struct {
	*Process
	output *Output
	reads  sync.WaitGroup
}

// start starts a process, which is closed when the test ends.
func start(t *testing.T, s *Supervisor, spec *Spec) *running {
	t.Helper()
	p, err := s.Process(spec)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, p)
}

func run(t *testing.T, p *Process) *running {
	t.Helper()
	t.Cleanup(p.Close)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	r := &running{Process: p, output: NewOutput(func(line string, _ uint64) { t.Log(line) })}
	for _, stream := range []io.Reader{p.Stdout(), p.Stderr()} {
		r.reads.Go(func() { _, _ = io.Copy(r.output.Writer(), stream) }) // until the process has ended
	}
	t.Cleanup(r.kill)
	return r
}

// wait waits until a process that was killed or told to end is gone, and its output is read.
func (r *running) wait() {
	<-r.Done()
	r.output.Free()
	r.reads.Wait()
}

func (r *running) kill() {
	r.Kill("")
	r.wait()
}

// file returns a path in a directory that exists as long as the test.
func file(t *testing.T, name string) string {
	t.Helper()
	return filepath.Join(t.TempDir(), name)
}

package collectors

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// folder returns where the executables of those paths are unpacked, or why they are not.
func folder(paths ...string) (string, string) {
	root := os.Getenv("PIPELINED_COLLECTORS")
	if root == "" {
		dir, err := os.Getwd()
		if err != nil {
			return "", err.Error()
		}
		for {
			if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
				break
			}
			if dir == filepath.Dir(dir) {
				return "", "not in the project's folders"
			}
			dir = filepath.Dir(dir)
		}
		root = filepath.Join(dir, "bin", "collectors")
	}
	for _, path := range paths {
		if _, err := os.Stat(filepath.Join(root, path)); err != nil {
			return "", err.Error() + " (make collectors)"
		}
	}
	return root, ""
}

// Require makes sure that rsyslogd and syslog-ng are there: else the test is skipped, or fails where they must be.
func Require(tb testing.TB) (root string) {
	tb.Helper()
	return require(tb, "usr/sbin/rsyslogd", "usr/sbin/syslog-ng")
}

// Promtool returns the path of promtool: the one that is installed, or one that is unpacked. Without one the test is skipped, or fails
// where it must be.
func Promtool(tb testing.TB) string {
	tb.Helper()
	if path, err := exec.LookPath("promtool"); err == nil {
		return path
	}
	return filepath.Join(require(tb, "usr/bin/promtool"), "usr/bin/promtool")
}

func require(tb testing.TB, paths ...string) (root string) {
	tb.Helper()
	root, reason := folder(paths...)
	switch {
	case reason == "":
	case os.Getenv("PIPELINED_REQUIRE_COLLECTORS") == "1":
		tb.Fatalf("this environment must have the collectors: %s", reason)
	default:
		tb.Skipf("needs %s: %s", strings.Join(paths, " and "), reason)
	}
	return root
}

// Daemon is a collector.
type Daemon struct {
	Dir string // its files; the configuration may write here

	tb   testing.TB
	make func() *exec.Cmd
	cmd  *exec.Cmd
	log  string
}

// Rsyslog prepares rsyslogd with that configuration, in which DIR stands for the daemon's folder. Start starts it.
func Rsyslog(tb testing.TB, config string) *Daemon {
	tb.Helper()
	root := Require(tb)
	d := newDaemon(tb, "rsyslog.conf", config)
	libraries := only(tb, root, "usr/lib/*-linux-gnu*")
	d.make = func() *exec.Cmd {
		cmd := exec.Command(filepath.Join(root, "usr/sbin/rsyslogd"), "-n", "-iNONE", "-f", filepath.Join(d.Dir, "rsyslog.conf"),
			"-M", filepath.Join(libraries, "rsyslog"))
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+libraries+":"+strings.Replace(libraries, "/usr/lib/", "/lib/", 1))
		return cmd
	}
	return d
}

// SyslogNG prepares syslog-ng in the same way.
func SyslogNG(tb testing.TB, config string) *Daemon {
	tb.Helper()
	root := Require(tb)
	d := newDaemon(tb, "syslog-ng.conf", config)
	libraries, modules := only(tb, root, "usr/lib/*-linux-gnu*"), only(tb, root, "usr/lib/syslog-ng/3*")
	d.make = func() *exec.Cmd {
		in := func(name string) string { return filepath.Join(d.Dir, name) }
		cmd := exec.Command(filepath.Join(root, "usr/sbin/syslog-ng"), "-F", "--no-caps", "-f", in("syslog-ng.conf"), "-R", in("persist"),
			"-p", in("pid"), "-c", in("ctl"), "--module-path="+modules)
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+libraries+":"+strings.Replace(libraries, "/usr/lib/", "/lib/", 1)+":"+
			filepath.Dir(modules)+":"+modules)
		return cmd
	}
	return d
}

// Ulogd prepares ulogd with that configuration, in which PLUGINS stands for the folder of its plugins, too.
func Ulogd(tb testing.TB, config string) *Daemon {
	tb.Helper()
	root := require(tb, "usr/sbin/ulogd")
	libraries := only(tb, root, "usr/lib/*-linux-gnu*")
	d := newDaemon(tb, "ulogd.conf", strings.ReplaceAll(config, "PLUGINS", filepath.Join(libraries, "ulogd")))
	d.make = func() *exec.Cmd {
		cmd := exec.Command(filepath.Join(root, "usr/sbin/ulogd"), "--configfile", d.Path("ulogd.conf"))
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+libraries+":"+strings.Replace(libraries, "/usr/lib/", "/lib/", 1))
		return cmd
	}
	return d
}

func newDaemon(tb testing.TB, name, config string) *Daemon {
	tb.Helper()
	d := &Daemon{Dir: tb.TempDir(), tb: tb}
	d.log = filepath.Join(d.Dir, "daemon.log")
	config = strings.ReplaceAll(config, "DIR", d.Dir)
	if err := os.WriteFile(filepath.Join(d.Dir, name), []byte(config), 0o600); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if d.cmd != nil {
			d.Kill()
		}
		if tb.Failed() {
			tb.Logf("%s:\n%s", name, d.Log())
		}
	})
	return d
}

// only returns the one file that matches.
func only(tb testing.TB, root, pattern string) string {
	tb.Helper()
	found, err := filepath.Glob(filepath.Join(root, pattern))
	if err != nil || len(found) != 1 {
		tb.Fatalf("%s: %v, %v", pattern, found, err)
	}
	return found[0]
}

// Check lets the daemon read its configuration, and only that.
func (d *Daemon) Check() error {
	cmd := d.make()
	flag := "-N1"
	if strings.HasSuffix(cmd.Path, "syslog-ng") {
		flag = "--syntax-only"
	}
	cmd.Args = append(cmd.Args, flag)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w:\n%s", err, out)
	}
	return nil
}

// Start starts the daemon and waits until it listens on those ports (of TCP, or of UDP) or sockets.
func (d *Daemon) Start(listens ...string) {
	d.tb.Helper()
	d.cmd = d.make()
	out, err := os.OpenFile(d.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		d.tb.Fatal(err)
	}
	defer out.Close()
	d.cmd.Stdout, d.cmd.Stderr = out, out
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := d.cmd.Start(); err != nil {
		d.tb.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, l := range listens {
		for !listening(l) {
			if time.Now().After(deadline) {
				d.tb.Fatalf("it does not listen on %s:\n%s", l, d.Log())
			}
			<-tick.C
		}
	}
}

// Pid returns the process id.
func (d *Daemon) Pid() int { return d.cmd.Process.Pid }

// Kill kills the daemon and waits for its end.
func (d *Daemon) Kill() {
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait()
	d.cmd = nil
}

// Signal sends a signal, and waits for SIGSTOP to have stopped every thread.
func (d *Daemon) Signal(sig syscall.Signal) {
	d.tb.Helper()
	if err := d.cmd.Process.Signal(sig); err != nil {
		d.tb.Fatal(err)
	}
	if sig != syscall.SIGSTOP {
		return
	}
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !d.stopped() {
		if time.Now().After(deadline) {
			d.tb.Fatal("the daemon does not stop")
		}
		<-tick.C
	}
}

func (d *Daemon) stopped() bool {
	stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", d.Pid()))
	if err != nil {
		return false
	}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // the thread has ended
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		if !strings.HasPrefix(rest, "T") {
			return false
		}
	}
	return true
}

// Log returns what the daemon has said.
func (d *Daemon) Log() string {
	text, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Path returns the path of a file of the daemon.
func (d *Daemon) Path(name string) string { return filepath.Join(d.Dir, name) }

// Lines returns the whole lines of a file of the daemon.
func (d *Daemon) Lines(name string) (lines []string) {
	d.tb.Helper()
	f, err := os.Open(d.Path(name))
	if err != nil {
		if os.IsNotExist(err) {
			return nil
		}
		d.tb.Fatal(err)
	}
	defer f.Close()
	in := bufio.NewReader(f)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return lines
		}
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
}

// CPU returns the CPU time, user and system, that the daemon has used.
func (d *Daemon) CPU() time.Duration {
	d.tb.Helper()
	return CPU(d.tb, d.Pid())
}

// CPU returns the CPU time, user and system, that a process has used.
func CPU(tb testing.TB, pid int) time.Duration {
	tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		tb.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	var ticks int64
	for _, field := range []int{11, 12} { // utime and stime of proc(5), counted behind the name
		n, err := strconv.ParseInt(f[field], 10, 64)
		if err != nil {
			tb.Fatal(err)
		}
		ticks += n
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every architecture that Go knows
	return time.Duration(ticks) * tick
}

// Feed writes messages to a collector, octet-counted, over and over until there were n, and returns how many bytes those had
// without their framing.
func Feed(tb testing.TB, network, address string, messages []string, n int) (bytes int) {
	tb.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	var all []byte
	var ends []int
	for _, m := range messages {
		all = append(strconv.AppendInt(all, int64(len(m)), 10), ' ')
		all = append(all, m...)
		ends = append(ends, len(all))
	}
	for n > 0 {
		count := min(n, len(messages))
		if _, err := c.Write(all[:ends[count-1]]); err != nil {
			tb.Fatal(err)
		}
		for _, m := range messages[:count] {
			bytes += len(m)
		}
		n -= count
	}
	return bytes
}

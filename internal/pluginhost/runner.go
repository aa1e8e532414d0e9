package pluginhost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"
	"golang.org/x/sys/unix"
)

// lingering is how long the output of a process that has ended is still read, should something else hold it open.
const lingering = 100 * time.Millisecond

// command runs an executable for go-plugin, in a process group of its own that ends with it.
type command struct {
	cmd     *exec.Cmd
	dir     string // of its socket
	where   *instance
	adopted *adopted
	confine func(pid int) error // puts the process under its limits
	prints  io.Writer           // what it says on standard output after the handshake

	stdin          *os.File // our end: its closing tells the plugin to end
	stdout, stderr *os.File // our ends

	mu     sync.Mutex
	pid    int
	reaped bool
	doomed bool          // it was to be killed
	reason string        // why, "" if that is told elsewhere
	done   chan struct{} // closed when the process is gone
	err    error         // how it ended, valid after done
}

var _ runner.Runner = (*command)(nil)

// Start starts the process on the thread that lives as long as the host.
func (c *command) Start(context.Context) error {
	if err := c.spawn(); err != nil {
		c.closeOurs()
		close(c.done)
		return err
	}
	go c.reap()
	if err := c.confine(c.pid); err != nil {
		c.kill("could not be put under its limits")
		<-c.done
		return err
	}
	c.mu.Lock()
	doomed := c.doomed
	c.mu.Unlock()
	if doomed { // before there was something to kill
		c.kill("")
	}
	return nil
}

func (c *command) spawn() (err error) {
	var theirs [3]*os.File
	defer func() {
		for _, f := range theirs {
			if f != nil {
				_ = f.Close() // the child has its own
			}
		}
	}()
	if theirs[0], c.stdin, err = os.Pipe(); err != nil {
		return err
	}
	if c.stdout, theirs[1], err = os.Pipe(); err != nil {
		return err
	}
	if c.stderr, theirs[2], err = os.Pipe(); err != nil {
		return err
	}
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = theirs[0], theirs[1], theirs[2]
	err = c.adopted.start(c.where.path, func() (int, error) {
		if err := c.where.do(c.cmd.Start); err != nil {
			return 0, err
		}
		return c.cmd.Process.Pid, nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", c.cmd.Args[0], unwrapPath(err))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pid = c.cmd.Process.Pid
	return nil
}

// reap waits for the process to end, kills what is left of its group, and only then lets the kernel forget it: until then its number,
// and that of the group, cannot be somebody else's.
func (c *command) reap() {
	for {
		err := unix.Waitid(unix.P_PID, c.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	c.mu.Lock()
	_ = unix.Kill(-c.pid, unix.SIGKILL) // there is no such group if the process has left it, alone
	err := c.cmd.Wait()
	c.reaped = true
	c.err = err
	c.mu.Unlock()
	c.adopted.ended(c.pid)
	c.adopted.sweep(true)
	// A child that left the group may hold the pipes open for ever.
	deadline := time.Now().Add(lingering)
	_, _ = c.stdout.SetReadDeadline(deadline), c.stderr.SetReadDeadline(deadline) // pipes take deadlines
	close(c.done)
}

// kill ends the process and its group. The first reason is kept.
func (c *command) kill(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doomed = true
	if c.reason == "" {
		c.reason = reason
	}
	if c.pid > 0 && !c.reaped {
		_ = unix.Kill(-c.pid, unix.SIGKILL) // it may have ended meanwhile
		_ = unix.Kill(c.pid, unix.SIGKILL)  // it may have left its group
	}
}

// Kill is go-plugin's, which calls it when the handshake has failed. What has failed is the better reason.
func (c *command) Kill(context.Context) error {
	c.kill("")
	return nil
}

// Wait waits for the process to end.
func (c *command) Wait(context.Context) error {
	<-c.done
	return c.err
}

// wasKilled reports whether the host has killed the process for a reason.
func (c *command) wasKilled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reason != ""
}

// how says how the process has ended, after it has.
func (c *command) how() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	state := "exit status 0"
	if c.err != nil {
		state = c.err.Error()
	}
	if c.reason != "" {
		return c.reason + " (" + state + ")"
	}
	return state
}

// closeOurs closes our ends of the pipes.
func (c *command) closeOurs() {
	for _, f := range []*os.File{c.stdin, c.stdout, c.stderr} {
		if f != nil {
			_ = f.Close() // nothing is written to them
		}
	}
}

// Stdout is where the handshake comes from, in a line; what follows goes to the log.
func (c *command) Stdout() io.ReadCloser { return &firstLine{ReadCloser: c.stdout, rest: c.prints} }

// firstLine is a stream up to the end of its first line. The read that follows copies the rest to a writer before it says that the
// stream has ended: go-plugin reads until then, but gives up at a long line.
type firstLine struct {
	io.ReadCloser

	rest io.Writer
	past bool
}

func (f *firstLine) Read(p []byte) (int, error) {
	if f.past {
		if _, err := io.Copy(f.rest, f.ReadCloser); err != nil {
			return 0, err
		}
		return 0, io.EOF
	}
	n, err := f.ReadCloser.Read(p)
	line, rest, past := bytes.Cut(p[:n], []byte{'\n'})
	if !past {
		return n, err
	}
	f.past = true
	_, _ = f.rest.Write(rest) // it takes everything
	return len(line) + 1, nil
}

// Stderr is what goes to the log.
func (c *command) Stderr() io.ReadCloser { return c.stderr }

// Name is for go-plugin's log.
func (c *command) Name() string { return c.cmd.Args[0] }

// ID is the number of the process.
func (c *command) ID() string { return strconv.Itoa(c.number()) }

func (c *command) number() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pid
}

// Diagnose has nothing to add.
func (c *command) Diagnose(context.Context) string { return "" }

// PluginToHost takes the address that the plugin says it listens on: a socket in the directory it was given, nothing else.
func (c *command) PluginToHost(network, address string) (string, string, error) {
	if network != "unix" || filepath.Dir(filepath.Clean(address)) != c.dir {
		return "", "", fmt.Errorf("the plugin listens on %s %q, which is not a Unix socket in %s ($PLUGIN_UNIX_SOCKET_DIR)", network, address, c.dir)
	}
	return network, address, nil
}

// HostToPlugin is not needed: the host listens on nothing.
func (c *command) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// attributes are how a process differs from an ordinary child.
func attributes(o *options) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if o.uid != nil || o.gid != nil {
		c := &syscall.Credential{Uid: uint32(os.Getuid()), Gid: uint32(os.Getgid())}
		if o.uid != nil {
			c.Uid = *o.uid
		}
		if o.gid != nil {
			c.Gid = *o.gid
		}
		a.Credential = c
	}
	return a
}

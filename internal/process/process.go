package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// lingering is how long the output of a process that has ended is still read, should something else hold it open. What is not
// read by then is lost: it is long enough for a full pipe at the limit of an [Output], and for a reader on a busy machine.
const lingering = time.Second

// Process is one run of an executable, in a process group of its own that ends with it. [Supervisor.Process] makes it.
//
// Start is called at most once, and Close after it has returned; all other methods are safe for concurrent use. Those that
// say how the process has ended are called after Done.
type Process struct {
	Env   []string // variables beside those of the options; set before Start
	Group *Group   // its control group, nil is none; set before Start

	spec     *Spec
	instance *instance
	adopted  *adopted
	pinned   *os.File // what is started, if there is a checksum
	cmd      *exec.Cmd

	stdin, stdout, stderr *os.File // the daemon's ends; nil before Start

	mu     sync.Mutex
	pid    int           // 0 before the process
	begun  bool          // Start was called
	reaped bool          // the kernel has forgotten the process
	doomed bool          // Kill was called
	reason string        // the first that Kill was called with
	done   chan struct{} // closed when the process is gone, or could not be started
	err    error         // how the process has ended; valid after done
}

// Start starts the process and puts it into its control group.
func (p *Process) Start() error {
	p.mu.Lock()
	p.begun = true
	p.mu.Unlock()
	err := p.spawn()
	_ = p.pinned.Close() // the process has its own; nil is no file
	if err != nil {
		p.closePipes()
		close(p.done)
		return err
	}
	go p.reap()
	if err := p.Group.enter(p.pid); err != nil {
		p.Kill("could not be put under its limits")
		<-p.done
		return err
	}
	p.mu.Lock()
	doomed := p.doomed
	p.mu.Unlock()
	if doomed { // before there was a process
		p.Kill("")
	}
	return nil
}

func (p *Process) spawn() (err error) {
	p.cmd = p.spec.cmd(p.pinned)
	p.cmd.Env = append(append(p.spec.environment(), p.Env...), marker+"="+p.instance.path)
	p.cmd.SysProcAttr = p.spec.attributes()
	var theirs [3]*os.File
	defer func() {
		for _, f := range theirs {
			if f != nil {
				_ = f.Close() // the child has its own
			}
		}
	}()
	if theirs[0], p.stdin, err = os.Pipe(); err != nil {
		return err
	}
	if p.stdout, theirs[1], err = os.Pipe(); err != nil {
		return err
	}
	if p.stderr, theirs[2], err = os.Pipe(); err != nil {
		return err
	}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = theirs[0], theirs[1], theirs[2]
	err = p.adopted.start(p.instance.path, func() (int, error) {
		if err := p.instance.do(p.cmd.Start); err != nil {
			return 0, err
		}
		return p.cmd.Process.Pid, nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", p.spec.Command[0], withoutPath(err))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pid = p.cmd.Process.Pid
	return nil
}

// reap waits for the process to end, kills what is left of its group, and only then lets the kernel forget the process: until
// then its number, which is that of the group too, cannot be another's.
func (p *Process) reap() {
	for {
		err := unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.mu.Lock()
	_ = unix.Kill(-p.pid, unix.SIGKILL) // there is no such group if the process has left it, alone
	err := p.cmd.Wait()
	p.reaped = true
	p.err = err
	p.mu.Unlock()
	p.adopted.ended(p.pid)
	p.adopted.sweep(true)
	// A child that left the group may hold the pipes open for ever.
	deadline := time.Now().Add(lingering)
	_, _ = p.stdout.SetReadDeadline(deadline), p.stderr.SetReadDeadline(deadline) // pipes take deadlines
	close(p.done)
}

// Kill ends the process and its group, or the process as soon as it is started. The first reason that is not empty is kept
// for Exit and Killed.
func (p *Process) Kill(reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doomed = true
	if p.reason == "" {
		p.reason = reason
	}
	if p.pid > 0 && !p.reaped {
		_ = unix.Kill(-p.pid, unix.SIGKILL) // it may have ended meanwhile
		_ = unix.Kill(p.pid, unix.SIGKILL)  // it may have left its group
	}
}

// Close kills the process if it has not ended, waits until it is gone, and closes the pipes.
func (p *Process) Close() {
	p.Kill("")
	if !p.begun {
		_ = p.pinned.Close() // nil is no file
		return
	}
	<-p.done
	p.closePipes()
}

func (p *Process) closePipes() {
	for _, f := range []*os.File{p.stdin, p.stdout, p.stderr} {
		_ = f.Close() // nothing is written to them; nil is no file
	}
}

// CloseInput closes the standard input of the process, which tells it to end.
func (p *Process) CloseInput() error { return p.stdin.Close() }

// Stdout returns what the process prints on standard output. It is read until its end.
func (p *Process) Stdout() io.ReadCloser { return p.stdout }

// Stderr returns what the process prints on standard error. It is read until its end.
func (p *Process) Stderr() io.ReadCloser { return p.stderr }

// PID returns the number of the process, 0 if there is none yet.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid
}

// Done returns a channel that is closed when the process is gone, or could not be started.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err returns what the process has ended with, nil for exit status 0.
func (p *Process) Err() error { return p.err }

// Killed reports whether the process was killed for a reason.
func (p *Process) Killed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reason != ""
}

// Exit says how the process has ended.
func (p *Process) Exit() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	state := "exit status 0"
	if p.err != nil {
		state = p.err.Error()
	}
	if p.reason != "" {
		return p.reason + " (" + state + ")"
	}
	return state
}

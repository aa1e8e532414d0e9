package process

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
)

// ErrClosed is the error of whatever needs a process after the supervisor was closed.
var ErrClosed = errors.New("the daemon stops")

// Config says what a supervisor is made from.
type Config struct {
	Log *slog.Logger // nil discards
	// RuntimeDir returns the directory in which each daemon has one of its own. It is called when that is needed first.
	RuntimeDir func() (string, error)
	// SocketDir begins the names of directories that the caller makes in the daemon's own. They hold sockets only; a number
	// follows in their names. A sweep removes them, and reports anything else as left in place.
	SocketDir string
	// Adopt makes this process the parent of whatever a process leaves behind (PR_SET_CHILD_SUBREAPER), so that it can be
	// found and killed. It is for a program that starts no other processes.
	Adopt bool
	// Proc is where proc(5) says which control groups there are; "" is /proc. For tests.
	Proc string
}

// A Supervisor starts processes. Before the first one it creates and starts nothing. Its methods are safe for concurrent use.
type Supervisor struct {
	log     *slog.Logger
	config  Config
	groups  cgroups
	adopted *adopted

	mu       sync.Mutex
	instance *instance // nil until it is needed first
	closed   bool
}

// New returns a supervisor.
func New(c Config) *Supervisor {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Proc == "" {
		c.Proc = "/proc"
	}
	return &Supervisor{log: c.Log, config: c, groups: cgroups{proc: c.Proc}, adopted: newAdopted(c.Adopt, c.Log)}
}

// Dir returns the directory of this daemon. The first call creates it.
func (s *Supervisor) Dir() (string, error) {
	in, err := s.open()
	if err != nil {
		return "", err
	}
	return in.path, nil
}

func (s *Supervisor) open() (*instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if s.instance != nil {
		return s.instance, nil
	}
	base, err := s.config.RuntimeDir()
	if err != nil {
		return nil, err
	}
	s.instance, err = newInstance(base)
	return s.instance, err
}

// Process checks the executable of a spec and returns a process to start, which the caller closes. The spec does not change
// until then.
func (s *Supervisor) Process(spec *Spec) (*Process, error) {
	in, err := s.open()
	if err != nil {
		return nil, err
	}
	pinned, err := spec.open()
	if err != nil {
		return nil, err
	}
	return &Process{spec: spec, instance: in, adopted: s.adopted, pinned: pinned, done: make(chan struct{})}, nil
}

// Group makes the control group for the processes of a component, with the limits that the options set. Without limits it
// returns nil, which limits nothing.
func (s *Supervisor) Group(component string, o *Options) (*Group, error) {
	if o.Memory == 0 && o.CPU == 0 {
		return nil, nil
	}
	in, err := s.open()
	if err != nil {
		return nil, err
	}
	return s.groups.create(groupName(in.path)+component, int64(o.Memory), o.CPU)
}

// groupName returns what the names of a daemon's control groups begin with.
func groupName(instance string) string { return groupPrefix + filepath.Base(instance) + "-" }

// Reap waits for what processes have left behind and has ended meanwhile. It does not block. A supervisor that adopts needs
// it from time to time.
func (s *Supervisor) Reap() { s.adopted.sweep(false) }

// Sweep removes what daemons that are gone have left behind: processes, sockets, control groups and directories.
func (s *Supervisor) Sweep() {
	base, err := s.config.RuntimeDir()
	if err != nil {
		return // without a runtime directory nothing was left in it; starting a process returns the error
	}
	sw := sweeper{log: s.log, groups: s.groups, sockets: numbered(s.config.SocketDir)}
	if err := sw.sweep(base); err != nil {
		s.log.Warn("not everything that daemons have left behind could be removed", "err", err)
	}
}

// Close kills what processes have left behind, and removes the daemon's directory. Every process has been closed before.
func (s *Supervisor) Close() error {
	s.mu.Lock()
	in := s.instance
	s.closed, s.instance = true, nil
	s.mu.Unlock()
	if in == nil {
		return nil
	}
	s.adopted.sweep(true)
	_, err := killMarked(in.path) // children that have left their process group
	if err != nil {
		err = fmt.Errorf("what processes have left behind: %w", err)
	}
	return errors.Join(err, in.close())
}

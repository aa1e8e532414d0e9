package process

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// adopted finds the processes that a plugin or any other started process has left behind, whose parents have ended and which
// have left its group. Whatever else they do, such as to clear their environment or to begin a session, the kernel makes
// them children of this process.
//
// A child of this process is one of them if it is neither a started process nor in the group of one that lives, and has
// what confineThread gives to every started process and nobody can give up: no_new_privs. So children that other code in
// this process has started are left alone. Where all of this process is under no_new_privs, as NoNewPrivileges= of a
// systemd unit has it, those have it too: there a child is adopted only if its environment or its control group says that
// it is one of ours. The environment of one that has ended cannot be read: it is waited for unless it is in the group of
// this process, where no started process is.
type adopted struct {
	log    *slog.Logger
	on     bool
	common bool // every child has no_new_privs, not only what is started here

	mu       sync.Mutex
	live     map[int]bool // started processes, which are the leaders of their groups
	instance string       // the daemon's directory; "" before the first process
}

func newAdopted(on bool, log *slog.Logger) *adopted {
	a := &adopted{log: log, live: make(map[int]bool)}
	if !on || os.Getpid() == 1 { // the first process of a container gets the orphans of everybody
		return a
	}
	own, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) // of a thread that starts no processes
	a.common = err != nil || own != 0
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		log.Warn("what processes leave behind is found by its environment only", "err", err)
		return a
	}
	a.on = true
	return a
}

// start calls a function that starts a process for a daemon's directory and returns its number.
func (a *adopted) start(instance string, start func() (pid int, err error)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	pid, err := start()
	if err == nil {
		a.live[pid], a.instance = true, instance
	}
	return err
}

// ended says that a started process has ended and was waited for.
func (a *adopted) ended(pid int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.live, pid)
}

// sweep waits for the adopted processes that have ended. With kill it kills the others first, and whatever those leave behind.
func (a *adopted) sweep(kill bool) {
	if !a.on || !kill && !childEnded() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	killed := 0
	for range maxGenerations {
		found := a.find()
		for _, pid := range found {
			options := unix.WEXITED
			if kill && unix.Kill(pid, unix.SIGKILL) == nil { // a child keeps its number until it is waited for, here
				killed++
			} else {
				options |= unix.WNOHANG // it may be another user's
			}
			for unix.Waitid(unix.P_PID, pid, nil, options, nil) == unix.EINTR {
			}
		}
		if !kill || len(found) == 0 {
			break
		}
	}
	if killed > 0 {
		a.log.Warn("killed what a process has left behind", "processes", killed)
	}
}

// childEnded reports whether a child of this process has ended and was not waited for. It does not wait for it.
func childEnded() bool {
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err == nil && info.Signo != 0
		}
	}
}

// maxGenerations bounds how often sweep looks for what the processes have left behind that it has just killed.
const maxGenerations = 1000

// find returns the children of this process that are adopted.
func (a *adopted) find() (pids []int) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil // the pattern is valid
	}
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || a.live[pid] {
			continue
		}
		state, parent, group := family(dir)
		if parent != os.Getpid() || a.live[group] || !noNewPrivs(dir) {
			continue
		}
		if !a.common || a.ours(dir) || state == "Z" && group != unix.Getpgrp() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// ours reports whether the environment or the control group of a process says that this daemon has started it.
func (a *adopted) ours(dir string) bool {
	if a.instance == "" {
		return false
	}
	if marked(dir, a.instance) {
		return true
	}
	groups, err := os.ReadFile(filepath.Join(dir, "cgroup"))
	return err == nil && bytes.Contains(groups, []byte("/"+groupName(a.instance)))
}

// family returns the state, the parent and the process group of a process, 0 if it is gone (proc(5), stat).
func family(dir string) (state string, parent, group int) {
	text, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return "", 0, 0
	}
	_, fields, _ := strings.Cut(string(text[max(0, bytes.LastIndexByte(text, ')')):]), ") ")
	if _, err := fmt.Sscan(fields, &state, &parent, &group); err != nil {
		return "", 0, 0
	}
	return state, parent, group
}

func noNewPrivs(dir string) bool {
	text, err := os.ReadFile(filepath.Join(dir, "status"))
	return err == nil && bytes.Contains(text, []byte("\nNoNewPrivs:\t1\n"))
}

package pluginhost

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// adopted are processes that plugins have left behind: their parents have ended, and they have left the group of their plugin. Whatever
// else they do, such as to clear their environment or to begin a session, the kernel makes them children of this process.
//
// A child of this process is one of them if it is not a plugin's process, nor in the group of one that lives, and has what
// confineThread gives to plugins and nobody can give up: no_new_privs. So children that other code in this process has started
// are left alone, unless all of the process is under no_new_privs: then there must be none.
type adopted struct {
	log *slog.Logger
	on  bool

	mu   sync.Mutex
	live map[int]bool // processes of plugins, which are the leaders of their groups
}

func newAdopted(on bool, log *slog.Logger) *adopted {
	a := &adopted{log: log, live: make(map[int]bool)}
	if !on {
		return a
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		log.Warn("what plugins leave behind is found by its environment only", "err", err)
		return a
	}
	a.on = true
	return a
}

// start calls a function that starts a plugin's process and returns its number.
func (a *adopted) start(start func() (pid int, err error)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	pid, err := start()
	if err == nil {
		a.live[pid] = true
	}
	return err
}

// ended says that a plugin's process has ended and was waited for.
func (a *adopted) ended(pid int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.live, pid)
}

// sweep waits for the adopted processes that have ended. With kill it ends the others before, and whatever those leave behind.
func (a *adopted) sweep(kill bool) {
	if !a.on {
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
		a.log.Warn("killed what a plugin has left behind", "processes", killed)
	}
}

// maxGenerations is how often it is looked for what those have left behind that were just killed.
const maxGenerations = 1000

// find returns the children of this process that are adopted.
func (a *adopted) find() (pids []int) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil // the pattern is a good one
	}
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || a.live[pid] {
			continue
		}
		parent, group := family(dir)
		if parent == os.Getpid() && !a.live[group] && noNewPrivs(dir) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// family returns the parent and the process group of a process, 0 if it is gone (proc(5), stat).
func family(dir string) (parent, group int) {
	text, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return 0, 0
	}
	_, fields, _ := strings.Cut(string(text[max(0, bytes.LastIndexByte(text, ')')):]), ") ")
	var state string
	if _, err := fmt.Sscan(fields, &state, &parent, &group); err != nil {
		return 0, 0
	}
	return parent, group
}

func noNewPrivs(dir string) bool {
	text, err := os.ReadFile(filepath.Join(dir, "status"))
	return err == nil && bytes.Contains(text, []byte("\nNoNewPrivs:\t1\n"))
}

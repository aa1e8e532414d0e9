package process

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// groupPrefix begins the names of control groups; the name of the daemon's directory follows.
const groupPrefix = "pipelined-"

// cpuPeriod is over how many microseconds a share of the processors is meant: the kernel's default.
const cpuPeriod = 100_000

// cgroups finds where this process may have control groups of its own.
type cgroups struct{ proc string } // where proc(5) is: "/proc"

// Group is a control group: one directory in version 2, one for each controller in version 1. A nil Group limits nothing.
type Group struct{ dirs []string }

// limit is a file of a control group and what to write there.
type limit struct{ controller, file, value string }

// create makes a control group with these limits; 0 is none.
func (c cgroups) create(name string, memory int64, cpu float64) (*Group, error) {
	quota := strconv.FormatInt(int64(cpu*cpuPeriod), 10)
	if dir, err := c.unified(); err == nil {
		if filepath.Base(dir) == daemonGroup { // what is delegated is the group around it
			dir = filepath.Dir(dir)
		}
		var limits []limit
		if memory > 0 {
			limits = append(limits, limit{"memory", "memory.max", strconv.FormatInt(memory, 10)})
		}
		if cpu > 0 {
			limits = append(limits, limit{"cpu", "cpu.max", quota + " " + strconv.Itoa(cpuPeriod)})
		}
		if hasControllers(dir, limits) {
			return createUnified(dir, name, limits)
		}
	}
	var limits []limit
	if memory > 0 {
		limits = append(limits, limit{"memory", "memory.limit_in_bytes", strconv.FormatInt(memory, 10)})
	}
	if cpu > 0 {
		limits = append(limits, limit{"cpu", "cpu.cfs_quota_us", quota})
	}
	g := new(Group)
	for _, l := range limits {
		dir, err := c.controller(l.controller)
		if err == nil {
			err = g.add(filepath.Join(dir, name), l)
		}
		if err != nil {
			g.Remove()
			return nil, fmt.Errorf("control group for %s: %w", l.controller, err)
		}
	}
	return g, nil
}

// createUnified makes a group of version 2. A group with processes in it cannot have groups with limits below it: if this
// process is in the way it moves to a group beside the new one.
func createUnified(own, name string, limits []limit) (*Group, error) {
	var enable []string
	for _, l := range limits {
		enable = append(enable, "+"+l.controller)
	}
	control := filepath.Join(own, "cgroup.subtree_control")
	err := write(control, strings.Join(enable, " "))
	if errors.Is(err, unix.EBUSY) {
		beside := filepath.Join(own, daemonGroup)
		if err = mkdir(beside); err == nil {
			err = write(filepath.Join(beside, "cgroup.procs"), strconv.Itoa(os.Getpid()))
		}
		if err == nil {
			err = write(control, strings.Join(enable, " "))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("control group: %w", err)
	}
	g := new(Group)
	for _, l := range limits {
		if err := g.add(filepath.Join(own, name), l); err != nil {
			g.Remove()
			return nil, fmt.Errorf("control group: %w", err)
		}
	}
	return g, nil
}

// daemonGroup is where the daemon itself is, as DelegateSubgroup= of a systemd unit says.
const daemonGroup = "daemon"

// add makes a directory of the group, if it is not there yet, and sets a limit in it.
func (g *Group) add(dir string, l limit) error {
	if !slices.Contains(g.dirs, dir) {
		if err := mkdir(dir); err != nil {
			return err
		}
		g.dirs = append(g.dirs, dir)
	}
	return write(filepath.Join(dir, l.file), l.value)
}

// enter puts a process into the group; its children will be in it.
func (g *Group) enter(pid int) error {
	if g == nil {
		return nil
	}
	for _, dir := range g.dirs {
		if err := write(filepath.Join(dir, "cgroup.procs"), strconv.Itoa(pid)); err != nil {
			return fmt.Errorf("control group: %w", err)
		}
	}
	return nil
}

// Remove removes the group. Its processes have been closed, and are gone from it a moment later.
func (g *Group) Remove() {
	if g == nil {
		return
	}
	for _, dir := range g.dirs {
		removeGroup(dir)
	}
}

// removeGroup removes a control group, and kills what has escaped into no other (version 2).
func removeGroup(dir string) {
	_ = write(filepath.Join(dir, "cgroup.kill"), "1") // not in version 1, nor before Linux 5.14
	for range 50 {
		if err := unix.Rmdir(dir); !errors.Is(err, unix.EBUSY) {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// sweep removes the groups whose names begin so.
func (c cgroups) sweep(prefix string) {
	dirs := make(map[string]bool)
	if dir, err := c.unified(); err == nil {
		dirs[dir], dirs[filepath.Dir(dir)] = true, true
	}
	for _, name := range []string{"memory", "cpu"} {
		if dir, err := c.controller(name); err == nil {
			dirs[dir] = true
		}
	}
	for dir := range dirs {
		found, _ := filepath.Glob(filepath.Join(dir, prefix+"*")) // the pattern is valid
		for _, group := range found {
			removeGroup(group)
		}
	}
}

func mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// write writes a file of the control group's file system, which is there already.
func write(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

func hasControllers(dir string, limits []limit) bool {
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return false
	}
	have := strings.Fields(string(text))
	return !slices.ContainsFunc(limits, func(l limit) bool { return !slices.Contains(have, l.controller) })
}

// unified returns this process's group of version 2.
func (c cgroups) unified() (string, error) {
	return c.find("cgroup2", "", func(controllers string) bool { return controllers == "" })
}

// controller returns this process's group of a controller of version 1.
func (c cgroups) controller(name string) (string, error) {
	return c.find("cgroup", name, func(controllers string) bool {
		return slices.Contains(strings.Split(controllers, ","), name)
	})
}

// find returns the directory of this process's group in the hierarchy that is mounted with that type and option
// (proc(5), mountinfo) and that its line in /proc/self/cgroup is of (cgroups(7)).
func (c cgroups) find(kind, option string, is func(controllers string) bool) (string, error) {
	mount, root, err := c.mount(kind, option)
	if err != nil {
		return "", err
	}
	f, err := os.Open(filepath.Join(c.proc, "self/cgroup"))
	if err != nil {
		return "", err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); { // "4:memory:/user.slice"
		parts := strings.SplitN(lines.Text(), ":", 3)
		if len(parts) == 3 && is(parts[1]) {
			path, ok := strings.CutPrefix(parts[2], strings.TrimSuffix(root, "/"))
			if !ok {
				path = parts[2]
			}
			return filepath.Join(mount, path), nil
		}
	}
	return "", fmt.Errorf("this process is in no control group of %s %s", kind, option)
}

func (c cgroups) mount(kind, option string) (mount, root string, err error) {
	f, err := os.Open(filepath.Join(c.proc, "self/mountinfo"))
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); { // "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 none rw,nsdelegate"
		before, after, ok := strings.Cut(lines.Text(), " - ")
		fields, super := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(super) < 3 || super[0] != kind {
			continue
		}
		if option == "" || slices.Contains(strings.Split(super[2], ","), option) {
			return fields[4], fields[3], nil
		}
	}
	return "", "", fmt.Errorf("no %s file system with %q is mounted", kind, option)
}

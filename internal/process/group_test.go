package process

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeCgroups lays out /proc and a hierarchy as files.
func fakeCgroups(t *testing.T, mountinfo, cgroup string, files map[string]string) (cgroups, string) {
	t.Helper()
	dir := t.TempDir()
	put := func(path, text string) {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		put(t, path, strings.ReplaceAll(text, "$", dir), 0o600)
	}
	put(filepath.Join(dir, "proc/self/mountinfo"), mountinfo)
	put(filepath.Join(dir, "proc/self/cgroup"), cgroup)
	for name, text := range files {
		put(filepath.Join(dir, name), text)
	}
	return cgroups{proc: filepath.Join(dir, "proc")}, dir
}

const (
	mountUnified = "24 22 0:21 / /proc rw - proc proc rw\n30 23 0:26 / $/fs rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
	mountOld     = "31 23 0:27 / $/cpu rw - cgroup cgroup rw,cpu,cpuacct\n32 23 0:28 /outer $/memory rw - cgroup cgroup rw,memory\n"
)

// TestGroups finds the place for control groups. The files of a real group are made by the kernel: here they are missing, and the
// error says which one was wanted.
func TestGroups(t *testing.T) {
	for _, c := range []struct {
		name, mountinfo, cgroup string
		files                   map[string]string
		memory                  int64
		cpu                     float64
		want                    string // path of the first file that is not there
		wrote                   string
	}{
		{
			"version 2", mountUnified, "0::/svc\n",
			map[string]string{"fs/svc/cgroup.controllers": "cpu memory pids\n", "fs/svc/cgroup.subtree_control": ""},
			1 << 26, 0.5, "fs/svc/g/memory.max", "+memory +cpu",
		},
		{
			"version 2, delegated", mountUnified, "0::/svc/daemon\n",
			map[string]string{"fs/svc/daemon/cgroup.controllers": "\n", "fs/svc/cgroup.controllers": "cpu memory pids\n", "fs/svc/cgroup.subtree_control": ""},
			0, 0.5, "fs/svc/g/cpu.max", "+cpu",
		},
		{
			"version 1", mountOld, "4:memory:/outer/svc\n3:cpu,cpuacct:/svc\n0::/\n", map[string]string{"memory/svc/x": "", "cpu/svc/x": ""},
			1 << 26, 0, "memory/svc/g/memory.limit_in_bytes", "",
		},
		{
			"version 1, processors", mountOld, "4:memory:/outer/svc\n3:cpu,cpuacct:/svc\n", map[string]string{"memory/svc/x": "", "cpu/svc/x": ""},
			0, 2, "cpu/svc/g/cpu.cfs_quota_us", "",
		},
		{
			"version 2 without the controllers", mountUnified + mountOld, "4:memory:/svc\n0::/svc\n",
			map[string]string{"fs/svc/cgroup.controllers": "pids\n", "memory/svc/x": ""},
			1 << 26, 0, "memory/svc/g/memory.limit_in_bytes", "",
		},
		{"nothing mounted", "24 22 0:21 / /proc rw - proc proc rw\n", "0::/\n", nil, 1 << 26, 0, "no cgroup file system", ""},
		{"no group", mountOld, "3:cpu,cpuacct:/svc\n", nil, 1 << 26, 0, "in no control group of cgroup memory", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			groups, dir := fakeCgroups(t, c.mountinfo, c.cgroup, c.files)
			_, err := groups.create("g", c.memory, c.cpu)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("create: %v, want %s", err, c.want)
			}
			if c.wrote != "" {
				text, err := os.ReadFile(filepath.Join(dir, "fs/svc/cgroup.subtree_control"))
				if err != nil || string(text) != c.wrote {
					t.Errorf("enabled %q, %v", text, err)
				}
			}
		})
	}
}

// TestMemoryLimit runs a process that eats memory under a limit: the kernel kills it, and Remove leaves no group.
func TestMemoryLimit(t *testing.T) {
	s, _ := newSupervisor(t, Config{})
	sp := spec("eats")
	sp.Memory, sp.CPU = 64<<20, 0.5
	group, err := s.Group("mine", &sp.Options)
	if err != nil {
		if os.Getenv("PIPELINED_REQUIRE_CGROUPS") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	p, err := s.Process(sp)
	if err != nil {
		t.Fatal(err)
	}
	p.Group = group
	r := run(t, p)
	r.wait()
	if r.Exit() != "signal: killed" {
		t.Errorf("it has ended: %s", r.Exit())
	}
	if len(group.dirs) == 0 {
		t.Error("there was no control group")
	}
	group.Remove()
	for _, dir := range group.dirs {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s is left", dir)
		}
	}
}

// TestNoLimits checks that a process without limits needs no control group, and a process with some fails without one.
func TestNoLimits(t *testing.T) {
	s, _ := newSupervisor(t, Config{Proc: t.TempDir()})
	group, err := s.Group("mine", new(Options))
	if group != nil || err != nil {
		t.Errorf("%v, %v", group, err)
	}
	group.Remove()
	if _, err := s.Group("mine", &Options{CPU: 1}); err == nil {
		t.Error("a group was made where there are none")
	}
}

// TestSweepGroups removes groups that a daemon has left behind.
func TestSweepGroups(t *testing.T) {
	groups, dir := fakeCgroups(t, mountUnified, "0::/svc\n", nil)
	for _, name := range []string{"pipelined-d1-a", "pipelined-d1-b", "pipelined-d12-a"} {
		if err := os.MkdirAll(filepath.Join(dir, "fs/svc", name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	groups.sweep("pipelined-d1-")
	left, err := os.ReadDir(filepath.Join(dir, "fs/svc"))
	if err != nil || len(left) != 1 || left[0].Name() != "pipelined-d12-a" {
		t.Errorf("left: %v, %v", left, err)
	}
}

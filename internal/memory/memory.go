// Package memory tells how much memory a process may still take, and what sets the limit.
package memory

import (
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
)

// Left is memory that is left.
type Left struct {
	Bytes int64  // math.MaxInt64 if nothing is known
	Limit string // what sets the limit: "GOMEMLIMIT"
}

// Available returns the least that is left of the limit of the Go runtime, of those of the process's control groups, and of
// the machine's memory. On systems without the file system proc only the first is known.
func Available() Left {
	left := OfSystem(os.DirFS("/"))
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		left = left.or(limit-used(), "GOMEMLIMIT")
	}
	return left
}

// or returns the least of what is left and of what another limit leaves.
func (l Left) or(bytes int64, limit string) Left {
	if bytes = max(bytes, 0); bytes < l.Bytes {
		return Left{bytes, limit}
	}
	return l
}

// used returns what counts against the limit of the Go runtime.
func used() int64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
}

// OfSystem returns what the files of the kernel below root say.
func OfSystem(root fs.FS) Left {
	left := Left{Bytes: math.MaxInt64}
	if info, err := fs.ReadFile(root, "proc/meminfo"); err == nil {
		if kb, ok := field(string(info), "MemAvailable:"); ok {
			left = left.or(kb<<10, "MemAvailable of /proc/meminfo")
		}
	}
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return left
	}
	for line := range strings.Lines(string(groups)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3) // a number, controllers, a path: cgroups(7)
		if len(parts) != 3 {
			continue
		}
		switch {
		case parts[0] == "0" && parts[1] == "":
			left = version2().least(root, parts[2], left)
		case parts[1] == "memory":
			left = version1().least(root, parts[2], left)
		}
	}
	return left
}

// hierarchy names the files of control groups, of version 2 or 1, and the fields of memory.stat that are the page cache, which
// the kernel takes back.
type hierarchy struct{ mount, limit, usage, inactive, active string }

func version2() hierarchy {
	return hierarchy{"sys/fs/cgroup", "memory.max", "memory.current", "inactive_file", "active_file"}
}

func version1() hierarchy {
	return hierarchy{"sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file", "total_active_file"}
}

// least returns the least of left and of what the limits of a group and those around it leave.
func (h hierarchy) least(root fs.FS, group string, left Left) Left {
	for group = path.Join("/", group); ; group = path.Dir(group) {
		dir := path.Join(h.mount, group)
		limit, ok := number(root, path.Join(dir, h.limit))
		if usage, known := number(root, path.Join(dir, h.usage)); ok && known {
			stat, _ := fs.ReadFile(root, path.Join(dir, "memory.stat")) // without it nothing can be taken back
			inactive, _ := field(string(stat), h.inactive)
			active, _ := field(string(stat), h.active)
			left = left.or(limit-max(usage-inactive-active, 0), h.limit+" of the control group "+group)
		}
		if group == "/" {
			return left
		}
	}
}

// number reads a file that holds a number. A limit that is "max" is none.
func number(root fs.FS, name string) (int64, bool) {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}

// field returns the number behind a name at the beginning of a line.
func field(text, name string) (int64, bool) {
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) >= 2 && words[0] == name {
			n, err := strconv.ParseInt(words[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

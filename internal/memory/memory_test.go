package memory

import (
	"math"
	"runtime/debug"
	"testing"
	"testing/fstest"
)

func files(texts map[string]string) fstest.MapFS {
	m := make(fstest.MapFS)
	for name, text := range texts {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

// TestOfSystem reads files as kernels write them.
func TestOfSystem(t *testing.T) {
	const meminfo = "MemTotal:       16000000 kB\nMemAvailable:    8000000 kB\n"
	machine := Left{8000000 << 10, "MemAvailable of /proc/meminfo"}
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  Left
	}{
		{"nothing", nil, Left{Bytes: math.MaxInt64}},
		{"no control group", map[string]string{"proc/meminfo": meminfo}, machine},
		{"no limits", map[string]string{
			"proc/meminfo":                              meminfo,
			"proc/self/cgroup":                          "0::/system.slice/p.service\n",
			"sys/fs/cgroup/system.slice/memory.max":     "max\n",
			"sys/fs/cgroup/system.slice/memory.current": "1000\n",
		}, machine},
		{"version 2", map[string]string{
			"proc/meminfo":     meminfo,
			"proc/self/cgroup": "0::/system.slice/p.service\n",
			"sys/fs/cgroup/system.slice/p.service/memory.max":     "1000000\n",
			"sys/fs/cgroup/system.slice/p.service/memory.current": "700000\n",
			"sys/fs/cgroup/system.slice/p.service/memory.stat":    "anon 1\ninactive_file 30000\nactive_file 2000\n",
		}, Left{332000, "memory.max of the control group /system.slice/p.service"}},
		{"a group around it", map[string]string{
			"proc/meminfo":     meminfo,
			"proc/self/cgroup": "0::/system.slice/p.service\n",
			"sys/fs/cgroup/system.slice/p.service/memory.max":     "1000000\n",
			"sys/fs/cgroup/system.slice/p.service/memory.current": "700000\n",
			"sys/fs/cgroup/system.slice/memory.max":               "2000000\n",
			"sys/fs/cgroup/system.slice/memory.current":           "1900000\n",
		}, Left{100000, "memory.max of the control group /system.slice"}},
		{"version 1, in a container", map[string]string{
			"proc/meminfo":     meminfo,
			"proc/self/cgroup": "5:devices:/docker/1\n4:memory:/docker/1\n0::/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "1000000\n",
			"sys/fs/cgroup/memory/memory.usage_in_bytes": "2000000\n",
			"sys/fs/cgroup/memory/memory.stat":           "inactive_file 1\ntotal_inactive_file 900000\ntotal_active_file 90000\n",
		}, Left{0, "memory.limit_in_bytes of the control group /"}},
		{"version 1 without a limit, and more page cache than usage", map[string]string{
			"proc/meminfo":     meminfo,
			"proc/self/cgroup": "4:memory:/docker/1\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
			"sys/fs/cgroup/memory/memory.usage_in_bytes": "1000000\n",
			"sys/fs/cgroup/memory/memory.stat":           "total_inactive_file 900000\ntotal_active_file 110000\n",
		}, machine},
		{"what is no number", map[string]string{
			"proc/meminfo":                 "MemAvailable: much\nMemAvailable\n",
			"proc/self/cgroup":             "0\n0::\n",
			"sys/fs/cgroup/memory.max":     "",
			"sys/fs/cgroup/memory.current": "0",
		}, Left{Bytes: math.MaxInt64}},
	} {
		if got := OfSystem(files(tt.files)); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// TestAvailable sets a limit of the Go runtime that is smaller than any other can be, and a large one.
func TestAvailable(t *testing.T) {
	before := debug.SetMemoryLimit(1)
	defer debug.SetMemoryLimit(before)
	if got := Available(); got != (Left{0, "GOMEMLIMIT"}) {
		t.Errorf("with a limit of 1 byte: %+v", got)
	}
	debug.SetMemoryLimit(math.MaxInt64)
	if got := Available(); got.Limit == "GOMEMLIMIT" {
		t.Errorf("without a limit: %+v", got)
	}
}

package nettest

import (
	"testing"

	"golang.org/x/sys/unix"
)

// BPFFS mounts a BPF file system and returns where. It is unmounted at the end of the test, and with it goes what is pinned in it.
func BPFFS(t testing.TB) string {
	t.Helper()
	Require(t)
	dir := t.TempDir()
	if err := unix.Mount("bpf", dir, "bpf", 0, "mode=0755"); err != nil {
		t.Fatalf("nettest: mount a BPF file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("nettest: unmount a BPF file system: %v", err)
		}
	})
	return dir
}

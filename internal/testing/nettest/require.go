package nettest

import (
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// Require makes sure that the test may create namespaces, load BPF programs and open AF_XDP sockets. Where it may not,
// the test is skipped with the reason, except where the environment promises that it may (CI=true or
// PIPELINED_REQUIRE_XDP=1): there it fails, so that a broken runner cannot pass for a green one.
func Require(t testing.TB) {
	t.Helper()
	if reason := missing(); reason != "" {
		skip(t, "namespaces and AF_XDP: "+reason)
	}
}

// RequireCommands makes sure that the test may run commands, in the same way.
func RequireCommands(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			skip(t, name+" (make needs)")
		}
	}
}

// skip ends a test that lacks something.
func skip(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("PIPELINED_REQUIRE_XDP") == "1" || os.Getenv("CI") == "true" {
		t.Fatalf("this environment must have what tests need: %s", what)
	}
	t.Skipf("needs %s", what)
}

// missing returns what stands in the way, or "".
func missing() string {
	if os.Geteuid() != 0 {
		return "not root"
	}
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "open an AF_XDP socket: " + err.Error()
	}
	_ = unix.Close(fd) // nothing was done with it
	if err := tryNamespace(); err != nil {
		return "make a network namespace: " + err.Error()
	}
	return ""
}

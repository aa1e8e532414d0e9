package nettest

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Require makes sure that the test may create namespaces, load BPF programs and open AF_XDP sockets. Where it may not,
// the test is skipped with the reason, except where the environment promises that it may (CI=true or
// PIPELINED_REQUIRE_XDP=1): there it fails, so that a broken runner cannot pass for a green one.
func Require(t testing.TB) {
	t.Helper()
	reason := missing()
	if reason == "" {
		return
	}
	if os.Getenv("PIPELINED_REQUIRE_XDP") == "1" || os.Getenv("CI") == "true" {
		t.Fatalf("this environment must be able to run AF_XDP tests: %s", reason)
	}
	t.Skipf("needs namespaces and AF_XDP: %s", reason)
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

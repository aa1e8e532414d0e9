package xsk

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// childTask is the environment variable that makes the test binary a helper process.
const childTask = "XSK_TEST_CHILD"

// runChild opens the tap end of a cable, says "open" or what went wrong, and waits for the end of its standard input.
func runChild(task string) int {
	var err error
	switch task {
	case "without-net-raw":
		err = startWith(unix.CAP_NET_ADMIN, unix.CAP_BPF)
	case "little-memory":
		limit := &unix.Rlimit{Cur: 64 << 10, Max: 64 << 10}
		err = errors.Join(unix.Setrlimit(unix.RLIMIT_MEMLOCK, limit),
			startWith(unix.CAP_NET_ADMIN, unix.CAP_BPF, unix.CAP_NET_RAW))
	case "minimal":
		err = startWith(unix.CAP_NET_ADMIN, unix.CAP_BPF, unix.CAP_NET_RAW)
	}
	if err != nil {
		fmt.Println("drop capabilities:", err)
		return 1
	}
	i, err := Open(Config{Interface: "tap", Frames: 64, Promiscuous: true})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("open")
	_, _ = os.Stdin.Read(make([]byte, 1)) // either way the test has had enough
	if err := i.Close(); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// startWith starts the child again, in this process, with these capabilities only.
func startWith(kept ...uintptr) error {
	runtime.LockOSThread() // capabilities are a thread's; exec ends all others
	for c := range uintptr(unix.CAP_LAST_CAP + 1) {
		if slices.Contains(kept, c) {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	if err := os.Setenv(childTask, "open"); err != nil {
		return err
	}
	return unix.Exec("/proc/self/exe", os.Args, os.Environ())
}

// child starts the test binary with a task, on a host, and returns the first line that it says.
func child(t *testing.T, h *nettest.Host, task string) (cmd *exec.Cmd, said string) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childTask+"="+task)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stdin.Close() })
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	h.Start(cmd)
	said, err = bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the child said nothing: %v\n%s", err, stderr.String())
	}
	return cmd, strings.TrimSpace(said)
}

func TestKilledProcessLeavesNothing(t *testing.T) {
	sender, tap := cable(t, 2)
	cmd, said := child(t, tap, "open")
	if said != "open" {
		t.Fatal(said)
	}
	if _, attached := attachedProgram(tap.Link("tap")); !attached {
		t.Fatal("the child has no program on the interface")
	}
	if tap.Link("tap").Attrs().Promisc == 0 {
		t.Error("the child's interface is not promiscuous")
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) {
		t.Fatalf("the child ended with %v", err)
	}

	await(t, "without a program", func() bool {
		_, attached := attachedProgram(tap.Link("tap"))
		return !attached
	})
	await(t, "without promiscuous mode", func() bool { return tap.Link("tap").Attrs().Promisc == 0 })
	kernel := tap.Wire("tap")
	wire := sender.Wire("wire")
	wire.Send(numbered(7))
	if got := kernelReceives(kernel); number(got) != 7 {
		t.Errorf("the kernel received %x", got)
	}
	i := open(t, tap, Config{Interface: "tap"}) // the queues are free
	wire.Send(numbered(8))
	if got := collect(t, i, 1); got[8] != 1 {
		t.Errorf("received %v", got)
	}
}

func TestPermissions(t *testing.T) {
	t.Run("missing", func(t *testing.T) {
		_, tap := cable(t, 1)
		_, said := child(t, tap, "without-net-raw")
		if !strings.Contains(said, "missing CAP_NET_RAW") || strings.Contains(said, "CAP_BPF") {
			t.Errorf("the child said %q", said)
		}
	})
	t.Run("the documented three are enough", func(t *testing.T) {
		_, tap := cable(t, 1)
		_, said := child(t, tap, "minimal")
		if said != "open" {
			t.Errorf("the child said %q", said)
		}
	})
	t.Run("limit of locked memory", func(t *testing.T) {
		_, tap := cable(t, 1)
		_, said := child(t, tap, "little-memory")
		if !strings.Contains(said, ErrLockedMemory.Error()) {
			t.Errorf("the child said %q", said)
		}
	})
}

package xsk

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rtflow/pipelined/internal/testing/await"
	"github.com/rtflow/pipelined/internal/testing/nettest"
)

// childTask is the environment variable that makes the test binary a helper process.
const childTask = "XSK_TEST_CHILD"

// runChild opens the tap end of a cable, says "open" or what went wrong, and waits for the end of its standard input.
func runChild(task string) int {
	var err error
	switch task {
	case "without-net-raw":
		err = startWith("open", unix.CAP_NET_ADMIN, unix.CAP_BPF)
	case "little-memory":
		err = startWithMemory("open", 64<<10)
	case "memory-for-one":
		err = startWithMemory("take-turns", 192<<10) // a queue takes 128 KiB
	case "minimal":
		err = startWith("open", unix.CAP_NET_ADMIN, unix.CAP_BPF, unix.CAP_NET_RAW)
	case "take-turns":
		return takeTurns()
	}
	if err != nil {
		fmt.Println("drop capabilities:", err)
		return 1
	}
	i, err := Open(context.Background(), Config{Interface: "tap", Frames: 64, Promiscuous: true})
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

// takeTurns binds a queue of each of two interfaces in turn, and says "open" if it could each time.
func takeTurns() int {
	if err := bindInTurn("tap", "tap2"); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("open")
	return 0
}

func bindInTurn(names ...string) error {
	offsets, err := queryOffsets()
	if err != nil {
		return err
	}
	for n := range 20 {
		device, err := net.InterfaceByName(names[n%len(names)])
		if err != nil {
			return err
		}
		b, err := bindQueue(context.Background(), device.Index, 0, 2048, layoutFor(offsets, 64, false), unix.XDP_USE_NEED_WAKEUP)
		if err == nil {
			err = b.close()
		}
		if err != nil {
			return fmt.Errorf("bound %d times: %w", n, err)
		}
	}
	return nil
}

// startWithMemory is startWith with so much memory that may be locked, and the capabilities that are needed.
func startWithMemory(task string, limit uint64) error {
	runtime.LockOSThread()       // exec ends all other threads
	user := 100000 + os.Getpid() // whose locked memory nobody else takes: the kernel counts that of the real user
	if _, _, err := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(user), 0, 0); err != 0 {
		return fmt.Errorf("change the real user: %w", err)
	}
	return errors.Join(unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: limit, Max: limit}),
		startWith(task, unix.CAP_NET_ADMIN, unix.CAP_BPF, unix.CAP_NET_RAW))
}

// startWith starts the child again, in this process, with another task and these capabilities only.
func startWith(task string, kept ...uintptr) error {
	runtime.LockOSThread() // capabilities are a thread's; exec ends all others
	for c := range uintptr(unix.CAP_LAST_CAP + 1) {
		if slices.Contains(kept, c) {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	if err := os.Setenv(childTask, task); err != nil {
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

	await.Until(t, "without a program", func() bool {
		_, attached := attachedProgram(tap.Link("tap"))
		return !attached
	})
	await.Until(t, "without promiscuous mode", func() bool { return tap.Link("tap").Attrs().Promisc == 0 })
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
	t.Run("locked memory that was let go of", func(t *testing.T) {
		sender, tap := cable(t, 1)
		nettest.Cable(sender, "wire2", tap, "tap2", 1)
		if _, said := child(t, tap, "memory-for-one"); said != "open" {
			t.Errorf("the child said %q", said)
		}
	})
}

package unixsocket_test

import (
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/rtflow/pipelined/internal/unixsocket"
)

// TestManyAtOnce has several listen at once where a dead process has left its socket: one of them does, and its socket stays there.
func TestManyAtOnce(t *testing.T) {
	rounds := 100
	if testing.Short() {
		rounds = 30
	}
	path := filepath.Join(t.TempDir(), "socket")
	for round := range rounds {
		dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		dead.SetUnlinkOnClose(false)
		if err := dead.Close(); err != nil {
			t.Fatal(err)
		}

		var mu sync.Mutex
		var listening []net.Listener
		var trying sync.WaitGroup
		start := make(chan struct{})
		for range 8 {
			trying.Go(func() {
				<-start
				if l, err := unixsocket.Listen(path, unixsocket.Options{Mode: 0o600, Group: -1, Shared: true}); err == nil {
					mu.Lock()
					defer mu.Unlock()
					listening = append(listening, l)
				}
			})
		}
		close(start)
		trying.Wait()
		if len(listening) != 1 {
			t.Errorf("round %d: %d listen", round, len(listening))
		}
		if conn, err := net.Dial("unix", path); err != nil {
			t.Errorf("round %d: %v", round, err)
		} else {
			_ = conn.Close() // nothing was written
		}
		for _, l := range listening {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Fatalf("round %d: after the end: %v", round, err)
		}
	}
}

// TestLockedByAnother has somebody hold the lock of the directory for ever: a daemon starts all the same.
func TestLockedByAnother(t *testing.T) {
	dir := t.TempDir()
	held, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := syscall.Flock(int(held.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	l, err := unixsocket.Listen(filepath.Join(dir, "socket"), unixsocket.Options{Mode: 0o600, Group: -1, Shared: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

package process

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestSweepSparesTheNew creates directories of daemons while another one sweeps: none is taken for one that a daemon has left.
func TestSweepSparesTheNew(t *testing.T) {
	base := t.TempDir()
	stop := make(chan struct{})
	var sweeper sync.WaitGroup
	sweeper.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := newSweeper(t).sweep(base); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 200 {
		in, err := newInstance(base)
		if err != nil {
			t.Error(err)
			break
		}
		if err := newSweeper(t).sweep(base); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(in.path); err != nil {
			t.Error(err)
		}
		if err := in.close(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	sweeper.Wait()
}

// TestBaseHeld checks that nobody waits for ever for the lock of the runtime directory.
func TestBaseHeld(t *testing.T) {
	base, err := openBase(t.TempDir(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	release, err := lockBase(base, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockBase(base, time.Millisecond); err == nil || !strings.Contains(err.Error(), "cannot be locked") {
		t.Errorf("the second lock: %v", err)
	}
	release()
	if release, err = lockBase(base, 0); err != nil {
		t.Fatal(err)
	}
	release()
}

// TestBaseIsNoDirectory checks that what is not a directory is refused and not waited for.
func TestBaseIsNoDirectory(t *testing.T) {
	base := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(base, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := newSweeper(t).sweep(base); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("sweep: %v", err)
	}
	if _, err := newInstance(base); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("newInstance: %v", err)
	}
}

// TestBaseIsMade makes a runtime directory, and none where the link of another user leads.
func TestBaseIsMade(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(top, "target")
	if err := errors.Join(os.Mkdir(target, 0o700), os.Symlink("target", filepath.Join(top, "own"))); err != nil {
		t.Fatal(err)
	}
	in, err := newInstance(filepath.Join(top, "own", "a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := filepath.Dir(in.path), filepath.Join(target, "a", "b"); got != want {
		t.Errorf("made in %s, want %s", got, want)
	}
	if err := in.close(); err != nil {
		t.Error(err)
	}
	if os.Geteuid() != 0 {
		return // a link of another user needs root
	}
	theirs := filepath.Join(top, "theirs")
	if err := errors.Join(os.Symlink("target", theirs), os.Lchown(theirs, 1234, 1234)); err != nil {
		t.Fatal(err)
	}
	if _, err := newInstance(filepath.Join(theirs, "c")); err == nil || !strings.Contains(err.Error(), "symbolic link that belongs to") {
		t.Errorf("behind the link of another user: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(target, "c")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory was made there: %v", err)
	}
}

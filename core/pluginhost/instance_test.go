package pluginhost

import (
	"log/slog"
	"os"

	"strings"
	"sync"
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
			if err := sweep(base, cgroups{proc: t.Name()}, slog.New(slog.DiscardHandler)); err != nil {
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
		if err := sweep(base, cgroups{proc: t.Name()}, slog.New(slog.DiscardHandler)); err != nil {
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
	base := t.TempDir()
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

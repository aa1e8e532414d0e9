package filewatch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestDebounce: a burst is told once, when it is over, and one that does not end after a while.
func TestDebounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := make(chan struct{})
		var told atomic.Int32
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { debounce(ctx, events, func() { told.Add(1) }) })
		burst := func(n int, every time.Duration) {
			for range n {
				events <- struct{}{}
				time.Sleep(every)
			}
			synctest.Wait()
		}
		burst(20, 10*time.Millisecond)
		if told.Load() != 0 {
			t.Error("a change is told while others follow")
		}
		time.Sleep(quiet)
		synctest.Wait()
		if n := told.Load(); n != 1 {
			t.Errorf("a burst is told %d times", n)
		}
		burst(int(2*patience/(100*time.Millisecond)), 100*time.Millisecond)
		if n := told.Load(); n != 3 && n != 2 {
			t.Errorf("after six seconds of changes it was told %d times", n)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := told.Load(); n > 4 {
			t.Errorf("nothing changes, and it was told %d times", n)
		}
		cancel()
		wg.Wait()
	})
}

// TestWatch changes files in the ways that editors and deployments have. Each is told.
func TestWatch(t *testing.T) {
	dir := t.TempDir()
	file, sub, other := filepath.Join(dir, "p.toml"), filepath.Join(dir, "p.toml.d"), t.TempDir()
	write := func(path string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(time.Now().String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(file)
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- Watch(ctx, func() []string { return []string{dir, sub} }, func() {
			select {
			case told <- struct{}{}:
			case <-ctx.Done():
			}
		})
	}()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	<-told // it has begun
	await := func(what string, do func()) {
		t.Helper()
		do()
		select {
		case <-told:
		case <-time.After(time.Minute):
			t.Fatalf("not told: %s", what)
		}
	}
	await("written", func() { write(file) })
	await("another in its place", func() {
		write(file + "~")
		must(os.Rename(file+"~", file))
	})
	await("a directory that was not there", func() { must(os.MkdirAll(sub, 0o700)) })
	await("a file in it", func() { write(filepath.Join(sub, "a.toml")) })
	write(filepath.Join(other, "p.toml"))
	await("a link in its place", func() {
		must(os.Remove(file))
		must(os.Symlink(filepath.Join(other, "p.toml"), file))
	})
	await("a file is gone", func() {
		write(filepath.Join(sub, "b.toml"))
		must(os.Remove(filepath.Join(sub, "b.toml")))
	})
	cancel()
	must(<-ended)
	if err := Watch(t.Context(), func() []string { return []string{filepath.Join(dir, "none")} }, nil); !errors.Is(err, errNothing) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing to watch: %v", err)
	}
}

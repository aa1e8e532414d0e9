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
		var told, written atomic.Int32
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { debounce(ctx, events, 0, written.Load, func() { told.Add(1) }) })
		burst := func(n int, every time.Duration) {
			for range n {
				written.Add(1)
				events <- struct{}{}
				time.Sleep(every)
			}
			synctest.Wait()
		}
		burst(20, 10*time.Millisecond)
		if told.Load() != 0 {
			t.Error("a change is told while others follow")
		}
		time.Sleep(quiet + glance)
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

// TestDebounceAmongOthers writes the files while others in their directories are written all the time: each write is told once, when
// the files have been quiet, and the others neither put that off nor are told, nor looked at as often as they are written.
func TestDebounceAmongOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := make(chan struct{})
		told := make(chan time.Time, 10)
		var looks, written atomic.Int32
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			debounce(ctx, events, 0, func() int32 { looks.Add(1); return written.Load() }, func() { told <- time.Now() })
		})
		others := func(n int) {
			for range n {
				events <- struct{}{}
				time.Sleep(time.Millisecond)
			}
		}
		others(10_000)
		if n := looks.Load(); len(told) != 0 || n > 250 {
			t.Errorf("others were written for ten seconds: told %d times, %d looks", len(told), n)
		}
		for i := range 5 {
			others(1000 + 333*i)
			last := time.Now()
			for range 2 { // the second one after the look at the first
				written.Add(1)
				last = time.Now()
				others(int(quiet/time.Millisecond) - 10)
			}
			others(1000)
			if len(told) != 1 {
				t.Fatalf("write %d: told %d times", i, len(told))
			}
			if after := (<-told).Sub(last); after < quiet || after > quiet+2*glance {
				t.Errorf("write %d: told after %v", i, after)
			}
		}
		time.Sleep(time.Second) // no look is due
		// One that is written just before it would be told, and not looked at yet, is waited for.
		written.Add(1)
		events <- struct{}{}
		time.Sleep(glance + quiet - time.Millisecond)
		written.Add(1)
		last := time.Now()
		events <- struct{}{}
		if after := (<-told).Sub(last); after < quiet {
			t.Errorf("told %v after the last write", after)
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
	var changes atomic.Int32 // of the files
	ended := make(chan error, 1)
	go func() {
		ended <- Watch(ctx, func() []string { return []string{dir, sub} }, changes.Load, func() {
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
		changes.Add(1)
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
	if err := Watch(t.Context(), func() []string { return []string{filepath.Join(dir, "none")} }, changes.Load, nil); !errors.Is(err, errNothing) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing to watch: %v", err)
	}
}

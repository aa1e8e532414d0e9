package file_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/internal/testing/race"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
	"github.com/rtflow/pipelined/sinks/file"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childPath); path != "" {
		child(path)
		return
	}
	goleak.VerifyTestMain(m)
}

func TestConform(t *testing.T) {
	for _, mode := range []string{"none", "interval", "batch"} {
		t.Run(mode, func(t *testing.T) {
			sinktest.Conform(t, func(t *testing.T) sdk.Sink {
				more := fmt.Sprintf("sync = %q\nsync_interval = \"10ms\"", mode)
				return newSink(t, filepath.Join(t.TempDir(), "log.txt"), more)
			})
		})
	}
}

func TestFormats(t *testing.T) {
	for _, name := range format.Names() {
		path := filepath.Join(t.TempDir(), "log.txt")
		sink := newSink(t, path, fmt.Sprintf("format = %q\nmode = \"0666\"", name))
		drained(t, sink, numbered(500)...)
		same(t, read(t, path), want(t, name, 1, 500))
		drained(t, sink, numbered(3)...) // appends
		same(t, read(t, path), want(t, name, 1, 500)+want(t, name, 1, 3))
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o666 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
	}
}

// TestLongNames changes to a configuration whose names alone are longer than a write, in the middle of what is collected: the names
// stand before the records that they are for.
func TestLongNames(t *testing.T) {
	names := sinktest.Names()
	names.Generation = 2
	for i := range 5000 {
		names.Policies = append(names.Policies, fmt.Sprintf("%060d", i))
	}
	records := numbered(1000)
	for i := range records {
		records[i].Generation = 1 + uint32(i)/100%2
	}
	path := filepath.Join(t.TempDir(), "log.txt")
	s := sinktest.NewStream(t)
	s.SetNames(names)
	s.Append(records...)
	s.Drain()
	if err := s.Run(t.Context(), newSink(t, path, `format = "frames"`)); err != nil {
		t.Fatal(err)
	}
	same(t, read(t, path), want(t, format.Frames, 1, len(records)))
	r := event.NewReader(strings.NewReader(read(t, path)))
	for i := range records {
		var rec event.Record
		if err := r.Next(&rec); err != nil {
			t.Fatal(err)
		}
		got, _ := r.Names()
		if want := records[i].Generation; len(got.Policies) > 3 != (want == 2) {
			t.Fatalf("record %d, of generation %d: %d policies", i+1, want, len(got.Policies))
		}
	}
}

// TestRotation writes much faster than files rotate: every record must be in exactly one of them, in order and whole.
func TestRotation(t *testing.T) {
	for _, mode := range []string{"none", "batch"} {
		for _, name := range []string{format.RFC5424, format.Frames} {
			dir := t.TempDir()
			sink := newSink(t, filepath.Join(dir, "log.txt"),
				fmt.Sprintf("format = %q\nsync = %q\nrotate = { size = \"1MB\", keep = 0 }", name, mode))
			const n = 20_000
			drained(t, sink, numbered(n)...)
			files := rotated(t, dir)
			if len(files) < 3 {
				t.Errorf("only the files %v", files)
			}
			for _, f := range files {
				if info, err := os.Stat(f); err != nil || info.Size() > 1_000_000 {
					t.Errorf("%s: %v bytes, %v", f, info.Size(), err)
				}
			}
			same(t, read(t, files...), want(t, name, 1, n))
			status := sink.(sdk.Reporter).Status()
			if !strings.Contains(fmt.Sprintf("%+v", status), fmt.Sprintf("Rotations:%d", len(files)-1)) {
				t.Errorf("status %+v with %d files", status, len(files))
			}
		}
	}
}

// TestRotationAtOnce rotates several times while the clock stands still: no rotated file replaces another.
func TestRotationAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		drained(t, newSink(t, filepath.Join(dir, "log.txt"), `rotate = { size = "1MB" }`), numbered(5000)...)
		files := rotated(t, dir)
		if len(files) < 3 {
			t.Errorf("only the files %v", files)
		}
		same(t, read(t, files...), want(t, format.RFC5424, 1, 5000))
	})
}

func TestKeep(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"log-20200101T000000.000Z.txt", "log-20200102T000000.000Z.txt.gz", "log-20200103T000000.000Z.txt.zst", // ours, the oldest
		"log-20200101T000000.000Z.txt.bz2", "log-notes.txt", "log-.txt", "other-20200101T000000.000Z.txt", // not ours
	} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	drained(t, newSink(t, filepath.Join(dir, "log.txt"), `rotate = { size = "1MB", keep = 2 }`), numbered(10_000)...)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	all := strings.ReplaceAll(strings.Join(names, " "), "other-20200101", "")
	for _, gone := range []string{"20200101T000000.000Z.txt ", "20200102T000000.000Z.txt.gz", "20200103T000000.000Z.txt.zst"} {
		if strings.Contains(all, gone) {
			t.Errorf("%s is still there", gone)
		}
	}
	if len(names) != 4+2+1 { // not ours, kept, current
		t.Errorf("files %v", names)
	}
}

// TestClockSetBack rotates where files have names that are ahead of the clock: what is written now is kept, and those go.
func TestClockSetBack(t *testing.T) {
	for _, forward := range []time.Duration{time.Hour, 25 * time.Hour} {
		dir := t.TempDir()
		old := make(map[string]bool)
		for i := range 4 {
			name := "log-" + time.Now().Add(forward).Add(time.Duration(i)*time.Minute).UTC().Format("20060102T150405.000Z") + ".txt"
			old[name] = true
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		const sent = 4000
		drained(t, newSink(t, filepath.Join(dir, "log.txt"), `rotate = { size = "1MB", keep = 2 }`), numbered(sent)...)
		files := rotated(t, dir)
		if len(files) != 2+1 || slices.ContainsFunc(files, func(path string) bool { return old[filepath.Base(path)] }) {
			t.Errorf("%v ahead: files %v", forward, files)
			continue
		}
		all := want(t, format.RFC5424, 1, sent)
		if kept := read(t, files...); len(kept) == 0 || !strings.HasSuffix(all, kept) {
			t.Errorf("%v ahead: %d bytes are kept of %d, and are not the last", forward, len(kept), len(all))
		}
	}
}

// TestInterval pins that a file holds the events of one interval, and that an empty interval leaves no file.
func TestInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := sinktest.NewStream(t)
		sink := newSink(t, filepath.Join(dir, "log.txt"), `rotate = { interval = "daily" }`)
		done := make(chan error)
		go func() { done <- s.Run(t.Context(), sink) }()
		all := numbered(4)
		for i, pause := range []time.Duration{time.Hour, time.Hour, 23 * time.Hour, 72 * time.Hour} {
			time.Sleep(pause) // of the bubble's clock, which begins at midnight UTC
			s.Append(all[i])
			if err := s.WaitAcked(t.Context(), event.Seq(i+1)); err != nil {
				t.Fatal(err)
			}
		}
		s.Drain()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		files := rotated(t, dir)
		if len(files) != 3 || filepath.Base(files[0]) != "log-20000102T010000.000Z.txt" {
			t.Fatalf("files %v", files)
		}
		same(t, read(t, files[0]), want(t, format.RFC5424, 1, 2))
		same(t, read(t, files[1]), want(t, format.RFC5424, 3, 3))
		same(t, read(t, files[2]), want(t, format.RFC5424, 4, 4))
	})
}

// TestIntervalAfterRestart pins that the age of a file that an earlier process left is its last write.
func TestIntervalAfterRestart(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log.txt")
	drained(t, newSink(t, path, ""), numbered(1)...)
	old := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	drained(t, newSink(t, path, `rotate = { interval = "daily" }`), numbered(2)...)
	files := rotated(t, dir)
	if len(files) != 2 {
		t.Fatalf("files %v", files)
	}
	same(t, read(t, files[0]), want(t, format.RFC5424, 1, 1))
	same(t, read(t, files[1]), want(t, format.RFC5424, 1, 2))
}

// TestSyncInterval pins when mode "interval" acknowledges: an interval after the first write, not before, or after 1024.
func TestSyncInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sinktest.NewStream(t)
		sink := newSink(t, filepath.Join(t.TempDir(), "log.txt"), "sync = \"interval\"\nsync_interval = \"5s\"")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx, sink) }()
		begin := time.Now()
		s.Append(numbered(10)...)
		if err := s.WaitAcked(ctx, 10); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(begin); got != 5*time.Second {
			t.Errorf("acknowledged after %v", got)
		}
		begin = time.Now()
		s.Append(numbered(5000)...)
		if err := s.WaitAcked(ctx, 5010-1024); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(begin); got != 0 {
			t.Errorf("many records were acknowledged after %v", got)
		}
		s.Append(numbered(1)...)
		synctest.Wait()
		cancel() // what is written is synced and acknowledged at the end of a run
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if got := s.Acked(); got != 5011 {
			t.Errorf("acknowledged up to %d at the end", got)
		}
	})
}

// TestReopen renames the file under an idle sink, as logrotate does, and asks it to reopen: the new file is there at once.
func TestReopen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "log.txt")
		s := sinktest.NewStream(t)
		sink := newSink(t, path, "")
		done := make(chan error)
		go func() { done <- s.Run(t.Context(), sink) }()
		s.Append(numbered(2)[:1]...)
		if err := s.WaitAcked(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		sink.(sdk.Reopener).Reopen()
		synctest.Wait()
		same(t, read(t, path), "")
		s.Append(numbered(2)[1:]...)
		s.Drain()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		same(t, read(t, path+".1"), want(t, format.RFC5424, 1, 1))
		same(t, read(t, path), want(t, format.RFC5424, 2, 2))
	})
}

// TestMoved renames, deletes and truncates the file without a word: the sink notices a second later.
func TestMoved(t *testing.T) {
	for name, move := range map[string]func(path string) error{
		"renamed": func(path string) error { return os.Rename(path, path+".1") },
		"deleted": os.Remove,
		"replaced": func(path string) error {
			return errors.Join(os.WriteFile(path+".new", nil, 0o600), os.Rename(path+".new", path))
		},
		"truncated": func(path string) error { return os.Truncate(path, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "log.txt")
				s := sinktest.NewStream(t)
				sink := newSink(t, path, "")
				done := make(chan error)
				go func() { done <- s.Run(t.Context(), sink) }()
				s.Append(numbered(2)[:1]...)
				if err := s.WaitAcked(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
				if err := move(path); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				s.Append(numbered(2)[1:]...)
				s.Drain()
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				same(t, read(t, path), want(t, format.RFC5424, 2, 2))
			})
		})
	}
}

// TestAllocations pins that what a run allocates does not depend on how many records it writes.
func TestAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	sink := newSink(t, filepath.Join(t.TempDir(), "log.txt"), "")
	run := func(n int) float64 {
		records := numbered(1000)
		return testing.AllocsPerRun(3, func() {
			s := sinktest.NewStream(t)
			s.Append(records...)
			s.Repeat(n)
			s.Drain()
			if err := s.Run(t.Context(), sink); err != nil {
				t.Fatal(err)
			}
		})
	}
	// A write of 256 KiB holds some 300 of these; the fake stream allocates for every acknowledgement.
	few, many := run(1000), run(31_000)
	if perWrite := (many - few) / 100; perWrite > 4 {
		t.Errorf("%v allocations for 1000 records, %v for 31000: %v for each write", few, many, perWrite)
	}
}

// TestTruncatedSize pins that the size that decides on a rotation is that of the file, not of what was written.
func TestTruncatedSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "log.txt")
		s := sinktest.NewStream(t)
		sink := newSink(t, path, `rotate = { size = "1MB" }`)
		done := make(chan error)
		go func() { done <- s.Run(t.Context(), sink) }()
		s.Append(numbered(1000)...)
		if err := s.WaitAcked(t.Context(), 1000); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		s.Append(numbered(1900)[1000:]...)
		s.Drain()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if files := rotated(t, dir); len(files) != 1 {
			t.Errorf("files %v", files)
		}
		same(t, read(t, path), want(t, format.RFC5424, 1001, 1900))
	})
}

func TestBadPaths(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	locked := filepath.Join(dir, "locked")
	f, err := os.Create(locked)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	becomesDir := filepath.Join(dir, "later") // a path that is a directory already is a mistake of the configuration
	for _, c := range []struct{ path, want string }{
		{becomesDir, "is a directory"},
		{filepath.Join(dir, "missing", "log.txt"), "does not exist and is not created"},
		{filepath.Join(locked, "log.txt"), "not a directory"},
		{fifo, "nobody reads"},
		{locked, "in use"},
		{"/dev/full", "no space left"},
	} {
		s := sinktest.NewStream(t)
		s.Append(numbered(1)...)
		sink := newSink(t, c.path, "")
		if c.path == becomesDir {
			if err := os.Mkdir(c.path, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		err := s.Run(t.Context(), sink)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.path) {
			t.Errorf("%s: %v, want %q", c.path, err, c.want)
		}
		if s.Acked() != 0 {
			t.Errorf("%s: acknowledged", c.path)
		}
	}
}

// TestFIFO pins that a reader that stops reading does not hold up the end of a run.
func TestFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	s := sinktest.NewStream(t)
	s.Append(numbered(2)...)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	sink := newSink(t, path, `rotate = { size = "1MB" }`)
	go func() { done <- s.Run(ctx, sink) }()
	if err := s.WaitAcked(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want(t, format.RFC5424, 1, 2)))
	if _, err := reader.Read(got); err != nil {
		t.Fatal(err)
	}
	same(t, string(got), want(t, format.RFC5424, 1, 2))
	s.Append(numbered(10_000)...) // more than a pipe holds
	if _, err := reader.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("no error from a write that was interrupted")
	}
}

// TestSyncIntervalInSmallRing checks that the sink does not wait for more records than its ring can hold.
func TestSyncIntervalInSmallRing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		section, problems := config.ParseTable("test.toml", fmt.Appendf(nil,
			"path = %q\nsync = \"interval\"\nsync_interval = \"1m\"", filepath.Join(t.TempDir(), "log.txt")))
		sink := file.Plugin().Configure(section, sdk.Env{Hostname: "fw1", Window: 4})
		if err := problems.Err(); err != nil {
			t.Fatal(err)
		}
		s := sinktest.NewStream(t)
		s.SetBatch(1)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx, sink) }()
		begin := time.Now()
		s.Append(numbered(4)...)
		if err := s.WaitAcked(ctx, 4); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(begin); got != 0 {
			t.Errorf("a full window was acknowledged after %v", got)
		}
		cancel()
		<-done
	})
}

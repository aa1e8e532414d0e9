package file_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/internal/testing/await"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
	"github.com/rtflow/pipelined/sinks/file"
)

// unpacked returns the content of a compressed file, or of one that is not.
func unpacked(tb testing.TB, path string) string {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = f
	switch filepath.Ext(path) {
	case ".gz":
		r, err = gzip.NewReader(f)
	case ".zst":
		var z *zstd.Decoder
		z, err = zstd.NewReader(f)
		if err == nil {
			defer z.Close()
		}
		r = z
	}
	if err != nil {
		tb.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// names returns the files of a folder, sorted.
func names(tb testing.TB, dir string) (list []string) {
	tb.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// settled waits until every rotated file is compressed, and nothing is left over.
func settled(tb testing.TB, dir, suffix string) {
	tb.Helper()
	await.Until(tb, fmt.Sprintf("all rotated files in %s are compressed", dir), func() bool {
		return !slices.ContainsFunc(names(tb, dir), func(name string) bool { return name != "log.txt" && !strings.HasSuffix(name, suffix) })
	})
}

// TestCompress rotates often: every record is in exactly one file, compressed but for the last, in order.
func TestCompress(t *testing.T) {
	for how, suffix := range map[string]string{"gzip": ".gz", "zstd": ".zst"} {
		for _, mode := range []string{"none", "batch"} {
			dir := t.TempDir()
			sink := newSink(t, filepath.Join(dir, "log.txt"), fmt.Sprintf(
				"mode = \"0604\"\nsync = %q\nrotate = { size = \"1MB\", keep = 0, compress = %q }", mode, how))
			const n = 10_000
			s := sinktest.NewStream(t)
			s.Append(numbered(n)...)
			done := make(chan error)
			go func() { done <- s.Run(t.Context(), sink) }()
			if err := s.WaitAcked(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			settled(t, dir, suffix)
			s.Drain()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			var all strings.Builder
			list := names(t, dir)
			for _, name := range list {
				info, err := os.Stat(filepath.Join(dir, name))
				if err != nil || info.Mode().Perm() != 0o604 {
					t.Errorf("%s: %v, %v", name, info.Mode(), err)
				}
				all.WriteString(unpacked(t, filepath.Join(dir, name)))
			}
			same(t, all.String(), want(t, format.RFC5424, 1, n))
			if status := sink.(sdk.Reporter).Status().(file.Status); status.Packed != int64(len(list)-1) || len(list) < 5 {
				t.Errorf("%d files, status %+v", len(list), status)
			}
		}
	}
}

// TestCompressLater pins that files that an earlier process has left are compressed, one that it has left half done is done
// again, and so is one that is there in both forms: the compressed one may be what a power failure has left.
func TestCompressLater(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	put("log-20260101T000000.000Z.txt", "first\n")
	put(".log-20260101T000000.000Z.txt.zst.unfinished", "half")
	put("log-20260102T000000.000Z.txt", "second\n")
	put("log-20260102T000000.000Z.txt.zst", "") // renamed, and not written
	put("log-20260103T000000.000Z.txt", "third\n")
	put("log-20260103T000000.000Z.txt.zst", "cut off")
	old := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := os.Chtimes(filepath.Join(dir, "log-20260101T000000.000Z.txt"), old, old); err != nil {
		t.Fatal(err)
	}
	s := sinktest.NewStream(t)
	s.Append(numbered(1)...)
	done := make(chan error)
	go func() {
		done <- s.Run(t.Context(), newSink(t, filepath.Join(dir, "log.txt"), `rotate = { size = "1MB", compress = "zstd" }`))
	}()
	settled(t, dir, ".zst")
	s.Drain()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	same(t, unpacked(t, filepath.Join(dir, "log-20260101T000000.000Z.txt.zst")), "first\n")
	same(t, unpacked(t, filepath.Join(dir, "log-20260102T000000.000Z.txt.zst")), "second\n")
	same(t, unpacked(t, filepath.Join(dir, "log-20260103T000000.000Z.txt.zst")), "third\n")
	info, err := os.Stat(filepath.Join(dir, "log-20260101T000000.000Z.txt.zst"))
	if err != nil || !info.ModTime().Equal(old) {
		t.Errorf("%v, %v", info.ModTime(), err)
	}
}

// TestCompressFull has no room for the compressed file: the rotated one stays, and the log goes on.
func TestCompressFull(t *testing.T) {
	dir := smallDisk(t, "4M")
	// Text that does not compress, so that its packed form does not fit beside it.
	noise := make([]byte, 2_500_000)
	for i, x := 0, uint64(1); i < len(noise); i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		noise[i] = byte(x)
	}
	name := filepath.Join(dir, "log-20260101T000000.000Z.txt")
	if err := os.WriteFile(name, noise, 0o600); err != nil {
		t.Fatal(err)
	}
	warned := make(chan string, 10)
	env := sdk.Env{Hostname: "fw1", Warn: func(msg string, args ...any) { warned <- fmt.Sprint(msg, args) }}
	section, problems := config.ParseTable("test.toml", []byte(fmt.Sprintf(
		"path = %q\nrotate = { size = \"1MB\", compress = \"gzip\" }", filepath.Join(dir, "log.txt"))))
	sink := file.Plugin().Configure(section, env)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	s := sinktest.NewStream(t)
	done := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() { done <- s.Run(ctx, sink) }()
	all := numbered(300)
	s.Append(all[:100]...)
	select {
	case w := <-warned:
		if !strings.Contains(w, "cannot compress") || !strings.Contains(w, "are left for the log: no space left") {
			t.Errorf("warned %q", w)
		}
	case err := <-done:
		t.Fatalf("ended without a warning: %v", err)
	}
	s.Append(all[100:200]...)
	if err := s.WaitAcked(t.Context(), 200); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	s.Append(all[200:]...) // to another run, which tries it not yet
	s.Drain()
	if err := s.Run(t.Context(), sink); err != nil {
		t.Fatal(err)
	}
	same(t, read(t, filepath.Join(dir, "log.txt")), want(t, format.RFC5424, 1, 300))
	if got := names(t, dir); len(got) != 2 || len(warned) != 0 {
		t.Errorf("files %v, %d more warnings", got, len(warned))
	}
}

// TestCompressPutOff has no room for the log itself: the next run leaves alone what is to be compressed, until the time has come.
func TestCompressPutOff(t *testing.T) {
	dir := smallDisk(t, "4M")
	synctest.Test(t, func(t *testing.T) {
		ballast := filepath.Join(dir, "ballast")
		if err := os.WriteFile(ballast, make([]byte, 5<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		sink := newSink(t, filepath.Join(dir, "log.txt"), `rotate = { size = "1MB", compress = "gzip" }`)
		s := sinktest.NewStream(t)
		s.Append(numbered(1)...)
		if err := s.Run(t.Context(), sink); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("Run = %v, want a full disk", err)
		}
		name := "log-19991231T000000.000Z.txt"
		if err := errors.Join(os.Remove(ballast), os.WriteFile(filepath.Join(dir, name), []byte("text"), 0o600)); err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { done <- s.Run(t.Context(), sink) }()
		if err := s.WaitAcked(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := names(t, dir); !slices.Equal(got, []string{name, "log.txt"}) {
			t.Errorf("at once: %v", got)
		}
		time.Sleep(10*time.Minute + time.Second)
		synctest.Wait()
		if got := names(t, dir); !slices.Equal(got, []string{name + ".gz", "log.txt"}) {
			t.Errorf("later: %v", got)
		}
		s.Drain()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

// TestMaxAge deletes rotated files by the time in their names, while the sink writes and not only when it rotates.
func TestMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it is 2000-01-01T00:00Z
		dir := t.TempDir()
		for _, name := range []string{
			"log-19991130T000000.000Z.txt", "log-19991220T000000.000Z.txt.zst", "log-19991231T000000.000Z.txt", "log-old.txt",
		} {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s := sinktest.NewStream(t)
		done := make(chan error)
		go func() {
			done <- s.Run(t.Context(), newSink(t, filepath.Join(dir, "log.txt"), `rotate = { keep = 0, max_age = "30d" }`))
		}()
		for i, c := range []struct {
			pause time.Duration
			left  int
		}{{time.Hour, 4}, {20 * 24 * time.Hour, 3}, {20 * 24 * time.Hour, 2}} {
			time.Sleep(c.pause) // of the bubble's clock
			s.Append(numbered(1)...)
			if err := s.WaitAcked(t.Context(), event.Seq(i+1)); err != nil {
				t.Fatal(err)
			}
			if got := names(t, dir); len(got) != c.left {
				t.Errorf("after %v: files %v", c.pause, got)
			}
		}
		s.Drain()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

// TestCompressOwner gives a compressed file the owner of the rotated one when none is configured.
func TestCompressOwner(t *testing.T) {
	needRoot(t, "give files away")
	dir := t.TempDir()
	name := filepath.Join(dir, "log-20260101T000000.000Z.txt")
	if err := os.WriteFile(name, []byte("first\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(name, 1234, 4321); err != nil {
		t.Fatal(err)
	}
	s := sinktest.NewStream(t)
	s.Append(numbered(1)...)
	done := make(chan error)
	go func() {
		done <- s.Run(t.Context(), newSink(t, filepath.Join(dir, "log.txt"), `rotate = { size = "1MB", compress = "zstd" }`))
	}()
	settled(t, dir, ".zst")
	s.Drain()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(name + ".zst")
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); st.Uid != 1234 || st.Gid != 4321 {
		t.Errorf("belongs to %d:%d", st.Uid, st.Gid)
	}
}

// TestOwner gives files away, compressed ones too.
func TestOwner(t *testing.T) {
	needRoot(t, "give files away")
	dir := t.TempDir()
	s := sinktest.NewStream(t)
	s.Append(numbered(3000)...)
	done := make(chan error)
	go func() {
		done <- s.Run(t.Context(), newSink(t, filepath.Join(dir, "log.txt"),
			"owner = \"daemon\"\ngroup = \"4\"\nrotate = { size = \"1MB\", compress = \"zstd\" }"))
	}()
	if err := s.WaitAcked(t.Context(), 3000); err != nil {
		t.Fatal(err)
	}
	settled(t, dir, ".zst")
	s.Drain()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, name := range names(t, dir) {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); st.Uid != 1 || st.Gid != 4 {
			t.Errorf("%s belongs to %d:%d", name, st.Uid, st.Gid)
		}
	}
}

package file_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rtflow/pipelined/core/config"
	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
	"github.com/rtflow/pipelined/sinks/file"
)

// needRoot makes sure that the test is root's. Elsewhere it is skipped, except where the run is meant to be root's.
func needRoot(t *testing.T, what string) {
	t.Helper()
	switch {
	case os.Geteuid() == 0:
	case os.Getenv("PIPELINED_REQUIRE_XDP") == "1":
		t.Fatal("only root may", what)
	default:
		t.Skip("only root may", what)
	}
}

// smallDisk mounts a file system of a size, and returns its directory.
func smallDisk(t *testing.T, size string) (dir string) {
	t.Helper()
	needRoot(t, "mount a file system")
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755,size="+size); err != nil {
		t.Fatalf("cannot mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// newSink makes a file sink on path; more is further configuration.
func newSink(tb testing.TB, path, more string) sdk.Sink {
	tb.Helper()
	text := fmt.Sprintf("path = %q\n%s", path, more)
	env := sdk.Env{Hostname: "fw1", Warn: func(msg string, args ...any) { tb.Log(append([]any{msg}, args...)...) }}
	section, problems := config.ParseTable("test.toml", []byte(text))
	sink := file.Plugin().Configure(section, env)
	if err := problems.Err(); err != nil {
		tb.Fatal(err)
	}
	return sink
}

// numbered returns n records that say in their session id which they are, from 1 on.
func numbered(n int) []event.Record {
	all := make([]event.Record, n)
	for i := range all {
		all[i] = sinktest.Record(event.SessionOpen, uint64(i))
		all[i].SetSessionID(uint64(i + 1))
	}
	return all
}

// want returns what the numbered records from..to look like in a format.
func want(tb testing.TB, name string, from, to int) string {
	tb.Helper()
	enc := encoder(tb, name)
	var b []byte
	for i, r := range numbered(to) {
		if i+1 < from {
			continue
		}
		r.SetSeq(event.Seq(i + 1))
		b = append(enc.Append(b, &r, sinktest.Names()), enc.Terminator()...)
	}
	return string(b)
}

func encoder(tb testing.TB, name string) format.Encoder {
	tb.Helper()
	enc, err := format.New(format.Options{Format: name, Hostname: "fw1", Epoch: sinktest.Epoch})
	if err != nil {
		tb.Fatal(err)
	}
	return enc
}

func read(tb testing.TB, paths ...string) string {
	tb.Helper()
	var all []byte
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, b...)
	}
	return string(all)
}

// withoutNames returns frames without those that hold names; what is not frames as it is.
func withoutNames(content string) string {
	b := []byte(content)
	if !event.LooksLikeFrames(b) {
		return content
	}
	var kept []byte
	for len(b) >= event.HeaderSize {
		size := min(event.HeaderSize+int(binary.LittleEndian.Uint32(b)), len(b))
		if event.FrameType(b[4]) != event.FrameNames {
			kept = append(kept, b[:size]...)
		}
		b = b[size:]
	}
	return string(append(kept, b...))
}

// same compares file contents without printing megabytes. What names the ids in frames is left out.
func same(tb testing.TB, got, want string) {
	tb.Helper()
	got, want = withoutNames(got), withoutNames(want)
	if got == want {
		return
	}
	g, w := strings.SplitAfter(got, "\n"), strings.SplitAfter(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			tb.Fatalf("%d and %d lines; line %d is\n%q, want\n%q", len(g), len(w), i+1, g[i], w[i])
		}
	}
	tb.Fatalf("%d bytes in %d lines, want %d in %d", len(got), len(g), len(want), len(w))
}

// rotated returns the rotated files of dir/log.txt, oldest first, then the file itself.
func rotated(tb testing.TB, dir string) []string {
	tb.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "log-*.txt"))
	if err != nil {
		tb.Fatal(err)
	}
	slices.Sort(names)
	return append(names, filepath.Join(dir, "log.txt"))
}

// drained runs a sink over those records to the end.
func drained(tb testing.TB, sink sdk.Sink, records ...event.Record) {
	tb.Helper()
	s := sinktest.NewStream(tb)
	s.Append(records...)
	s.Drain()
	if err := s.Run(tb.Context(), sink); err != nil {
		tb.Fatal(err)
	}
	if got := s.Acked(); got != event.Seq(len(records)) {
		tb.Fatalf("acknowledged up to %d of %d", got, len(records))
	}
}

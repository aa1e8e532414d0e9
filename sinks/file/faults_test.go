package file_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
	"github.com/rtflow/pipelined/sdk/sinktest"
	"github.com/rtflow/pipelined/sinks/file"
)

// TestDiskFull fills a small file system, makes room and goes on: no record torn, none lost, none twice.
func TestDiskFull(t *testing.T) {
	for _, mode := range []string{"none", "interval", "batch"} {
		for _, name := range []string{format.RFC5424, format.Frames} {
			t.Run(mode+" "+name, func(t *testing.T) {
				dir := smallDisk(t, "2M")
				path, ballast := filepath.Join(dir, "log.txt"), filepath.Join(dir, "ballast")
				if err := os.WriteFile(ballast, make([]byte, 1_900_000), 0o600); err != nil {
					t.Fatal(err)
				}
				const n = 1500
				s := sinktest.NewStream(t)
				s.Append(numbered(n)...)
				s.Drain()
				sink := newSink(t, path, fmt.Sprintf("format = %q\nsync = %q", name, mode))
				for range 3 {
					if err := s.Run(t.Context(), sink); !errors.Is(err, syscall.ENOSPC) {
						t.Fatalf("Run = %v, want a full disk", err)
					}
					same(t, read(t, path), want(t, name, 1, int(s.Acked())))
				}
				if s.Acked() == 0 {
					t.Error("nothing fitted")
				}
				if err := os.Remove(ballast); err != nil {
					t.Fatal(err)
				}
				if err := s.Run(t.Context(), sink); err != nil {
					t.Fatal(err)
				}
				same(t, read(t, path), want(t, name, 1, n))
			})
		}
	}
}

// TestRotationRefused takes the directory away from the sink: it goes on in the file it has.
func TestRotationRefused(t *testing.T) {
	needRoot(t, "bind a mount")
	dir := t.TempDir()
	path := filepath.Join(dir, "log.txt")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// A file that is a mount point cannot be renamed.
	if err := syscall.Mount(path, path, "", syscall.MS_BIND, ""); err != nil {
		t.Fatalf("cannot bind: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(path, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	const n = 3000
	drained(t, newSink(t, path, `rotate = { size = "1MB" }`), numbered(n)...)
	same(t, read(t, path), want(t, format.RFC5424, 1, n))
}

// TestRepair pins what becomes of the end of a file that an earlier process left.
func TestRepair(t *testing.T) {
	line := want(t, format.RFC5424, 1, 1)
	object := want(t, format.JSON, 1, 1)
	short := want(t, format.Text, 1, 1)
	frame := want(t, format.Frames, 1, 1)
	long := strings.Repeat("x", 100_000)
	for _, c := range []struct {
		name, format, before, after string
	}{
		{"empty", format.RFC5424, "", ""},
		{"whole", format.RFC5424, line, line},
		{"torn line", format.RFC5424, line + line[:100], line},
		{"only a torn line", format.RFC5424, line[:100], ""},
		{"newline missing", format.RFC5424, line + strings.TrimSuffix(line, "\n"), line},
		{"torn short line", format.Text, short + short[:20], short},
		{"torn object", format.JSON, object + object[:5], object},
		{"somebody else's line", format.RFC5424, line + "hello", line + "hello\n"},
		{"zeros after a power failure", format.RFC5424, line + "\x00\x00\x00", line + "\x00\x00\x00\n"},
		{"a long line of somebody else", format.RFC5424, "<" + long, "<" + long + "\n"},
		{"torn behind a long line", format.RFC5424, long + "\n" + line[:3], long + "\n"},
		{"torn header of a frame", format.Frames, frame + frame[:7], frame},
		{"torn frame", format.Frames, frame + frame[:100], frame},
		{"only a torn frame", format.Frames, frame[:100], ""},
		{"many frames", format.Frames, strings.Repeat(frame, 4000) + frame[:1], strings.Repeat(frame, 4000)},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log.txt")
			if err := os.WriteFile(path, []byte(c.before), 0o600); err != nil {
				t.Fatal(err)
			}
			drained(t, newSink(t, path, fmt.Sprintf("format = %q", c.format)), numbered(1)...)
			same(t, read(t, path), c.after+want(t, c.format, 1, 1))
		})
	}
}

// TestForeignFile pins that a file without frames is set aside, not overwritten and not appended to.
func TestForeignFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log.txt")
	if err := os.WriteFile(path, []byte("this is not a file of frames\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := sinktest.NewStream(t)
	s.Append(numbered(1)...)
	s.Drain()
	sink := newSink(t, path, `format = "frames"`)
	if err := s.Run(t.Context(), sink); err == nil || !strings.Contains(err.Error(), "renamed") {
		t.Errorf("first run: %v", err)
	}
	if err := s.Run(t.Context(), sink); err != nil {
		t.Errorf("second run: %v", err)
	}
	files := rotated(t, dir)
	if len(files) != 2 {
		t.Fatalf("files %v", files)
	}
	same(t, read(t, files[0]), "this is not a file of frames\n")
	same(t, read(t, files[1]), want(t, format.Frames, 1, 1))
}

// TestSymlink pins that a link is followed and never renamed.
func TestSymlink(t *testing.T) {
	dir := t.TempDir()
	path, real := filepath.Join(dir, "log.txt"), filepath.Join(dir, "real")
	if err := errors.Join(os.WriteFile(real, nil, 0o600), os.Symlink(real, path)); err != nil {
		t.Fatal(err)
	}
	drained(t, newSink(t, path, `rotate = { size = "1MB" }`), numbered(3000)...)
	same(t, read(t, real), want(t, format.RFC5424, 1, 3000))
	if files := rotated(t, dir); len(files) != 1 {
		t.Errorf("files %v", files)
	}
}

// halfWriter takes a number of bytes and then fails, once.
type halfWriter struct {
	bytes.Buffer
	left int
}

var errBroken = errors.New("broken")

func (w *halfWriter) Write(p []byte) (int, error) {
	if w.left < 0 || len(p) <= w.left {
		return w.Buffer.Write(p)
	}
	n, _ := w.Buffer.Write(p[:w.left])
	w.left = -1
	return n, errBroken
}

// TestWriter breaks an io.Writer after every number of bytes: the output is whole records, all of them in order, and the one
// that was torn is completed and repeated.
func TestWriter(t *testing.T) {
	all := want(t, format.Frames, 1, 3)
	one := len(all) / 3
	names := len(encoder(t, format.Frames).(format.Prefacer).AppendPreface(nil, sinktest.Names()))
	for left := 0; left <= names+len(all); left++ {
		w := &halfWriter{left: left}
		sink := file.NewWriter(w, encoder(t, format.Frames))
		s := sinktest.NewStream(t)
		s.Append(numbered(3)...)
		s.Drain()
		err := s.Run(t.Context(), sink)
		if whole := left == names+len(all); !whole && !errors.Is(err, errBroken) || whole && err != nil {
			t.Fatalf("%d bytes: %v", left, err)
		}
		behind := max(left-names, 0)
		if got := s.Acked(); got != event.Seq(behind/one) {
			t.Errorf("%d bytes: acknowledged up to %d", left, got)
		}
		if err := s.Run(t.Context(), sink); err != nil {
			t.Fatal(err)
		}
		from := behind / one * one // what the second run begins with
		expect := all[:from] + all[from:]
		if behind%one != 0 || behind == 0 && left > 0 {
			expect = all[:from+one] + all[from:]
		}
		same(t, w.String(), expect)
	}
}

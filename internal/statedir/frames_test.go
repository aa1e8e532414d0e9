package statedir

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/internal/testing/race"
)

// someFrames are the payloads of a file.
var someFrames = []string{"first", "", strings.Repeat("x", 300)}

func written(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	err := WriteFrames(&b, func(w *FrameWriter) error {
		for i, payload := range someFrames {
			if err := w.Frame(uint8(i), []byte(payload)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func readAll(b []byte) (payloads []string, err error) {
	err = ReadFrames(bytes.NewReader(b), func(kind uint8, payload []byte) error {
		if int(kind) != len(payloads) {
			return errors.New("another type")
		}
		payloads = append(payloads, string(payload))
		return nil
	})
	return payloads, err
}

// TestFrames writes frames and reads them.
func TestFrames(t *testing.T) {
	if got, err := readAll(written(t)); err != nil || !slices.Equal(got, someFrames) {
		t.Errorf("%q, %v", got, err)
	}
}

// TestFramesTorn cuts a file off at every length, as a crash does, changes each of its bytes, and appends one: it is refused.
func TestFramesTorn(t *testing.T) {
	whole := written(t)
	for n := range whole {
		if _, err := readAll(whole[:n]); err == nil {
			t.Fatalf("%d of %d bytes are taken for a whole file", n, len(whole))
		}
		changed := slices.Clone(whole)
		changed[n] ^= 0x10
		if _, err := readAll(changed); err == nil {
			t.Fatalf("a file whose byte %d was changed is taken for a whole one", n)
		}
	}
	if _, err := readAll(append(slices.Clone(whole), 0)); err == nil {
		t.Error("a longer file is taken for a whole one")
	}
}

// TestFramesBadLength has a frame that claims to be large: no memory is taken for what is not there.
func TestFramesBadLength(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	b := binary.LittleEndian.AppendUint32([]byte(magic), MaxFrame)
	b = append(b, make([]byte, 1000)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := readAll(b); !errors.Is(err, errCutOff) {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes are taken for a file of %d", n, len(b))
	}
}

// failing fails after some bytes.
type failing struct{ left int }

func (f *failing) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, io.ErrShortWrite
	}
	return len(b), nil
}

// TestFramesDiskFull has no room for all of them: the error is told.
func TestFramesDiskFull(t *testing.T) {
	large := make([]byte, writeBuffer)
	for left := range 5 {
		err := WriteFrames(&failing{left * writeBuffer}, func(w *FrameWriter) error {
			for range 6 {
				_ = w.Frame(1, large) // the writer keeps its error
			}
			return nil
		})
		if !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("room for %d buffers: %v", left, err)
		}
	}
	if err := WriteFrames(io.Discard, func(w *FrameWriter) error { _ = w.Frame(endFrame, nil); return nil }); err == nil {
		t.Error("a frame of the type of the last one is written")
	}
}

func FuzzFrames(f *testing.F) {
	whole := written(f)
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		sum := 0
		err := ReadFrames(bytes.NewReader(b), func(_ uint8, payload []byte) error { sum += len(payload); return nil })
		if sum > len(b) {
			t.Fatalf("%d bytes of payload in a file of %d: %v", sum, len(b), err)
		}
	})
}

// TestKept writes what is kept, and takes it: nobody else can.
func TestKept(t *testing.T) {
	dir := t.TempDir()
	d, warned := open(t, dir)
	if k, err := d.Kept(); k != nil || err != nil {
		t.Fatalf("%v, %v of nothing", k, err)
	}
	write := func(text string) {
		t.Helper()
		if err := d.WriteKept(func(w *FrameWriter) error { return w.Frame(1, []byte(text)) }); err != nil {
			t.Fatal(err)
		}
	}
	read := func(k *Kept) (text string) {
		t.Helper()
		if err := k.Frames(func(_ uint8, payload []byte) error { text = string(payload); return nil }); err != nil {
			t.Fatal(err)
		}
		return text
	}
	kept := func() *Kept {
		t.Helper()
		k, err := d.Kept()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	write("one")
	k := kept()
	if err := errors.Join(k.Take(), k.PutBack(), k.Close()); err != nil {
		t.Fatal(err)
	}
	if k = kept(); k == nil || read(k) != "one" || k.Take() != nil {
		t.Fatal("it cannot be taken")
	}
	if other := kept(); other != nil { // of a run that begins after this one was killed
		t.Error("it can be taken twice")
	}
	if read(k) != "one" || read(k) != "one" {
		t.Error("it cannot be read after it was taken")
	}
	write("two")
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if k = kept(); k == nil || read(k) != "two" || k.PutAside(errors.New("old")) != nil || k.Close() != nil || len(*warned) != 1 {
		t.Error("what is kept next cannot be put aside")
	}
	left, err := os.ReadDir(dir)
	names := make([]string, len(left))
	for i := range left {
		names[i] = left[i].Name()
	}
	if err != nil || !slices.Equal(names, []string{keptFile + ".unused", lockFile}) {
		t.Errorf("left: %v, %v", names, err)
	}
	// What an interrupted run has left is no obstacle.
	if err := os.WriteFile(filepath.Join(dir, "."+keptFile+".unfinished"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	write("three")
	if k = kept(); read(k) != "three" || k.Close() != nil {
		t.Error("it cannot be read")
	}
	if err := d.WriteKept(func(*FrameWriter) error { return io.ErrShortWrite }); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("an error of who writes: %v", err)
	}
	if k = kept(); read(k) != "three" || k.Close() != nil {
		t.Error("a failed attempt has changed what is kept")
	}
}

// TestKeptNotRegular puts aside what is in the place of the file.
func TestKeptNotRegular(t *testing.T) {
	for what, put := range map[string]func(path string) error{
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"link":      func(path string) error { return os.Symlink("/etc/passwd", path) },
	} {
		dir := t.TempDir()
		if err := put(filepath.Join(dir, keptFile)); err != nil {
			t.Fatal(err)
		}
		d, warned := open(t, dir)
		if k, err := d.Kept(); k != nil || err != nil || len(*warned) != 1 {
			t.Errorf("%s: %v, %v, warnings %q", what, k, err, *warned)
		}
	}
}

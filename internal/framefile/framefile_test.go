package framefile_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rtflow/pipelined/internal/framefile"
	"github.com/rtflow/pipelined/sdk/event"
	"github.com/rtflow/pipelined/sdk/format"
)

// frames returns a file of one record, with names before it if n is not nil.
func frames(n *event.Names) []byte {
	var rec event.Record
	rec.Reset(event.PolicyDeny)
	rec.SetFlow(event.FamilyIPv4, 17, &[16]byte{10, 0, 0, 1}, &[16]byte{10, 0, 0, 2}, 1, 2)
	rec.SetZones(1, 2)
	rec.SetSeq(1)
	var b []byte
	if n != nil {
		b = event.AppendNames(b, n, event.Origin{Host: "edge", Epoch: 7})
	}
	return append(b, rec.Frame()...)
}

func compressed(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestOpen opens files of all kinds: those of frames give the frames, others their bytes as they are.
func TestOpen(t *testing.T) {
	plain, other := frames(nil), []byte("neither frames nor a capture")
	damaged := append([]byte{0x1f, 0x8b, 8}, bytes.Repeat([]byte{0xff}, 40)...)
	for _, c := range []struct {
		name          string
		content, want []byte
		frames        bool
	}{
		{"frames", plain, plain, true},
		{"names", frames(new(event.Names)), frames(new(event.Names)), true},
		{"compressed frames", compressed(t, plain), plain, true},
		{"other", other, other, false},
		{"compressed", compressed(t, other), compressed(t, other), false},
		{"damaged", damaged, damaged, false},
		{"empty", nil, nil, false},
	} {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, c.content, 0o600); err != nil {
			t.Fatal(err)
		}
		input, isFrames, err := framefile.Open(path, nil)
		if err != nil || isFrames != c.frames {
			t.Errorf("%s: frames %v, %v", c.name, isFrames, err)
			continue
		}
		if got, err := io.ReadAll(input); err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
		if err := input.Close(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, _, err := framefile.Open(filepath.Join(t.TempDir(), "missing"), nil); !os.IsNotExist(err) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// TestOpenStdin reads frames from a pipe, without losing a byte.
func TestOpenStdin(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(frames(nil)); err != nil {
		t.Fatal(err)
	}
	w.Close()
	input, isFrames, err := framefile.Open("-", r)
	if err != nil || !isFrames {
		t.Fatalf("frames %v, %v", isFrames, err)
	}
	defer input.Close()
	if got, err := io.ReadAll(input); err != nil || !bytes.Equal(got, frames(nil)) {
		t.Errorf("%q, %v", got, err)
	}
}

// TestOpenFIFO leaves a FIFO alone: opening it would wait for a writer.
func TestOpenFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	input, isFrames, err := framefile.Open(path, nil)
	if err != nil || isFrames {
		t.Fatalf("frames %v, %v", isFrames, err)
	}
	if got, err := io.ReadAll(input); err != nil || len(got) > 0 {
		t.Errorf("%q, %v", got, err)
	}
}

// TestPrint takes names from the file where it has some, and counts what is no record.
func TestPrint(t *testing.T) {
	own := &event.Names{Zones: map[uint16]string{1: "own"}}
	given := &event.Names{Zones: map[uint16]string{1: "given"}}
	keepalive := make([]byte, event.HeaderSize)
	keepalive[4] = 10
	calls := 0
	missing := func() (*event.Names, string, error) {
		calls++
		return given, "here", nil
	}
	for _, c := range []struct {
		input []byte
		calls int
		want  []string
	}{
		{append(frames(nil), frames(nil)...), 1, []string{" here ", `source-zone-name="given"`}},
		{append(frames(own), frames(nil)...), 0, []string{" edge ", `source-zone-name="own"`}},
	} {
		var out strings.Builder
		calls = 0
		skipped, err := framefile.Print(&out, bytes.NewReader(append(keepalive, c.input...)), format.Options{}, missing)
		if err != nil || skipped != 1 || calls != c.calls || strings.Count(out.String(), "\n") != 2 {
			t.Errorf("skipped %d, %d calls, %v: %q", skipped, calls, err, out.String())
		}
		for _, want := range c.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q does not hold %q", out.String(), want)
			}
		}
	}
	var out strings.Builder
	broken := errors.New("no configuration")
	if _, err := framefile.Print(&out, bytes.NewReader(frames(nil)), format.Options{}, func() (*event.Names, string, error) { return nil, "", broken }); !errors.Is(err, broken) {
		t.Errorf("without names: %v", err)
	}
	whole := frames(nil)
	if _, err := framefile.Print(&out, bytes.NewReader(append(whole, whole[:20]...)), format.Options{}, missing); err == nil || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("a file that is cut off: %v: %q", err, out.String())
	}
}

package plugins

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rtflow/pipelined/sdk"
	"github.com/rtflow/pipelined/sdk/sinktest"
)

// TestOwnSinks runs the sinks of this project as processes: the same values that are compiled in.
func TestOwnSinks(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string]func(t *testing.T) string{
		"file": func(t *testing.T) string {
			return fmt.Sprintf("path = %q\nformat = \"frames\"", filepath.Join(t.TempDir(), "out"))
		},
	}
	for name := range served() {
		t.Run(name, func(t *testing.T) {
			sinktest.Conform(t, func(t *testing.T) sdk.Sink { return open(t, tables[name](t), exe, name) })
			conform(t, tables[name](t), 50_000, exe, name)
		})
	}
}

// TestSameBytes writes the same records with the sink in this process and in another: the files are the same.
func TestSameBytes(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var files [2]string
	for i, name := range []string{"inside", "outside"} {
		path := filepath.Join(dir, name)
		var sink sdk.Sink
		if i == 0 {
			cfg := sinktest.Config(t, fmt.Sprintf(`{"path": %q}`, path))
			sink = served()["file"].New(cfg, sdk.Env{Hostname: "fw1"})
		} else {
			sink = open(t, fmt.Sprintf("path = %q", path), exe, "file")
		}
		s := sinktest.NewStream(t)
		s.Append(sinktest.Records(1, 5000)...)
		s.Drain()
		if err := s.Run(t.Context(), sink); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[i] = string(text)
	}
	if files[0] == "" || files[0] != files[1] {
		t.Errorf("%d bytes inside, %d outside, and they differ", len(files[0]), len(files[1]))
	}
}

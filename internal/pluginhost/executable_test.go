package pluginhost

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rtflow/pipelined/sdk/sinktest"
)

// TestPinnedFileIsStarted puts another file in the place of a pinned script after it was compared: the one that was compared is started.
func TestPinnedFileIsStarted(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "plugin"), filepath.Join(dir, "other")
	const text = "#!/bin/sh\necho pinned $1\n"
	for name, text := range map[string]string{path: text, other: "#!/bin/sh\necho other\n"} {
		if err := os.WriteFile(name, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	o := options{command: []string{path, "argument"}, process: process{SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(text)))}}
	f, err := o.open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	if out, err := o.cmd(f).Output(); err != nil || string(out) != "pinned argument\n" {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := o.open(); err == nil || !strings.Contains(err.Error(), "is another file") {
		t.Errorf("the other file: %v", err)
	}
}

// TestWritableLater makes an executable writable by everybody after it was configured: it is not started.
func TestWritableLater(t *testing.T) {
	text := []byte("#!/bin/sh\n")
	for _, pin := range []string{"", fmt.Sprintf("%x", sha256.Sum256(text))} {
		h, _ := newHost(t)
		sink := newTestSink(t, h, "")
		path := filepath.Join(t.TempDir(), "plugin")
		if err := os.WriteFile(path, text, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o707); err != nil {
			t.Fatal(err)
		}
		sink.options.command, sink.options.SHA256 = []string{path}, pin
		if err := sinktest.NewStream(t).Run(t.Context(), sink); err == nil || !strings.Contains(err.Error(), "can be written by everybody") {
			t.Errorf("Run = %v", err)
		}
	}
}
